"""All writing to PostgreSQL: one function for each operation, each a transaction of its own."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection, errors

from relay import crash_points
from relay.mail.address import Address
from relay.spool.contract import LeaseLost
from relay.spool.entry import ORDERED, Action, Entry, Order, PendingNotice, Recipient, Settlement, State, TrailLine
from relay.spool.orders import applies, at_any_hour, spared, told_of
from relay.spool.postgres.connections import together
from relay.spool.postgres.leases import SharedLease
from relay.spool.postgres.rows import RECIPIENTS_OF, TRAIL_OF, TRAIL_WITH, clean, recipients_json, trail_json
from relay.spool.rows import entry_row, micros, notice_row, plain, recipient_row
from relay.spool.search import among, sought
from relay.spool.storms import IN_OPEN_DIGEST, PART_STATES, Ended, end_of_part, ended, no_parts

REFUSED_SENDER_KEPT = timedelta(days=30)
_SENT_KEPT = timedelta(days=40)
_REPEATS_LOOKED_AT = 50
_MOVED_KEPT = timedelta(days=90)

_SUM_UP = (
    "due_at = (SELECT min(due_at) FROM recipient WHERE message = message.id AND state = 'queued'),"
    " over_at = CASE WHEN EXISTS (SELECT 1 FROM recipient WHERE message = message.id AND state IN ('queued', 'held'))"
    " THEN NULL ELSE coalesce(over_at, %(now)s) END"
).replace("message = message.id", "recipient.message = message.id")
"""Sets due_at and over_at from the recipients (invariants 2 and 3)."""

_REPEATED = (
    "EXISTS (SELECT 1 FROM recipient, (SELECT id FROM message WHERE client = %(client)s AND message_id = %(message_id)s"
    " AND message_id <> '' AND digest <> %(digest)s ORDER BY id DESC LIMIT %(looked_at)s) AS earlier"
    " WHERE recipient.message = earlier.id AND key = ANY(%(keys)s))::int"
)


def distinct(recipients: Iterable[Recipient]) -> list[Recipient]:
    """Each mailbox once; the first spelling wins."""
    by_key: dict[str, Recipient] = {}
    for one in recipients:
        by_key.setdefault(one.address.key, one)
    return list(by_key.values())


def add_entry(db: Connection, entry: Entry, trail: tuple[TrailLine, ...], content: tuple[bytes, ...]) -> int:
    """The message, its recipients (all queued, due at once), its trail and its first block; the message's id.

    Within the caller's transaction.  Raises ValueError for a queue id used before.
    """
    at, paths = entry.accepted_at, entry.envelope.forward_paths
    queued = distinct(Recipient(address, State.QUEUED, 0, at, via=entry.via) for address in paths)
    row = clean({**entry_row(entry), **sought(entry, trail)})
    keys = [plain(one.address.key) for one in queued]
    return add_row(db, row, _REPEATED, {"keys": keys, "looked_at": _REPEATS_LOOKED_AT}, queued, trail, content)


def add_row(
    db: Connection,
    row: Mapping[str, Any],
    repeated: str,
    more: Mapping[str, Any],
    recipients: Iterable[Recipient],
    trail: Iterable[TrailLine],
    content: tuple[bytes, ...],
) -> int:
    """One statement for all; `repeated` is the SQL that tells whether the Message-ID was used before."""
    lines = list(trail)
    columns, values = ", ".join(row), ", ".join(f"%({column})s" for column in row)
    parts = [
        f"WITH added AS (INSERT INTO message ({columns}, repeated) VALUES ({values}, {repeated}) RETURNING id)",  # noqa: S608
        f"r AS ({RECIPIENTS_OF.format(source='added')})",
    ]
    if lines:
        parts.append(f"t AS ({TRAIL_WITH.format(source='added')})")
    if content:
        parts.append("c AS (INSERT INTO content (message, seq, data) SELECT id, 0, %(content)s FROM added)")
    values_of = {**row, **more, "recipients": recipients_json(recipients), "trail": trail_json(lines)}
    try:
        found = db.execute(
            f"{', '.join(parts)} SELECT id FROM added",  # noqa: S608 - our own column names
            {**values_of, "content": content[0] if content else None},
        ).fetchone()
    except errors.UniqueViolation as error:
        if error.diag.constraint_name == "message_queue_id_key":
            raise ValueError(f"queue id {row['queue_id']} is taken") from error
        raise
    assert found is not None  # noqa: S101 - INSERT ... RETURNING of one row
    return int(found[0])


def is_there(db: Connection, queue_id: str, digest: str) -> bool:
    """Whether this very message was committed."""
    return db.execute("SELECT 1 FROM message WHERE queue_id = %s AND digest = %s", (queue_id, digest)).fetchone() is not None


def settle(
    db: Connection, lease: SharedLease, settlement: Settlement, *, step: int, now: datetime, uncertain: TrailLine
) -> bool:
    """Stores a settlement, the `step`th under this lease; True if the content went with it.

    A lease that ended meanwhile is good still while nobody else has taken the message up.  Raises LeaseLost if it was
    removed, or is or was in other hands: then the trail says `uncertain` if an upstream had answered.  ValueError for a
    recipient that it does not have.
    """
    with db.transaction():
        found = db.execute(
            "SELECT lease, settled, settled_by, kept, merges, queue_id FROM message WHERE id = %s FOR UPDATE", (lease.message,)
        ).fetchone()
        if found is None:
            raise LeaseLost("the message was removed meanwhile")
        if found[2] == lease.number and found[1] >= step:
            return not found[3]  # an earlier try was cut off after it had been written
        ours = found[0] == lease.number or (found[0] is None and found[2] <= lease.number)
        if ours:
            if found[4]:
                _end_parts(db, found[5], found[4], ended(settlement.outcomes), now)
            dropped = _settled(db, lease, settlement, step, now)
        elif settlement.sent or any(one.code for one in settlement.outcomes):
            db.execute(TRAIL_OF, (lease.message, trail_json((uncertain, *settlement.trail))))
    if not ours:
        lease.lost = True
        raise LeaseLost("its lease ended meanwhile, and another relay took it over")
    return dropped


def _settled(db: Connection, lease: SharedLease, settlement: Settlement, step: int, now: datetime) -> bool:
    with together(db):
        stored = [_store_outcome(db, lease, one) for one in settlement.outcomes]
        if settlement.trail:
            db.execute(TRAIL_OF, (lease.message, trail_json(settlement.trail)))
        for notice in settlement.notices:
            add_notice(db, notice)
        _count(db, settlement, now)
        db.execute("DELETE FROM under_way WHERE message = %s", (lease.message,))
        kept = db.execute(
            f"UPDATE message SET settled = %(step)s, settled_by = %(lease)s, warned = greatest(warned, %(warned)s),"  # noqa: S608
            f" attention = greatest(attention, %(attention)s), {_SUM_UP},"
            " kept = CASE WHEN EXISTS (SELECT 1 FROM recipient WHERE recipient.message = message.id AND state <> 'relayed')"
            " THEN kept ELSE 0 END WHERE id = %(id)s RETURNING kept",
            {
                "step": step,
                "lease": lease.number,
                "warned": int(settlement.warned),
                "attention": int(settlement.attention),
                "now": micros(now),
                "id": lease.message,
            },
        )
        db.execute(
            "DELETE FROM content WHERE message = %(id)s AND EXISTS (SELECT 1 FROM message WHERE id = %(id)s AND kept = 0)",
            {"id": lease.message},
        )
    for one, cursor in zip(settlement.outcomes, stored, strict=True):
        if cursor.rowcount != 1:
            raise ValueError(f"the message has no recipient {one.address}")
    if settlement.outcomes:
        crash_points.passed("settle-inside")
    row = kept.fetchone()
    return row is not None and not row[0]


def _store_outcome(db: Connection, lease: SharedLease, outcome: Recipient) -> Any:
    row = clean(recipient_row(outcome))
    return db.execute(
        # Held by order while it was being tried: what was learned is kept, and it stays held.
        # Released via another upstream meanwhile: that newer order stands.  Merged meanwhile: its digest goes, not it.
        "UPDATE recipient SET"
        " state = CASE WHEN merged_into <> '' AND %(state)s IN ('queued', 'held') THEN state"
        " WHEN state = 'held' AND %(state)s = 'queued' THEN 'held' ELSE %(state)s END,"
        " attempts = %(attempts)s, due_at = %(due_at)s, upstream = %(upstream)s, stage = %(stage)s, code = %(code)s,"
        " status = %(status)s, said = %(said)s, via = CASE WHEN via = %(claimed_via)s THEN %(via)s ELSE via END,"
        " lost = %(lost)s, fault = %(fault)s, peer = %(peer)s, maybe_at = %(maybe_at)s, maybe_since = %(maybe_since)s,"
        " merged_into = CASE WHEN %(state)s IN ('queued', 'held') THEN merged_into ELSE %(merged_into)s END"
        " WHERE message = %(message)s AND key = %(key)s",
        {**row, "message": lease.message, "claimed_via": plain(lease.vias.get(outcome.address.key, outcome.via))},
    )


def _end_parts(db: Connection, digest: str, merges: int, ends: Iterable[Ended], now: datetime) -> None:
    """The messages of a digest end as it does: merged where it was relayed, else failed or given up like it."""
    for one in ends:
        state, line = end_of_part(digest, merges, one, now)
        changed = db.execute(
            "UPDATE recipient SET state = %s, due_at = %s WHERE merged_into = %s AND key = %s AND state = ANY(%s)"
            " RETURNING message",
            (state.value, micros(now), digest, one.key, [each.value for each in PART_STATES - {state}]),
        ).fetchall()
        parts = [message for (message,) in changed]
        if parts:
            told = {"messages": parts, "trail": trail_json((line,))}
            db.execute(TRAIL_WITH.format(source="unnest(%(messages)s::bigint[]) AS chosen(id)"), told)
            db.execute("UPDATE message SET over_at = %s WHERE id = ANY(%s) AND over_at IS NOT NULL", (micros(now), parts))


def _end_parts_of(db: Connection, messages: list[int], now: datetime) -> None:
    """The messages of a digest that is removed before everybody got it have failed."""
    digests = db.execute(
        "SELECT queue_id, merges, key, local, domain FROM message JOIN recipient ON recipient.message = message.id"
        " WHERE message.id = ANY(%s) AND merges > 0 AND state IN ('queued', 'held')",
        (messages,),
    ).fetchall()
    for digest, merges, key, local, domain in digests:
        _end_parts(db, digest, merges, (Ended(key, str(Address(local, domain)), State.FAILED, removed=True),), now)


def add_notice(db: Connection, notice: PendingNotice) -> None:
    row = clean(notice_row(notice))
    columns, values = ", ".join(row), ", ".join(f"%({column})s" for column in row)
    db.execute(f"INSERT INTO notice ({columns}) VALUES ({values})", row)  # noqa: S608 - our own column names


def _count(db: Connection, settlement: Settlement, now: datetime) -> None:
    if settlement.sent:
        db.execute(
            "INSERT INTO sent_per_day (day, upstream, messages) VALUES (%s, %s, 1)"
            " ON CONFLICT (day, upstream) DO UPDATE SET messages = sent_per_day.messages + 1",
            (f"{now:%Y-%m-%d}", plain(settlement.sent)),
        )
    if settlement.refused_sender:
        upstream, sender = settlement.refused_sender
        db.execute(
            "INSERT INTO refused_sender (upstream, sender, at) VALUES (%s, %s, %s)"
            " ON CONFLICT (upstream, sender) DO UPDATE SET at = excluded.at",
            (plain(upstream), plain(sender), micros(now)),
        )


def carry_out(db: Connection, order: Order, now: datetime) -> list[tuple[int, int | None]]:
    """Carries out an operator's order; the messages that it applied to, each with its lease if it has one."""
    states = [state.value for state in applies(order)]
    wanted = "" if order.queue_ids is None else "AND queue_id = ANY(%(ids)s)"
    wanted += " AND kept = 1" if order.action is Action.RELEASE else ""
    wanted += f" AND NOT {among(waits)}" if (waits := spared(order)) else ""
    ids = [plain(one) for one in order.queue_ids or ()]
    those = f"id IN (SELECT message FROM recipient WHERE state = ANY(%(states)s){no_parts(order)})"  # noqa: S608 - our own words
    if order.action is Action.ACKNOWLEDGE:
        those = "attention = 1"  # whatever became of it since
    with db.transaction():
        chosen = db.execute(
            f"SELECT id, lease FROM message WHERE {those} {wanted} ORDER BY id FOR UPDATE",  # noqa: S608 - our own words
            {"states": states, "ids": ids},
        ).fetchall()
        messages = [message for message, _ in chosen]
        if order.action is Action.REMOVE:
            _end_parts_of(db, messages, now)
            _remove(db, messages)
        elif messages:
            _change(db, order, messages, states, now)
    return chosen


