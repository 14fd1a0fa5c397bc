"""Tells people what went wrong: one notice for each failure, bundled, by mail and by push."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any

from relay import crash_points, events
from relay.mail import dsn
from relay.mail.address import Address
from relay.outbound import notice_content, webhook
from relay.outbound.in_hand import Doing, InHand
from relay.outbound.notice_content import NoticePolicy
from relay.spool.contract import NotifyingSpool
from relay.spool.entry import Entry, PendingNotice, State, TrailLine

WEBHOOK = Address("webhook")
"""The recipient of notices that go to the webhook only.  Never an envelope address: it has no domain."""

STALLED_AFTER = timedelta(hours=4)
ALARM_AGAIN = timedelta(days=1)
_TOGETHER = 500  # failures in one notice
_BEAT = timedelta(minutes=5)
_PUSH_AGAIN = timedelta(minutes=5)
_ALARMS = "alarms"  # no address's key: it has no @
_ALARM = "Mail relay: needs attention"
_FORGET_PUSH = timedelta(days=3)


class Notifier:
    """Turns the spool's pending notices into mail and pushes.

    `advise` gets an answer and its upstream's name; `may_route` tells whether a notice to that address has a route.
    `give_up_after` is the retry schedule's, for what delays are told (None: left out).
    """

    def __init__(
        self,
        *,
        spool: NotifyingSpool,
        policy: NoticePolicy,
        hostname: str,
        now: Callable[[], datetime],
        new_queue_id: Callable[[datetime], str],
        advise: notice_content.Advise,
        may_route: Callable[[Address], bool],
        give_up_after: timedelta | None = None,
        stalled_after: timedelta = STALLED_AFTER,
        push: Callable[[str, dict[str, Any]], Coroutine[Any, Any, None]] = webhook.tell,
        in_hand: InHand | None = None,
    ) -> None:
        self._in_hand = in_hand or InHand()
        self._spool, self._policy, self._hostname, self._now = spool, policy, hostname, now
        self._new_queue_id, self._advise, self._may_route, self._push = new_queue_id, advise, may_route, push
        self._give_up_after, self._stalled_after = give_up_after, stalled_after
        self._nudge = asyncio.Event()
        self._told_at: dict[str, datetime] = {}
        self._alarmed_at: dict[str, datetime] = {}
        self._alarms: list[str] = []
        self._pushed = 0
        self._pushes: set[asyncio.Task[None]] = set()
        self._push_task: asyncio.Task[None] | None = None
        self._push_at: datetime | None = None
        self._progress = (_relayed(), now())
        self._stalled = False
        self._reminded: datetime | None = None

    def reload(self, *, policy: NoticePolicy, hostname: str, give_up_after: timedelta | None = None) -> None:
        """Takes new settings; what is pending goes by them."""
        self._policy, self._hostname = policy, hostname
        self._give_up_after = give_up_after or self._give_up_after
        self.wake()

    def wake(self, *_: object) -> None:
        """There may be something to send."""
        self._nudge.set()

    def notify_whom(self, entry: Entry) -> Address | None:
        """Who gets the notice of this entry's failure.

        Mail with a null reverse-path: nobody (RFC 5321 s6.1).  A notice of our own: the person in charge, unless it went there.
        """
        sender = entry.envelope.reverse_path
        if entry.notice:
            to = self._policy.to
            return to if to and to not in entry.envelope.forward_paths else WEBHOOK if self._policy.webhook else None
        if sender is None:
            return None
        if self._policy.senders and sender.public and not self._ours(sender) and self._may_route(sender):
            return sender
        return self._policy.to or (WEBHOOK if self._policy.webhook else None)

    def _ours(self, address: Address) -> bool:
        """Whether the relay itself sends mail from this address."""
        return address.local.lower() in ("postmaster", "mailer-daemon") and address.domain.lower() == self._hostname.lower()

    def alarm(self, text: str, cause: str) -> None:
        """Tells the person in charge at once of a problem that is not about one message.

        Called when a problem begins; that of one `cause` is told once a day at most.
        """
        now, last = self._now(), self._alarmed_at.get(cause)
        if last is not None and timedelta() <= now - last < ALARM_AGAIN:
            return
        self._alarmed_at[cause] = now
        self._alarms.append(text)
        self.wake()

    async def run(self) -> None:
        """Works until cancelled; what is pending then stays pending in the spool."""
        try:
            while True:
                self._nudge.clear()
                wait = min(await self._turn(), _BEAT.total_seconds())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._nudge.wait(), max(wait, 0.05))
        finally:
            tasks = [task for task in (*self._pushes, self._push_task) if task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _turn(self) -> float:
        """Sends what is due; seconds until more may be due."""
        now = self._now()
        self._push_alarms(now)  # first: a spool in trouble may not even be read for a while
        try:
            await self.check_progress(now)
            due = await self.flush(now)
        except Exception as error:  # the spool may be full or broken for now: what is pending stays pending
            events.note("broken", f"notices cannot be sent, trying again: {error}", error=type(error).__name__)
            return 30.0
        return _BEAT.total_seconds() if due is None else (due - now).total_seconds()

    async def flush(self, now: datetime) -> datetime | None:
        """Sends all notices that are due at `now`; returns when the next one is due, None if none waits."""
        groups: dict[Address, list[PendingNotice]] = defaultdict(list)
        for pending in await self._spool.pending_notices():
            groups[self._reachable(pending.notify)].append(pending)
        waits = [await self._flush_alarms(now)]
        if pushes := groups.pop(WEBHOOK, None):
            waits.append(self._begin_push(pushes, now))
        for whom, group in groups.items():
            due = self._due(whom.key, now)
            if due > now:
                waits.append(due)
                continue
            for first in range(0, len(group), _TOGETHER):
                await self._send(whom, group[first : first + _TOGETHER], now)
            self._told_at[whom.key] = now
        return min((due for due in waits if due is not None), default=None)

    def _reachable(self, whom: Address) -> Address:
        """Where only the webhook was set before: the person who is in charge now."""
        return self._policy.to if whom == WEBHOOK and self._policy.to and not self._policy.webhook else whom

    def _due(self, key: str, now: datetime) -> datetime:
        last = self._told_at.get(key)
        return now if last is None or last > now else max(last + self._policy.digest, now)

    # -- failures and delays, by mail -----------------------------------------------------------------------------

    async def _send(self, whom: Address, group: Sequence[PendingNotice], now: datetime) -> None:
        messages, notice, queue_id = await self._composed(whom, group, now)
        told = tuple(pending.number for pending in group)
        text = f"{whom} is told of this by notice {queue_id}"
        trail = (
            TrailLine(now, "noticed", text, {"notice": queue_id, "to": str(whom)}),
            notice_content.accepted(notice, whom, now, [message.queue_id for message in messages]),
        )
        crash_points.passed("notice-composed")
        await self._spool.notify(notice_content.entry_of(notice, queue_id, whom, self._hostname, now), told, trail)
        crash_points.passed("notice-durable")
        for message in messages:
            events.note("noticed", f"{whom} is told", queue_id=message.queue_id, notice=queue_id, to=str(whom))
        if self._policy.webhook:
            self._begin_task(self._push_quietly(notice_content.push_body(messages, notice, self._hostname)))

    async def _composed(
        self, whom: Address, group: Sequence[PendingNotice], now: datetime
    ) -> tuple[list[dsn.NotifiedMessage], dsn.Notice, str]:
        """Does not read messages that were in hand at two crashes: their notice has no subject."""
        queue_id = self._new_queue_id(now)
        async with self._in_hand.mark(*{one.queue_id for one in group}, telling=True) as mark:
            with mark.at(Doing.TELLING):
                messages = await self._messages(group, read=not mark.is_cause())
                notice = dsn.compose(messages, to=whom, hostname=self._hostname, queue_id=queue_id, now=now)
        return messages, notice, queue_id

    async def _messages(self, group: Sequence[PendingNotice], *, read: bool) -> list[dsn.NotifiedMessage]:
        by_message: dict[str, list[PendingNotice]] = defaultdict(list)
        for pending in group:
            by_message[pending.queue_id].append(pending)
        messages = []
        for queue_id, about in by_message.items():
            stored = await self._spool.entry(queue_id)
            fields = await asyncio.to_thread(notice_content.fields_of, stored) if stored and read else ()
            messages.append(notice_content.notified_message(about, stored, fields, self._advise, self._give_up_after))
        return messages

    # -- by push --------------------------------------------------------------------------------------------------

    def _begin_push(self, group: Sequence[PendingNotice], now: datetime) -> datetime | None:
        """A notice that only the webhook can take stays pending until the push went through."""
        if self._push_task and not self._push_task.done():
            return None  # wakes us when it ends
        due = max(self._due(WEBHOOK.key, now), self._push_at or now)
        if due > now:
            return due
        self._told_at[WEBHOOK.key] = now
        self._push_task = asyncio.create_task(self._push_pending(group[:_TOGETHER], now))
        return now + self._policy.digest if len(group) > _TOGETHER else None

    async def _push_pending(self, group: Sequence[PendingNotice], now: datetime) -> None:
        try:
            await self._push_and_strike(group, now)
        except Exception as error:  # the spool may be full or broken for now
            events.note("broken", f"what was pushed cannot be recorded: {error}", error=type(error).__name__)
            self._push_at = now + _PUSH_AGAIN
        self.wake()

    async def _push_and_strike(self, group: Sequence[PendingNotice], now: datetime) -> None:
        text, unheard = "the webhook is told of this", False
        try:
            messages, notice, _ = await self._composed(WEBHOOK, group, now)
            if not self._policy.webhook:
                text, unheard = "nobody is told of this: neither `notices.to` nor `notices.webhook` is set any more", True
            else:
                await self._push(self._policy.webhook, notice_content.push_body(messages, notice, self._hostname))
        except webhook.WebhookFailed as error:
            events.note("warned", f"a failure could not be pushed: {error}", pending=len(group))
            if now - group[0].made_at < _FORGET_PUSH:
                self._push_at = now + _PUSH_AGAIN
                self._told_at.pop(WEBHOOK.key, None)
                return
            text, unheard = f"nobody could be told of this: {error}", True
        lines = (TrailLine(now, "noticed", text, {"to": "webhook"}),)
        await self._spool.notify(None, tuple(pending.number for pending in group), lines, attention=unheard)
        for message in messages:
            events.note("noticed", text, queue_id=message.queue_id, to="webhook")
        self._push_at = None

    async def _push_quietly(self, body: dict[str, Any]) -> None:
        """A push beside a mail; if it fails, there is still the mail."""
        try:
            await self._push(self._policy.webhook, body)
        except webhook.WebhookFailed as error:
            events.note("warned", str(error))

    def _begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)

    # -- problems that are not about one message ----------------------------------------------------------------------

    async def _flush_alarms(self, now: datetime) -> datetime | None:
        if not self._alarms:
            return None
        if (due := self._due(_ALARMS, now)) > now:
            return due
        alarms = self._alarms[:100]
        self._push_alarms(now)
        if self._policy.to:
            queue_id = self._new_queue_id(now)
            text = "\n\n".join(alarms)
            notice = dsn.compose_alarm(_ALARM, text, to=self._policy.to, hostname=self._hostname, queue_id=queue_id, now=now)
            line = notice_content.accepted(notice, self._policy.to, now)
            await self._spool.notify(
                notice_content.entry_of(notice, queue_id, self._policy.to, self._hostname, now), (), (line,)
            )
            events.note("noticed", f"{self._policy.to} is told: {alarms[0]}", queue_id=queue_id, to=str(self._policy.to))
        self._told_at[_ALARMS] = now
        del self._alarms[: len(alarms)]
        self._pushed = max(self._pushed - len(alarms), 0)
        return None

    def _push_alarms(self, now: datetime) -> None:
        alarms = self._alarms[self._pushed : 100]
        if alarms and self._policy.webhook and self._due(_ALARMS, now) <= now:
            body = webhook.body_of(_ALARM, "\n\n".join(alarms), event="alarm", host=self._hostname)
            self._begin_task(self._push_quietly(body))
            self._pushed += len(alarms)

    async def check_progress(self, now: datetime) -> None:
        """Raises one alarm if mail waits and none was relayed for hours, whatever the reason."""
        count, since = self._progress
        tally = await self._spool.tally()
        self._remind(tally.attention, now)
        if (relayed := _relayed()) != count or tally.states.get(State.QUEUED, 0) <= tally.postponed or now < since:
            self._progress, self._stalled = (relayed, now), False
            return
        since = max(since, tally.oldest or since)
        if self._stalled or now - since < self._stalled_after:
            return
        self._stalled = True
        hours = int((now - since).total_seconds() // 3600)
        queued = tally.states[State.QUEUED] - tally.postponed
        text = f"Nothing has been delivered for {hours} hours while mail for {queued} recipients waits."
        self.alarm(f"{text} `relay doctor` looks for the cause.", cause="nothing delivered")

    def _remind(self, number: int, now: datetime) -> None:
        """Logs once a day how many failures nobody could be told of, until a person has acknowledged them."""
        if number and (self._reminded is None or abs(now - self._reminded) >= ALARM_AGAIN):
            self._reminded = now
            many = "1 message" if number == 1 else f"{number} messages"
            events.note("warned", f"{many} failed and nobody could be told: {_ACKNOWLEDGE}", attention=number)
        elif not number:
            self._reminded = None


_ACKNOWLEDGE = "look at them by `relay queue list --attention`, then say `relay queue acknowledge --all`"


def _relayed() -> int:
    return sum(count for (event, _), count in events.counts.items() if event == "relayed")
