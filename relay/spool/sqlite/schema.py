"""The spool's file and its tables: made, brought up to date, examined."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from relay.spool.contract import SpoolBroken
from relay.spool.search import sought_before
from relay.spool.sqlite.connections import DAMAGED, connect, damaged, reader, translated
from relay.spool.sqlite.content_files import folder_of, sizes, unknown

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
APPLICATION_ID = 0x72656C79  # "rely": `file` and we ourselves tell a spool from another program's database
MIGRATIONS = ("schema.sql", "schema-2.sql", "schema-3.sql", "schema-4.sql", "schema-5.sql", "schema-6.sql")
"""The script that makes version 1 from nothing, then one for each later version; never changed once released."""
PAGE = 1024
"""Octets of a page in a new file: each one that a transaction touches is written whole.  An older file keeps its 4096."""
_DISK_BLOCK = 4096
_FIRST_BLOCK = "CREATE TABLE first_block_1 (unused INTEGER);\nCREATE TABLE first_block_2 (unused INTEGER);\n"
"""So that the first disk block has only what every spool has: if that is lost, all mail can still be saved."""
_CHECKED_WHOLE = 256_000_000  # octets; a larger file would keep a slow disk busy for minutes at every start
_TOLD = 3  # of the findings about a damaged file; one is enough to know that it is


def prepare(path: Path, page: int = PAGE, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Makes the file (0600, of pages of so many octets) and brings its schema up to date, or as far as `migrations` go.

    Raises SpoolBroken; a newer schema is left untouched.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise SpoolBroken(f"SQLite {sqlite3.sqlite_version} is too old; the spool needs 3.37 or newer")
    with translated(path):
        _make_file(path)
        if path.stat().st_size:
            _look_before_touching(path)
        elif files := sizes(path):
            raise SpoolBroken(
                f"{path} is missing or empty, but {len(files)} messages in {folder_of(path)} belong to it. Put the database"
                " back, or move the folder out of the way; nothing was touched"
            )
        with closing(connect(path)) as db:
            for pragma in (f"page_size = {page}", "auto_vacuum = INCREMENTAL"):
                db.execute(f"PRAGMA {pragma}")  # only obeyed before the first write to the file
            if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise SpoolBroken(f"{path}: this file system cannot keep a write-ahead log (a network share?)")
            if db.execute("PRAGMA user_version").fetchone()[0]:
                _examine(db, path)  # before a migration: what could still be saved of a damaged file must not be rewritten
            _migrate(db, migrations)


def _examine(db: sqlite3.Connection, path: Path) -> None:
    """Raises SpoolBroken for a damaged file: starting could lose what can still be saved."""
    if found := _amiss(db, path):
        raise damaged(path, found)


def _amiss(db: sqlite3.Connection, path: Path) -> str:
    whole = path.stat().st_size < _CHECKED_WHOLE
    for table in ("",) if whole else ("(message)", "(recipient)", "(trail)", "(notice)"):
        found = [line for (text,) in db.execute(f"PRAGMA quick_check{table}") for line in text.splitlines()]
        if found != ["ok"]:
            return _in_short([line for line in found if not line.startswith("***")])
    return ""


def _in_short(found: list[str]) -> str:
    """The first few, and how many more there are: SQLite tells of up to a hundred."""
    more = len(found) - _TOLD
    return "; ".join(found[:_TOLD]) + (f"; and {more} more" if more > 0 else "")


def damage(path: Path, seconds: float) -> str:
    """The damage that a start would find in a spool that no relay uses; "" also if that takes more than so many seconds.

    Only reads.
    """
    if not _at_rest(path):
        return ""
    try:
        with _looked_into(path, seconds) as db:
            found = _amiss(db, path) if db.execute("PRAGMA user_version").fetchone()[0] else ""
    except sqlite3.Error as error:
        found = str(error) if getattr(error, "sqlite_errorname", "") in DAMAGED else ""
    return "" if found and _in_use(path) else found  # by a relay that started meanwhile: what was read is worth nothing


def content_amiss(path: Path, seconds: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Queue ids of messages whose file of content is missing or cut, and names of files that no message knows.

    None of either where a relay uses the spool, the database cannot be read, or that takes too long.  Only reads.
    """
    if not _at_rest(path):
        return (), ()
    try:
        with _looked_into(path, seconds) as db:
            rows = db.execute(
                "SELECT id, queue_id, size FROM message WHERE kept AND size > 0"
                " AND NOT EXISTS (SELECT 1 FROM content WHERE content.message = message.id) ORDER BY id"
            ).fetchall()
        files = sizes(path)
        strange = unknown(path, [message for message, *_ in rows])
    except (sqlite3.Error, OSError):
        return (), ()
    lost = tuple(queue_id for message, queue_id, size in rows if files.get(message) != size)
    return ((), ()) if _in_use(path) else (lost, tuple(strange))


def _at_rest(path: Path) -> bool:
    return os.path.exists(path) and not os.path.exists(f"{path}-journal") and not _in_use(path)


@contextmanager
def _looked_into(path: Path, seconds: float) -> Iterator[sqlite3.Connection]:
    """A connection that writes nothing, and breaks off after so many seconds.  Raises sqlite3.Error."""
    end = time.monotonic() + seconds
    alone = "" if os.path.exists(f"{path}-wal") else "&immutable=1"  # without a log there is no need to make files for one
    with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro{alone}", uri=True, timeout=0)) as db:
        db.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        yield db


def waiting(path: Path) -> int:
    """How many messages wait in a spool, also beside a relay that uses it; 0 where that cannot be told.  Only reads."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=1)) as db:
            row = db.execute("SELECT count(DISTINCT message) FROM recipient WHERE state IN ('queued', 'held')").fetchone()
            return int(row[0])
    except sqlite3.Error:
        return 0


def _in_use(path: Path) -> bool:
    """Whether a relay uses it; True also if that cannot be told."""
    try:
        file = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _make_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # a new file's name must survive power loss as its content does
        finally:
            os.close(directory)
    except OSError as error:
        raise SpoolBroken(f"{path}: {error.strerror or error}") from error


def _look_before_touching(path: Path) -> None:
    if os.path.exists(f"{path}-journal"):
        with closing(connect(path)) as db:  # the power failed while the file was made: a reader could not roll that back
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    with closing(reader(path)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if db.execute("PRAGMA application_id").fetchone()[0] not in (0, APPLICATION_ID) or (
            version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        ):
            raise SpoolBroken(f"{path} is the database of another program; nothing was touched")
    if version > len(MIGRATIONS):
        raise SpoolBroken(
            f"{path} was written by a newer version of the relay (schema {version}, this one knows up to"
            f" {len(MIGRATIONS)}); nothing was touched"
        )


def _migrate(db: sqlite3.Connection, migrations: Sequence[str]) -> None:
    db.create_function("sought_before", 5, sought_before, deterministic=True)
    version, page = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "page_size"))
    for number, script in list(enumerate(migrations, 1))[version:]:
        sql = Path(__file__).with_name(script).read_text("utf-8")
        if number == 1 and page < _DISK_BLOCK:
            sql = _FIRST_BLOCK + sql
        db.executescript(
            f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;"
        )
