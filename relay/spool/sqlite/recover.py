"""Saves what can be read of a damaged spool: every message as a file of its own, whatever is broken beside it.

Works on a copy; the spool itself is only read.  It tries the file as it is, then with the first pages (where
SQLite says where everything is) taken from a new spool, since tables lie at the same place in each.
"""

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from relay.other_user import as_other_user
from relay.spool.contract import SpoolBroken
from relay.spool.entry import Recipient, State, StoredEntry
from relay.spool.rows import ADDED, BLOCK, MESSAGE_ADDED, MESSAGE_COLUMNS, RECIPIENT_COLUMNS, row_entry, row_recipient, unpacked
from relay.spool.sqlite.connections import Lock, in_truth
from relay.spool.sqlite.content_files import place_of, sizes
from relay.spool.sqlite.schema import MIGRATIONS, PAGE, prepare

_BLOCK = 4096  # octets read at once: what the disk will not give is lost by as much
_MADE = (
    (PAGE, 5),
    (4096, 5),
    (PAGE, 4),
    (4096, 4),
    (PAGE, 3),
    (4096, 3),
    (PAGE, 2),
    (4096, 2),
    (4096, 1),
)  # octets of a page and version of the schema, as spools have had them
_LEAVES = 5  # the first octet of a table's page that only leads to others; the file's own header comes before it
_GAPS = 1_000_000  # ids that are tried one by one where the tables cannot be walked through


@dataclass(frozen=True, slots=True)
class RecoveredMessage:
    """One message: what is known of it (None: its row cannot be read), its file ("" if there is no content), what is amiss."""

    name: str
    stored: StoredEntry | None
    file: str
    amiss: str


def save(spool: Path, directory: Path) -> list[RecoveredMessage]:
    """Writes every message that still has content to `directory` (made, 0700; the files 0600).

    Raises SpoolBroken if a relay runs on the spool, or nothing at all can be made of the file; OSError.
    """
    try:
        spool.stat()
    except PermissionError as error:
        raise SpoolBroken(f"{spool}: {error.strerror}{as_other_user(spool)}") from error
    except OSError as error:
        raise SpoolBroken(f"{spool}: there is no such spool") from error
    spool = in_truth(spool)
    lock = Lock(spool)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=directory, prefix=".copy-") as scratch,
            closing(_opened(spool, Path(scratch))) as db,
        ):
            files = sizes(spool)
            return [_save_one(db, message, spool, directory) for message in _messages(db, files)]
    finally:
        lock.let_go()


# -- a copy that SQLite opens ---------------------------------------------------------------------------------------------


def _opened(spool: Path, scratch: Path) -> sqlite3.Connection:
    best: tuple[int, sqlite3.Connection, Path] | None = None
    variants = [(log, made) for made in (None, *_MADE) for log in (True, False)]  # None: with its own first pages
    for attempt, (log, made) in enumerate(variants):
        copy = scratch / f"{attempt}.db"
        _copy(spool, copy)
        if log and os.path.exists(old := Path(f"{spool}-wal")):
            _copy(old, Path(f"{copy}-wal"))
        if made:
            _give_first_pages(copy, scratch / f"new-{attempt}.db", *made)
        db = sqlite3.connect(copy, isolation_level=None)
        if _recognised(db) and not made:
            return db
        # pages that are another version's lead to tables of the same names, but not to all of them
        messages = _messages(db) if _recognised(db) else []
        clear = 1 + sum(not _described(db, one)[1] for one in messages) if messages else 0
        this, worse = (clear, db, copy), best
        if clear > (best[0] if best else 0):
            best = this
        else:
            worse = this
        if worse:
            worse[1].close()
            worse[2].unlink()
    if best is None:
        raise SpoolBroken(f"{spool}: nothing in it can be recognised as a spool")
    return best[1]


def _recognised(db: sqlite3.Connection) -> bool:
    with suppress(sqlite3.Error, UnicodeDecodeError):
        found = db.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('message', 'content')").fetchone()
        return bool(found == (2,))
    return False


def _copy(old: Path, new: Path) -> None:
    """Octet for octet; what cannot be read becomes zeros."""
    with old.open("rb", buffering=0) as source, new.open("wb") as target:
        size = old.stat().st_size
        for place in range(0, size, _BLOCK):
            source.seek(place)
            block = b""
            with suppress(OSError):
                block = source.read(_BLOCK)
            target.write(block.ljust(min(_BLOCK, size - place), b"\0"))


