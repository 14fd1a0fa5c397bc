"""Looks at the content of a message that is kept: one after the other, beside the event loop, and told in its trail.

What reads content is loaded by the first look, in its thread: the first guest of the page does not wait for it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from relay import events
from relay.control.access import WHO
from relay.control.queue_admin import QueueAdmin
from relay.detached import apart
from relay.mail.message import Message
from relay.networks import group_of
from relay.outbound.prepare import Prepared
from relay.spool.contract import ContentDamaged, LeaseLost, SpoolBroken, SpoolFull
from relay.spool.entry import Detail, TrailLine, TransferItem

if TYPE_CHECKING:
    from relay.mail.shown_message import FieldPair, ShownMessage

T = TypeVar("T")

AGAIN_AFTER = timedelta(minutes=10)
"""A person who looks at the same message again within this time has one line in its trail."""
MOST_WAITING = 8
"""Looks that wait for their turn; who comes then is told to come again."""
MOST_LINES = 100
"""Lines of looks in one trail; later ones are in the log alone."""
EXCERPT = 3000
"""Octets of the body that are shown beside each other."""


class NoContent(Exception):
    """It cannot be looked at.  `why`: off, gone (no such message), dropped (its content), damaged, busy."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why, self.code = why, _CODES[why]


_CODES = {"off": 403, "gone": 404, "dropped": 410, "damaged": 410, "busy": 429}


@dataclass(frozen=True, slots=True)
class Looker:
    """Who looks, as far as is known: the name that a proxy gave, and the address ("": over the control socket)."""

    name: str
    client: str

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> "Looker":
        """By the request's ASGI scope."""
        client = scope.get("client")
        name = "".join(char for char in str(scope.get(WHO, "")) if char.isprintable())
        return cls(name, str(client[0]).removeprefix("::ffff:") if client else "")

    def __str__(self) -> str:
        place = f"from {self.client}" if self.client else "over the control socket"
        return f"{self.name}, {place}" if self.name else f"somebody {place}"


@dataclass(frozen=True, slots=True)
class BeforeAndAfter:
    """A message as it came and as it goes to one upstream; `before` and `after` begin its bodies."""

    upstream: str
    fields: "tuple[FieldPair, ...]"
    before: str
    after: str
    notes: tuple[str, ...]


AsSent = Callable[[TransferItem], "tuple[str, Prepared] | None"]
"""The name of the upstream that the message went or goes to, and what is sent there; None where there is none."""


class ContentReader:
    """`allowed` says whether content may be looked at."""

    def __init__(
        self, desk: QueueAdmin, now: Callable[[], datetime], allowed: Callable[[], bool], as_sent: AsSent | None = None
    ) -> None:
        self._desk, self._now, self._allowed, self._as_sent = desk, now, allowed, as_sent
        self._turn, self._waiting = asyncio.Lock(), 0
        self._told: dict[tuple[str, str, str], datetime] = {}

    async def item(self, named: str, who: Looker, how: str) -> TransferItem:
        """A message whose content is kept; the look is in its trail when this returns.  Raises NoContent, BadOrder."""
        if not self._allowed():
            raise NoContent("off")
        item = await self._desk.packed(named)
        if item is None:
            raise NoContent("gone")
        if not item.kept:
            raise NoContent("dropped")
        await self._tell(item, who, how)
        return item

    async def _tell(self, item: TransferItem, who: Looker, how: str) -> None:
        now, queue_id = self._now(), item.stored.entry.queue_id
        person = who.name or (group_of(who.client) if who.client else "")
        key = (queue_id, person, how)
        self._told = {one: at for one, at in self._told.items() if timedelta() <= now - at < AGAIN_AFTER}
        looks = [line for line in item.stored.trail if line.event == "looked"]
        before = (
            line for line in looks if (line.details.get("person"), line.details.get("how")) == (person, how)
        )  # of an earlier life, or of another relay
        if key in self._told or any(timedelta() <= now - line.at < AGAIN_AFTER for line in before):
            return
        text = f"{'downloaded' if how == 'file' else 'looked at'} by {who}"
        events.note("looked", text, queue_id=queue_id, how=how, user=who.name, client=who.client)
        self._told[key] = now
        if len(looks) >= MOST_LINES:
            return
        details: dict[str, Detail] = {"person": person, "client": who.client, "how": how}
        try:
            with suppress(SpoolFull):  # a look must not need room
                await self._desk.tell(queue_id, TrailLine(now, "looked", text, details))
        except BaseException:
            del self._told[key]
            raise

    async def shown(self, item: TransferItem) -> "ShownMessage":
        def read() -> "ShownMessage":
            from relay.mail.shown_message import shown_message

            return shown_message(item.stored.entry.content, item.stored.entry.size)

        return await self._read(read)

    async def html(self, item: TransferItem) -> str | None:
        def read() -> str | None:
            from relay.mail.shown_message import shown_html

            return shown_html(item.stored.entry.content)

        return await self._read(read)

    async def before_and_after(self, item: TransferItem) -> BeforeAndAfter | None:
        """None where nothing is known of how it is sent."""
        return await self._read(lambda: self._compared(item))

    def _compared(self, item: TransferItem) -> BeforeAndAfter | None:
        from relay.mail.shown_message import FirstOctets, side_by_side, written

        def excerpt(message: Message) -> str:
            return written(b"".join(FirstOctets(message.body, EXCERPT)), EXCERPT)

        found = self._as_sent(item) if self._as_sent else None
        if found is None:
            return None
        upstream, prepared = found
        came, goes = Message.parse(item.stored.entry.content), Message.parse(prepared.outgoing.content)
        fields = tuple(side_by_side(came.fields, goes.fields))
        return BeforeAndAfter(upstream, fields, excerpt(came), excerpt(goes), prepared.notes)

    async def _read(self, work: Callable[[], T]) -> T:
        """In a thread, one at a time: a large message takes seconds.  Raises NoContent."""
        if self._waiting >= MOST_WAITING:
            raise NoContent("busy")

        async def in_turn() -> T:
            try:
                async with self._turn:
                    return await apart(work)
            finally:
                self._waiting -= 1

        self._waiting += 1
        try:
            return await asyncio.shield(asyncio.ensure_future(in_turn()))  # who goes away leaves the turn to the others
        except LeaseLost:
            raise NoContent("dropped") from None
        except ContentDamaged:
            raise NoContent("damaged") from None

    @staticmethod
    async def blocks(item: TransferItem) -> AsyncIterator[bytes]:
        """The octets as they came, as fast as they are taken.  Breaks off where the content is damaged."""
        content = iter(item.stored.entry.content)
        try:
            while block := await apart(lambda: next(content, b"")):
                yield block
        except (LeaseLost, SpoolBroken) as error:
            raise ConnectionAbortedError(str(error)) from error
