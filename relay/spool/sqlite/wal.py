"""The write-ahead log as a file: it gets its full size once, and keeps it."""

import os
import sqlite3
from asyncio import Future
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relay.spool.contract import SpoolBroken
from relay.spool.sqlite.connections import LOG, LOG_OVER, log_octets, shrink_log
from relay.spool.sqlite.jobs import Job
from relay.spool.sqlite.writer import Writer

_BLOCK = 4096


def lay_out(writer: Writer, path: Path) -> None:
    """Gives the log of the file at `path` its full size, slice by slice between transactions; from the event loop only."""

    def go_on(future: "Future[bool]") -> None:
        if not future.cancelled() and future.exception() is None and future.result():
            lay_out(writer, path)

    with suppress(SpoolBroken):  # closed meanwhile
        writer.submit(Job(lambda db: _slice_of_zeros(db, path), looks=True)).add_done_callback(go_on)


def _slice_of_zeros(db: sqlite3.Connection, path: Path) -> bool:
    """Writes zeros behind the end of the log; whether there is more to do.

    A log that grows while it is written costs a journal entry of the file system at each sync, more than the mail itself.
    What SQLite finds behind its last frame does not count.  Whoever else might write frames, a person with SQLite's shell,
    is kept out meanwhile by the lock of a transaction that changes nothing.
    """
    with suppress(OSError, sqlite3.OperationalError), _locked(db):  # else it grows as it always did
        log = os.open(f"{path}-wal", os.O_WRONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(log).st_size
            if log_octets(path) < LOG or size >= LOG:
                return False
            # one by one: the kernel should not take them for one large piece of the file
            for place in range(size, min(size + LOG_OVER, LOG), _BLOCK):
                os.pwrite(log, bytes(_BLOCK), place)
            os.fdatasync(log)
        finally:
            os.close(log)
        return True
    return False


@contextmanager
def _locked(db: sqlite3.Connection) -> Iterator[None]:
    """Nobody else writes to the database meanwhile.  Raises sqlite3.OperationalError where somebody does."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def bring_home(db: sqlite3.Connection, path: Path) -> None:
    """Checkpoints the log, so that it is written from its beginning again; it keeps its size unless room is short."""
    if log_octets(path) < LOG:
        shrink_log(db)
    else:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
