"""Accepting into PostgreSQL: an entry with all its content becomes durable in one transaction, or nothing of it stays."""

import asyncio
import threading
from collections.abc import Callable

from psycopg import Connection

from relay import crash_points
from relay.spool.contract import SpoolFull, SpoolSettings
from relay.spool.entry import Entry, TrailLine
from relay.spool.postgres import write
from relay.spool.postgres.connections import PostgresConnections, Unsure
from relay.spool.postgres.content import add_content
from relay.spool.rows import blocks
from relay.spool.sqlite.content import SMALL, ContentCache

_LARGE_AT_ONCE = 2  # so that small messages find a connection

Also = Callable[[Connection], None]
"""What is to be written in the same transaction as the entry."""


class Cancelled(Exception):
    """The caller was cancelled while a large message was being written: nothing of it stays."""


class PostgresCommit:
    """`in_use` are the octets of mail in the spool, as last counted; `told` is called when there is work."""

    def __init__(
        self, connections: PostgresConnections, settings: SpoolSettings, cache: ContentCache, told: Callable[[], None]
    ) -> None:
        self._connections, self.settings, self._cache, self._told = connections, settings, cache, told
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._written: dict[str, int] = {}
        self._storing: dict[str, asyncio.Event] = {}
        self._promised = 0
        self.in_use = 0

    @property
    def arriving(self) -> int:
        """Octets written of messages that are not there yet."""
        return sum(list(self._written.values()))

    def left(self) -> int:
        """Octets that may still be accepted: of what the spool may hold, less the reserve and what is promised already."""
        return self.settings.max_size - self.in_use - self._promised - self.settings.keep_free

    async def store(self, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None = None) -> None:
        """Durable when it returns.  Raises SpoolFull, SpoolAway, SpoolBroken; ValueError for what contradicts itself."""
        if not entry.envelope.forward_paths:
            raise ValueError(f"{entry.queue_id} has no recipient")
        while other := self._storing.get(entry.queue_id):
            await other.wait()
        self._check_room(entry)
        stored = self._storing[entry.queue_id] = asyncio.Event()
        self._promised += entry.size
        try:
            if entry.size <= SMALL:
                await self._store_small(entry, trail, also)
            else:
                async with self._large:
                    await self._store_large(entry, trail, also)
            self.in_use += entry.size
        finally:
            self._promised -= entry.size
            del self._storing[entry.queue_id]
            stored.set()
        self._told()

    async def _store_small(self, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None) -> None:
        content = tuple(blocks(entry.content))
        _check_size(entry, sum(map(len, content)))

        def work(db: Connection) -> int:
            if also is None and len(content) <= 1:
                self._last(db, entry, also)
                return write.add_entry(db, entry, trail, content)  # one statement is a transaction of its own
            with db.transaction():
                message = write.add_entry(db, entry, trail, content[:1])
                for _ in add_content(db, self._connections, message, content[1:], 1):
                    pass
                self._last(db, entry, also)
            return message

        message = await self._sure(entry, work)
        if message:
            self._cache.keep(message, content)

    async def _store_large(self, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None) -> None:
        stopped = threading.Event()

        def stored(db: Connection) -> int:
            octets = 0
            with db.transaction():
                message = write.add_entry(db, entry, trail, ())
                for written in add_content(db, self._connections, message, blocks(entry.content)):
                    octets += written
                    self._written[entry.queue_id] = octets
                    if stopped.is_set():
                        raise Cancelled(entry.queue_id)
                    if octets > entry.size:
                        break
                _check_size(entry, octets)
                self._last(db, entry, also)
            return message

        def work(db: Connection) -> int:
            try:
                return stored(db)
            finally:
                self._written.pop(entry.queue_id, None)

        task = asyncio.ensure_future(self._sure(entry, work))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.wait([task])
            task.exception()
            raise

    @staticmethod
    def _last(db: Connection, entry: Entry, also: Also | None) -> None:
        if also:
            also(db)
        crash_points.passed("notice-inside" if entry.notice else "digest-inside" if entry.merges else "accept-inside")

    async def _sure(self, entry: Entry, work: Callable[[Connection], int]) -> int:
        """The message's id, 0 if it was there already: a connection that broke may have broken behind its COMMIT."""
        try:
            return await self._connections.run(work, again=False)
        except Unsure:
            if await self._connections.run(lambda db: write.is_there(db, entry.queue_id, entry.digest)):
                return 0
        return await self._connections.run(work, again=False)

    def _check_room(self, entry: Entry) -> None:
        # a message of our own may use the reserve: it is small, and a failure must be told
        left = self.left() + (self.settings.keep_free if entry.notice or entry.merges else 0)
        if entry.size > left:
            raise SpoolFull(f"the spool is full: {entry.size} octets asked for, {max(left, 0)} left")


def _check_size(entry: Entry, octets: int) -> None:
    if octets != entry.size:
        raise ValueError(f"{entry.queue_id}: its size is given as {entry.size} octets, but its content has another number")
