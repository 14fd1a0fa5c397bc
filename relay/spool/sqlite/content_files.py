"""Large content in files beside the database, `<spool>-content/<message>.eml`: writing a file costs a tenth of writing rows.

A file is durable, with its name, before the row of its message is committed, and goes after nobody can want it any more.
What no row knows of was left by a crash, and is swept.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from relay import crash_points
from relay.spool.contract import SpoolBroken

T = TypeVar("T")

_READ = 262_144  # octets of one read; never a map: a bad disk would kill the process (SIGBUS) instead of raising
_SYNCED_EVERY = 8 * 1024 * 1024  # octets: what a commit has still to wait for is bounded, and others wait for no more
_THREADS = 3
_NAMED, _BEGUN = ".eml", ".part"


def folder_of(spool: Path) -> Path:
    return Path(f"{spool}-content")


def place_of(spool: Path, message: int) -> Path:
    """Where the content of a message is, if it is in a file."""
    return folder_of(spool) / f"{message}{_NAMED}"


def sizes(spool: Path) -> dict[int, int]:
    """Octets of each complete file by its message.  Raises OSError."""
    octets: dict[int, int] = {}
    with suppress(FileNotFoundError), os.scandir(folder_of(spool)) as found:
        for one in found:
            if _is_ours(one.name, _NAMED):
                with suppress(FileNotFoundError):  # it went meanwhile: the others are there
                    octets[int(one.name[: -len(_NAMED)])] = one.stat().st_size
    return octets


def unknown(spool: Path, known: Collection[int]) -> list[str]:
    """Names in the folder that are no content of these messages, sorted.  Raises OSError."""
    with suppress(FileNotFoundError), os.scandir(folder_of(spool)) as found:
        return sorted({one.name for one in found} - {f"{message}{_NAMED}" for message in known})
    return []


def _is_ours(name: str, end: str) -> bool:
    return name.endswith(end) and name.removesuffix(end).isascii() and name.removesuffix(end).isdigit()


def pieces(file: Path, size: int) -> Iterator[bytes]:
    """The content, in blocks.  Raises ValueError unless the file has `size` octets; OSError."""
    with open(file, "rb", buffering=0) as opened:
        if (found := os.fstat(opened.fileno()).st_size) != size:
            raise ValueError(f"{file} has {found} octets instead of {size}")
        while size > 0:
            block = opened.read(_READ)
            if not block:
                raise ValueError(f"{size} octets are missing in {file}")
            size -= len(block)
            yield block


class _Folder:
    """The folder, made when the first file is; its own name is durable before anything in it counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._sure = False

    def make(self) -> None:
        with self._lock:
            if not (self._sure and os.path.isdir(self.path)):
                self.path.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(self.path.parent)
                self._sure = True


