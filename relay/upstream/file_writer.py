"""Writes files into a folder: under their names there are whole files only, and none is ever replaced.

Each file is written under a hidden name in the same folder and synced; when all of them are, they get their names, and the
folder is synced.  So a crash leaves all of a file or nothing, and perhaps a hidden one, which is swept later.  Blocking.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from relay import crash_points
from relay.mail.reply import Fault
from relay.upstream.file_names import numbered

_NOREPLACE = 1  # RENAME_NOREPLACE of renameat2(2)
_KEEP = 200_000_000  # octets that stay free on the file system; on a small one a twentieth of it
_BLOCK = 1 << 16
_SECONDS = 3.0  # to which a file system that knows no fractions keeps times: FAT has two
_FRACTION = 0.001  # of a second, to which others do
_OLD = 3600.0  # seconds after which a hidden file belongs to nobody
_MOST_NUMBERS = 99
_HIDDEN, _PART = ".relay-", ".part"
_NO_SUCH_CALL = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
_FAULTS = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO), Fault.FOLDER_MISSING),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), Fault.FOLDER_RIGHTS),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), Fault.FOLDER_FULL),
}

Rename = Callable[[int, bytes, bytes], None]
"""Gives a file in an open folder another name; raises FileExistsError if that is taken.  Names are UTF-8 in any locale."""

_in_hand: set[str] = set()  # hidden names that this process is writing


class FolderFailed(Exception):
    """The folder cannot take the files now; the text is for people."""

    def __init__(self, fault: Fault, words: str) -> None:
        super().__init__(words)
        self.fault = fault


class Abandoned(Exception):
    """Nobody waits for the files any more, and none had its name yet."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file under its name.  `there`: it was there already, with the same octets, from an earlier try."""

    name: str
    size: int
    there: bool = False


@dataclass(frozen=True, slots=True)
class _Hidden:
    wanted: str
    temporary: str
    size: int
    digest: bytes
    keeps_times: bool


@contextlib.contextmanager
def failing(place: str) -> Iterator[None]:
    """What the system says becomes FolderFailed."""
    try:
        yield
    except OSError as error:
        fault = _FAULTS.get(error.errno or 0, Fault.FOLDER_IO)
        raise FolderFailed(fault, f"{place}: {error.strerror or error}") from error


