"""A test mail straight through one upstream, before the relay runs: what its server says to it."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

from relay.config import Config
from relay.mail.address import Address
from relay.mail.outgoing import Outgoing
from relay.outbound.replies import judge
from relay.spool import open_safe
from relay.spool.queue_id import new_queue_id
from relay.upstream.oauth.session_tokens import Tokens
from relay.upstream.settings import Upstream
from relay.upstream.transports import Means, Transports

_TEXT = "This is the test mail of `relay init`. It came through the upstream {name}; so the login works."


def try_out(config: Config, upstream: Upstream, recipient: Address) -> list[str]:
    """Sends it; an empty list if it was taken, else the refusal and what helps."""
    return asyncio.run(_try_out(config, upstream, recipient))


async def _try_out(config: Config, upstream: Upstream, recipient: Address) -> list[str]:
    now = datetime.now(UTC)
    tokens = Tokens(config.spool.home, lambda: datetime.now(UTC), safe=open_safe(config.spool))
    transports = Transports(Means(config.hostname, config.nameservers, tokens.get, tokens.refused, tokens.renewed))
    sender, queue_id = upstream.identity.sender or recipient, new_queue_id(now)
    content = (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: A test from the relay\r\n"
        f"Date: {format_datetime(now)}\r\nMessage-ID: <{queue_id}@{config.hostname}>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{_TEXT.format(name=upstream.name)}\r\n"
    ).encode()
    outgoing = Outgoing(
        queue_id=queue_id, reverse_path=sender, forward_paths=(recipient,), content=[content], size=len(content)
    )
    try:
        [answer] = (await transports.submit(upstream, outgoing)).answers.values()
    finally:
        await transports.close()
    if answer.reply.positive:
        return []
    advice = judge(answer, upstream).advice  # not what is done about it: nothing keeps a test mail
    return [f"The test mail was not sent: {answer}", advice.cause, advice.remedy]
