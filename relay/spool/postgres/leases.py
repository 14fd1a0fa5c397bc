"""Leases: which relay has which message, until when.  The database uses its own clock, this process the monotonic one."""

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from psycopg import Connection

from relay.spool.entry import TrailLine
from relay.spool.postgres.rows import TRAIL_OF, trail_json
from relay.spool.rows import micros

LATELY = "set_config('synchronous_commit', 'off', true)"
"""For writes that may be lost if the server's power fails: a lease that was given back ends by itself."""

_MAYBE_AT = (
    "UPDATE recipient SET maybe_at = under_way.upstream, maybe_since = %(since)s FROM under_way"
    " WHERE under_way.message = recipient.message AND recipient.message = ANY(%(messages)s)"
    " AND state IN ('queued', 'held') AND maybe_at = '' AND due_at <= %(since)s"
)
"""Whoever was being called when the lease ended may have the message."""


@dataclass(slots=True, eq=False)
class SharedLease:
    """One message in our hands.  `ends` by time.monotonic(), counted from before the database was asked."""

    number: int
    message: int
    vias: Mapping[str, str]
    ends: float
    size: int = 0
    step: int = 0
    lost: bool = False

    @property
    def over(self) -> bool:
        return self.lost or time.monotonic() >= self.ends


@dataclass(slots=True)
class SharedLeases:
    """The leases of this process.  Any thread."""

    seconds: float
    _held: dict[int, SharedLease] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, lease: SharedLease) -> None:
        with self._lock:
            self._held[lease.number] = lease

    def find(self, number: int) -> SharedLease | None:
        with self._lock:
            return self._held.get(number)

    def drop(self, number: int) -> SharedLease | None:
        """Drops a lease; readers of its content see that it is over."""
        with self._lock:
            lease = self._held.pop(number, None)
            if lease:
                lease.lost = True
            return lease

    def __len__(self) -> int:
        return len(self._held)

    def numbers(self) -> list[int]:
        with self._lock:
            return list(self._held)

    def ageing(self) -> list[SharedLease]:
        """Those with less than two thirds of their time left."""
        soon = time.monotonic() + self.seconds * 2 / 3
        with self._lock:
            return [lease for lease in self._held.values() if lease.ends < soon and not lease.lost]


def renew(db: Connection, leases: SharedLeases, owner: int) -> None:
    """Renews the leases that need it; one that another relay has now is lost."""
    ageing = leases.ageing()
    if not ageing:
        return
    asked = time.monotonic()
    rows = db.execute(
        "UPDATE message SET leased_until = clock_timestamp() + %s * interval '1 second'"
        " WHERE id IN (SELECT id FROM message WHERE id = ANY(%s) AND owner = %s ORDER BY id FOR UPDATE)"
        " AND owner = %s AND lease = ANY(%s) RETURNING lease",
        (leases.seconds, [one.message for one in ageing], owner, owner, [one.number for one in ageing]),
    ).fetchall()
    kept = {number for (number,) in rows}
    for lease in ageing:
        if lease.number in kept:
            lease.ends = asked + leases.seconds
        else:
            lease.lost = True


def give_back(db: Connection, lease: SharedLease, owner: int) -> int | None:
    """When (in microseconds) the message is due again; None if it is over, or was not ours any more."""
    with db.transaction():
        freed = db.execute(
            f"WITH lately AS MATERIALIZED (SELECT {LATELY})"  # noqa: S608 - our own words
            " UPDATE message SET owner = NULL, lease = NULL, leased_until = NULL FROM lately"
            " WHERE id = %s AND owner = %s AND lease = %s RETURNING due_at",
            (lease.message, owner, lease.number),
        ).fetchone()
        if freed:
            db.execute("DELETE FROM under_way WHERE message = %s", (lease.message,))
    return freed[0] if freed else None


def free_unheard(db: Connection, owner: int, held: Collection[int]) -> int:
    """Frees messages that are this relay's in the database although it does not know of them; how many."""
    return db.execute(
        "UPDATE message SET owner = NULL, lease = NULL, leased_until = NULL WHERE id IN (SELECT id FROM message"
        " WHERE owner IS NOT NULL AND owner = %s AND lease <> ALL(%s) ORDER BY id FOR UPDATE SKIP LOCKED)",
        (owner, list(held)),
    ).rowcount


def take_over(db: Connection, owner: int, held: Collection[int], line: TrailLine, *, at_once: bool = False) -> int:
    """Frees messages of other relays, or of an earlier process of ours, whose lease ended; how many.

    `at_once`: also what an earlier process of ours still holds.  The trail says that the message may have been sent:
    nobody can know whether the upstream took it, so no other one is asked for now.
    """
    ended = "leased_until < clock_timestamp() AND (owner <> %(owner)s OR lease <> ALL(%(held)s))"
    which = f"({ended} OR owner = %(owner)s)" if at_once else ended
    with db.transaction():
        freed = db.execute(
            "WITH ended AS MATERIALIZED (SELECT id AS ended_id, coalesce((SELECT name FROM peer WHERE peer.id = owner), '?')"  # noqa: S608
            f" AS name FROM message WHERE owner IS NOT NULL AND {which} ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED)"
            " UPDATE message SET owner = NULL, lease = NULL, leased_until = NULL FROM ended WHERE id = ended_id"
            " RETURNING id, name",
            {"owner": owner, "held": list(held)},
        ).fetchall()
        if freed:
            messages = [message for message, _ in freed]
            db.execute(_MAYBE_AT, {"since": micros(line.at), "messages": messages})
            db.execute("DELETE FROM under_way WHERE message = ANY(%s)", (messages,))
        for message, name in freed:
            told = TrailLine(line.at, line.event, line.text.format(name=name), {**line.details, "relay": name})
            db.execute(TRAIL_OF, (message, trail_json((told,))))
    return len(freed)