def _give_first_pages(copy: Path, new: Path, page: int, version: int) -> None:
    """Copies the first page and those that it leads to: they say which tables there are and where they begin."""
    prepare(new, page, MIGRATIONS[:version])
    fresh = new.read_bytes()
    first = bytearray(fresh[:page])
    first[28:32] = (copy.stat().st_size // page).to_bytes(4, "big")  # pages in the file
    first[32:40] = bytes(8)  # no free ones that we know of
    with copy.open("r+b") as file:
        file.write(first)
        for number in _led_to(first):
            file.seek((number - 1) * page)
            file.write(fresh[(number - 1) * page : number * page])


def _led_to(first: bytes | bytearray) -> list[int]:
    """Numbers of the pages that the first one leads to (https://www.sqlite.org/fileformat2.html, section 1.6)."""
    if first[100] != _LEAVES:
        return []
    cells = [int.from_bytes(first[place : place + 2], "big") for place in range(112, 112 + 2 * first[104], 2)]
    return [int.from_bytes(first[place : place + 4], "big") for place in (*cells, 108)]


# -- what is in it ----------------------------------------------------------------------------------------------------------


def _messages(db: sqlite3.Connection, files: Iterable[int] = ()) -> list[int]:
    """The ids of all messages, and of content whose message cannot be read."""
    found = set(files)
    for table, column in (("message", "id"), ("content", "message")):
        for direction in ("ASC", "DESC"):  # from both ends, up to where it breaks
            for order in (f"NOT INDEXED ORDER BY {table}.id", f"ORDER BY {column}"):
                found |= set(_walked(db, f"SELECT {column} FROM {table} {order} {direction}"))  # noqa: S608 - our own names
    if found and max(found) - min(found) < _GAPS:
        missing = (number for number in range(min(found), max(found)) if number not in found)
        found |= {number for number in missing if _walked(db, "SELECT 1 FROM message WHERE id = ?", number)}
    return sorted(found)


def _walked(db: sqlite3.Connection, query: str, *values: int) -> list[int]:
    rows: list[int] = []
    with suppress(sqlite3.Error):
        for (value,) in db.execute(query, values):
            if isinstance(value, int):  # else the page belongs to another table
                rows.append(value)  # one by one: those before the break count
    return rows


def _save_one(db: sqlite3.Connection, message: int, spool: Path, directory: Path) -> RecoveredMessage:
    stored, amiss = _described(db, message)
    name = stored.entry.queue_id if stored else f"unknown-{message}"
    octets = b"" if _done(stored) else b"".join(_blocks(db, message)) or _in_file(spool, message)
    if not octets and not _content_wanted(stored):
        return RecoveredMessage(name, stored, "", amiss)
    if stored and stored.entry.digest and hashlib.sha256(octets).hexdigest() != stored.entry.digest:
        amiss = f"{amiss}; {len(octets)} of {stored.entry.size} octets, not all as they were accepted".removeprefix("; ")
    file = directory / f"{name}.{'partial.' if amiss else ''}eml"
    file.touch(0o600)
    file.write_bytes(octets)
    return RecoveredMessage(name, stored, file.name, amiss)


def _described(db: sqlite3.Connection, message: int) -> tuple[StoredEntry | None, str]:
    try:
        row = db.execute(f"{_known(db, 'message', MESSAGE_COLUMNS)} WHERE id = :message", {**MESSAGE_ADDED, "message": message})
        row = row.fetchall()[0]
    except (sqlite3.Error, IndexError):
        return None, "sender and recipients cannot be read"
    try:
        recipients = _recipients(db, message)
        entry = row_entry(row, tuple(recipient.address for recipient in recipients), ())
    except (sqlite3.Error, ValueError, TypeError, KeyError):
        return None, "sender and recipients cannot be read"
    return StoredEntry(entry, recipients), "" if recipients else "its recipients cannot be read"


def _recipients(db: sqlite3.Connection, message: int) -> tuple[Recipient, ...]:
    query = f"{_known(db, 'recipient', RECIPIENT_COLUMNS)} WHERE message = :message ORDER BY seq"
    return tuple(map(row_recipient, db.execute(query, {**ADDED, "message": message}).fetchall()))


def _known(db: sqlite3.Connection, table: str, columns: str) -> str:
    """The query of these columns; of those that this version of the schema does not have, a value by their name."""
    known = {row[1] for row in db.execute(f"PRAGMA table_info({table})").fetchall()}
    named = (name if name in known else f":{name}" for name in columns.split(", "))
    return f"SELECT {', '.join(named)} FROM {table}"  # noqa: S608 - our own column names


def _done(stored: StoredEntry | None) -> bool:
    """Whether every recipient is relayed: content that is left only waits for its removal."""
    recipients = stored.recipients if stored else ()
    return bool(recipients) and all(one.state is State.RELAYED for one in recipients)


def _content_wanted(stored: StoredEntry | None) -> bool:
    return stored is None or not stored.recipients or any(not one.state.over for one in stored.recipients)


def _in_file(spool: Path, message: int) -> bytes:
    with suppress(OSError):
        return place_of(spool, message).read_bytes()
    return b""


def _blocks(db: sqlite3.Connection, message: int) -> Iterator[bytes]:
    """The content's blocks in order, zeros for one that cannot be read between others."""
    found = dict(_block_rows(db, message))
    last = max(found, default=-1)
    for number in range(last + 1):
        yield found.get(number, bytes(BLOCK))


def _block_rows(db: sqlite3.Connection, message: int) -> Iterable[tuple[int, bytes]]:
    what = "data, packed" if _walked(db, "SELECT 1 FROM pragma_table_info('content') WHERE name = 'packed'") else "data, 0"
    numbers = set(_walked(db, "SELECT seq FROM content WHERE message = ? ORDER BY seq", message))
    numbers |= set(_walked(db, "SELECT seq FROM content NOT INDEXED WHERE message = ?", message))
    for number in sorted(numbers):
        for how in ("", "NOT INDEXED"):
            with suppress(sqlite3.Error, ValueError):
                query = f"SELECT {what} FROM content {how} WHERE message = ? AND seq = ?"  # noqa: S608
                row = db.execute(query, (message, number)).fetchone()
                if row:
                    yield number, unpacked(*row)
                    break
