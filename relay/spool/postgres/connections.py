"""A few connections to PostgreSQL, lent to callers; it knows when the server is away and when it is back.

Every connection works in autocommit; callers begin transactions themselves.  Nothing waits for a server that is known
to be away: `notify_listener` finds out when it is back.
"""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from psycopg import Connection, conninfo, errors

from relay.spool.contract import SpoolAway, SpoolBroken, SpoolFull

T = TypeVar("T")

LENT = 6
"""Connections for work that the event loop waits for; readers of large content may open as many again."""

PATIENCE = 15.0
"""Seconds that one statement may take before the server counts as away."""

_DEADLOCKS = 5
_CONNECT = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "target_session_attrs": "read-write",  # of several hosts the one that is the primary now
    "client_encoding": "UTF8",
}
_NEVER = ("28", "3D", "42", "3F")  # login refused, no such database, no right, no such schema: waiting helps nobody

_CURES = (
    ("no password supplied", "the password comes from spool.password_file, or from PGPASSWORD in the relay's environment"),
    ("password authentication failed", "is the password in spool.password_file that of this role?"),
    (
        "server does not support SSL",
        "sslmode in spool.url asks for TLS: let the server have it, `ssl = on` in its postgresql.conf; sslmode=prefer does"
        " without, and is for a network that nobody else is on",
    ),
    ("no schema has been selected", "the role sees no schema: as the owner GRANT USAGE ON SCHEMA, see docs/postgres.md"),
)
"""The cure, by a part of what libpq or the server says."""


def complete(url: str, password: str, name: str) -> str:
    """The connection string, with what the relay needs where the URL says nothing.  Raises SpoolBroken if it is none."""
    try:
        said = conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        raise SpoolBroken(f"spool.url is no PostgreSQL address: {' '.join(str(error).split())}") from error
    if password and "password" not in said:
        said["password"] = password
    return conninfo.make_conninfo("", **{"application_name": f"relay {name}".strip(), **_CONNECT, **said})


class Unsure(SpoolAway):
    """The connection was lost during a write; nobody knows whether it was done."""


class _ConnectionLost(Exception):
    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.error = error


