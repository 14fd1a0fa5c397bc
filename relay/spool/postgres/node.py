"""One relay among those that share a spool: its identity, its leases, its signs of life."""

import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from relay.other_user import place_for
from relay.spool.contract import SpoolBroken, SpoolSettings
from relay.spool.entry import TrailLine
from relay.spool.postgres.connections import PostgresConnections, hopeless, translate, words
from relay.spool.postgres.leases import SharedLeases, free_unheard, renew, take_over
from relay.spool.postgres.notify_listener import ListenerCallbacks, PostgresListener, tell_all
from relay.spool.postgres.read import in_use
from relay.spool.postgres.schema import fill, prepare
from relay.spool.sqlite.content import ContentCache

_LEFT = "uncertain: {name} had it under way when its lease ended; if the upstream had taken it by then, it arrives twice"
_SLOWEST_BEAT = 5.0
_IN_USE_EVERY = 15.0


class Node:
    """The listener's thread calls `heard`: "work", "gone" (leases), "in_use" (octets), "away" (why), "back" (seconds)."""

    def __init__(
        self,
        connections: PostgresConnections,
        settings: SpoolSettings,
        now: Callable[[], datetime],
        home: Path | None,
        heard: Callable[[str, Any], None],
        cache: ContentCache,
    ) -> None:
        self._connections, self._settings, self._now, self._home = connections, settings, now, home
        self._heard, self.remember = heard, cache.keep
        self.name = settings.name or socket.gethostname()
        self.leases = SharedLeases(settings.lease.total_seconds())
        self._identity = uuid.uuid4().hex
        self._lock = -1
        self._entering = threading.Lock()
        self.claiming = threading.Lock()
        """Held from before messages are claimed until `leases` knows of them."""
        self._id: int | None = None
        self._prepared = self._watching = self._ended = False
        self.others = 0
        """Relays besides us that have shown a sign of life lately."""
        self._in_use_at = 0.0
        callbacks = ListenerCallbacks(
            self._beat,
            lambda: heard("work", None),
            lambda gone: heard("gone", gone),
            lambda why: heard("away", why),
            lambda seconds: heard("back", seconds),
        )
        self._watch = PostgresListener(connections, callbacks, min(_SLOWEST_BEAT, self.leases.seconds / 6))
        connections.gone = self._watch.rouse

    @property
    def id(self) -> int:
        """Of our row in `peer`; 0, which nobody has, before we entered."""
        return self._id or 0

    def begin(self) -> None:
        """Takes the state directory's lock, prepares the tables, begins to watch.  Blocks.

        Raises SpoolBroken where waiting would not help, SpoolAway when the server cannot be reached (and watches for it).
        """
        if self._home is not None:
            self._identity = self._own(self._home)
        try:
            db = self._connections.connect()
        except psycopg.Error as error:
            if hopeless(error):
                raise SpoolBroken(f"PostgreSQL: {words(error)}") from error
            away = self._connections.lose(error)
            if self._home is not None:
                self._heard("away", str(away))
                self._start(None)
            raise away from error
        try:
            self._prepare(db, starting=True)
        except psycopg.Error as error:
            db.close()
            raise translate(error) from error
        except BaseException:
            db.close()
            raise
        if self._home is None:
            db.close()
        else:
            self._start(db)

    def _own(self, home: Path) -> str:
        """Our identity: the same after a restart, and never used by two processes at once.  Raises SpoolBroken."""
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(home / "relay.id", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            cure = place_for(home, error, "spool.state_dir")
            raise SpoolBroken(f"{home}: {error.strerror or error}{cure}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SpoolBroken(f"{home}: another relay uses this state directory (spool.state_dir)") from error
        known = os.pread(self._lock, 32, 0).decode("ascii", "replace")
        if len(known) != 32 or not known.isalnum():
            known = uuid.uuid4().hex
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, known.encode(), 0)
            os.fsync(self._lock)
        return known

    def _start(self, db: Connection | None) -> None:
        self._watching = True
        self._watch.start(db)

    def _prepare(self, db: Connection, *, starting: bool = False) -> None:
        prepare(db)
        if starting and self._home is not None:
            fill(db)  # before we are entered: who is must show signs of life
        self._prepared = True
        if self._home is not None:
            self._enter(db)
            self._take_over(db, at_once=True)

    def enter(self, db: Connection) -> int:
        """Our id; a command gets one when it needs one."""
        with self._entering:
            if self._id is None:
                self._enter(db)
            self._watch_too()
        return self.id

    def _watch_too(self) -> None:
        """A command starts the listener when it first has a lease, or something to tell."""
        if not self._watching and not self._ended:
            self._start(None)

    def _enter(self, db: Connection) -> None:
        row = db.execute(
            "INSERT INTO peer (identity, name) VALUES (%s, %s) ON CONFLICT (identity) DO UPDATE"
            " SET name = excluded.name, started_at = clock_timestamp(), seen_at = clock_timestamp() RETURNING id",
            (self._identity, self.name),
        ).fetchone()
        self._id = int(row[0]) if row else None

    # -- by the watching thread -------------------------------------------------------------------------------------

    def _beat(self, db: Connection) -> None:
        if not self._prepared:
            self._prepare(db)
        db.execute("UPDATE peer SET seen_at = clock_timestamp() WHERE id = %s", (self.id,))
        row = db.execute(
            "SELECT count(*) FROM peer WHERE id <> %s AND seen_at > clock_timestamp() - interval '30 seconds'", (self.id,)
        ).fetchone()
        self.others = int(row[0]) if row else 0
        renew(db, self.leases, self.id)
        if self._unheard(db) + self._take_over(db):
            self._heard("work", None)
        if time.monotonic() - self._in_use_at > _IN_USE_EVERY:
            self._in_use_at = time.monotonic()
            self._heard("in_use", in_use(db))

    def _unheard(self, db: Connection) -> int:
        """Frees what we claimed without knowing, since the connection was lost before the answer."""
        if not self.claiming.acquire(blocking=False):
            return 0
        try:
            return free_unheard(db, self.id, self.leases.numbers())
        finally:
            self.claiming.release()

    def _take_over(self, db: Connection, *, at_once: bool = False) -> int:
        line = TrailLine(self._now(), "warned", _LEFT)
        taken = 0
        while freed := take_over(db, self.id, self.leases.numbers(), line, at_once=at_once):
            taken += freed
        return taken

    # -- telling the others -----------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tells the other relays soon to look for work; also from a command, which may have ended by then."""
        if not self._watching:
            with self._entering:
                self._watch_too()
        self._watch.tell()

    def end(self) -> None:
        """Gives back all leases, unlocks the state directory.  Blocks."""
        with self._entering:
            self._ended = True
        self._watch.stop()
        try:
            if self._id is not None and not self._connections.away:
                self._connections.call(self._leave)
            elif self._watch.owes and not self._connections.away:
                self._connections.call(lambda db: tell_all(db, []))
        except SpoolBroken:
            pass  # then the leases end by themselves
        finally:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _leave(self, db: Connection) -> None:
        with db.transaction():
            db.execute(
                "DELETE FROM under_way WHERE message IN (SELECT id FROM message WHERE owner = %s ORDER BY id FOR UPDATE)",
                (self.id,),
            )
            db.execute("UPDATE message SET owner = NULL, lease = NULL, leased_until = NULL WHERE owner = %s", (self.id,))
            db.execute("DELETE FROM peer WHERE id = %s", (self.id,))
        tell_all(db, [])
