"""The lock of the spool's file, connections to it, its log, its room, and what its errors mean."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from relay.spool.contract import SpoolBroken, SpoolFull

_COUNTED_EVERY = 0.1  # seconds
_BUSY = 10  # seconds; nobody else writes, but a reader may be recovering the log after a crash
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_CORRUPT_INDEX", "SQLITE_CORRUPT_VTAB")
_AMPLE = 1_000_000_000  # octets that may still be accepted: more than a second brings
_FULL_BELOW = 100_000  # octets: an I/O error with less than this free is a full disk, whatever SQLite calls it


def translate(error: sqlite3.Error, path: Path) -> SpoolFull | SpoolBroken:
    """SpoolFull or SpoolBroken for an exception of SQLite."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    maybe_full = name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and 0 <= free_octets(path) < _FULL_BELOW
    if name.startswith("SQLITE_FULL") or maybe_full:
        return SpoolFull(f"the disk of {path} is full")
    if name == "SQLITE_NOTADB":
        return SpoolBroken(
            f"{path} is no spool: it is no database; nothing was touched. Set `spool.url` to a file of its own, for example"
            " sqlite:/var/lib/relay/spool.db. If it was the relay's spool before, its beginning is damaged: save what can"
            f" be read with `relay queue export DIRECTORY`, and move {path.name}* out of the way"
        )
    return damaged(path, f"{error} ({name})") if name in DAMAGED else SpoolBroken(f"{path}: {error} ({name})")


def damaged(path: Path, what: str) -> SpoolBroken:
    """The file is not what we wrote; the text says what to do."""
    return SpoolBroken(
        f"{path} is damaged. Stop the relay, save what can be read with `relay queue export DIRECTORY`,"
        f" move {path.name}* out of the way, and start again with an empty spool; then look after the disk. Found: {what}"
    )


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns what SQLite or a file beside it raises inside into SpoolFull or SpoolBroken."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SpoolFull(f"the disk of {path} is full") from error
        raise SpoolBroken(f"{error.filename or path}: {error.strerror or error}") from error


def in_truth(path: Path) -> Path:
    """Where a symbolic link leads: SQLite has its log there, so the lock and the content belong there, too."""
    return Path(os.path.realpath(path))


def free_octets(path: Path) -> int:
    """What the file system has left for us beside `path`; -1 if it cannot tell."""
    try:
        stat = os.statvfs(path.parent)
    except OSError:
        return -1
    return stat.f_bavail * stat.f_frsize


class Lock:
    """The exclusive flock beside the database: one relay at a time.  The kernel frees it when the process dies."""

    def __init__(self, path: Path) -> None:
        """Takes the lock, makes the directory (0700) where it is missing.  Raises SpoolBroken naming the holder."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            from relay.other_user import place_for

            cure = place_for(path.parent, error, "spool.url")
            raise SpoolBroken(f"{path}: {error.strerror or error}{cure}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise SpoolBroken(f"{path}: another relay (pid {holder}) uses this spool; stop it first") from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def let_go(self) -> None:
        # the file stays: unlinking it would let two relays hold locks on two files of one name
        os.close(self._file)


def connect(path: Path, *, one_thread: bool = True) -> sqlite3.Connection:
    """A connection that may write.  Raises sqlite3.Error."""
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"  # never creates: that is `schema.prepare`'s business
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY, check_same_thread=one_thread)


LOG = 16 * 1024 * 1024
"""Octets of the write-ahead log, where the disk has room for it: a page is brought home once, however often it was written."""
LOG_OVER = 256 * 1024
"""By how much it may be longer, before it is cut."""
_LEAST_LOG = 4 * 1024 * 1024
_LOG_SHARE = 32  # of what is free, the log may have one part in so many


def log_octets(path: Path) -> int:
    """What the log may have on this disk."""
    return min(LOG, max(_LEAST_LOG, free_octets(path) // _LOG_SHARE))


def writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints; for any thread, but for one at a time.

    Not more than one: SQLite before 3.51.3 can corrupt a WAL that one connection writes while another checkpoints it.
    """
    db, log = connect(path, one_thread=False), log_octets(path)
    try:
        (page,) = db.execute("PRAGMA page_size").fetchone()
        for pragma in (
            "synchronous = FULL",  # NORMAL may lose the last commits when the power fails
            "foreign_keys = ON",
            "secure_delete = OFF",  # Debian's default would write zeros over every removed message: WAL on a full disk
            "temp_store = MEMORY",
            "cache_size = -4096",
            f"wal_autocheckpoint = {log // (page + 24)}",
            f"journal_size_limit = {log + LOG_OVER}",
        ):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY)")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def reader(path: Path) -> sqlite3.Connection:
    """A connection that can only read; may be closed by another thread than the one that opened it."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY, check_same_thread=False)


def write_home(db: sqlite3.Connection) -> None:
    """Writes all of the log anew into the file itself, and syncs that.  Raises sqlite3.Error.

    After a failed fsync the kernel takes lost pages for clean: another fsync of the log would prove nothing.
    """
    try:
        busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("the log of a medium that failed is still being read; trying again")
    except sqlite3.Error:
        db.close()
        raise


def shrink_log(db: sqlite3.Connection) -> None:
    """Checkpoints and empties the log, unless somebody reads it: it does not wait for them."""
    db.execute("PRAGMA busy_timeout = 100")
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        be_patient(db)


def be_patient(db: sqlite3.Connection) -> None:
    """Lets the connection wait for another user of the file, such as a person with SQLite's shell."""
    db.execute(f"PRAGMA busy_timeout = {_BUSY * 1000}")


def be_impatient(db: sqlite3.Connection) -> None:
    """A file that is locked is an error at once."""
    db.execute("PRAGMA busy_timeout = 0")


class Room:
    """How much may still be accepted: the disk's free octets and SQLite's own free pages, less the reserve."""

    def __init__(self, path: Path, keep_free: int) -> None:
        self.path = path
        self.keep_free = keep_free
        self.free_pages = 0  # octets in them, less what the file has still to grow by; set by the writer after a transaction
        self._free = 0
        self._asked_at = self._told_at = float("-inf")

    def free(self) -> int:
        """Octets that can be written at all; asked of the file system once a second at most, while there is plenty."""
        if time.monotonic() - self._asked_at > 1.0 or self._free < _AMPLE:
            self._free = free_octets(self.path)
            self._asked_at = time.monotonic()
        return self._free + self.free_pages

    def left(self) -> int:
        return self.free() - self.keep_free

    @property
    def stale(self) -> bool:
        """Whether the free pages should be counted again: small messages need little room within a tenth of a second."""
        return time.monotonic() - self._told_at > _COUNTED_EVERY

    def doubt(self) -> None:
        """Much may have been written or freed: count again."""
        self._told_at = float("-inf")

    def changed(self, free_pages: int) -> None:
        """Something was written: ask the file system again, too."""
        self.free_pages = free_pages
        self._told_at = time.monotonic()
        self.ask_again()

    def ask_again(self) -> None:
        """A file came or went.  Any thread."""
        self._asked_at = float("-inf")
