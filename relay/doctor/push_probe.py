"""Evidence about a push service: the library makes its request, and a harmless one goes out instead of it, or none.

All of it happens in the push process: this one never holds the library, and no word of it is shown with a URL's part.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from relay.doctor.push import PushFacts, UrlFacts
from relay.mail.reply import Fault
from relay.upstream.push.answers import answer_of
from relay.upstream.push.check_calls import Proof
from relay.upstream.push.frames import Outcome, PushJob
from relay.upstream.push.process import ProcessLost, PushProcess
from relay.upstream.settings import PushService, Upstream


async def push_facts(upstream: Upstream, patience: float, whole: float) -> PushFacts:
    """Each URL; `patience` in seconds for one of them, `whole` for all."""
    urls = [url.reveal() for url in upstream.of_kind(PushService).urls]
    found: list[UrlFacts] = []  # in order
    process: PushProcess | None = None
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(whole):
                process = await PushProcess.start()
                job = PushJob(list(enumerate(urls)), patience, examine=True)
                async for number, one in process.send(job, _nothing(), lambda *_: False):
                    found.append(_facts(number, one, urls))
    except ProcessLost as lost:
        return PushFacts(upstream, trouble=str(lost))
    finally:
        if process is not None:
            process.kill()
            await process.end()
    late = (UrlFacts(number, examined=False, late=whole) for number in range(len(found), len(urls)))
    return PushFacts(upstream, (*found, *late))


async def _nothing() -> AsyncIterator[bytes]:
    for block in tuple[bytes, ...]():
        yield block


def _facts(number: int, outcome: Outcome, urls: list[str]) -> UrlFacts:
    proved = Proof(outcome.proved)
    connected = outcome.peer and outcome.fault == Fault.UNANSWERED.value  # as it was told: nothing was sent
    if connected or proved is not Proof.NOTHING or outcome.unclear:
        peer, tls, status = outcome.peer, outcome.tls, outcome.status
        return UrlFacts(number, outcome.service, peer, tls, proved=proved, unclear=outcome.unclear, status=status)
    if not outcome.fault and not outcome.status:
        return UrlFacts(number, outcome.service, examined=False)
    return UrlFacts(number, outcome.service, failed=answer_of(outcome, urls))
