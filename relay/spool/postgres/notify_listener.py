"""The thread that listens to PostgreSQL: it hears of work, renews leases, takes over messages of relays that died, and
finds out when a server that was away is back.
"""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import Connection, sql

from relay.spool.contract import SpoolBroken, SpoolFull
from relay.spool.postgres.connections import PostgresConnections, hopeless, shut, words

_CHANNEL = "left('relay_work_' || current_schema(), 63)"
"""The channel of the relays of one spool; another schema of the same database is another spool."""

_SHORTEST, _LONGEST = 0.2, 15.0  # seconds between tries to reach a server that is away


@dataclass(frozen=True, slots=True)
class ListenerCallbacks:
    """What the listener's thread calls.

    `beat` gets the connection now and then; `work`: something may be due; `gone`: the numbers of leases that
    are no more; `away` and `back`: why the server cannot be reached, and for how many seconds (0: nobody was told).
    """

    beat: Callable[[Connection], None]
    work: Callable[[], None]
    gone: Callable[[list[int]], None]
    away: Callable[[str], None]
    back: Callable[[float], None]


class PostgresListener:
    """Runs from `start` to `stop`."""

    def __init__(self, connections: PostgresConnections, callbacks: ListenerCallbacks, every: float) -> None:
        self._connections, self._callbacks, self._every = connections, callbacks, every
        self._stopping = False
        self._told = threading.Event()
        self._rouse_in, self._rouse_out = os.pipe()
        self._db: Connection | None = None
        self._was_there = False
        self._thread = threading.Thread(target=self._run, name="postgres-watch", daemon=True)

    def start(self, db: Connection | None) -> None:
        """`db` is the first connection, if there is one."""
        self._db = db
        self._thread.start()

    def tell(self) -> None:
        """Tells the other relays soon that there is work; several calls in a moment are told once."""
        if not self._told.is_set():
            self._told.set()
            self.rouse()

    @property
    def owes(self) -> bool:
        """Whether something is still to be told."""
        return self._told.is_set()

    def rouse(self) -> None:
        """Wakes the thread."""
        with contextlib.suppress(OSError):
            os.write(self._rouse_out, b"!")

    def stop(self) -> None:
        """Ends the thread; blocks until it has."""
        if self._stopping:
            return
        self._stopping = True
        self.rouse()
        if self._thread.ident is not None:
            self._thread.join(2.0)
            if self._thread.is_alive() and self._db is not None:
                shut(self._db)
            self._thread.join(10.0)
        os.close(self._rouse_in)
        os.close(self._rouse_out)
        self._rouse_in = self._rouse_out = -1  # a late `rouse` must not write into another file

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause, since, told = _SHORTEST, time.monotonic(), ""
        while not self._stopping:
            try:
                db, self._db = self._db or self._connections.connect(), None
                with contextlib.closing(db):
                    self._db = db
                    channel = db.execute(f"SELECT {_CHANNEL}").fetchone()
                    db.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel[0] if channel else "")))
                    self._callbacks.beat(db)
                    self._was_there = True
                    if self._connections.back() or told:  # notifications may have been missed meanwhile
                        self._callbacks.back(time.monotonic() - since if told else 0.0)
                    pause, told = _SHORTEST, ""
                    self._listen(db)
            except (psycopg.Error, OSError, SpoolBroken, SpoolFull) as error:
                if self._was_there:  # it may be back already: try before telling
                    self._was_there = False
                    continue
                self._connections.lose(error)
                if not told:
                    since = time.monotonic()
                if told != words(error):
                    told = words(error)
                    self._callbacks.away(told)
                self._sleep(_LONGEST if hopeless(error) else pause)
                pause = min(pause * 2, _LONGEST)
            finally:
                self._db = None

    def _listen(self, db: Connection) -> None:
        beat = time.monotonic() + self._every
        while not self._stopping:
            if not self._told.is_set():
                self._wait(db, beat - time.monotonic())
            if self._connections.away:  # another connection was lost: does ours still work?
                db.execute("SELECT 1")
                if self._connections.back():
                    self._callbacks.back(0.0)  # callers wait to hear it, even if only their connections were lost
            self._hear(db)
            if self._told.is_set():
                self._told.clear()
                tell_all(db, [])
            if time.monotonic() >= beat:
                self._callbacks.beat(db)
                beat = time.monotonic() + self._every

    def _wait(self, db: Connection, seconds: float) -> None:
        ready, _, _ = select.select([db.fileno(), self._rouse_in], [], [], max(0.0, seconds))
        if self._rouse_in in ready:
            os.read(self._rouse_in, 4096)

    def _hear(self, db: Connection) -> None:
        work, gone = False, []
        for told in db.notifies(timeout=0):
            if told.pid == db.info.backend_pid:
                continue
            work = True
            gone += [int(number) for number in told.payload.split() if number.isdigit()]
        if gone:
            self._callbacks.gone(gone)
        if work:
            self._callbacks.work()

    def _sleep(self, seconds: float) -> None:
        if self._stopping:
            return
        ready, _, _ = select.select([self._rouse_in], [], [], seconds)
        if ready:
            os.read(self._rouse_in, 4096)
            time.sleep(0.05)  # frequent calls of `rouse` must not make it spin


def tell_all(db: Connection, leases: list[int]) -> None:
    """Tells the other relays to look for work, and to drop these leases."""
    for first in range(0, max(1, len(leases)), 400):
        told = " ".join(map(str, leases[first : first + 400]))
        db.execute(f"SELECT pg_notify({_CHANNEL}, %s)", (told,))
