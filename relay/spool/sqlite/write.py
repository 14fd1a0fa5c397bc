"""All writing to SQLite: one function for each operation, each within the caller's transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice

from relay import crash_points
from relay.mail.address import Address
from relay.spool.contract import LeaseLost
from relay.spool.entry import ORDERED, Action, Entry, Order, Recipient, Settlement, State, TrailLine
from relay.spool.orders import applies, at_any_hour, spared, told_of
from relay.spool.rows import entry_row, micros, moment, notice_row, packed, plain, recipient_row, trail_row
from relay.spool.search import among, sought
from relay.spool.sqlite.read import with_one_in
from relay.spool.storms import IN_OPEN_DIGEST, PART_STATES, Ended, end_of_part, ended, no_parts

REFUSED_SENDER_KEPT = timedelta(days=30)
_SENT_KEPT = timedelta(days=40)
_REPEATS_LOOKED_AT = 50
_VALUES_AT_ONCE = 80
_ROWS_AT_ONCE = 4  # of content: SQLite copies what is bound
_FEW = 8  # recipients of one message that are found by looking at each


def add_content(db: sqlite3.Connection, message: int, first: int, blocks: Iterable[bytes]) -> None:
    """Content rows from number `first` on."""
    rows = ((message, seq, *packed(block)) for seq, block in enumerate(blocks, first))
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        db.execute(_content_insert(len(some)), [value for row in some for value in row])


@lru_cache(maxsize=_ROWS_AT_ONCE)
def _content_insert(rows: int) -> str:
    places = ", ".join(["(?, ?, ?, ?)"] * rows)
    return f"INSERT INTO content (message, seq, data, packed) VALUES {places}"  # noqa: S608 - nothing but question marks


def drop_content(db: sqlite3.Connection, messages: Sequence[int]) -> None:
    db.execute(f"DELETE FROM content WHERE message IN ({', '.join('?' * len(messages))})", messages)  # noqa: S608


def add_entry(
    db: sqlite3.Connection, message: int, entry: Entry, trail: tuple[TrailLine, ...]
) -> tuple[tuple[Recipient, ...], bool]:
    """The message and its recipients, all queued and due at once; these, and whether its Message-ID is repeated.

    Raises ValueError for a queue id used before.
    """
    row = {**entry_row(entry), **sought(entry, trail), "id": message}
    at, paths = entry.accepted_at, entry.envelope.forward_paths
    queued = [Recipient(address, State.QUEUED, 0, at, via=entry.via) for address in paths]
    distinct = {recipient.address.key: recipient for recipient in reversed(queued)}  # the first spelling wins
    row["repeated"] = int(_repeated(db, row, distinct))
    try:
        _insert(db, "message", row)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE":
            raise
        raise ValueError(f"queue id {entry.queue_id} is taken") from error
    recipients = tuple(reversed(distinct.values()))
    for seq, recipient in enumerate(recipients):
        _insert(db, "recipient", {"message": message, "seq": seq, **recipient_row(recipient)})
    add_trail(db, message, trail)
    return recipients, bool(row["repeated"])


def _repeated(db: sqlite3.Connection, row: Mapping[str, object], keys: Iterable[str]) -> bool:
    """Whether this client used this Message-ID before for other content to one of these recipients.

    Such a mailbox takes the later mail for a copy of the earlier one (Gmail drops or throttles it).  Mail to others
    with the same id is left as it is.  Only the latest uses are looked at, so a constant id costs the same for ever.
    """
    # judged once, at commit: the repair that follows from it must be the same at every attempt
    if not row["message_id"]:
        return False
    earlier = db.execute(
        "SELECT id FROM message WHERE client = :client AND message_id = :message_id AND message_id <> ''"
        " AND digest <> :digest ORDER BY id DESC LIMIT :looked_at",
        {**row, "looked_at": _REPEATS_LOOKED_AT},
    ).fetchall()
    theirs = (db.execute("SELECT key FROM recipient WHERE message = ?", found).fetchall() for found in earlier)
    wanted = frozenset(map(plain, keys))
    return any(key in wanted for found in theirs for (key,) in found)


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    db.execute(_row_insert(table, tuple(row)), tuple(row.values()))


def add_notice(db: sqlite3.Connection, row: Mapping[str, object]) -> None:
    _insert(db, "notice", row)


@lru_cache(maxsize=32)
def _row_insert(table: str, columns: tuple[str, ...]) -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - our own column names


def add_trail(db: sqlite3.Connection, message: int, trail: Iterable[TrailLine]) -> None:
    values = [value for line in trail for value in (message, *trail_row(line))]
    if len(values) <= _VALUES_AT_ONCE:
        if values:
            db.execute(_trail_insert(len(values) // 4), values)  # one statement, so one turn with the interpreter's lock
        return
    db.executemany(_trail_insert(1), (values[place : place + 4] for place in range(0, len(values), 4)))


@lru_cache(maxsize=32)
def _trail_insert(lines: int) -> str:
    places = ", ".join(["(?, ?, ?, ?)"] * lines)
    return f"INSERT INTO trail (message, at, event, said) VALUES {places}"  # noqa: S608 - nothing but question marks


def settle(
    db: sqlite3.Connection, message: int, settlement: Settlement, *, step: int, vias: Mapping[str, str], now: datetime
) -> tuple[bool, datetime | None]:
    """Stores a settlement, the `step`th since its claim's base.

    Whether nobody wants the content any more, and when the message is due again.  `vias` are the orders the recipients
    were claimed with.  Raises LeaseLost if the message was removed, ValueError for a recipient that it does not have.
    """
    found = db.execute("SELECT settled, kept, due_at, merges, queue_id FROM message WHERE id = ?", (message,)).fetchone()
    if found is None:
        raise LeaseLost("the message was removed meanwhile")
    if found[0] >= step:
        return not found[1], found[2] and moment(found[2])  # an earlier try was cut off after it had been written
    places = _places(db, message) if len(settlement.outcomes) > _FEW else {}
    for outcome in settlement.outcomes:
        _store_outcome(db, message, outcome, vias, places)
    add_trail(db, message, settlement.trail)
    for notice in settlement.notices:
        _insert(db, "notice", notice_row(notice))
    _count(db, settlement, now)
    if found[3]:
        _end_parts(db, found[4], found[3], ended(settlement.outcomes), now)
    kept, due_at = _conclude(db, message, settlement, step, now)
    if settlement.outcomes:
        crash_points.passed("settle-inside")
    return not kept, due_at


def _places(db: sqlite3.Connection, message: int) -> dict[str, int]:
    """The number of each recipient, by key: finding hundreds by key would read all of them each time."""
    return dict(db.execute("SELECT key, seq FROM recipient WHERE message = ?", (message,)).fetchall())


def _store_outcome(
    db: sqlite3.Connection, message: int, outcome: Recipient, vias: Mapping[str, str], places: Mapping[str, int]
) -> None:
    row = recipient_row(outcome)
    place = places.get(row["key"])
    changed = db.execute(
        # Held by order while it was being tried: what was learned is kept, and it stays held.
        # Released via another upstream meanwhile: that newer order stands.  Merged meanwhile: its digest goes, not it.
        "UPDATE recipient SET state = CASE WHEN merged_into <> '' AND :state IN ('queued', 'held') THEN state"
        " WHEN state = 'held' AND :state = 'queued' THEN 'held' ELSE :state END,"
        " attempts = :attempts, due_at = :due_at, upstream = :upstream, stage = :stage, code = :code,"
        " status = :status, said = :said, via = CASE WHEN via = :claimed_via THEN :via ELSE via END, lost = :lost,"
        " fault = :fault, peer = :peer, maybe_at = :maybe_at, maybe_since = :maybe_since,"
        " merged_into = CASE WHEN :state IN ('queued', 'held') THEN merged_into ELSE :merged_into END"
        " WHERE message = :message AND key = :key AND seq = coalesce(:place, seq)",
        {
            **row,
            "message": message,
            "place": place,
            "claimed_via": plain(vias.get(outcome.address.key, outcome.via)),
        },
    )
    if changed.rowcount != 1:
        raise ValueError(f"the message has no recipient {outcome.address}")


def _end_parts(db: sqlite3.Connection, digest: str, merges: int, ends: Iterable[Ended], now: datetime) -> None:
    """The messages of a digest end as it does: merged where it was relayed, else failed or given up like it."""
    for one in ends:
        state, line = end_of_part(digest, merges, one, now)
        for before in PART_STATES - {state}:  # each named, or SQLite does not see that it may use recipient_fate
            changed = db.execute(
                "UPDATE recipient SET state = ?, due_at = ? WHERE merged_into = ? AND key = ?"  # noqa: S608 - our own words
                f" AND state = '{before.value}' RETURNING message",
                (state.value, micros(now), digest, one.key),
            ).fetchall()
            for (message,) in changed:
                add_trail(db, message, (line,))
                db.execute("UPDATE message SET over_at = ? WHERE id = ? AND over_at IS NOT NULL", (micros(now), message))


def _count(db: sqlite3.Connection, settlement: Settlement, now: datetime) -> None:
    if settlement.sent:
        db.execute(
            "INSERT INTO sent_per_day (day, upstream, messages) VALUES (?, ?, 1)"
            " ON CONFLICT (day, upstream) DO UPDATE SET messages = messages + 1",
            (f"{now:%Y-%m-%d}", plain(settlement.sent)),
        )
    if settlement.refused_sender:
        upstream, sender = settlement.refused_sender
        db.execute(
            "INSERT INTO refused_sender (upstream, sender, at) VALUES (?, ?, ?)"
            " ON CONFLICT (upstream, sender) DO UPDATE SET at = excluded.at",
            (plain(upstream), plain(sender), micros(now)),
        )


_SUM = (
    "due_at = (SELECT min(due_at) FROM recipient WHERE message = id AND state = 'queued'),"
    " over_at = CASE WHEN EXISTS (SELECT 1 FROM recipient WHERE message = id AND state IN ('queued', 'held'))"
    " THEN NULL ELSE coalesce(over_at, ?) END"
)
"""Sets due_at and over_at of a message from its recipients (invariants 2 and 3)."""


def sum_up(db: sqlite3.Connection, messages: Iterable[int], now: datetime) -> None:
    db.executemany(f"UPDATE message SET {_SUM} WHERE id = ?", [(micros(now), message) for message in messages])  # noqa: S608


def _conclude(
    db: sqlite3.Connection, message: int, settlement: Settlement, step: int, now: datetime
) -> tuple[bool, datetime | None]:
    """Notes the step.  Whether the content is still wanted, and when the message is due again."""
    ((kept, due_at),) = db.execute(
        f"UPDATE message SET {_SUM}, settled = ?, warned = max(warned, ?), attention = max(attention, ?),"  # noqa: S608
        " kept = kept AND EXISTS (SELECT 1 FROM recipient WHERE message = id AND state <> 'relayed') WHERE id = ?"
        " RETURNING kept, due_at",
        (micros(now), step, int(settlement.warned), int(settlement.attention), message),
    ).fetchall()
    return bool(kept), None if due_at is None else moment(due_at)


def carry_out(db: sqlite3.Connection, order: Order, now: datetime) -> list[int]:
    """Carries out an operator's order; the ids of the messages that it applied to."""
    _choose(db, order)
    chosen = [message for (message,) in db.execute("SELECT id FROM chosen ORDER BY id").fetchall()]
    if order.action is Action.REMOVE:
        _end_parts_of_chosen(db, now)
        _remove_chosen(db)
        return chosen
    if order.action is Action.ACKNOWLEDGE:
        db.execute("UPDATE message SET attention = 0 WHERE id IN (SELECT id FROM chosen)")
    else:
        _change(db, order, now)
    for message in chosen if order.by_hand else ():
        add_trail(db, message, (told_of(order, now),))
    sum_up(db, chosen, now)
    return chosen


