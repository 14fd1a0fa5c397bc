"""What one can ask of a relay and order it to do: the same for the API, the page and a command line without a daemon."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from relay import events
from relay.control.views import history_view, message_view, sound, story_view, tally_view
from relay.spool.contract import Spool
from relay.spool.entry import QUEUE_ID, Action, Order, State

LIST_LIMIT = 20_000
HOUR = timedelta(hours=1)
HISTORY = timedelta(days=7)
HISTORY_FRESH = timedelta(minutes=1)


class BadOrder(ValueError):
    """The order makes no sense; the text says why."""


class Desk:
    """Looks at a spool and steers it.  `wake` is called after an order that makes work due: True if for all of it."""

    def __init__(
        self, spool: Spool, now: Callable[[], datetime], known: Callable[[], frozenset[str]], wake: Callable[[bool], None]
    ) -> None:
        self._spool, self._now, self._known, self._wake = spool, now, known, wake
        self._history: dict[str, Any] | None = None
        self._history_at = datetime.min.replace(tzinfo=UTC)

    @property
    def upstreams(self) -> list[str]:
        """Names that a release may go by."""
        return sorted(self._known())

    async def queue(self, states: frozenset[State] | None, limit: int = LIST_LIMIT, skip: int = 0) -> dict[str, Any]:
        stored = await self._spool.entries(states, limit, skip=skip)
        return await asyncio.to_thread(lambda: {"messages": [message_view(one) for one in stored]})

    async def stories(self, states: frozenset[State] | None, limit: int, skip: int = 0) -> list[dict[str, Any]]:
        """Messages with their trails, the newest first."""
        stored = await self._spool.entries(states, limit, newest=True, skip=skip, trail=True)
        return [story_view(one) for one in reversed(stored)]

    async def history(self) -> dict[str, Any]:
        """Per hour of the last seven days how much was relayed, deferred and failed; at most a minute old."""
        now = self._now()
        if self._history is None or not timedelta() <= now - self._history_at < HISTORY_FRESH:
            since = now.replace(minute=0, second=0, microsecond=0) - HISTORY + HOUR
            counted = await self._spool.history(since, HOUR)
            hours = [since + number * HOUR for number in range(HISTORY // HOUR)]
            self._history = {"hours": [history_view(hour, counted) for hour in hours]}
            self._history_at = now
        return self._history

    async def message(self, queue_id: str) -> dict[str, Any] | None:
        if not QUEUE_ID.match(queue_id):
            return None
        stored = await self._spool.entry(queue_id)
        return story_view(stored) if stored else None

    async def tally(self) -> dict[str, Any]:
        return tally_view(await self._spool.tally())

    async def order(self, action: str, queue_ids: list[str] | None, via: str = "") -> dict[str, Any]:
        """Carries an order out; {"applied": messages it applied to, "unknown": ids that no message has}.

        Raises BadOrder for an unknown action or upstream.
        """
        order = self._understood(action, queue_ids, via)
        unknown = []
        if order.queue_ids is not None:
            known = {one: None for one in order.queue_ids if QUEUE_ID.match(one) and await self._spool.entry(one)}
            unknown = [one for one in order.queue_ids if one not in known]
            order = Order(order.action, tuple(known), order.via)
        applied = await self._spool.order(order, self._now())
        self._note(order, applied)
        if applied and order.action in (Action.RETRY, Action.RELEASE):
            self._wake(order.queue_ids is None)
        return {"applied": applied, "unknown": sound(unknown)}

    def _understood(self, action: str, queue_ids: list[str] | None, via: str) -> Order:
        try:
            what = Action(action)
        except ValueError:
            raise BadOrder(f"there is no order {action!r}; there are retry, hold, release, remove") from None
        if via and what is not Action.RELEASE:
            raise BadOrder("an upstream can be named with release only")
        if via and via not in self._known():
            raise BadOrder(f"no upstream is named {via!r}; there are {', '.join(sorted(self._known()))}")
        return Order(what, None if queue_ids is None else tuple(queue_ids), via)

    @staticmethod
    def _note(order: Order, applied: int) -> None:
        event = {"hold": "held", "release": "released", "remove": "removed"}.get(order.action.value)
        if event and applied:
            which = ", ".join(order.queue_ids) if order.queue_ids else "all"
            events.note(event, f"{order.action.value} ordered by hand", messages=applied, ids=which, upstream=order.via)
