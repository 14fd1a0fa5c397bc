"""Examinations in a process of their own: a look a day would else keep a tenth of the relay's memory for ever.

relay ── Subject, pickled ──▶ python -m relay.doctor.child_process ── findings as JSON ──▶ relay

With the word `whole` it is the examination of `relay doctor`, and news come line by line while it goes on.
"""

import asyncio
import json
import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.detached import AbandonableThreads, environment, give_way
from relay.doctor.subject import Subject

if TYPE_CHECKING:
    from relay.doctor.gather import World
    from relay.doctor.judge import Facts

PATIENCE = 60.0
"""Seconds; a check-up bounds its questions itself, this is for a machine that stands still."""

WHOLE_PATIENCE = 120.0
"""The same for the whole examination, which takes 20 seconds where hosts do not answer."""

_ALONE = int(WHOLE_PATIENCE) + 10
"""Seconds after which the process ends by itself: a relay that died cannot end it."""

_LONGEST_LINE = 4_000_000  # octets of all findings

_SOURCE = Path(__file__).parents[2]


class Stumbled(Exception):
    """The process gave no findings; the text is its last word."""


async def aside(subject: Subject, patience: float = PATIENCE) -> list[dict[str, Any]]:
    """Every finding of the cheap examination, in the keys of `relay doctor --json`.  Raises Stumbled, OSError, TimeoutError."""
    async with _child() as process, asyncio.timeout(patience):
        said, complaint = await process.communicate(pickle.dumps(subject))
    if process.returncode:
        raise Stumbled(_last_word(complaint) or f"ended with {process.returncode}")
    findings: list[dict[str, Any]] = json.loads(said)
    return findings


async def whole(subject: Subject, hear: Callable[[dict[str, Any]], None], patience: float = WHOLE_PATIENCE) -> None:
    """The examination of `relay doctor`.  `hear` is told {"progress": words} and {"findings": all that is known so far}.

    Raises Stumbled, OSError, TimeoutError, ValueError.
    """
    async with _child("whole") as process, asyncio.timeout(patience):
        if process.stdin is None or process.stdout is None or process.stderr is None:  # for mypy: all three are pipes
            raise Stumbled
        complaint = asyncio.create_task(process.stderr.read())  # else a talkative one would wait for a reader
        try:
            with suppress(ConnectionError):  # it died early: its last word tells why
                process.stdin.write(pickle.dumps(subject))
                await process.stdin.drain()
                process.stdin.close()
            async for line in process.stdout:
                hear(json.loads(line))
            if await process.wait():
                raise Stumbled(_last_word(await complaint) or f"ended with {process.returncode}")
        finally:
            complaint.cancel()


@asynccontextmanager
async def _child(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, which does not outlive the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "relay.doctor.child_process", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        env=environment("PG", "RELAY_TEST_", PYTHONPATH=str(_SOURCE)),  # libpq's settings: the tokens may be in PostgreSQL
        start_new_session=True,  # Ctrl-C in a terminal is for the relay, which then ends this
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _last_word(complaint: bytes) -> str:
    return next(reversed(complaint.decode("utf-8", "replace").strip().splitlines()), "")


def main() -> None:
    """The other end: reads a Subject, writes the findings, ends without waiting for a resolver that hangs."""
    signal.alarm(_ALONE)
    findings, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed is no finding
    subject: Subject = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from the relay itself
    from relay.doctor.gather import World
    from relay.spool import open_safe
    from relay.upstream.oauth.session_tokens import Tokens

    def tell(news: object) -> None:
        findings.write(json.dumps(news) + "\n")
        findings.flush()

    tokens = Tokens(subject.state_dir, lambda: datetime.now(UTC), safe=open_safe(subject.spool))
    if "whole" in sys.argv[1:]:
        give_way()
        asyncio.run(_examine_wholly(subject, World(token=tokens.get, consents=tokens.standings), tell))
    else:
        tell(asyncio.run(examined(subject, World(consents=tokens.standings))))
    os._exit(0)


async def examined(subject: Subject, world: "World") -> list[dict[str, Any]]:
    """What `aside` gives, found in this process."""
    from relay.doctor.gather import gather_cheaply
    from relay.doctor.judge import judge

    return [one.as_json() for one in judge(await gather_cheaply(subject, world), subject)]


async def _examine_wholly(subject: Subject, world: "World", tell: Callable[[object], None]) -> None:
    from relay.doctor.gather import gather
    from relay.doctor.judge import judge

    def found(facts: "Facts") -> None:
        tell({"findings": [one.as_json() for one in judge(facts, subject)]})

    asyncio.get_running_loop().set_default_executor(AbandonableThreads())
    found(await gather(subject, world, lambda words: tell({"progress": words}), found))


if __name__ == "__main__":
    main()