def _change(db: sqlite3.Connection, order: Order, now: datetime) -> None:
    if order.action is Action.HOLD:
        change = "state = 'held'"
    else:
        change = "state = 'queued', due_at = :now, merged_into = ''"
        change += ", via = :via" if order.action is Action.RELEASE else ""
        if order.action is Action.RETRY and (order.by_hand or order.queue_ids is None):
            change += ", attempts = 0"  # a retry by hand must not make the next delay longer
    db.execute(
        f"UPDATE recipient SET {change} WHERE message IN (SELECT id FROM chosen) AND {_whom(order)}",  # noqa: S608
        {"now": micros(now), "via": plain(order.via) if order.action is Action.RELEASE else ""},
    )
    if order.action is Action.RELEASE:
        db.execute("UPDATE message SET attention = 0 WHERE attention = 1 AND id IN (SELECT id FROM chosen)")
    if at_any_hour(order):
        db.execute("UPDATE message SET storm = ? WHERE id IN (SELECT id FROM chosen)", (ORDERED,))


def _whom(order: Order) -> str:
    """The condition for the recipients that it is for."""
    states = ", ".join(f"'{state.value}'" for state in applies(order))
    return f"state IN ({states}){no_parts(order)}"


def _choose(db: sqlite3.Connection, order: Order) -> None:
    wanted = "attention = 1" if order.action is Action.ACKNOWLEDGE else with_one_in(frozenset(applies(order)))
    wanted += " AND kept" if order.action is Action.RELEASE else ""
    wanted += f" AND NOT {among(waits)}" if (waits := spared(order)) else ""
    if order.action is Action.RELEASE and not order.of_named:
        wanted += f" AND EXISTS (SELECT 1 FROM recipient WHERE message = message.id AND {_whom(order)})"  # noqa: S608
    db.execute("DELETE FROM chosen")
    if order.queue_ids is None:
        db.execute(f"INSERT INTO chosen SELECT id FROM message WHERE {wanted}")  # noqa: S608
    else:
        db.executemany(
            f"INSERT OR IGNORE INTO chosen SELECT id FROM message WHERE queue_id = ? AND {wanted}",  # noqa: S608
            [(plain(queue_id),) for queue_id in order.queue_ids],
        )


