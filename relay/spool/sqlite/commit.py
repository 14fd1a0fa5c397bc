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
from relay.spool.sqlite.jobs import is_quick
from relay.spool.sqlite.leftovers import Leftovers
from relay.spool.sqlite.streaming import SqliteStreaming, take_back
from relay.spool.sqlite.writer import Writer

ENOUGH_TO_SETTLE = 2_000_000
"""Octets of the reserve that nothing but settlements may use: what was sent must also be remembered."""

_SLICE = 16  # blocks of large content in one transaction: others wait for 1 MiB, not for 50

Stored = Callable[[int, Entry, tuple[Recipient, ...], bool], None]
Also = Callable[[sqlite3.Connection], None]
"""What is to be written in the same transaction as the entry."""


class SqliteCommit:
    """Stores entries by the writer; `last` is the highest message id there is.

    `stored` is told of each entry that has become durable: its id, its recipients (none: they are to be
    asked for), whether its Message-ID is repeated.
    """

    def __init__(
        self, writer: Writer, room: Room, cache: ContentCache, leftovers: Leftovers, last: int, stored: Stored
    ) -> None:
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
        return SqliteStreaming(self._writer, next(self._ids), self._arriving, self.left)

    def number(self) -> int:
        """An id for a message that comes without content."""
        return next(self._ids)

    async def store(self, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None = None) -> None:
        """Durable when it returns.  Raises SpoolFull, SpoolBroken; ValueError for an entry that contradicts itself."""
        if not entry.envelope.forward_paths:
            raise ValueError(f"{entry.queue_id} has no recipient")
        arrived = entry.content if isinstance(entry.content, SqliteStreaming) else None
        message = arrived.message if arrived else next(self._ids)
        stored = arrived.stored if arrived else 0
        self._check_room(entry, stored)
        self._arriving[message] = entry.size - stored
        try:
            if arrived:
                await self._store_arrived(arrived, entry, trail, also)
            elif entry.size <= SMALL:
                await self._store_small(message, entry, trail, also)
            else:
                await self._store_large(message, entry, trail, also)
        except BaseException:
            if arrived:
                arrived.drop()
            elif entry.size > SMALL:
                take_back(self._writer, message)
            raise
        finally:
            self._arriving.pop(message, None)

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
        """What came in slices was written as it came: now the rest of it, and the message itself."""
        _check_size(entry, arrived.size)
        write_rest = arrived.rest()

        def work(db: sqlite3.Connection) -> tuple[tuple[Recipient, ...], bool]:
            write_rest(db)
            return _add(db, arrived.message, entry, trail, also)

        await self._writer.write(work, after=lambda added: self._stored(arrived.message, entry, *added))
        arrived.kept()

    async def _store_large(self, message: int, entry: Entry, trail: tuple[TrailLine, ...], also: Also | None) -> None:
        """In slices, each a job among others; the message itself only when all of its content is there."""
        source, seq, octets = blocks(entry.content), 0, 0
        while piece := await asyncio.to_thread(lambda: tuple(itertools.islice(source, _SLICE))):
            octets += sum(map(len, piece))
            if octets > entry.size:
                break

            def work(db: sqlite3.Connection, first: int = seq, piece: tuple[bytes, ...] = piece) -> None:
                write.add_content(db, message, first, piece)

            await self._writer.write(work)
            seq += len(piece)
            self._arriving[message] = entry.size - octets
        _check_size(entry, octets)
        await self._writer.write(
            lambda db: _add(db, message, entry, trail, also),
            after=lambda added: self._stored(message, entry, *added),
        )

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


def _check_size(entry: Entry, octets: int) -> None:
    if octets != entry.size:
        raise ValueError(f"{entry.queue_id}: its size is given as {entry.size} octets, but its content has another number")