def _change(db: Connection, order: Order, messages: list[int], states: list[str], now: datetime) -> None:
    if order.action is Action.HOLD:
        change = "state = 'held'"
    elif order.action is Action.ACKNOWLEDGE:
        change = ""
    else:
        change = "state = 'queued', due_at = %(now)s, merged_into = ''"
        change += ", via = %(via)s" if order.action is Action.RELEASE else ""
        if order.action is Action.RETRY and (order.by_hand or order.queue_ids is None):
            change += ", attempts = 0"  # a retry by hand must not make the next delay longer
    via = plain(order.via) if order.action is Action.RELEASE else ""
    with together(db):
        if change:
            db.execute(
                f"UPDATE recipient SET {change} WHERE message = ANY(%(messages)s) AND state = ANY(%(states)s){no_parts(order)}",  # noqa: S608
                {"now": micros(now), "via": via, "messages": messages, "states": states},
            )
        if order.action in (Action.RELEASE, Action.ACKNOWLEDGE):
            db.execute("UPDATE message SET attention = 0 WHERE attention = 1 AND id = ANY(%s)", (messages,))
        if at_any_hour(order):
            db.execute("UPDATE message SET storm = %s WHERE id = ANY(%s)", (ORDERED, messages))
        if order.by_hand:
            told = {"messages": messages, "trail": trail_json((told_of(order, now),))}
            db.execute(TRAIL_WITH.format(source="unnest(%(messages)s::bigint[]) AS chosen(id)"), told)
        sum_up(db, messages, now)


