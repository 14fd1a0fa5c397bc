"""Messages that move from one spool to another: packed and unpacked in SQLite."""

import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from relay.spool.entry import Content, PendingNotice, TransferItem
from relay.spool.rows import micros, moment, notice_row, plain, recipient_row
from relay.spool.sqlite import read, write
from relay.spool.sqlite.commit import SqliteCommit
from relay.spool.sqlite.streaming import SqliteStreaming
from relay.spool.sqlite.writer import Writer

T = TypeVar("T")


def pack(db: sqlite3.Connection, queue_id: str, content: read.ContentOf) -> TransferItem | None:
    stored = read.stored_entry(db, queue_id, content)
    if stored is None:
        return None
    ((kept, repeated, warned, over_at, storm),) = db.execute(
        "SELECT kept, repeated, warned, over_at, storm FROM message WHERE queue_id = ?", (plain(queue_id),)
    ).fetchall()
    notices = tuple(one for one in read.pending_notices(db) if one.queue_id == queue_id)
    over = None if over_at is None else moment(over_at)
    return TransferItem(stored, bool(kept), bool(repeated), bool(warned), over, notices, storm)


def add_without_content(db: sqlite3.Connection, message: int, item: TransferItem, now: datetime) -> None:
    """A message of which only its trail is left.  Raises ValueError for a queue id used before."""
    write.add_entry(db, message, item.stored.entry, item.stored.trail)
    as_it_stood(db, item, now)


def as_it_stood(db: sqlite3.Connection, item: TransferItem, now: datetime) -> None:
    """Gives a message that was just added the state that it had in the other spool."""
    queue_id = item.stored.entry.queue_id
    ((message,),) = db.execute("SELECT id FROM message WHERE queue_id = ?", (queue_id,)).fetchall()
    for recipient in item.stored.recipients:
        row = recipient_row(recipient)
        db.execute(
            "UPDATE recipient SET state = :state, attempts = :attempts, due_at = :due_at, upstream = :upstream,"
            " stage = :stage, code = :code, status = :status, said = :said, via = :via, lost = :lost, fault = :fault,"
            " peer = :peer, maybe_at = :maybe_at, maybe_since = :maybe_since, merged_into = :merged_into"
            " WHERE message = :message AND key = :key",
            {**row, "message": message},
        )
    over_at = None if item.over_at is None else micros(item.over_at)
    db.execute(
        "UPDATE message SET repeated = ?, warned = ?, attention = ?, kept = ?, over_at = ?, storm = ? WHERE id = ?",
        (int(item.repeated), int(item.warned), int(item.stored.attention), int(item.kept), over_at, item.storm, message),
    )
    write.sum_up(db, [message], now)
    for notice in item.notices:
        write.add_notice(db, notice_row(notice))


def adopt_told(
    db: sqlite3.Connection,
    notices: tuple[PendingNotice, ...],
    day: str,
    sent: Mapping[str, int],
    refused: frozenset[tuple[str, str]],
    now: datetime,
) -> None:
    """Adds the rest of the other spool; a second call changes nothing."""
    known = {(one.queue_id, one.kind, one.recipient, one.made_at) for one in read.pending_notices(db)}
    for notice in notices:
        if (notice.queue_id, notice.kind, notice.recipient, notice.made_at) not in known:
            write.add_notice(db, notice_row(notice))
    db.executemany(
        "INSERT INTO sent_per_day (day, upstream, messages) VALUES (?, ?, ?)"
        " ON CONFLICT (day, upstream) DO UPDATE SET messages = max(messages, excluded.messages)",
        [(day, plain(upstream), messages) for upstream, messages in sent.items()],
    )
    db.executemany(
        "INSERT OR IGNORE INTO refused_sender (upstream, sender, at) VALUES (?, ?, ?)",
        [(plain(upstream), plain(sender), micros(now)) for upstream, sender in refused],
    )


class SqliteTransfer:
    """The part of a spool that packs and unpacks."""

    _writer: Writer
    _committer: SqliteCommit
    _now: Callable[[], datetime]

    async def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        raise NotImplementedError

    def _content(self, message: int, size: int) -> Content:
        raise NotImplementedError

    def arrive(self) -> SqliteStreaming:
        """A place for large content that comes in."""
        return self._committer.arrive()

    async def pack(self, queue_id: str) -> TransferItem | None:
        """All that is known of a message, for another spool."""
        return await self._read(lambda db: pack(db, queue_id, self._content))

    async def adopt(self, item: TransferItem) -> bool:
        """Takes a message over from another spool, with its state; False if it is here already."""
        entry, now = item.stored.entry, self._now()
        try:
            if item.kept:
                await self._committer.store(entry, item.stored.trail, lambda db: as_it_stood(db, item, now))
            else:
                number = self._committer.number()
                await self._writer.write(lambda db: add_without_content(db, number, item, now))
        except ValueError:
            if await self._read(lambda db: pack(db, entry.queue_id, self._content)) is None:
                raise
            return False
        return True

    async def adopt_told(
        self, notices: tuple[PendingNotice, ...], day: str, sent: Mapping[str, int], refused: frozenset[tuple[str, str]]
    ) -> None:
        """Takes over what is left in another spool; may be said more than once."""
        now = self._now()
        await self._writer.write(lambda db: adopt_told(db, notices, day, sent, refused, now))
