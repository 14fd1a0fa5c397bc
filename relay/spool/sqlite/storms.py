"""Mail that a device repeats, in SQLite: what is remembered of the device, and the end of messages in a digest."""

import sqlite3
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import TypeVar

from relay import crash_points
from relay.spool.contract import LeaseLost
from relay.spool.entry import Claim, Postponed, Settlement, State
from relay.spool.rows import FIRST_LINE, WAITING_ON_PURPOSE, first_line, micros, moment, plain, row_postponed, trail_row
from relay.spool.sqlite import write
from relay.spool.sqlite.commit import SqliteCommit
from relay.spool.sqlite.leases import LocalLeases
from relay.spool.sqlite.writer import Writer
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


def weigh_one(
    db: sqlite3.Connection, message: int, device: str, decide: Weigh, *, step: int, vias: Mapping[str, str], now: datetime
) -> tuple[Weighed | None, datetime | None]:
    """What was decided, and when the message is due again.  Raises LeaseLost if the message was removed."""
    found = db.execute("SELECT storm, due_at FROM message WHERE id = ?", (message,)).fetchone()
    if found is None:
        raise LeaseLost("the message was removed meanwhile")
    if found[1] is None:
        return None, None
    weighed = decide(_memory(db, device), found[0])
    _remember(db, device, weighed.memory)
    db.execute("UPDATE message SET storm = ? WHERE id = ?", (weighed.storm, message))
    due_at = moment(found[1])
    if weighed.settlement != Settlement():
        _, again = write.settle(db, message, weighed.settlement, step=step, vias=vias, now=now)
        due_at = again or due_at
    crash_points.passed("weigh-inside")
    return weighed, due_at


def _memory(db: sqlite3.Connection, device: str) -> str:
    found = db.execute("SELECT memory FROM storm WHERE device = ?", (plain(device),)).fetchone()
    return found[0] if found else ""


def _remember(db: sqlite3.Connection, device: str, memory: str) -> None:
    db.execute("INSERT OR REPLACE INTO storm (device, memory) VALUES (?, ?)", (plain(device), memory))


def collected(db: sqlite3.Connection, storm: str) -> list[Collected]:
    rows = db.execute(
        f"SELECT queue_id, accepted_at, {FIRST_LINE} FROM message AS chosen"  # noqa: S608 - our own words
        " WHERE storm > '-' AND storm = ? AND due_at IS NOT NULL ORDER BY accepted_at, id",
        (storm,),
    )
    return [Collected(queue_id, moment(at), first_line(said or "")[0]) for queue_id, at, said in rows.fetchall()]


def postponed(db: sqlite3.Connection, clients: Collection[str]) -> list[Postponed]:
    query = WAITING_ON_PURPOSE.format(
        together="message CROSS JOIN recipient ON message = message.id", those=f"IN ({', '.join('?' * len(clients))})"
    )
    return [row_postponed(row) for row in db.execute(query, tuple(map(plain, clients))).fetchall()]


def merge(db: sqlite3.Connection, what: Merge, now: datetime) -> None:
    """Ends the messages, within the transaction that adds their digest.  Raises NotWaiting."""
    db.execute("DELETE FROM chosen")
    waiting = "INSERT INTO chosen SELECT id FROM message WHERE queue_id = ? AND storm = ? AND due_at IS NOT NULL"
    db.executemany(waiting, [(queue_id, what.storm) for queue_id in what.merged])
    if db.execute("SELECT count(*) FROM chosen").fetchone()[0] != len(what.merged):
        raise NotWaiting(what.storm)
    db.execute(
        "UPDATE recipient SET state = ?, merged_into = ?, due_at = ?, fault = ''"
        " WHERE message IN (SELECT id FROM chosen) AND state = 'queued'",
        (State.MERGED.value, what.digest.queue_id, micros(now)),
    )
    db.execute("INSERT INTO trail (message, at, event, said) SELECT id, ?, ?, ? FROM chosen", trail_row(what.line))
    db.execute("UPDATE message SET storm = '' WHERE id IN (SELECT id FROM chosen)")
    write.sum_up(db, [message for (message,) in db.execute("SELECT id FROM chosen").fetchall()], now)
    _remember(db, what.device, what.remember(_memory(db, what.device)))


def merged_octets(db: sqlite3.Connection) -> int:
    octets: int = db.execute(MERGED_OCTETS).fetchone()[0]
    return octets


def drop_merged(db: sqlite3.Connection, limit: int, now: datetime) -> list[int]:
    """Drops the content of the oldest merged messages that need it no more; their ids."""
    found = db.execute(f"SELECT id FROM message WHERE {GIVES_WAY} ORDER BY accepted_at, id LIMIT ?", (limit,))  # noqa: S608
    dropped = [message for (message,) in found.fetchall()]
    db.executemany("UPDATE message SET kept = 0 WHERE id = ?", [(message,) for message in dropped])
    write.drop_content(db, tuple(dropped))
    for message in dropped:
        write.add_trail(db, message, (gave_way(now),))
    return dropped


class SqliteStorms:
    """The part of a spool that keeps mail back and merges it."""

    _writer: Writer
    _committer: SqliteCommit
    _leases: LocalLeases
    _now: Callable[[], datetime]

    async def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        raise NotImplementedError

    def _reread(self) -> None:
        raise NotImplementedError

    def _forget(self, messages: list[int]) -> None:
        raise NotImplementedError

    def room(self) -> int:
        raise NotImplementedError

    async def _drop_merged(self, now: datetime) -> None:
        """The content of merged messages gives way, the oldest first, where it holds more than a part of what is still free."""
        while await self._read(merged_octets) * MERGED_SHARE > max(self.room(), 0):
            if not await self._writer.write(lambda db: drop_merged(db, DROPPED_AT_ONCE, now), after=self._forget):
                return

    async def weigh(self, claim: Claim, device: str, weigh: Weigh) -> Weighed | None:
        """Stores what is decided about the message, and what is remembered of its device.  None if nothing is queued any more.

        Raises LeaseLost, SpoolFull, SpoolBroken.
        """
        lease = self._leases.of(claim)
        if lease is None:
            raise LeaseLost(f"{claim.entry.queue_id} was removed, or its lease given back")
        lease.step += 1
        step, now = lease.step, self._now()

        def work(db: sqlite3.Connection) -> tuple[Weighed | None, datetime | None]:
            return weigh_one(db, lease.message, device, weigh, step=step, vias=lease.vias, now=now)

        def after(answer: tuple[Weighed | None, datetime | None]) -> None:
            lease.due_at = answer[1]

        return (await self._writer.write(work, after=after))[0]

    async def collected(self, storm: str) -> list[Collected]:
        return await self._read(lambda db: collected(db, storm))

    async def postponed(self, clients: Collection[str]) -> list[Postponed]:
        return await self._read(lambda db: postponed(db, clients))

    async def merge(self, what: Merge) -> bool:
        """Ends messages and queues their digest; False if one of them does not wait for it.  Raises SpoolFull, SpoolBroken."""
        now = self._now()
        try:
            await self._committer.store(what.digest, what.trail, lambda db: merge(db, what, now))
        except NotWaiting:
            return False
        except ValueError:
            if await self._read(lambda db: _is_there(db, what.digest.queue_id)):
                return True  # an earlier try had been written
            raise
        self._reread()
        return True


def _is_there(db: sqlite3.Connection, queue_id: str) -> bool:
    return db.execute("SELECT 1 FROM message WHERE queue_id = ?", (queue_id,)).fetchone() is not None