def sum_up(db: Connection, messages: list[int], now: datetime) -> None:
    db.execute(
        f"UPDATE message SET {_SUM_UP} WHERE id = ANY(%(messages)s)",  # noqa: S608 - our own words
        {"now": micros(now), "messages": messages},
    )


def _remove(db: Connection, messages: list[int]) -> None:
    # a failure is still told; a delay of what is gone concerns nobody
    db.execute(
        "DELETE FROM notice WHERE kind = 'delayed' AND queue_id IN (SELECT queue_id FROM message WHERE id = ANY(%s))",
        (messages,),
    )
    db.execute("DELETE FROM message WHERE id = ANY(%s)", (messages,))


def tell(db: Connection, queue_id: str, line: TrailLine) -> bool:
    """Adds a line to the trail of a message; False if it is gone."""
    source = "(SELECT id FROM message WHERE queue_id = %(queue_id)s) AS about"
    told = db.execute(TRAIL_WITH.format(source=source), {"queue_id": plain(queue_id), "trail": trail_json((line,))})
    return told.rowcount > 0


def strike_off(db: Connection, told: tuple[int, ...], trail: tuple[TrailLine, ...], *, attention: bool = False) -> None:
    """Takes notices off the list of those to be told; `trail` goes to the messages that they were about."""
    if attention:
        db.execute(
            "UPDATE message SET attention = 1 WHERE queue_id IN (SELECT queue_id FROM notice WHERE number = ANY(%s))",
            (list(told),),
        )
    if trail:
        db.execute(
            TRAIL_WITH.format(
                source="(SELECT id FROM message WHERE queue_id IN"
                " (SELECT queue_id FROM notice WHERE number = ANY(%(told)s))) AS about"
            ),
            {"told": list(told), "trail": trail_json(trail)},
        )
    db.execute("DELETE FROM notice WHERE number = ANY(%s)", (list(told),))


