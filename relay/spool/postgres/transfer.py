"""Messages that move from one spool to another: packed and unpacked in PostgreSQL."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from psycopg import Connection

from relay.spool.entry import Content, PendingNotice, TransferItem
from relay.spool.postgres import read, write
from relay.spool.postgres.commit import PostgresCommit
from relay.spool.postgres.rows import clean
from relay.spool.rows import micros, moment, plain, recipient_row

T = TypeVar("T")


class CameBefore(Exception):
    """This message was moved here before, even if it is gone by now."""


def pack(db: Connection, queue_id: str, content: read.ContentOf) -> TransferItem | None:
    stored = read.stored_entry(db, queue_id, content)
    row = db.execute(
        "SELECT kept, repeated, warned, over_at, storm FROM message WHERE queue_id = %s", (plain(queue_id),)
    ).fetchone()
    if stored is None or row is None:
        return None
    kept, repeated, warned, over_at, storm = row
    notices = tuple(one for one in read.pending_notices(db) if one.queue_id == queue_id)
    over = None if over_at is None else moment(over_at)
    return TransferItem(stored, bool(kept), bool(repeated), bool(warned), over, notices, storm)


def add_without_content(db: Connection, item: TransferItem, now: datetime) -> None:
    """A message of which only its trail is left.  Raises ValueError for a queue id used before, CameBefore."""
    with db.transaction():
        write.add_entry(db, item.stored.entry, item.stored.trail, ())
        as_it_stood(db, item, now)


def as_it_stood(db: Connection, item: TransferItem, now: datetime) -> None:
    """Gives a message that was just added the state that it had in the other spool.  Raises CameBefore."""
    queue_id = item.stored.entry.queue_id
    first = db.execute("INSERT INTO moved (key, at) VALUES (%s, %s) ON CONFLICT DO NOTHING", (queue_id, micros(now)))
    if first.rowcount != 1:
        raise CameBefore(queue_id)
    row = db.execute("SELECT id FROM message WHERE queue_id = %s", (queue_id,)).fetchone()
    message = row[0] if row else 0
    for recipient in item.stored.recipients:
        db.execute(
            "UPDATE recipient SET state = %(state)s, attempts = %(attempts)s, due_at = %(due_at)s, upstream = %(upstream)s,"
            " stage = %(stage)s, code = %(code)s, status = %(status)s, said = %(said)s, via = %(via)s, lost = %(lost)s,"
            " fault = %(fault)s, peer = %(peer)s, maybe_at = %(maybe_at)s, maybe_since = %(maybe_since)s,"
            " merged_into = %(merged_into)s"
            " WHERE message = %(message)s AND key = %(key)s",
            {**clean(recipient_row(recipient)), "message": message},
        )
    db.execute(
        "UPDATE message SET repeated = %s, warned = %s, attention = %s, kept = %s, over_at = %s, storm = %s WHERE id = %s",
        (
            int(item.repeated),
            int(item.warned),
            int(item.stored.attention),
            int(item.kept),
            None if item.over_at is None else micros(item.over_at),
            item.storm,
            message,
        ),
    )
    write.sum_up(db, [message], now)
    for notice in item.notices:
        write.add_notice(db, notice)


def adopt_told(
    db: Connection,
    notices: tuple[PendingNotice, ...],
    day: str,
    sent: Mapping[str, int],
    refused: frozenset[tuple[str, str]],
    now: datetime,
) -> None:
    """Adds the rest of the other spool; a second call changes nothing."""
    with db.transaction():
        known = {(one.queue_id, one.kind, one.recipient, one.made_at) for one in read.pending_notices(db)}
        for notice in notices:
            if (notice.queue_id, notice.kind, notice.recipient, notice.made_at) not in known:
                write.add_notice(db, notice)
        for upstream, messages in sent.items():
            db.execute(
                "INSERT INTO sent_per_day (day, upstream, messages) VALUES (%s, %s, %s)"
                " ON CONFLICT (day, upstream) DO UPDATE SET messages = greatest(sent_per_day.messages, excluded.messages)",
                (day, plain(upstream), messages),
            )
        for upstream, sender in refused:
            db.execute(
                "INSERT INTO refused_sender (upstream, sender, at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (plain(upstream), plain(sender), micros(now)),
            )


class PostgresTransfer:
    """The part of a spool that packs and unpacks."""

    _committer: PostgresCommit
    _now: Callable[[], datetime]

    async def _run(self, work: Callable[[Connection], T], *, again: bool = True) -> T:
        raise NotImplementedError

    def _content(self, message: int, size: int) -> Content:
        raise NotImplementedError

    def _told(self) -> None:
        raise NotImplementedError

    def arrive(self) -> None:
        """None: content is stored in one transaction, when it is complete."""

    async def pack(self, queue_id: str) -> TransferItem | None:
        """All that is known of a message, for another spool."""
        return await self._run(lambda db: pack(db, queue_id, self._content))

    async def adopt(self, item: TransferItem) -> bool:
        """Takes a message over from another spool, with its state; False if it came before."""
        entry, now = item.stored.entry, self._now()
        try:
            if item.kept:
                await self._committer.store(entry, item.stored.trail, lambda db: as_it_stood(db, item, now))
            else:
                await self._run(lambda db: add_without_content(db, item, now), again=False)
        except CameBefore:
            return False
        except ValueError:
            if await self._run(lambda db: pack(db, entry.queue_id, self._content)) is None:
                raise
            return False
        self._told()
        return True

    async def adopt_told(
        self, notices: tuple[PendingNotice, ...], day: str, sent: Mapping[str, int], refused: frozenset[tuple[str, str]]
    ) -> None:
        """Takes over the rest of another spool; may be called more than once."""
        now = self._now()
        await self._run(lambda db: adopt_told(db, notices, day, sent, refused, now))
