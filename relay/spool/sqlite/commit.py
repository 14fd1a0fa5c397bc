"""Accepting: an entry with all its content becomes durable, or nothing of it stays."""

import asyncio
import itertools
import sqlite3
from collections.abc import Callable

from relay import crash_points
from relay.spool.contract import SpoolFull
from relay.spool.entry import Entry, Recipient, TrailLine
from relay.spool.rows import blocks
from relay.spool.sqlite import write
from relay.spool.sqlite.connections import Room
from relay.spool.sqlite.content import SMALL, ContentCache
from relay.spool.sqlite.content_files import ContentFiles
from relay.spool.sqlite.jobs import is_quick
from relay.spool.sqlite.leftovers import Leftovers
from relay.spool.sqlite.streaming import SqliteStreaming
from relay.spool.sqlite.writer import Writer

ENOUGH_TO_SETTLE = 2_000_000
"""Octets of the reserve that nothing but settlements may use: what was sent must also be remembered."""

_AT_ONCE = 16  # blocks of large content that are read together

Stored = Callable[[int, Entry, tuple[Recipient, ...], bool], None]
Also = Callable[[sqlite3.Connection], None]
"""What is to be written in the same transaction as the entry."""


class SqliteCommit:
    """Stores entries by the writer; `last` is the highest message id there is.

    `stored` is told of each entry that has become durable: its id, its recipients (none: they are to be
    asked for), whether its Message-ID is repeated.
    """

    def __init__(
        self,
        writer: Writer,
        room: Room,
        cache: ContentCache,
        leftovers: Leftovers,
        files: ContentFiles,
        last: int,
        stored: Stored,
    ) -> None:
        self._files = files
        self._leftovers = leftovers
        self._stored = stored
        self._writer = writer
        self._room = room
        self._cache = cache
        self._ids = itertools.count(last + 1)
        self._arriving: dict[int, int] = {}

    @property
    def arriving(self) -> frozenset[int]:
        """Messages whose content is being written before they are there themselves."""
        return frozenset(list(self._arriving))

    def left(self) -> int:
        """Octets that may still be accepted: what is free, less the reserve and what has been promised already."""
        return self._room.left() - (sum(list(self._arriving.values())) if self._arriving else 0)

    def arrive(self) -> SqliteStreaming:
        """For large content that comes in while it is stored."""
        return SqliteStreaming(self._writer, self._files, next(self._ids), self._arriving, self.left)

    def number(self) -> int:
        """An id for a message that comes without content."""
        return next(self._ids)

    async def store(self, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None = None) -> None:
        """Durable when it returns.  Raises SpoolFull, SpoolBroken; ValueError for an entry that contradicts itself."""
        if not entry.envelope.forward_paths:
            raise ValueError(f"{entry.queue_id} has no recipient")
        arriving = entry.content if isinstance(entry.content, SqliteStreaming) else None
        self._check_room(entry, arriving.stored if arriving else 0)
        if arriving.small if arriving else entry.size <= SMALL:
            message = arriving.message if arriving else next(self._ids)
            self._arriving[message] = entry.size
            try:
                await self._store_small(message, entry, trail, also)
            finally:
                self._arriving.pop(message, None)
            if arriving:
                arriving.kept()
            return
        arrived = arriving or self.arrive()
        arrived.expect(entry.size)
        try:
            if not arriving:
                await _read_into(arrived, entry)
            _check_size(entry, arrived.size)
            await self._store_arrived(arrived, entry, trail, also)
        except BaseException:
            arrived.drop()
            raise

    async def _store_small(self, message: int, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None) -> None:
        content = tuple(blocks(entry.content))
        _check_size(entry, sum(map(len, content)))

        def work(db: sqlite3.Connection) -> tuple[tuple[int, ...], tuple[Recipient, ...], bool]:
            removed = self._leftovers.remove(db)  # first: the new content takes the pages over
            write.add_content(db, message, 0, content)
            return removed, *_add(db, message, entry, trail, also)

        def after(added: tuple[tuple[int, ...], tuple[Recipient, ...], bool]) -> None:
            removed, recipients, repeated = added
            self._leftovers.forgotten(removed)
            self._cache.keep(message, content)
            self._stored(message, entry, recipients, repeated)

        await self._writer.write(work, after=after, quick=is_quick(entry.size, len(entry.envelope.forward_paths)))

    async def _store_arrived(
        self, arrived: SqliteStreaming, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None
    ) -> None:
        await arrived.finish()

        def after(added: tuple[tuple[Recipient, ...], bool]) -> None:
            self._files.keep(arrived.message, entry.size)
            self._stored(arrived.message, entry, *added)

        quick = is_quick(0, len(entry.envelope.forward_paths))
        await self._writer.write(lambda db: _add(db, arrived.message, entry, trail, also), after=after, quick=quick)
        arrived.kept()

    def _check_room(self, entry: Entry, stored: int) -> None:
        # a message of our own may use the reserve: it is small, and a failure must be told
        left = self._room.free() - ENOUGH_TO_SETTLE if entry.notice or entry.merges else self.left()
        if entry.size - stored > left:
            raise SpoolFull(f"the spool is full: {entry.size} octets asked for, {max(left, 0)} left")


def _add(
    db: sqlite3.Connection, message: int, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None
) -> tuple[tuple[Recipient, ...], bool]:
    added = write.add_entry(db, message, entry, trail)
    if also:
        also(db)
        added = (), False  # it may have changed them
    crash_points.passed("notice-inside" if entry.notice else "digest-inside" if entry.merges else "accept-inside")
    return added


async def _read_into(arrived: SqliteStreaming, entry: Entry) -> None:
    source = blocks(entry.content)
    while arrived.size <= entry.size and (some := await asyncio.to_thread(lambda: list(itertools.islice(source, _AT_ONCE)))):
        await arrived.add(some)


def _check_size(entry: Entry, octets: int) -> None:
    if octets != entry.size:
        raise ValueError(f"{entry.queue_id}: its size is given as {entry.size} octets, but its content has another number")
