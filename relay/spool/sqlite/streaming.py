"""Large content, written to the SQLite file in slices while it comes in: its commit is as short as a small one's."""

import sqlite3
from collections.abc import Callable, Iterator
from itertools import chain

from relay.spool.contract import SpoolBroken, SpoolFull
from relay.spool.rows import BLOCK, blocks
from relay.spool.sqlite import write
from relay.spool.sqlite.connections import small_cache
from relay.spool.sqlite.jobs import Job
from relay.spool.sqlite.writer import Writer

SLICE = 16 * BLOCK
"""Octets of large content that may be left for the transaction of its entry: others wait for 1 MiB, not for 50."""


class SqliteStreaming:
    """`relay.spool.contract.Streaming` for message number `message`.

    `arriving` holds octets that are promised by number, and spares their rows from being swept; `left` tells how many
    octets may still be accepted.
    """

    def __init__(self, writer: Writer, message: int, arriving: dict[int, int], left: Callable[[], int]) -> None:
        self.message = message
        self.size = 0
        self.rows = 0
        self.waiting: list[bytes] = []
        self._writer = writer
        self._arriving = arriving
        self._left = left
        self._over = False
        arriving[message] = 0

    @property
    def stored(self) -> int:
        """Octets that take up room in the spool already."""
        return self.rows * BLOCK

    def __iter__(self) -> Iterator[bytes]:
        """Only what is not written yet can be read before there is an entry: nothing needs more."""
        if self.rows:
            raise SpoolBroken("content is read that has no entry yet")
        return iter(self.waiting)

    async def add(self, pieces: list[bytes], *, whole: bool = False) -> None:
        """Takes the pieces.  Raises SpoolFull, SpoolBroken; whatever it raises, the content must be dropped then."""
        if self._over:
            return
        self.size += sum(map(len, pieces))
        rows = list(blocks(chain(self.waiting, _taken(pieces))))
        self.waiting = rows[-1:] if rows and len(rows[-1]) < BLOCK else []
        del rows[len(rows) - len(self.waiting) :]
        if whole and len(rows) * BLOCK <= SLICE:
            self.waiting = rows + self.waiting
            return
        if not rows:
            return
        octets = len(rows) * BLOCK
        if octets > self._left():
            raise SpoolFull(f"the spool is full: {octets} octets asked for, {max(self._left(), 0)} left")
        self._arriving[self.message] = octets
        first = self.rows

        def work(db: sqlite3.Connection) -> None:
            with small_cache(db):
                write.add_content(db, self.message, first, rows)

        await self._writer.write(work)
        self.rows += len(rows)
        if not self._over:
            self._arriving[self.message] = 0

    def rest(self) -> Callable[[sqlite3.Connection], None]:
        """Writes the rest in the transaction of the entry; that may run after a drop, so it uses copies."""
        message, first, rows = self.message, self.rows, self.waiting
        return lambda db: write.add_content(db, message, first, rows)

    def kept(self) -> None:
        """There is an entry for it now."""
        self._over = True
        self.waiting = []
        self._arriving.pop(self.message, None)

    def drop(self) -> None:
        """Removes it, unless an entry has it; on a disk too full even for that, as soon as it can be written."""
        if self._over:
            return
        self.kept()
        take_back(self._writer, self.message)


def take_back(writer: Writer, message: int) -> None:
    """Removes content that no entry has: a commit whose caller was cancelled may have been written all the same."""
    writer.leave(Job(lambda db: write.drop_unclaimed(db, message), owed=True))


def _taken(pieces: list[bytes]) -> Iterator[bytes]:
    """Empties the list, so that what was copied to a row is not in memory twice."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()
