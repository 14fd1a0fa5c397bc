"""Evidence about a push service: the library opens its connection, and is stopped before it sends anything."""

from collections.abc import AsyncIterator

from relay.doctor.push import PushFacts, UrlFacts
from relay.mail.reply import Fault
from relay.upstream.push.answers import answer_of
from relay.upstream.push.frames import Outcome, PushJob
from relay.upstream.push.process import ProcessLost, PushProcess
from relay.upstream.settings import PushService, Upstream


async def push_facts(upstream: Upstream, patience: float) -> PushFacts:
    """Each URL; `patience` in seconds for one connection."""
    urls = [url.reveal() for url in upstream.of_kind(PushService).urls]
    process: PushProcess | None = None
    try:
        process = await PushProcess.start()
        job = PushJob(list(enumerate(urls)), patience, examine=True)
        found = [_facts(number, one, urls) async for number, one in process.send(job, _nothing(), lambda *_: False)]
    except ProcessLost as lost:
        return PushFacts(upstream, trouble=str(lost))
    finally:
        if process is not None:
            process.kill()
            await process.end()
    return PushFacts(upstream, tuple(found))


async def _nothing() -> AsyncIterator[bytes]:
    for block in tuple[bytes, ...]():
        yield block


def _facts(number: int, outcome: Outcome, urls: list[str]) -> UrlFacts:
    if outcome.peer and outcome.fault == Fault.UNANSWERED.value:  # as it was told: nothing was sent
        return UrlFacts(number, outcome.service, outcome.peer, outcome.tls)
    if not outcome.fault and not outcome.status:
        return UrlFacts(number, outcome.service, examined=False)
    return UrlFacts(number, outcome.service, failed=answer_of(outcome, urls))
