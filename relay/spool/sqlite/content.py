"""Stored content: rows or a file, read in blocks each time it is iterated, from any thread; small content is remembered."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from relay.spool.contract import ContentDamaged, LeaseLost, SpoolBroken
from relay.spool.rows import unpacked
from relay.spool.sqlite.connections import reader, translated
from relay.spool.sqlite.content_files import ContentFiles, pieces, place_of

SMALL = 262_144
"""Octets up to which content goes into the group commit at once and may be remembered; what is larger is in a file."""

_AT_ONCE = 2
_ROWS = (
    "SELECT data, packed FROM content WHERE message = :message AND seq >= :first AND seq < :end"
    " AND EXISTS (SELECT 1 FROM message WHERE id = :message AND kept)"  # else it only waits for its removal
    " ORDER BY seq"
)
_CACHE = "PRAGMA cache_size = -256"
"""KiB.  No page is read twice, so SQLite's usual 2 MB for each reader would only be filled and thrown away."""


class ContentCache:
    """The last small contents, so that the runner need not read again what was just written.  Any thread."""

    def __init__(self, octets: int = 16 * 1024 * 1024) -> None:
        self._room = octets
        self._kept: OrderedDict[int, tuple[bytes, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, message: int, blocks: tuple[bytes, ...]) -> None:
        with self._lock:
            self._drop(message)
            self._kept[message] = blocks
            self._room -= _size(blocks)
            while self._room < 0:
                self._drop(next(iter(self._kept)))

    def find(self, message: int) -> tuple[bytes, ...] | None:
        with self._lock:
            return self._kept.get(message)

    def forget(self, message: int) -> None:
        with self._lock:
            self._drop(message)

    def _drop(self, message: int) -> None:
        self._room += _size(self._kept.pop(message, ()))


def _size(blocks: tuple[bytes, ...]) -> int:
    return sum(map(len, blocks))


class SqliteContent:
    """The octets of one message.  Iterating raises LeaseLost when they are gone, ContentDamaged, SpoolBroken."""

    __slots__ = ("_cache", "_files", "_message", "_path", "_size")

    def __init__(self, path: Path, message: int, size: int, cache: ContentCache, files: ContentFiles) -> None:
        self._files = files
        self._path = path
        self._message = message
        self._size = size
        self._cache = cache

    def __iter__(self) -> Iterator[bytes]:
        remembered = self._cache.find(self._message)
        if remembered is not None:
            return iter(remembered)
        return self._in_file() if self._message in self._files else self._stored()

    def _in_file(self) -> Iterator[bytes]:
        place, known = place_of(self._path, self._message), self._message in self._files
        try:
            with translated(place):
                for block in pieces(place, self._size):
                    if known and self._message not in self._files:  # an open file can still be read, but it was removed
                        raise LeaseLost("the content of this message is not kept any more")
                    yield block
        except ValueError as error:
            raise ContentDamaged(f"the stored content is damaged: {error}") from error
        except SpoolBroken as error:
            if isinstance(error.__cause__, FileNotFoundError):
                with translated(self._path), closing(reader(self._path)) as db:
                    self._check_kept(db)
                raise ContentDamaged(f"the stored content is damaged: {place} is missing") from error
            raise

    def _stored(self) -> Iterator[bytes]:
        left, seq = self._size, 0
        with translated(self._path), closing(reader(self._path)) as db:
            db.execute(_CACHE)
            while left > 0:
                # one finished query for some rows: an open one would pin the WAL for as long as a slow upstream takes
                wanted = {"message": self._message, "first": seq, "end": seq + _AT_ONCE}
                found = db.execute(_ROWS, wanted).fetchall()
                if not found:
                    self._check_kept(db)
                    break
                block = b"".join([self._inflated(data) if deflated else data for data, deflated in found])
                del found
                left -= len(block)
                seq += _AT_ONCE
                yield block
                del block  # before there is another
        # never just end: half a message would be relayed as a whole one
        if left > 0 and seq:
            raise ContentDamaged(f"the stored content is damaged: {left} octets are missing")
        if left > 0:
            yield from self._in_file()

    def _check_kept(self, db: sqlite3.Connection) -> None:
        if not db.execute("SELECT 1 FROM message WHERE id = ? AND kept", (self._message,)).fetchone():
            raise LeaseLost("the content of this message is not kept any more")

    def _inflated(self, data: bytes) -> bytes:
        try:
            return unpacked(data, 1)
        except ValueError as error:
            raise ContentDamaged(f"the stored content is damaged: {error}") from error
