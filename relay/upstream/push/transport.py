"""Push services as a transport: a message goes to the push process, which is started for it and ends when nothing comes."""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import aclosing

from relay.mail.outgoing import Outgoing
from relay.mail.reply import Fault
from relay.upstream.block_reader import BlockReader
from relay.upstream.idle_pool import IdlePool
from relay.upstream.push import answers
from relay.upstream.push.frames import Outcome, PushJob
from relay.upstream.push.process import ProcessLost, PushProcess
from relay.upstream.report import Conversation, Report
from relay.upstream.settings import PushService, Upstream

IDLE = 60.0
"""Seconds that a process waits for the next message.  Starting one takes a second, and it has 40 MB."""

_MOST_PARTLY = 1000  # messages of which it is remembered who has them


class PushDelivery:
    """All upstreams that are push services.  `idle`: seconds that a process is kept."""

    def __init__(self, idle: float = IDLE) -> None:
        self._idle = idle
        self._kept: dict[str, IdlePool[PushProcess]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._partly: dict[str, frozenset[bytes]] = {}
        self._salt = os.urandom(16)

    async def submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        """One message to all URLs that have not taken it before."""
        service, started = upstream.of_kind(PushService), time.monotonic()
        urls = [url.reveal() for url in service.urls]
        had = self._partly.get(outgoing.queue_id, frozenset())
        left = [(number, url) for number, url in enumerate(urls) if self._mark(upstream, url) not in had]
        outcomes = await self._send(upstream, service, outgoing, left or list(enumerate(urls)))
        taken = {self._mark(upstream, url) for number, url in left if outcomes[number].taken}
        answer = answers.answer(list(outcomes.values()), urls)
        self._remember(outgoing.queue_id, had | taken, over=answer.reply.positive)
        last = next(reversed(outcomes.values()))
        told = Conversation(
            peer=last.peer,
            tls=last.tls,
            took=time.monotonic() - started,
            notes=answers.notes(list(outcomes.values()), len(urls) - len(outcomes)),
        )
        return Report(dict.fromkeys(outgoing.forward_paths, answer), told)

    async def _send(
        self, upstream: Upstream, service: PushService, outgoing: Outgoing, urls: Sequence[tuple[int, str]]
    ) -> dict[int, Outcome]:
        """An outcome for each URL, whatever becomes of the process.  Raises what reading the content raises."""
        job = PushJob(urls, upstream.timeout.total_seconds(), service.title, outgoing.device, service.attachments)
        hand = _Hand(job, outgoing)
        fault, words = Fault.INTERNAL, ""
        try:
            kept = self._take(upstream.name)
            if kept is None or not await self._through(kept, upstream.name, hand, kept=True):
                await self._through(await PushProcess.start(), upstream.name, hand)
        except ProcessLost as lost:
            words, fault = str(lost), Fault.TIMED_OUT if lost.silent else Fault.INTERNAL
        except asyncio.CancelledError:
            if not hand.asked and not any(one.taken for one in hand.found.values()):
                raise
            # the relay stops: it must still store that the message may have been taken
            if task := asyncio.current_task():
                task.uncancel()
            words, fault = "the relay was stopped before the service answered", Fault.UNANSWERED
        for number, _url in urls:
            if number not in hand.found:
                hand.found[number] = Outcome(False, fault=fault.value, sent=hand.asked, words=(words,))
                hand.asked = False
        return hand.found

    async def _through(self, process: PushProcess, name: str, hand: "_Hand", *, kept: bool = False) -> bool:
        """Hands the message to this process.  False: it was `kept`, and had died meanwhile, before anything was asked."""
        try:
            await hand.to(process)
        except BaseException as error:
            process.kill()
            self._end(process)
            if kept and isinstance(error, ProcessLost) and not error.silent and not hand.asked and not hand.found:
                return False
            raise
        self._keep(name, process)
        return True

    def _mark(self, upstream: Upstream, url: str) -> bytes:
        """Stands for a URL in memory."""
        return hashlib.blake2b(f"{upstream.name} {url}".encode(), key=self._salt, digest_size=12).digest()

    def _remember(self, queue_id: str, taken: frozenset[bytes], *, over: bool) -> None:
        self._partly.pop(queue_id, None)
        if taken and not over:
            self._partly[queue_id] = taken
            if len(self._partly) > _MOST_PARTLY:
                del self._partly[next(iter(self._partly))]

    # processes

    def _take(self, name: str) -> PushProcess | None:
        kept = self._kept.get(name)
        return kept.take(lambda process: process.alive) if kept else None

    def _keep(self, name: str, process: PushProcess) -> None:
        if self._idle > 0:
            self._kept.setdefault(name, IdlePool(self._idle, self._end)).keep(process)
        else:
            self._end(process)

    def _end(self, process: PushProcess) -> None:
        task = asyncio.get_running_loop().create_task(process.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def forget(self, name: str) -> None:
        if kept := self._kept.pop(name, None):
            kept.close()

    async def close(self) -> None:
        """Ends all processes; one that has a message ends after it."""
        self._idle = 0.0
        for name in list(self._kept):
            self.forget(name)
        if self._ending:
            await asyncio.wait(set(self._ending))


class _Hand:
    """One message in hand.  `found` has the outcome of each URL that is done; `asked`: the one under way may have gone out."""

    def __init__(self, job: PushJob, outgoing: Outgoing) -> None:
        self._job, self._outgoing = job, outgoing
        self.found: dict[int, Outcome] = {}
        self.asked = False

    async def to(self, process: PushProcess) -> None:
        reader = BlockReader(self._outgoing.size, self._outgoing.reading)
        try:
            results = process.send(self._job, reader.blocks(self._outgoing.content), self._go)
            async with aclosing(results):
                async for number, outcome in results:
                    self.found[number] = outcome
                    self.asked = False
        finally:
            reader.close()

    def _go(self, _peer: str, _tls: str) -> bool:
        self.asked = True
        self._outgoing.at_dot()
        return True