def _end_parts_of_chosen(db: sqlite3.Connection, now: datetime) -> None:
    """The messages of a digest that is removed before everybody got it have failed."""
    digests = db.execute(
        "SELECT queue_id, merges, key, local, domain FROM chosen CROSS JOIN message ON message.id = chosen.id"
        " CROSS JOIN recipient ON recipient.message = message.id WHERE merges > 0 AND state IN ('queued', 'held')"
    ).fetchall()
    for digest, merges, key, local, domain in digests:
        _end_parts(db, digest, merges, (Ended(key, str(Address(local, domain)), State.FAILED, removed=True),), now)


def _remove_chosen(db: sqlite3.Connection) -> None:
    # a failure is still told; a delay of what is gone concerns nobody
    db.execute(
        "DELETE FROM notice WHERE kind = 'delayed'"
        " AND queue_id IN (SELECT queue_id FROM message WHERE id IN (SELECT id FROM chosen))"
    )
    db.execute("DELETE FROM content WHERE message IN (SELECT id FROM chosen)")
    db.execute("DELETE FROM message WHERE id IN (SELECT id FROM chosen)")


def tell(db: sqlite3.Connection, queue_id: str, line: TrailLine) -> bool:
    """Adds a line to the trail of a message; False if it is gone."""
    found = db.execute("SELECT id FROM message WHERE queue_id = ?", (plain(queue_id),)).fetchall()
    for (message,) in found:
        add_trail(db, message, (line,))
    return bool(found)


