"""Large content, written to a file while it comes in: its commit is as short as a small one's."""

import sqlite3
from collections.abc import Callable, Iterator

from relay.spool.contract import SpoolBroken, SpoolFull
from relay.spool.sqlite.connections import translated
from relay.spool.sqlite.content import SMALL
from relay.spool.sqlite.content_files import ContentFile, ContentFiles
from relay.spool.sqlite.jobs import Job
from relay.spool.sqlite.writer import Writer

SLICE = 1024 * 1024
"""Octets that may be left for the moment when the file is finished: one call of a thread less."""


class SqliteStreaming:
    """`relay.spool.contract.Streaming` for message number `message`.

    `arriving` holds octets that are promised by number, and spares their files from being swept; `left` tells how many
    octets may still be accepted.
    """

    def __init__(
        self, writer: Writer, files: ContentFiles, message: int, arriving: dict[int, int], left: Callable[[], int]
    ) -> None:
        self.message = message
        self.size = 0
        self.stored = 0
        """Octets that take up room in the spool already."""
        self._waiting: list[bytes] = []
        self._writer = writer
        self._files = files
        self._file: ContentFile | None = None
        self._arriving = arriving
        self._left = left
        self._expected = 0
        self._over = False
        arriving[message] = 0

    @property
    def small(self) -> bool:
        """Whether all of it is in memory, and no more than what belongs into the database."""
        return not self.stored and self.size <= SMALL

    def __iter__(self) -> Iterator[bytes]:
        """Only what is not written yet can be read before there is an entry: nothing needs more."""
        if self.stored:
            raise SpoolBroken("content is read that has no entry yet")
        return iter(self._waiting)

    def expect(self, size: int) -> None:
        """Promises room for so many octets in all, so that it is not asked for again."""
        self._expected = size
        self._promise(0)

    def _promise(self, octets: int) -> None:
        if not self._over:
            self._arriving[self.message] = max(octets, self._expected - self.stored)

    async def add(self, pieces: list[bytes], *, whole: bool = False) -> None:
        """Takes the pieces.  Raises SpoolFull, SpoolBroken; whatever it raises, the content must be dropped then."""
        if self._over:
            return
        self.size += sum(map(len, pieces))
        self._waiting += pieces
        pieces.clear()
        octets = self.size - self.stored
        if not octets or (whole and octets <= SLICE):
            return
        if octets > self._left() and not self._expected:
            raise SpoolFull(f"the spool is full: {octets} octets asked for, {max(self._left(), 0)} left")
        self._promise(octets)
        waiting, self._waiting = self._waiting, []
        await self._run(lambda file: file.write(waiting))
        self.stored += octets
        self._promise(0)

    async def finish(self) -> None:
        """All of it is durable, under its name.  Raises like `add`, and SpoolBroken for what was dropped."""
        if self._over:
            raise SpoolBroken("content is to be kept that was dropped")
        waiting, self._waiting = self._waiting, []
        await self._run(lambda file: file.finish(waiting, self.size))

    async def _run(self, work: Callable[[ContentFile], None]) -> None:
        file = self._file = self._file or self._files.begin(self.message)
        with translated(self._files.spool):
            await self._files.run(lambda: work(file))

    def kept(self) -> None:
        """There is an entry for it now."""
        self._over = True
        self._waiting = []
        self._arriving.pop(self.message, None)

    def drop(self) -> None:
        """Removes it, unless an entry has it: a commit whose caller was cancelled may have been written all the same."""
        if self._over:
            return
        self.kept()
        if self._file:
            self._writer.leave(Job(self._drop_unclaimed, owed=True))  # behind the commit, if there is one

    def _drop_unclaimed(self, db: sqlite3.Connection) -> None:
        found = db.execute("SELECT kept FROM message WHERE id = ?", (self.message,)).fetchone()
        if found and found[0]:
            self._files.keep(self.message, self.size)
        else:
            self._files.drop(self.message)