def forget_old(db: Connection, now: datetime, keep_history: timedelta, limit: int) -> list[int]:
    """Removes up to `limit` messages that were over before `keep_history`, and outworn counters; the ids removed.

    A message that somebody has still to be told of, or to acknowledge, stays, and so does one with a lease, or whose digest
    is not over.
    """
    with db.transaction():
        gone = [
            message
            for (message,) in db.execute(
                "SELECT id FROM message WHERE over_at < %s AND owner IS NULL AND attention = 0"  # noqa: S608
                " AND NOT EXISTS (SELECT 1 FROM notice WHERE notice.queue_id = message.queue_id)"
                f" AND NOT {IN_OPEN_DIGEST}"
                " ORDER BY over_at LIMIT %s FOR UPDATE SKIP LOCKED",
                (micros(now - keep_history), limit),
            ).fetchall()
        ]
        _remove(db, gone)
        db.execute("DELETE FROM sent_per_day WHERE day < %s", (f"{now - _SENT_KEPT:%Y-%m-%d}",))
        db.execute("DELETE FROM refused_sender WHERE at < %s", (micros(now - REFUSED_SENDER_KEPT),))
        db.execute("DELETE FROM turn WHERE at < %s", (micros(now - timedelta(hours=1)),))
        db.execute("DELETE FROM moved WHERE at < %s", (micros(now - _MOVED_KEPT),))
        db.execute(
            "DELETE FROM peer WHERE seen_at < clock_timestamp() - interval '7 days'"
            " AND NOT EXISTS (SELECT 1 FROM message WHERE owner = peer.id)"
        )
    return gone


def rebase(db: Connection, since: datetime, until: datetime, by: timedelta) -> int:
    """Moves accepted_at (and maybe_since) of unfinished messages that lies from `since` to `until`; how many they were."""
    moved = (by // timedelta(microseconds=1), micros(since), micros(until))
    with db.transaction():
        db.execute(
            "UPDATE recipient SET maybe_since = maybe_since + %s WHERE maybe_since BETWEEN %s AND %s"
            " AND message IN (SELECT id FROM message WHERE over_at IS NULL)",
            moved,
        )
        return db.execute(
            "UPDATE message SET accepted_at = accepted_at + %s WHERE over_at IS NULL AND accepted_at BETWEEN %s AND %s", moved
        ).rowcount