def strike_off(db: sqlite3.Connection, told: tuple[int, ...], trail: Iterable[TrailLine], *, attention: bool = False) -> None:
    """Takes notices off the list of those to be told; `trail` goes to the messages that they were about."""
    lines = list(trail)
    messages: dict[int, None] = {}
    for number in told:
        for (message,) in db.execute(
            "SELECT m.id FROM notice n JOIN message m ON m.queue_id = n.queue_id WHERE n.number = ?", (number,)
        ).fetchall():
            messages[message] = None
    for message in messages:
        add_trail(db, message, lines)
    if attention:
        db.executemany("UPDATE message SET attention = 1 WHERE id = ?", [(message,) for message in messages])
    db.executemany("DELETE FROM notice WHERE number = ?", [(number,) for number in told])


def forget_old(db: sqlite3.Connection, now: datetime, keep_history: timedelta, spared: Iterable[int], limit: int) -> list[int]:
    """Removes up to `limit` messages that were over before `keep_history`, and outworn counters; the ids removed.

    A message somebody has still to be told of, or to acknowledge, stays, and so do `spared` ones and those whose digest is
    not over.
    """
    db.execute("DELETE FROM chosen")
    db.execute(
        # by message_age; what is over was accepted before, unless a wrong clock said that it comes from the future
        "INSERT INTO chosen SELECT id FROM message"  # noqa: S608 - our own words
        " WHERE (accepted_at < :before OR accepted_at > :now) AND over_at < :before"
        " AND attention = 0 AND NOT EXISTS (SELECT 1 FROM notice WHERE notice.queue_id = message.queue_id)"
        f" AND NOT {IN_OPEN_DIGEST} LIMIT :limit",
        {"before": micros(now - keep_history), "now": micros(now), "limit": limit},
    )
    db.executemany("DELETE FROM chosen WHERE id = ?", [(message,) for message in spared])
    gone = [message for (message,) in db.execute("SELECT id FROM chosen").fetchall()]
    _remove_chosen(db)
    db.execute("DELETE FROM sent_per_day WHERE day < ?", (f"{now - _SENT_KEPT:%Y-%m-%d}",))
    db.execute("DELETE FROM refused_sender WHERE at < ?", (micros(now - REFUSED_SENDER_KEPT),))
    return gone


def rebase(db: sqlite3.Connection, since: datetime, until: datetime, by: timedelta) -> int:
    """Moves accepted_at (and maybe_since) of unfinished messages that lies from `since` to `until`; how many they were."""
    moved = (by // timedelta(microseconds=1), micros(since), micros(until))
    db.execute(
        "UPDATE recipient SET maybe_since = maybe_since + ? WHERE maybe_since BETWEEN ? AND ?"
        " AND message IN (SELECT id FROM message WHERE over_at IS NULL)",
        moved,
    )
    return db.execute(
        "UPDATE message SET accepted_at = accepted_at + ? WHERE over_at IS NULL AND accepted_at BETWEEN ? AND ?", moved
    ).rowcount


def sweep(db: sqlite3.Connection) -> None:
    """Removes content rows that nobody wants, or that belong to no message (invariants 4 and 5)."""
    lost = db.execute(
        "SELECT DISTINCT message FROM content WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = content.message AND kept)"
    ).fetchall()
    for (message,) in lost:
        drop_content(db, (message,))
