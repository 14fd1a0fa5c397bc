"""The whole examination, for somebody who waits for it: in a loop of its own.  Blocks, for half a minute at most."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from relay.detached import AbandonableThreads
from relay.doctor.finding import Finding
from relay.doctor.gather import Tell, World, gather
from relay.doctor.judge import judge
from relay.doctor.subject import Subject
from relay.upstream.oauth.session_tokens import Tokens
from relay.upstream.oauth.token_store import SharedTokens


def examined(subject: Subject, safe: SharedTokens | None, tell: Tell) -> tuple[list[Finding], float]:
    """The findings, and how many seconds it took.  `safe`: where OAuth tokens are, if not in files beside the spool."""
    return asyncio.run(_examined(subject, safe, tell))


async def _examined(subject: Subject, safe: SharedTokens | None, tell: Tell) -> tuple[list[Finding], float]:
    asyncio.get_running_loop().set_default_executor(AbandonableThreads())
    world = World()
    tokens = Tokens(subject.state_dir, lambda: datetime.now(UTC), patience=world.patience, safe=safe)
    facts = await gather(subject, replace(world, token=tokens.get, consents=tokens.standings), tell)
    return judge(facts, subject), facts.took
