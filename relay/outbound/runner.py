"""The queue runner: claim, attempt, settle, wait.  It carries out what other files decide."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType

from relay import crash_points, events
from relay.mail.address import Address
from relay.mail.device import Device
from relay.mail.policy import RepairPolicy
from relay.outbound import event_log, holding
from relay.outbound.attempt import Attempt
from relay.outbound.chain import Judged, Pause, Step
from relay.outbound.housekeeping import Housekeeping, MakeDue
from relay.outbound.in_hand import Doing, InHand, Mark
from relay.outbound.postponing import Postponing
from relay.outbound.prepare import Prepared, device_for, prepare
from relay.outbound.replies import Fate
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Chosen, Routes, chain_for, of_notice
from relay.outbound.storing import stored
from relay.outbound.upstream_state import Resumed, UpstreamStates, WentToRest
from relay.outbound.urgent import OnceADay, explain, once_a_day, urgent
from relay.spool.contract import ContentDamaged, LeaseLost, Spool, SpoolAway
from relay.spool.entry import Claim, Entry
from relay.upstream.settings import Upstream
from relay.upstream.transports import Transports

AT_ONCE = 500
"""Claims in flight; `Transports` bounds the connections to each upstream."""

_BEAT = 20.0
_AWAY = 1.0  # seconds until a database that is away is asked again
_IN_THREAD = 16_384
_INTERNAL_ERRORS = 3
_LAST_WRITES = 3.0  # seconds


class Runner:
    """Relays mail from the spool to the upstreams.  `heartbeat` is when its loop last ran."""

    def __init__(
        self,
        *,
        spool: Spool,
        transports: Transports,
        routes: Routes,
        upstreams: Mapping[str, Upstream],
        retry: RetrySchedule,
        repair: RepairPolicy,
        hostname: str,
        devices: tuple[Device, ...] = (),
        notices_via: Mapping[Address, Sequence[str]] = MappingProxyType({}),
        now: Callable[[], datetime],
        on_settled: Callable[[], None] = lambda: None,
        notify_whom: Callable[[Entry], Address | None] = lambda entry: None,
        alarm: Callable[[str, str], None] = lambda text, cause: None,
        in_hand: InHand | None = None,
        postponing: Postponing | None = None,
    ) -> None:
        self._spool, self._transports, self._now, self._postponing = spool, transports, now, postponing
        self._routes, self._upstreams, self._retry = routes, dict(upstreams), retry
        self._repair, self._hostname, self._devices, self._notices_via = repair, hostname, devices, notices_via
        self._on_settled, self._notify_whom, self._alarm = on_settled, notify_whom, alarm
        self._in_hand = in_hand or InHand()
        self._states = UpstreamStates(transports.proven)
        self._housekeeping = Housekeeping(spool, self._states, now)
        self._refused: set[tuple[str, str]] = set()
        self._internal_errors: Counter[str] = Counter()
        self._daily = OnceADay(alarm, now)
        self._claims: set[asyncio.Task[None]] = set()
        self._nudge = asyncio.Event()
        self._make_due = MakeDue(spool, now, self._nudge.set)
        self._settings, self._stopping = 0, False
        self._nudged: asyncio.Task[bool] | None = None
        self._loop: asyncio.Task[None] | None = None
        self.heartbeat = now()

    async def run(self) -> None:
        """Works until `stop()`."""
        self._loop = asyncio.current_task()
        empty = 0
        await holding.forget_relayed(self._in_hand, self._spool)
        while not self._stopping:
            self._nudge.clear()
            self.heartbeat = self._now()
            try:
                await self._keep_up()
                claim = None if len(self._claims) >= AT_ONCE else await self._spool.claim(self._now())
                if claim is not None and self._stopping:
                    await self._spool.release(claim)  # after `stop` nobody would wait for its attempt
                elif claim is not None:
                    empty = 0
                    self._begin(claim)
                    continue
                empty = await self._idle(empty)
            except SpoolAway:  # told by the spool itself
                await self._doze(1)
            except Exception as error:  # the disk may work again; a runner that ended would not
                events.note("broken", f"the queue runner cannot read the spool: {error}", error=type(error).__name__)
                await self._doze(5)

    def _begin(self, claim: Claim) -> None:
        task = asyncio.create_task(self._carry(claim), name=f"relay {claim.entry.queue_id}")
        self._claims.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._claims) >= AT_ONCE:
            self._nudge.set()  # there is a free place; the spool tells what is due
        self._claims.discard(task)

    async def _idle(self, empty: int) -> int:
        """Sleeps until something may be due; how many times in a row something looked due and was not."""
        if self._stopping:
            return 0
        if len(self._claims) >= AT_ONCE:
            await self._doze(_BEAT)
            return 0
        now = self._now()
        due = await self._spool.next_due()
        beat = now + timedelta(seconds=_BEAT)
        if due is not None and due <= now:
            # the spool hands out no claim while a settlement cannot be written; do not spin on it
            await self._doze(min(0.01 * 2**empty, 2.0))
            return min(empty + 1, 10)  # a full disk may last for days; two seconds are reached long before
        waits = asyncio.create_task(self._spool.wait(min(due, beat) if due else beat))
        if self._nudged is None or self._nudged.done():
            self._nudged = asyncio.create_task(self._nudge.wait())  # kept for the next time: most often it is the spool
        try:
            await asyncio.wait({waits, self._nudged}, timeout=_BEAT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not waits.done():
                waits.cancel()
                await asyncio.wait([waits])
            _ = waits.cancelled() or waits.exception()  # seen: what fails there fails at the next claim, too
        return 0

    async def _doze(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nudge.wait(), seconds)

    async def stop(self, grace: float = 30.0) -> None:
        """Claims nothing more and lets attempts end, `grace` seconds at most; what is cut off stays in the spool."""
        self._stopping = True
        self._nudge.set()
        until = asyncio.get_running_loop().time() + grace
        if self._loop:
            await asyncio.wait([self._loop], timeout=grace)  # a claim may be on its way
        if self._claims:
            await asyncio.wait(self._claims, timeout=max(0.0, until - asyncio.get_running_loop().time()))
        left = [*self._claims, *self._make_due.tasks, *([self._nudged] if self._nudged else [])]
        for patience in (_LAST_WRITES, None):  # an attempt that waited for a final reply writes down that none came
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=patience)

    async def _carry(self, claim: Claim) -> None:
        """One attempt at one entry.  Raises nothing."""
        attempt: Attempt | None = None
        queue_id, settings = claim.entry.queue_id, self._settings
        try:
            try:
                crash_points.passed("claim-leased")
                async with self._in_hand.mark(queue_id) as mark:
                    claim = holding.doubtful(claim, mark, self._upstreams, self._now())
                    if mark.is_cause():
                        self._alarm(*await holding.hold(claim, self._spool, self._now()))
                        self._in_hand.forget(queue_id)
                        return
                    device = device_for(claim.entry, self._devices) if self._devices else None
                    may_wait = claim.storm or (device and device.may_wait)
                    if self._postponing and may_wait and await self._postponing.holds_back(claim, device, mark):
                        return
                    with mark.at(Doing.ROUTING):
                        attempt = self._attempt(claim, device)
                    await self._relay(claim, attempt, mark)
                self._internal_errors.pop(queue_id, None)
            except (LeaseLost, SpoolAway):
                raise
            except Exception as error:
                await self._internal_error(claim, attempt, error)
        except LeaseLost as lost:
            events.note("warned", f"the message was removed or taken over while it was under way: {lost}", queue_id=queue_id)
        except SpoolAway:  # told by the spool itself
            pass
        except Exception as error:
            events.note("broken", f"cannot even defer this message: {error}", queue_id=queue_id, error=type(error).__name__)
            await asyncio.sleep(_BEAT)  # it is still due; without a pause this would spin
        finally:
            if attempt is None or not attempt.waits:
                self._states.gone(queue_id)
            with contextlib.suppress(Exception):
                await self._spool.release(claim)
            if settings != self._settings and not self._stopping:
                self._make_due.some([queue_id])  # it was deferred by rules that are replaced now

    def _attempt(self, claim: Claim, device: Device | None) -> Attempt:
        entry, now = claim.entry, self._now()
        sender, origin = entry.envelope.reverse_path, entry.origin
        name = device.name if device else ""
        chosen = {each.address: chain_for(self._routes, sender, each.address, origin, name) for each in claim.recipients}
        if entry.notice:
            chosen = of_notice(chosen, self._upstreams, self._notices_via)
        return Attempt(
            claim,
            chosen,
            self._upstreams,
            refused_senders=frozenset(self._refused),
            sizes=self._states.sizes(now),
            faithful=self._retry.warn_after,
            waited=self._states.waited(entry.queue_id, asyncio.get_running_loop().time()),
            device=device,
            now=now,
        )

    async def _relay(self, claim: Claim, attempt: Attempt, mark: Mark) -> None:
        """One attempt: what is certain is stored after every transaction, before another upstream is called."""

        def pauses(name: str, recipient: Address) -> Pause | None:
            return self._states.pause(attempt.upstreams[name], recipient, claim.entry.queue_id, self._now())

        self._try_to(explain, attempt, self._now())
        while step := attempt.next_step(pauses):
            number, report, judged = self._states.begin(step, claim.entry.queue_id, self._now()), None, None
            try:
                async with self._transports.turn(step.upstream, step.key):
                    if not self._states.may_send(number, step, self._now()) or not await self._has_turn(claim, step):
                        continue
                    eight_bit = self._states.takes_eight_bit(step.upstream, self._now())
                    while report is None or (eight_bit and report.unsuited and not report.answers):
                        eight_bit = eight_bit and report is None  # nothing was sent: prepared anew, once
                        with mark.at(Doing.PREPARING):
                            prepared = await self._prepared(attempt, step, eight_bit, mark)
                        crash_points.passed("send-prepared")
                        report = prepared.refused or await self._transports.submit(step.upstream, prepared.outgoing)
                        crash_points.passed("send-answered")
                    judged = Judged.of(step, report.noting(prepared.signed))
            finally:
                news = self._states.end(number, step, judged, self._retry, self._now())
            with mark.at(Doing.STORING):
                own = await self._said_own_name(attempt, judged, prepared)
                attempt.record(judged, self._now(), notes=prepared.notes, own=own)
                self._try_to(self._counsel, attempt, judged)
                try:
                    await self._settle(claim, attempt)
                finally:
                    self._try_to(self._tell, news, step, claim.entry)
        self._try_to(explain, attempt, self._now())
        await self._settle(claim, attempt)

    async def _has_turn(self, claim: Claim, step: Step) -> bool:
        """Whether this message may go to this upstream now, as far as other relays of this spool are concerned."""
        now = self._now()
        try:
            until = await self._spool.turn(claim, step.upstream.name, **step.upstream.shared_limits, now=now)
        except SpoolAway:
            until = now + timedelta(seconds=_AWAY)
        if until is not None:
            self._states.rate_limit.put_off(step.key, claim.entry.queue_id, until, now)
        return until is None

    def _try_to(self, tell: Callable[..., None], *about: object) -> None:
        """Tells somebody.  If that fails, the result of the attempt must not be lost."""
        try:
            tell(*about)
        except Exception as error:
            events.note("broken", f"could not tell: {error}", error=type(error).__name__)

    async def _prepared(self, attempt: Attempt, step: Step, eight_bit: bool = True, mark: Mark | None = None) -> Prepared:
        """`mark` shows while content is read, and at the final dot who has it.  Without one nothing is sent, nor signed."""
        how = partial(prepare, hostname=self._hostname, policy=self._repair, device=attempt.device)
        if mark:
            how = partial(how, at_dot=partial(mark.sent_to, step.upstream.name), reading=mark.reading)
        work = partial(how, attempt.claim, step.recipients, step.upstream, own_name=step.own_name, eight_bit=eight_bit)
        if not (mark and step.upstream.dkim):
            return await asyncio.to_thread(work) if attempt.claim.entry.size > _IN_THREAD else work()
        from relay.outbound.signing import prepared_and_signed

        return await asyncio.to_thread(prepared_and_signed, work, step.upstream.dkim)

    async def _said_own_name(self, attempt: Attempt, judged: Judged, prepared: Prepared) -> bool:
        """Whether the refused message was already in the account's own name."""
        step = judged.step
        if step.own_name or not judged.votes or not all(verdict.own_name for _, verdict in judged.votes.values()):
            return False  # where something was taken it must be written down first
        with contextlib.suppress(Exception):
            return prepared.said == (await self._prepared(attempt, Step(step.upstream, step.recipients, True))).said
        return False

    async def _settle(self, claim: Claim, attempt: Attempt) -> None:
        if not attempt.unsettled:
            return
        now = self._now()
        whom = None if attempt.relayed else self._notify_whom(claim.entry)
        settlement = attempt.settle(self._retry, now, notify=whom)
        await stored(self._spool, claim, settlement)
        if settlement.outcomes:
            crash_points.passed("settle-durable")
        if settlement.refused_sender:
            self._refused.add(settlement.refused_sender)
        event_log.settled(claim, settlement)
        if settlement.notices:
            self._try_to(self._on_settled)

    async def _internal_error(self, claim: Claim, attempt: Attempt | None, error: Exception) -> None:
        """A bug of ours defers this entry and stops nothing else; after three in a row the entry is held."""
        queue_id = claim.entry.queue_id
        self._internal_errors[queue_id] += 1
        damaged = isinstance(error, ContentDamaged)
        hold = damaged or self._internal_errors[queue_id] >= _INTERNAL_ERRORS
        words = str(error) if damaged else f"internal error: {type(error).__name__}: {error}"
        events.note("broken", words, queue_id=queue_id, times=self._internal_errors[queue_id])
        if attempt is None:
            attempt = Attempt(claim, {each.address: Chosen(0) for each in claim.recipients}, {}, now=self._now())
        attempt.internal_error(words, hold=hold)
        await self._settle(claim, attempt)
        if hold:
            del self._internal_errors[queue_id]
            self._alarm(*await holding.rest_held(claim, self._spool, words, self._now()))

    # what answers show

    def _counsel(self, attempt: Attempt, judged: Judged) -> None:
        """Advice goes into the trail when the answer is new; what a person must repair is told at once."""
        step, told = judged.step, set[tuple[str, ...]]()
        for recipient in step.recipients:
            if recipient.address not in judged.votes:
                continue
            answer, verdict = judged.votes[recipient.address]
            if verdict.fate is Fate.RELAYED:
                continue
            sentences = verdict.advice.with_link
            if sentences not in told and (recipient.said != answer.reply.text or step.own_name):
                told.add(sentences)
                attempt.advised(sentences, step, self._now(), verdict)
            if once_a_day(verdict, step) and not attempt.retries_in_own_name(recipient.address):
                text = urgent(step.upstream.name, answer, verdict, attempt.claim.entry, step)
                self._daily.tell((step.upstream.name, verdict.blame.value), text)

    def _tell(self, news: Sequence[WentToRest | Resumed], step: Step | None = None, entry: Entry | None = None) -> None:
        for item in news:
            if isinstance(item, Resumed):
                events.note("woke", f"{item.name} is used again", upstream=item.name)
                self._make_due.some(item.waiting)
                continue
            until, failures = item.trouble.until, item.trouble.failures
            text = f"{item.name} is paused until {until:%Y-%m-%d %H:%M:%S} UTC: {item.answer}"
            events.note("rested", text, upstream=item.name, until=until.isoformat(), failures=failures, said=str(item.answer))
            if item.first and step is not None and entry is not None and item.name == step.upstream.name:
                others = self._states.waiting(item.name) - 1
                text = urgent(item.name, item.answer, item.verdict, entry, step, until=until, others=others)
                self._alarm(text, f"{item.name} is paused: {item.verdict.rule.name}")

    # orders from outside

    def reload(
        self,
        *,
        routes: Routes,
        upstreams: Mapping[str, Upstream],
        retry: RetrySchedule,
        repair: RepairPolicy,
        hostname: str,
        devices: tuple[Device, ...] = (),
        notices_via: Mapping[Address, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """Takes new settings; every rest ends, and all that waits is tried under the new rules."""
        self._routes, self._upstreams, self._retry = routes, dict(upstreams), retry
        self._repair, self._hostname, self._devices, self._notices_via = repair, hostname, devices, notices_via
        self._daily.clear()
        self._states.rate_limit.renew(self._now())
        self._tell(self._states.wake(None))
        self._settings += 1
        self._make_due.all()

    def wake(self, upstream: str | None = None, *, waiting: bool = True) -> None:
        """Ends the rest of one upstream, or of all; the messages that waited for it become due, if so wanted."""
        news = self._states.wake(upstream)
        self._tell(news if waiting else [Resumed(one.name, ()) if isinstance(one, Resumed) else one for one in news])
        self._nudge.set()

    def upstreams_now(self) -> list[dict[str, str | int | None]]:
        """For the status: name, resting_until (ISO 8601 or None), why, failures in a row, in_flight, sent_today."""
        return self._states.lines(self._upstreams.values(), self._now())

    async def _keep_up(self) -> None:
        """Once an hour, and when the clock went back: quotas, remembered senders, and mail dated into the far future."""
        if await self._housekeeping.is_due():
            self._refused = set(await self._spool.refused_senders())
            self._make_due.run(self._heal())

    async def _heal(self) -> None:
        self._make_due.some(await self._housekeeping.misdated(self._retry.longest * 1.5))
