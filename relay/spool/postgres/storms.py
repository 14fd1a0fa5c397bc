"""Mail that a device repeats, in PostgreSQL: what is remembered of the device, and the end of messages in a digest.

The device's row is locked first, so that several relays decide one after the other.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TypeVar

from psycopg import Connection

from relay import crash_points
from relay.spool.contract import LeaseLost
from relay.spool.entry import Claim, Postponed, Settlement, State, TrailLine
from relay.spool.postgres import read, write
from relay.spool.postgres.commit import PostgresCommit
from relay.spool.postgres.leases import SharedLease, SharedLeases
from relay.spool.postgres.rows import TRAIL_WITH, trail_json
from relay.spool.rows import FIRST_LINE, WAITING_ON_PURPOSE, first_line, micros, moment, plain, row_postponed
from relay.spool.storms import (
    DROPPED_AT_ONCE,
    GIVES_WAY,
    MERGED_OCTETS,
    MERGED_SHARE,
    Collected,
    Merge,
    NotWaiting,
    Weigh,
    Weighed,
    gave_way,
)

T = TypeVar("T")


def weigh_one(db: Connection, lease: SharedLease, device: str, decide: Weigh, *, step: int, now: datetime) -> Weighed | None:
    """What was decided.  Raises LeaseLost if the message was removed, or is or was in other hands."""
    with db.transaction():
        memory = _locked(db, device)
        found = db.execute("SELECT storm, due_at, lease FROM message WHERE id = %s FOR UPDATE", (lease.message,)).fetchone()
        if found is None or found[2] != lease.number:
            lease.lost = True
            raise LeaseLost("the message was removed, or another relay took it over")
        if found[1] is None:
            return None
        weighed = decide(memory, found[0])
        _remember(db, device, weighed.memory)
        db.execute("UPDATE message SET storm = %s WHERE id = %s", (weighed.storm, lease.message))
        if weighed.settlement != Settlement():
            write.settle(db, lease, weighed.settlement, step=step, now=now, uncertain=TrailLine(now, "warned"))
        crash_points.passed("weigh-inside")
    return weighed


def _locked(db: Connection, device: str) -> str:
    db.execute("INSERT INTO storm (device, memory) VALUES (%s, '') ON CONFLICT DO NOTHING", (plain(device),))
    found = db.execute("SELECT memory FROM storm WHERE device = %s FOR UPDATE", (plain(device),)).fetchone()
    return str(found[0]) if found else ""


def _remember(db: Connection, device: str, memory: str) -> None:
    db.execute("UPDATE storm SET memory = %s WHERE device = %s", (memory, plain(device)))


def collected(db: Connection, storm: str) -> list[Collected]:
    rows = db.execute(
        f"SELECT queue_id, accepted_at, {FIRST_LINE} FROM message AS chosen"  # noqa: S608 - our own words
        " WHERE storm > '-' AND storm = %s AND due_at IS NOT NULL ORDER BY accepted_at, id",
        (storm,),
    )
    return [Collected(queue_id, moment(at), first_line(said or "")[0]) for queue_id, at, said in rows]


def postponed(db: Connection, clients: Collection[str]) -> list[Postponed]:
    query = WAITING_ON_PURPOSE.format(together="message JOIN recipient ON message = message.id", those="= ANY(%s)")
    return [row_postponed(row) for row in db.execute(query, ([plain(client) for client in clients],))]


def merge(db: Connection, what: Merge, now: datetime) -> None:
    """Ends the messages, within the transaction that adds their digest.  Raises NotWaiting."""
    memory = _locked(db, what.device)
    chosen = [
        message
        for (message,) in db.execute(
            "SELECT id FROM message WHERE queue_id = ANY(%s) AND storm = %s AND due_at IS NOT NULL ORDER BY id FOR UPDATE",
            (list(what.merged), what.storm),
        )
    ]
    if len(chosen) != len(what.merged):
        raise NotWaiting(what.storm)
    db.execute(
        "UPDATE recipient SET state = %s, merged_into = %s, due_at = %s, fault = ''"
        " WHERE message = ANY(%s) AND state = 'queued'",
        (State.MERGED.value, what.digest.queue_id, micros(now), chosen),
    )
    told = {"messages": chosen, "trail": trail_json((what.line,))}
    db.execute(TRAIL_WITH.format(source="unnest(%(messages)s::bigint[]) AS chosen(id)"), told)
    db.execute("UPDATE message SET storm = '' WHERE id = ANY(%s)", (chosen,))
    write.sum_up(db, chosen, now)
    _remember(db, what.device, what.remember(memory))


def merged_octets(db: Connection) -> int:
    found = db.execute(MERGED_OCTETS).fetchone()
    return int(found[0]) if found else 0


def drop_merged(db: Connection, limit: int, now: datetime) -> int:
    """Drops the content of the oldest merged messages that need it no more; how many they are."""
    with db.transaction():
        found = db.execute(
            f"SELECT id FROM message WHERE {GIVES_WAY} AND owner IS NULL"  # noqa: S608 - our own words
            " ORDER BY accepted_at, id LIMIT %s FOR UPDATE SKIP LOCKED",
            (limit,),
        )
        dropped = [message for (message,) in found]
        db.execute("UPDATE message SET kept = 0 WHERE id = ANY(%s)", (dropped,))
        db.execute("DELETE FROM content WHERE message = ANY(%s)", (dropped,))
        told = {"messages": dropped, "trail": trail_json((gave_way(now),))}
        db.execute(TRAIL_WITH.format(source="unnest(%(messages)s::bigint[]) AS chosen(id)"), told)
    return len(dropped)


class PostgresStorms:
    """The part of a spool that keeps mail back and merges it."""

    _committer: PostgresCommit
    _leases: SharedLeases
    _now: Callable[[], datetime]

    async def _run(self, work: Callable[[Connection], T], *, again: bool = True) -> T:
        raise NotImplementedError

    async def _give_back_ready(self) -> None:
        raise NotImplementedError

    async def _drop_merged(self, now: datetime) -> None:
        """The content of merged messages gives way, the oldest first, where it holds more than a part of what is still free."""
        while await self._run(merged_octets) * MERGED_SHARE > max(self._committer.left(), 0):
            dropped = await self._run(lambda db: drop_merged(db, DROPPED_AT_ONCE, now))
            self._committer.in_use = await self._run(read.in_use)
            if not dropped:
                return

    async def weigh(self, claim: Claim, device: str, weigh: Weigh) -> Weighed | None:
        """Stores what is decided about the message, and what is remembered of its device.  None if nothing is queued any more.

        Raises LeaseLost, SpoolAway, SpoolFull, SpoolBroken.
        """
        lease = self._leases.find(claim.lease)
        if lease is None:
            raise LeaseLost(f"{claim.entry.queue_id} was removed, or its lease given back")
        lease.step += 1
        step, now = lease.step, self._now()
        return await self._run(lambda db: weigh_one(db, lease, device, weigh, step=step, now=now))

    async def collected(self, storm: str) -> list[Collected]:
        return await self._run(lambda db: collected(db, storm))

    async def postponed(self, clients: Collection[str]) -> list[Postponed]:
        return await self._run(lambda db: postponed(db, clients))

    async def merge(self, what: Merge) -> bool:
        """Ends messages and queues their digest; False if one of them does not wait for it.

        Raises SpoolAway, SpoolFull, SpoolBroken.
        """
        now = self._now()
        try:
            await self._committer.store(what.digest, what.trail, lambda db: merge(db, what, now))
        except NotWaiting:
            return False
        except ValueError:
            if await self._run(lambda db: write.is_there(db, what.digest.queue_id, what.digest.digest)):
                return True  # an earlier try had been written
            raise
        await self._give_back_ready()
        return True
