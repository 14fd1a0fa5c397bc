"""What one can ask of a relay and order it to do: the same for the API, the page and a command line without a daemon."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from relay import events
from relay.control.views import history_view, list_view, sound, story_view, tally_view
from relay.mail.envelope import Origin
from relay.spool.contract import Spool
from relay.spool.entry import BEGINNING, Action, Entry, Heard, Order, Postponed, State, TrailLine, TransferItem
from relay.spool.orders import applies
from relay.spool.search import EVERYTHING, PageKey, Search

if TYPE_CHECKING:
    from relay.control.searching import Asked, FoundPage

MOST_LISTED = 1_000_000
PAGE = 500
"""Messages that are looked up together for a list."""
MOST_MATCHED = 10_000
"""Messages that one order for all that match is for; what is left over takes another order."""
HOUR = timedelta(hours=1)
HISTORY = timedelta(days=7)
HISTORY_FRESH = timedelta(minutes=1)
EVER = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = 1000
"""Messages of a device that are looked at for what was repaired in them."""


class BadOrder(ValueError):
    """The order makes no sense; the text says why."""


_QUICK, _SHARE = 0.015, 20  # seconds; what takes longer to count is counted anew after so many times as long


class QueueAdmin:
    """Looks at a spool and steers it.  `wake` is called after an order that makes work due: True if for all of it.

    `known` are the upstreams, `unused` those of them that no route names.
    """

    def __init__(
        self,
        spool: Spool,
        now: Callable[[], datetime],
        known: Callable[[], frozenset[str]],
        wake: Callable[[bool], None],
        unused: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._spool, self._now, self._known, self._wake, self._unused = spool, now, known, wake, unused
        self._history: dict[str, Any] | None = None
        self._history_at = datetime.min.replace(tzinfo=UTC)
        self._tally: dict[str, Any] | None = None
        self._tally_until = 0.0

    @property
    def now(self) -> datetime:
        return self._now()

    @property
    def upstreams(self) -> list[str]:
        """Names that a release may go by."""
        return sorted(self._known())

    @property
    def offered(self) -> list[str]:
        """Those that the configuration uses: a person is not asked about others."""
        return sorted(self._known() - self._unused())

    async def queue(self, states: frozenset[State] | None, limit: int = MOST_LISTED, skip: int = 0) -> dict[str, Any]:
        """The list as a whole."""
        return {"messages": [message async for page in self.pages(states, limit, skip) for message in page]}

    async def pages(
        self, states: frozenset[State] | None, limit: int = MOST_LISTED, skip: int = 0, search: Search = EVERYTHING
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """The same in pieces, so that no length of the queue costs memory.  A message that ends meanwhile may be left out."""
        behind = None
        while limit > 0:
            lines = await self._spool.listed(states, min(limit, PAGE), search=search, after=behind, skip=skip)
            if not lines:
                return
            page = await asyncio.to_thread(list_view, lines)  # even a piece takes longer than a device should wait
            behind, skip, limit = lines[-1], 0, limit - len(page)
            yield page

    async def stories(self, states: frozenset[State] | None, limit: int, skip: int = 0) -> list[dict[str, Any]]:
        """Messages with their trails, the newest first."""
        stored = await self._spool.entries(states, limit, newest=True, skip=skip, trail=True)
        return [story_view(one) for one in reversed(stored)]

    async def found(
        self, asked: "Asked", limit: int, *, older_than: PageKey | None = None, newer_than: PageKey | None = None
    ) -> "FoundPage":
        """The newest that match, or those next to a place."""
        from relay.control.searching import page_of  # here: not before somebody looks

        back = newer_than is not None and older_than is None
        beyond = newer_than if back else older_than
        lines = await self._spool.listed(asked.states, limit + 1, search=asked.search, after=beyond, newest=not back)
        page = await asyncio.to_thread(page_of, lines, limit, beyond, back=back, view=list_view)
        return page if page.newer or not back else await self.found(asked, limit)  # the newest page is a whole one

    async def matching(self, asked: "Asked", action: str, via: str = "") -> tuple[int, int]:
        """How many messages match, and how many of them the order is for.  Raises BadOrder."""
        order = self._for_found(action, asked, via)
        fitting, _ = await self._spool.counted(asked.states, replace(asked.search, fits=order))
        return await self.counted(asked), fitting

    async def counted(self, asked: "Asked") -> int:
        """How many messages match."""
        return (await self._spool.counted(asked.states, asked.search))[0]

    def at_once(self, fitting: int, action: str, via: str) -> int:
        """For how many of so many one order is.  No bound where they fit again after it: the next would be for the same."""
        again = action == Action.RETRY.value or (action == Action.RELEASE.value and bool(via))
        return fitting if again else min(fitting, MOST_MATCHED)

    async def order_matching(
        self, action: str, asked: "Asked", via: str = "", asked_at: datetime | None = None
    ) -> dict[str, Any]:
        """Carries an order out for what matches now; {"applied": ..., "more": whether there are more than MOST_MATCHED, ...}.

        Some hundred messages at a time, so that a device that is talking never waits long.  Of what was accepted after
        `asked_at` (None: now) nothing is removed.
        """
        order = self._for_found(action, asked, via)
        states, search = frozenset(applies(order)), replace(asked.search, fits=order)
        if order.action is Action.REMOVE:
            end = (asked_at or self._now()) + timedelta(microseconds=1)
            search = replace(search, until=min(end, asked.search.until or end))
        applied, chosen, more, behind, risks = 0, 0, False, None, list[dict[str, Any]]()
        while lines := await self._spool.listed(asked.states, PAGE, search=search, after=behind):
            behind = lines[-1]
            messages = await asyncio.to_thread(list_view, lines)
            fitting = {one["id"]: _risk(one, states) for one in messages}
            some = dict(list(fitting.items())[: self.at_once(chosen + len(fitting), action, via) - chosen])
            done = await self._spool.order(replace(order, queue_ids=tuple(some)), self._now()) if some else 0
            self._tally = None
            self._note(order, some if done else ())
            risks += [one for one in some.values() if order.via and one["maybe_at"] not in ("", order.via)]
            applied, chosen = applied + done, chosen + len(some)
            if more := len(some) < len(fitting):
                break
        if applied and order.action in (Action.RETRY, Action.RELEASE):
            self._wake(False)
        return {"applied": applied, "unknown": [], "more": more, **({"risks": risks} if risks else {})}

    def _for_found(self, action: str, asked: "Asked", via: str) -> Order:
        """The order, still without ids; for merged messages only if nothing else was searched for.  Raises BadOrder."""
        order = self._understood(action, [], via)
        merged = order.action is Action.RELEASE and asked.states == frozenset({State.MERGED})
        sought = asked.states or frozenset() if asked.states_said else None
        return replace(order, named=merged, sought=sought)

    async def unheard(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Failed messages that nobody could be told of and nobody has acknowledged, the newest first."""
        bad = frozenset({State.FAILED, State.EXPIRED})
        stored = await self._spool.entries(bad, limit, newest=True, trail=True)
        return [story_view(one) for one in reversed(stored) if one.attention]

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

    async def heard(self) -> list[Heard]:
        """Who sent what is still known."""
        return await self._spool.heard(EVER)

    async def made_of(self, clients: Collection[str]) -> list[tuple[Origin, TrailLine]]:
        """What was repaired in the latest mail of these clients, and what of it was merged."""
        return await self._spool.lines_of(clients, ("repaired", "merged"), LATEST) if clients else []

    async def postponed(self, clients: Collection[str]) -> list[Postponed]:
        """What waits on purpose of the mail of these clients."""
        return await self._spool.postponed(clients) if clients else []

    async def message(self, named: str) -> dict[str, Any] | None:
        """The message whose id is, or alone begins with, `named`; None if there is none.  Raises BadOrder if several do."""
        queue_id = (await self._meant([named]))[named]
        stored = await self._spool.entry(queue_id) if queue_id else None
        return story_view(stored) if stored else None

    async def packed(self, named: str) -> TransferItem | None:
        """All that is known of it, with its content; None if there is none.  Raises BadOrder if several do."""
        queue_id = (await self._meant([named]))[named]
        return await self._spool.pack(queue_id) if queue_id else None

    async def tell(self, queue_id: str, line: TrailLine) -> None:
        """Adds a line to its trail.  Raises SpoolFull, SpoolBroken."""
        await self._spool.tell(queue_id, line)

    async def _meant(self, named: Sequence[str]) -> dict[str, str]:
        """The id that each means, "" if none.  Raises BadOrder where several begin so."""
        found = await self._spool.beginning([one for one in named if BEGINNING.match(one)])
        if several := [one for one, ids in found.items() if len(ids) > 1]:
            raise BadOrder(f"several messages have ids that begin with {several[0]}; say more of it")
        return {one: next(iter(found.get(one, ())), "") for one in named}

    async def tally(self) -> dict[str, Any]:
        """The counts of now; of a long queue those of up to five seconds ago, so that pages that watch cost it little."""
        began = time.monotonic()
        if self._tally is None or began >= self._tally_until:
            found = tally_view(await self._spool.tally())
            took = time.monotonic() - began
            self._tally, self._tally_until = found, began + (min(_SHARE * took, 5.0) if took > _QUICK else 0.0)
        return self._tally

    async def submit(self, entry: Entry, line: TrailLine) -> None:
        """Takes a message of a person's.  Raises SpoolFull, SpoolBroken."""
        await self._spool.commit(entry, (line,))

    async def order(self, action: str, queue_ids: list[str] | None, via: str = "") -> dict[str, Any]:
        """Carries an order out; {"applied": messages it applied to, "unknown": ids that no message has, ...}.

        `unchanged`, if there are any, are the messages named that it could do nothing to.

        `risks`: each of them is a message that goes by another upstream now than the one that may have
        taken it: {"id", "maybe_at", "maybe_since"}.  Of an id its beginning will do, if no other has it.  Raises BadOrder for
        an unknown action or upstream, or for a beginning that several ids have: then nothing is done.
        """
        order = self._understood(action, queue_ids, via)
        unknown = []
        if order.queue_ids is not None:
            meant = await self._meant(order.queue_ids)
            unknown = [one for one, queue_id in meant.items() if not queue_id]
            order = Order(order.action, tuple(dict.fromkeys(filter(None, meant.values()))), order.via)
        fitting = await self._fitting(order) if order.queue_ids is not None or order.action is not Action.RETRY else {}
        unchanged = [one for one in order.queue_ids or () if one not in fitting]
        applied = await self._spool.order(order, self._now())
        self._tally = None
        self._note(order, fitting if applied else ())
        if applied and order.action in (Action.RETRY, Action.RELEASE):
            self._wake(order.queue_ids is None)
        risks = [one for one in fitting.values() if one["maybe_at"] not in ("", order.via)] if order.via else []
        more = {"unchanged": unchanged, "risks": risks}
        return {"applied": applied, "unknown": sound(unknown), **{key: value for key, value in more.items() if value}}

    async def _fitting(self, order: Order) -> dict[str, dict[str, Any]]:
        """The messages that the order is for, by id; each with the upstream that may have taken it."""
        states = frozenset(applies(order))
        if order.queue_ids is not None:
            found = [await self._spool.entry(queue_id) for queue_id in order.queue_ids]
            messages = [story_view(one) for one in found if one and any(each.state in states for each in one.recipients)]
            if order.action is Action.ACKNOWLEDGE:
                messages = [one for one in messages if one["attention"]]
        elif order.action is Action.ACKNOWLEDGE:
            messages = await self.unheard()
        else:
            messages = [message async for page in self.pages(states) for message in page]
        return {message["id"]: _risk(message, states) for message in messages}

    def _understood(self, action: str, queue_ids: list[str] | None, via: str) -> Order:
        try:
            what = Action(action)
        except ValueError:
            raise BadOrder(f"there is no order {action!r}; there are {', '.join(one.value for one in Action)}") from None
        if via and what is not Action.RELEASE:
            raise BadOrder("an upstream can be named with release only")
        if via and via not in self._known():
            raise BadOrder(f"no upstream is named {via!r}; there are {', '.join(sorted(self._known()))}")
        return Order(what, None if queue_ids is None else tuple(queue_ids), via)

    @staticmethod
    def _note(order: Order, queue_ids: Iterable[str]) -> None:
        event = {"hold": "held", "release": "released", "remove": "removed", "acknowledge": "acknowledged"}
        for queue_id in queue_ids if order.action.value in event else ():
            words = f"{order.action.value} ordered by hand"
            events.note(event[order.action.value], words, queue_id=queue_id, upstream=order.via)


def _risk(message: dict[str, Any], states: frozenset[State]) -> dict[str, Any]:
    """Who may have taken a message that the order sends on its way again."""
    doubts = [one for one in message["recipients"] if one["maybe_at"] and State(one["state"]) in states]
    first: dict[str, Any] = doubts[0] if doubts else {"maybe_at": "", "maybe_since": None}
    return {"id": message["id"], "maybe_at": first["maybe_at"], "maybe_since": first["maybe_since"]}


_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


async def listing(
    desk: QueueAdmin,
    states: frozenset[State] | None,
    limit: int = MOST_LISTED,
    skip: int = 0,
    search: Search = EVERYTHING,
) -> AsyncIterator[bytes]:
    """The list as one JSON document, piece by piece."""
    before = '{"messages":['
    async for page in desk.pages(states, limit, skip, search):
        written = await asyncio.to_thread(_to_json, page)
        yield (before + written[1:-1]).encode("utf-8", "replace")
        before = ","
    yield b"]}" if before == "," else (before + "]}").encode()
