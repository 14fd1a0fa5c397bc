"""A test mail straight through one upstream, before the relay runs: what its server says to it."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

from relay.config import Config
from relay.mail.address import Address
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer
from relay.outbound.replies import judge
from relay.spool import open_safe
from relay.spool.queue_id import new_queue_id
from relay.upstream.oauth.session_tokens import Tokens
from relay.upstream.settings import Upstream
from relay.upstream.transports import Means, Transports

_TEXT = "This is the test mail of {by}. It came through the upstream {name}; so the login works."


def try_out(config: Config, upstream: Upstream, recipient: Address) -> list[str]:
    """Sends it; an empty list if it was taken, else the refusal and what helps.  Blocks."""
    tokens = Tokens(config.spool.home, lambda: datetime.now(UTC), safe=open_safe(config.spool))
    answer = asyncio.run(send_test(config, upstream, recipient, tokens, "`relay init`"))
    if answer.reply.positive:
        return []
    advice = judge(answer, upstream).advice  # not what is done about it: nothing keeps a test mail
    return [f"The test mail was not sent: {answer}", advice.cause, advice.remedy]


async def send_test(config: Config, upstream: Upstream, recipient: Address, tokens: Tokens, by: str) -> Answer:
    """Sends it, and says what came of it.  `by` is who sends it, for whoever reads it."""
    now = datetime.now(UTC)
    transports = Transports(Means(config.hostname, config.nameservers, tokens.get, tokens.refused, tokens.renewed))
    sender, queue_id = upstream.identity.sender or recipient, new_queue_id(now)
    content = (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: A test from the relay\r\n"
        f"Date: {format_datetime(now)}\r\nMessage-ID: <{queue_id}@{config.hostname}>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{_TEXT.format(by=by, name=upstream.name)}\r\n"
    ).encode()
    outgoing = Outgoing(
        queue_id=queue_id, reverse_path=sender, forward_paths=(recipient,), content=[content], size=len(content)
    )
    try:
        [answer] = (await transports.submit(upstream, outgoing)).answers.values()
    finally:
        await transports.close()
    return answer