class PostgresConnections:
    """Connections to one database.  `gone` is called, from any thread, when the server is found to be away."""

    def __init__(self, where: str, gone: Callable[[], None] = lambda: None) -> None:
        self._where, self.gone = where, gone
        self._idle: list[Connection] = []
        self._busy: dict[Connection, float] = {}
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(2 * LENT)
        self._threads = ThreadPoolExecutor(LENT, thread_name_prefix="postgres")
        self._closed = False
        self.away = ""
        """Why the server cannot be reached; "" while it can."""

    # -- using it ---------------------------------------------------------------------------------------------------

    async def run(self, work: Callable[[Connection], T], *, again: bool = True) -> T:
        """`call`, in a thread."""
        if self.away:
            raise SpoolAway(self.away)  # at once: a device waits
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: self.call(work, again=again))

    def call(self, work: Callable[[Connection], T], *, again: bool = True) -> T:
        """What `work` returns.  With `again` it may run twice: a connection may have died unnoticed.

        Raises SpoolAway, SpoolFull, SpoolBroken, and what `work` raises; without `again` Unsure if the connection was lost.
        """
        with self._room:
            try:
                return self._lent(work, fresh=False)
            except _ConnectionLost as died:
                self.probe()
                if not again:
                    raise Unsure(words(died.error)) from died.error
            try:
                return self._lent(work, fresh=True)
            except _ConnectionLost as died:
                raise self.lose(died.error) from died.error

    def _lent(self, work: Callable[[Connection], T], *, fresh: bool) -> T:
        db = self._take(fresh=fresh)
        try:
            return self._worked(db, work)
        except psycopg.Error as error:
            if not lost(db, error):
                raise translate(error) from error
            _close(db)
            raise _ConnectionLost(error) from error
        finally:
            self._give(db)

    def probe(self) -> None:
        """Whether the server can be reached at all.  Raises SpoolAway."""
        with self._lock:
            stale, self._idle = self._idle, []
        for old in stale:
            _close(old)
        try:
            db = self.connect()
        except psycopg.Error as error:
            raise self.lose(error) from error
        self._give(db)

    def _worked(self, db: Connection, work: Callable[[Connection], T]) -> T:
        for left in reversed(range(_DEADLOCKS)):
            try:
                return work(db)
            except (errors.DeadlockDetected, errors.SerializationFailure):
                if not left:
                    raise
                time.sleep(0.01)
        raise AssertionError("unreachable")

    def still_busy(self, db: Connection) -> None:
        """A long job has made progress: its timeout begins anew."""
        with self._lock:
            if db in self._busy:
                self._busy[db] = time.monotonic()

    def hang_up(self, longer: float = PATIENCE) -> None:
        """Closes connections whose server has not answered for so many seconds: their callers get an error."""
        late = time.monotonic() - longer
        with self._lock:
            hung = [db for db, since in self._busy.items() if since < late]
        for db in hung:
            shut(db)

    # -- away and back ------------------------------------------------------------------------------------------------

    def lose(self, error: Exception) -> SpoolAway:
        """The server is away from now on, until `back`."""
        with self._lock:
            first, self.away = not self.away, words(error)
        if first:
            self.gone()
        return SpoolAway(self.away)

    def back(self) -> bool:
        """The server was reached; old connections are closed.  Whether it had been away."""
        with self._lock:
            was, self.away = self.away, ""
            old, self._idle = (self._idle, []) if was else ([], self._idle)
        for db in old:
            _close(db)
        return bool(was)

    def connect(self) -> Connection:
        """A connection of one's own.  Raises psycopg.OperationalError."""
        db = psycopg.connect(self._where, autocommit=True)
        try:
            db.execute("SET synchronous_commit = on")  # a 250 means: on the disk of the server, whatever its settings say
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Ends all threads and connections."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            old, self._idle = self._idle, []
        for db in old:
            _close(db)

    # -- lending ------------------------------------------------------------------------------------------------------

    def _take(self, *, fresh: bool) -> Connection:
        if self._closed:
            raise SpoolBroken("the spool is closed")
        if self.away:
            raise SpoolAway(self.away)
        with self._lock:
            stale, self._idle = (self._idle, []) if fresh else ([], self._idle)
            db = self._idle.pop() if self._idle else None
        for old in stale:
            _close(old)
        if db is None:
            try:
                db = self.connect()
            except psycopg.Error as error:
                raise self.lose(error) from error
        with self._lock:
            self._busy[db] = time.monotonic()
        return db

    def _give(self, db: Connection) -> None:
        with self._lock:
            self._busy.pop(db, None)
            if not db.closed and not self._closed:
                self._idle.append(db)
                return
        _close(db)


def lost(db: Connection, error: psycopg.Error) -> bool:
    """Whether the server is away, rather than the statement wrong."""
    state = error.sqlstate or ""
    gone = state.startswith(("08", "57P")) or state == "25006"  # it has become a standby
    return gone or db.closed or (isinstance(error, psycopg.OperationalError) and not state)


def hopeless(error: Exception) -> bool:
    """Whether waiting will not help: a login refused, a database that is not there."""
    state = getattr(error, "sqlstate", None) or ""
    text = str(error)
    refused = (
        "password authentication failed",
        "does not exist",
        "no pg_hba.conf entry",
        "certificate",
        "no password supplied",
        "does not support SSL",
    )
    return state.startswith(_NEVER) or any(one in text for one in refused)


def translate(error: psycopg.Error) -> SpoolFull | SpoolBroken:
    """SpoolFull or SpoolBroken for an exception of psycopg."""
    if isinstance(error, errors.DiskFull):
        return SpoolFull("the disk of the PostgreSQL server is full")
    return SpoolBroken(f"PostgreSQL: {words(error)}")


def words(error: Exception) -> str:
    """The error on one line, and the cure if it is known."""
    said = " ".join(str(error).split()) or type(error).__name__
    cure = next((cure for part, cure in _CURES if part in said), "")
    return f"{said} ({cure})" if cure else said


def shut(db: Connection) -> None:
    """Shuts the connection from another thread: a caller that waits for the server gets an error."""
    with contextlib.suppress(OSError, psycopg.Error):
        sock = socket.socket(fileno=os.dup(db.fileno()))
        with sock:
            sock.shutdown(socket.SHUT_RDWR)


def _close(db: Connection) -> None:
    with contextlib.suppress(psycopg.Error, OSError):
        db.close()


@contextlib.contextmanager
def together(db: Connection) -> Iterator[None]:
    """Statements inside go to the server in one go where libpq can (14 and newer)."""
    if not psycopg.Pipeline.is_supported():
        yield
        return
    with db.pipeline():
        yield