def enter(fixed: str, below: Iterable[str]) -> int:
    """The open folder.  `fixed` must be there: it may be a mount that is missing; the names below it are made.

    No symbolic link below it is followed: others can write there.
    """
    place = fixed
    with failing(fixed):
        folder = os.open(fixed.encode(), os.O_RDONLY | os.O_DIRECTORY)
    for name in below:
        place = f"{place}/{name}"
        with failing(place), _closing(folder):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name.encode(), 0o770, dir_fd=folder)
            _sync_folder(folder)  # also where it was there: an earlier try may have died before this
            folder = os.open(name.encode(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    return folder


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def room(folder: int) -> int | None:
    """Octets that may be written there; None if the file system does not tell."""
    try:
        found = os.fstatvfs(folder)
    except OSError:
        return None
    whole = found.f_blocks * found.f_frsize
    return found.f_bavail * found.f_frsize - min(_KEEP, whole // 20) if whole else None


class FileWriter:
    """The files of one message in one folder.

    `queue_id` and `accepted_at` are the message's: the files get that time, by which a repeated try knows its own.
    """

    def __init__(
        self,
        folder: int,
        place: str,
        queue_id: str,
        accepted_at: datetime,
        stop: threading.Event,
        renames: tuple[Rename, ...] = (),
    ) -> None:
        self._folder, self._place, self._queue_id, self._stop = folder, place, queue_id, stop
        self._time = accepted_at.timestamp()
        self._renames = renames or RENAMES
        self._hidden: list[_Hidden] = []
        self._names: set[str] = set()  # that this message has, without their case: shares may not tell it apart

    def write(self, wanted: str, blocks: Iterable[bytes]) -> None:
        """Writes one file under a hidden name, and syncs it."""
        temporary = f"{_HIDDEN}{self._queue_id}-{secrets.token_hex(4)}{_PART}"
        _in_hand.add(temporary)
        self._hidden.append(_Hidden(wanted, temporary, 0, b"", keeps_times=False))
        seen, size = hashlib.sha256(), 0
        with failing(self._place):
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660, dir_fd=self._folder)
        with _closing(file):
            for block in blocks:
                if self._stop.is_set():
                    raise Abandoned
                with failing(self._place):
                    _write_all(file, block)
                seen.update(block)
                size += len(block)
                crash_points.passed("file-begun")
            with failing(self._place):
                with contextlib.suppress(OSError):
                    os.utime(file, (self._time, self._time))
                os.fsync(file)
                kept = abs(os.fstat(file).st_mtime - self._time) <= _SECONDS
        self._hidden[-1] = _Hidden(wanted, temporary, size, seen.digest(), keeps_times=kept)

    def name_all(self) -> list[WrittenFile]:
        """All of them get their names, and these are synced."""
        crash_points.passed("file-written")
        with failing(self._place):
            saved = []
            for one in self._hidden:
                saved.append(self._named(one))
                crash_points.passed("file-named")
            _sync_folder(self._folder)
        crash_points.passed("file-synced")
        return saved

    @property
    def begun(self) -> bool:
        """Whether some file has its name."""
        return bool(self._names)

    def clean(self) -> None:
        """Removes what has no name yet."""
        for one in self._hidden:
            with contextlib.suppress(OSError):
                os.unlink(one.temporary, dir_fd=self._folder)
            _in_hand.discard(one.temporary)

    def _named(self, one: _Hidden) -> WrittenFile:
        for name in self._candidates(one.wanted):
            if name.casefold() in self._names:
                continue
            there = False
            try:
                self._rename(one.temporary, name)
            except FileExistsError:
                if not self._is_ours(one, name):
                    continue
                there = True
            self._names.add(name.casefold())
            return WrittenFile(name, one.size, there)
        raise FolderFailed(Fault.FOLDER_IO, f"{self._place}: there is no free name for {one.wanted}")

    def _candidates(self, wanted: str) -> Iterator[str]:
        """`scan.pdf`, `scan (2).pdf` ...; in a folder that is full of these, names with the queue id."""
        yield wanted
        for number in range(2, _MOST_NUMBERS + 1):
            yield numbered(wanted, number)
        yield (own := numbered(wanted, self._queue_id))
        for number in range(2, 2000):
            yield numbered(own, number)

    def _rename(self, temporary: str, name: str) -> None:
        """By the first call that this file system has."""
        for place, rename in enumerate(self._renames):
            try:
                rename(self._folder, temporary.encode(), name.encode())
            except OSError as error:
                if error.errno in _NO_SUCH_CALL and place + 1 < len(self._renames):
                    continue
                raise
            return

    def _is_ours(self, one: _Hidden, name: str) -> bool:
        """Whether the file of that name is this one, written by an earlier try of the same message."""
        try:
            file = os.open(name.encode(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
        except OSError:
            return False
        with _closing(file):
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size != one.size:
                return False
            gap = _SECONDS if found.st_mtime.is_integer() else _FRACTION
            if one.keeps_times and abs(found.st_mtime - self._time) > gap:
                return False
            seen = hashlib.sha256()
            while block := os.read(file, _BLOCK):
                seen.update(block)
            return seen.digest() == one.digest


def sweep(folder: int, queue_id: str, now: float) -> None:
    """Removes hidden files that a crash left: those of this message, and all that are old."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(_HIDDEN) and entry.name.endswith(_PART)) or entry.name in _in_hand:
                continue
            with contextlib.suppress(OSError):
                # another relay may be writing it; the time of the last change is the file system's own, not the message's
                changed = os.stat(entry.name, dir_fd=folder, follow_symlinks=False).st_ctime
                if entry.name.startswith(f"{_HIDDEN}{queue_id}-") or now - changed > _OLD:
                    os.unlink(entry.name, dir_fd=folder)


def _write_all(file: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(file, left) :]


def _sync_folder(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some shares cannot sync a folder
            raise


def _by_renameat2(folder: int, temporary: bytes, name: bytes) -> None:
    """The one that programs which watch a folder see as a file that is moved in."""
    try:
        import ctypes  # here: it costs memory, and some hardened systems refuse it what it wants

        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (ImportError, MemoryError, OSError, AttributeError):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if call(folder, temporary, folder, name, _NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _by_link(folder: int, temporary: bytes, name: bytes) -> None:
    """Where a rename always replaces (NFS)."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        # NFS may say so of its own link, when the first answer was lost
        if not os.path.samestat(*(os.stat(one, dir_fd=folder, follow_symlinks=False) for one in (temporary, name))):
            raise
    with contextlib.suppress(OSError):
        os.unlink(temporary, dir_fd=folder)
        os.close(os.open(name, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=folder))  # who watches for files that are closed hears of it


def _by_empty_file(folder: int, temporary: bytes, name: bytes) -> None:
    """Where there are no links either: an empty file keeps the name; a crash in between leaves that."""
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660, dir_fd=folder))
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise


RENAMES: tuple[Rename, ...] = (_by_renameat2, _by_link, _by_empty_file)
