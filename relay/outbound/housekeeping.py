"""Work that comes with time: hourly tidying, a clock that was set, mail that a wrong clock dated into the far future."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from relay import events
from relay.mail.reply import POSTPONED
from relay.outbound.rate_limit import day_of
from relay.outbound.upstream_state import UpstreamStates
from relay.spool.contract import Spool
from relay.spool.entry import Action, Order, State

_TIDY = timedelta(hours=1)
_QUIET = timedelta(hours=26)  # no quiet hours and no storm let a message wait longer
_DRIFT = 60.0  # seconds that the wall clock may leave the steady one behind without having been set
_EPOCH, _NEVER_BEFORE = datetime(1970, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
_PAGE = 1000
_CHUNK = 500
_LEARN_EVERY = 5.0  # seconds between looks at what the other relays have sent


class Housekeeping:
    """Watches the clock for one spool."""

    def __init__(self, spool: Spool, states: UpstreamStates, now: Callable[[], datetime]) -> None:
        self._spool, self._states, self._now = spool, states, now
        self._began = now()
        self._tidied: datetime | None = None
        self._clock: tuple[datetime, float] | None = None
        self._learned = 0.0
        self._went_back = False

    async def is_due(self) -> bool:
        """Whether an hour is over or the clock went back.  If so, quotas and rests have just been corrected."""
        now, ticks = self._now(), asyncio.get_running_loop().time()
        before, self._clock = self._clock or (now, ticks), (now, ticks)
        drift = (now - before[0]).total_seconds() - (ticks - before[1])
        if abs(drift) > _DRIFT:
            await self._clock_was_set(now, timedelta(seconds=drift))
        self._went_back = self._went_back or drift < -_DRIFT
        if self._spool.shared and ticks - self._learned > _LEARN_EVERY:
            self._learned = ticks
            self._states.rate_limit.learn(now, await self._spool.sent_today(day_of(now)))
        if self._tidied is not None and timedelta(0) <= now - self._tidied < _TIDY and drift > -_DRIFT:
            return False
        first, self._tidied = self._tidied is None, now
        if first:
            self._states.rate_limit.seed(now, await self._spool.sent_today(day_of(now)))
        self._states.tidy(now)
        return True

    async def _clock_was_set(self, now: datetime, by: timedelta) -> None:
        """Moves the acceptance time of what was accepted by the old clock: else it would be given up too early or too late."""
        until = now - by
        since = _EPOCH if until < _NEVER_BEFORE else self._began  # a small board starts in 1970, perhaps again and again
        moved = await self._spool.rebase(since, until, by)
        self._began += by
        events.note(
            "warned",
            f"the clock was set by {by}; {moved} waiting messages are reckoned by the new one",
            seconds=int(by.total_seconds()),
        )

    async def misdated(self, longest: timedelta) -> list[str]:
        """The queue ids of all that is due later than `longest` from now, which no schedule allows: a wrong clock dated it."""
        latest, found, waiting, seen = self._now() + longest, list[str](), set[str](), 0
        # after the clock went back, what waits for an hour is decided anew
        on_purpose = self._now() if self._went_back else max(latest, self._now() + _QUIET)
        self._went_back = False
        # from the newest on: what leaves the queue meanwhile is mostly old, and must not shift the pages to come
        while page := await self._spool.entries(frozenset({State.QUEUED}), _PAGE, newest=True, skip=seen):
            seen += len(page)
            waiting.update(stored.entry.queue_id for stored in page)
            found += [
                stored.entry.queue_id
                for stored in page
                if any(
                    each.state is State.QUEUED and each.due_at > (on_purpose if each.fault in POSTPONED else latest)
                    for each in stored.recipients
                )
            ]
        self._states.remember_only(waiting)
        return found


class MakeDue:
    """`due` is called when something has become due.  `tasks` are those under way."""

    def __init__(self, spool: Spool, now: Callable[[], datetime], due: Callable[[], None]) -> None:
        self._spool, self._now, self._due = spool, now, due
        self.tasks: set[asyncio.Task[None]] = set()

    def some(self, queue_ids: Sequence[str]) -> None:
        for start in range(0, len(queue_ids), _CHUNK):
            self.run(self._order(tuple(queue_ids[start : start + _CHUNK])))

    def all(self) -> None:
        self.run(self._order(None))

    async def _order(self, queue_ids: tuple[str, ...] | None) -> None:
        await self._spool.order(Order(Action.RETRY, queue_ids, by_hand=False), self._now())
        self._due()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs it as a task; an error is logged and stops nothing else."""

        async def done() -> None:
            try:
                await work
            except Exception as error:
                events.note("broken", f"waiting mail could not be made due: {error}", error=type(error).__name__)

        task = asyncio.create_task(done())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