class ContentFile:
    """The content of one message while it is written.  The methods block, and may be called by any thread.

    After one error it is never good again: the kernel takes what a failed sync lost for clean, and the next sync succeeds.
    """

    def __init__(self, folder: _Folder, message: int) -> None:
        self._folder = folder
        self._named = folder.path / f"{message}{_NAMED}"
        self._begun = self._named.with_suffix(_BEGUN)
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._synced = 0
        self._over = False
        self.octets = 0

    def write(self, content: list[bytes]) -> None:
        """Empties the list.  Raises OSError; SpoolBroken once it was closed."""
        with self._lock, self._over_after_an_error():
            self._append(content)
            if self.octets - self._synced >= _SYNCED_EVERY:
                os.fdatasync(self._opened().fileno())
                self._synced = self.octets

    def finish(self, content: list[bytes], size: int) -> None:
        """Writes the last octets; all `size` of them are durable when it returns.  Raises OSError, SpoolBroken."""
        with self._lock, self._over_after_an_error():
            self._append(content)
            if self.octets != size:
                raise SpoolBroken(f"{self._begun} has {self.octets} octets instead of {size}")
            os.fsync(self._opened().fileno())
            crash_points.passed("content-written")
            self._close()
            self._begun.rename(self._named)
            crash_points.passed("content-named")
            _sync_folder(self._folder.path)
            crash_points.passed("content-synced")

    def close(self) -> None:
        """Nothing is written any more; the next start sweeps it."""
        with self._lock, suppress(OSError):
            self._close()

    def drop(self) -> None:
        self.close()
        for place in (self._begun, self._named):
            with suppress(OSError):  # else it is swept
                place.unlink()

    @contextmanager
    def _over_after_an_error(self) -> Iterator[None]:
        if self._over:
            raise SpoolBroken(f"{self._begun} was closed, or could not be written")
        try:
            yield
        except BaseException:
            with suppress(OSError):
                self._close()
            raise

    def _append(self, content: list[bytes]) -> None:
        file = self._opened()
        content.reverse()
        while content:
            self.octets += file.write(content.pop())
        file.flush()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._folder.make()
            self._file = open(self._begun, "wb", opener=_private)  # noqa: SIM115 - as long as the message
        return self._file

    def _close(self) -> None:
        self._over = True
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CLOEXEC, 0o600)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class ContentFiles:
    """The files of an open spool.  `changed` is told, by any thread, when octets came or went."""

    def __init__(self, spool: Path, changed: Callable[[], None]) -> None:
        self.spool = spool
        self._changed = changed
        self._folder = _Folder(folder_of(spool))
        self._sizes: dict[int, int] = {}
        self._arriving: dict[int, ContentFile] = {}
        self._going: set[int] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="spool-content")

    def __contains__(self, message: int) -> bool:
        return message in self._sizes

    @property
    def octets(self) -> int:
        return sum(list(self._sizes.values())) + sum(file.octets for file in list(self._arriving.values()))

    def begin(self, message: int) -> ContentFile:
        file = self._arriving[message] = ContentFile(self._folder, message)
        return file

    def keep(self, message: int, size: int) -> None:
        """There is a row for it."""
        self._arriving.pop(message, None)
        self._sizes[message] = size
        self._changed()

    def drop(self, message: int) -> None:
        """There is no row for it, and there never will be.  Blocks."""
        if file := self._arriving.pop(message, None):
            file.drop()
            self._changed()

    def remove(self, messages: Iterable[int]) -> None:
        """Content that is not wanted any more, durably; does not wait."""
        gone = [message for message in messages if self._sizes.pop(message, None) is not None]
        if gone:
            self._going.update(gone)
            with suppress(RuntimeError):  # closed: `close` does it
                self._threads.submit(self._remove)

    def _remove(self) -> None:
        crash_points.passed("content-over")
        with suppress(KeyError):
            while True:
                with suppress(OSError):  # else it is swept
                    place_of(self.spool, self._going.pop()).unlink()
        self._changed()

    def sweep(self, db: sqlite3.Connection, arriving: Callable[[], Collection[int]]) -> None:
        """Removes what no row knows of, except of those `arriving`, and learns of the rest.  Raises OSError, sqlite3.Error.

        By the thread of the writer: no commit may be on its way meanwhile.
        """
        names, removed = unknown(self.spool, ()), 0
        spared, known = arriving(), {}  # after the names: who is not among them has a row by now, or never will
        for name in names:
            named = _is_ours(name, _NAMED)
            if not (named or _is_ours(name, _BEGUN)) or (message := int(name.partition(".")[0])) in spared:
                continue
            if named and message in self._sizes:
                continue  # no query and no look at the file: nobody can commit meanwhile, and there may be very many
            if named and (row := db.execute(_WANTED, {"message": message}).fetchone()):
                known[message] = row[0]
            else:
                (folder_of(self.spool) / name).unlink(missing_ok=True)
                removed += 1
        if removed:
            _sync_folder(folder_of(self.spool))  # a number may be used again only when its file is gone for good
        self._sizes.update(known)
        self._changed()

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returned, in a thread of its own: a slow disk must not hold up what else is read or written.

        Raises SpoolBroken once closed.
        """
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError as error:
            raise SpoolBroken(f"{self.spool}: the spool is closed") from error
        return await future

    def close(self) -> None:
        """Blocks until what is on its way is done."""
        self._threads.shutdown()
        for file in list(self._arriving.values()):  # a session that is not over yet may still begin one
            file.close()
        self._remove()


_WANTED = (
    "SELECT size FROM message WHERE id = :message AND kept"
    " AND NOT EXISTS (SELECT 1 FROM content WHERE content.message = :message)"
)
