"""All reading from SQLite: one function for each query, on any connection."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from relay.mail.envelope import Origin
from relay.spool.entry import Content, Heard, PendingNotice, QueueLine, Recipient, State, StoredEntry, TrailLine
from relay.spool.rows import (
    FIRST_LINE,
    LISTED,
    MESSAGE_COLUMNS,
    POSTPONED,
    RECIPIENT_COLUMNS,
    TOGETHER,
    micros,
    moment,
    plain,
    row_entry,
    row_heard,
    row_line,
    row_notice,
    row_recipient,
    row_told,
    row_trail,
)
from relay.spool.search import EVERY_STATE, SQLITE, PageKey, Search, among, conditions

_FEW = 500
_UNFINISHED = frozenset({State.QUEUED, State.HELD})
_UNUSUAL = frozenset({State.HELD, State.FAILED, State.EXPIRED, State.MERGED})
"""States that the index recipient_fate knows."""

ContentOf = Callable[[int, int], Content]
"""Content of a message, by its id and its size in octets."""


def due_first(
    db: sqlite3.Connection, leased: Collection[int], now: datetime, most: int
) -> tuple[list[int], bool, datetime | None]:
    """Up to `most` messages that are due and not leased, the oldest first; whether these are all, and when the next will be."""
    chosen: list[int] = []
    # a window that leased ones alone cannot fill: what is in flight is bounded, what waits is not
    query = "SELECT id, due_at FROM message WHERE due_at IS NOT NULL ORDER BY due_at, accepted_at, id LIMIT ?"
    for message, due_at in db.execute(query, (len(leased) + most + 1,)).fetchall():
        if message in leased:
            continue
        if due_at > micros(now):
            return chosen, True, moment(due_at)
        if len(chosen) == most:
            return chosen, False, None
        chosen.append(message)
    return chosen, True, None


def message_rows(db: sqlite3.Connection, messages: Collection[int]) -> dict[int, tuple[Any, ...]]:
    places = ", ".join("?" * len(messages))
    rows = db.execute(f"SELECT {MESSAGE_COLUMNS} FROM message WHERE id IN ({places})", tuple(messages)).fetchall()  # noqa: S608
    return {row[0]: row for row in rows}


def recipients_of(db: sqlite3.Connection, messages: Collection[int]) -> dict[int, tuple[Recipient, ...]]:
    """The recipients of each of these messages, in the order in which the device named them."""
    found: dict[int, list[Recipient]] = defaultdict(list)
    places = ", ".join("?" * len(messages))
    query = f"SELECT {RECIPIENT_COLUMNS}, message FROM recipient WHERE message IN ({places}) ORDER BY message, seq"  # noqa: S608
    for row in db.execute(query, tuple(messages)).fetchall():
        found[row[-1]].append(row_recipient(row[:-1]))
    return {message: tuple(recipients) for message, recipients in found.items()}


def recipients(db: sqlite3.Connection, message: int) -> tuple[Recipient, ...]:
    rows = db.execute(f"SELECT {RECIPIENT_COLUMNS} FROM recipient WHERE message = ? ORDER BY seq", (message,))  # noqa: S608
    return tuple(map(row_recipient, rows.fetchall()))


def stored_entry(db: sqlite3.Connection, queue_id: str, content: ContentOf) -> StoredEntry | None:
    query = f"SELECT {MESSAGE_COLUMNS}, {TOGETHER}, attention FROM message WHERE queue_id = ?"  # noqa: S608 - our own column names
    found = db.execute(query, (plain(queue_id),)).fetchall()
    if not found:
        return None
    row = found[0]
    rcpts = recipients(db, row[0])
    trail = db.execute("SELECT at, event, said FROM trail WHERE message = ? ORDER BY number", (row[0],))
    return StoredEntry(
        entry=row_entry(row, tuple(recipient.address for recipient in rcpts), content(row[0], row[8])),
        recipients=rcpts,
        trail=tuple(row_trail(*line) for line in trail.fetchall()),
        attention=bool(row[-1]),
        together=row[-2],
    )


def stored_entries(
    db: sqlite3.Connection, states: frozenset[State] | None, limit: int, *, newest: bool, skip: int = 0, trail: bool = False
) -> list[StoredEntry]:
    """Two queries (three with the trails), however many messages: the messages, then the recipients of all of them."""
    wanted = "" if states is None else f"WHERE {_met_with(states) if limit + skip <= _FEW else with_one_in(states)}"
    order = "DESC" if newest else "ASC"
    chosen = f"FROM message {wanted} ORDER BY accepted_at {order}, id {order} LIMIT :limit OFFSET :skip"
    window = {"limit": limit, "skip": skip}
    rows = db.execute(f"SELECT {MESSAGE_COLUMNS}, attention {chosen}", window).fetchall()
    few = len(rows) <= _FEW  # a page names its messages; thousands are chosen again by the same words
    these, window = (",".join(str(row[0]) for row in rows), {}) if few else (f"SELECT id {chosen}", window)
    rcpts: dict[int, list[Recipient]] = defaultdict(list)
    for message, *row in db.execute(
        f"SELECT message, {RECIPIENT_COLUMNS} FROM recipient WHERE message IN ({these}) ORDER BY message, seq",  # noqa: S608
        window,
    ):
        rcpts[message].append(row_recipient(row))
    lines: dict[int, list[TrailLine]] = defaultdict(list)
    told = f"SELECT message, at, event, said FROM trail WHERE message IN ({these}) ORDER BY number"  # noqa: S608
    for message, *line in db.execute(told, window) if trail else ():
        lines[message].append(row_trail(*line))
    if newest:
        rows.reverse()
    return [
        StoredEntry(
            row_entry(row, tuple(r.address for r in rcpts[row[0]]), ()),
            tuple(rcpts[row[0]]),
            tuple(lines[row[0]]),
            attention=bool(row[-1]),
        )
        for row in rows
    ]


def queue_lines(
    db: sqlite3.Connection,
    states: frozenset[State] | None,
    limit: int,
    *,
    search: Search,
    after: PageKey | QueueLine | None = None,
    skip: int = 0,
    newest: bool = False,
) -> list[QueueLine]:
    """One query of the columns that a list shows, however many messages; no value is built that a list has no use for."""
    found, order, beyond = conditions(search, SQLITE), *(("DESC", "<") if newest else ("ASC", ">"))
    if after:
        found.terms.insert(0, f"(accepted_at, id) {beyond} (:at, :behind)")
    if states is not None:
        found.terms.append(_sought_in(states) if search or newest else _met_with(states, further=after is not None))
    query = (
        f"WITH chosen AS (SELECT {LISTED}, attention, merges"  # noqa: S608
        f" FROM message WHERE {' AND '.join(found.terms) or 'true'}"
        f" ORDER BY accepted_at {order}, id {order} LIMIT :limit OFFSET :skip)"
        f" SELECT {LISTED}, {RECIPIENT_COLUMNS}, '', attention, merges, {FIRST_LINE} FROM chosen"
        " JOIN recipient ON recipient.message = chosen.id"
        f" ORDER BY chosen.accepted_at {order}, chosen.id {order}, seq"
    )
    window = {"limit": limit, "skip": skip, "at": micros(after.accepted_at) if after else 0, "behind": after and after.message}
    return [row_line(row) for row in db.execute(query, {**window, **found.values}).fetchall()]


def counted(db: sqlite3.Connection, states: frozenset[State] | None, search: Search, also: frozenset[State]) -> tuple[int, int]:
    """Messages that are searched for, with a recipient in one of `states`; and those of them with one in one of `also`."""
    found = conditions(search, SQLITE)
    found.terms += [] if states is None else [_sought_in(states)]
    fitting = "count(*)" if also == EVERY_STATE else f"count(*) FILTER (WHERE {_sought_in(also)})" if also else "0"
    query = f"SELECT count(*), {fitting} FROM message WHERE {' AND '.join(found.terms) or 'true'}"  # noqa: S608 - our own words
    ((matching, some),) = db.execute(query, found.values).fetchall()
    return matching, some


def _sought_in(states: frozenset[State]) -> str:
    """The condition where a few of many messages may be meant: what is unusual or waits is found by an index of its own."""
    if states <= _UNUSUAL:
        return f"+{with_one_in(states)}"  # row by row, in the order of message_age
    if states <= _UNFINISHED:
        held = f" UNION ALL {_OF_STATE.format(State.HELD.value)}" if State.HELD in states else ""
        return f"+id IN (SELECT id FROM message WHERE due_at IS NOT NULL{held})"  # noqa: S608
    return among(states)


def beginning(db: sqlite3.Connection, beginnings: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Two ids at most for each: one more than there should be."""
    found = {}
    for text in map(plain, beginnings):
        rows = db.execute(
            "SELECT queue_id FROM message WHERE queue_id >= ? AND queue_id < ? ORDER BY queue_id LIMIT 2", (text, text + "\x7f")
        )
        ids = tuple(row[0] for row in rows.fetchall())
        found[text] = ids[:1] if text in ids else ids
    return found


_QUEUED = "SELECT id, accepted_at FROM message WHERE due_at IS NOT NULL"
_ONLY_HELD = (
    "SELECT id, accepted_at FROM message WHERE id IN (SELECT message FROM recipient WHERE state = 'held') AND due_at IS NULL"
)
"""Together all that is unfinished; each by an index that holds little else."""
_OLDEST = f"(SELECT min(accepted_at) FROM (SELECT * FROM ({_QUEUED}) UNION ALL SELECT * FROM ({_ONLY_HELD})))"  # noqa: S608


_OF_STATE = "SELECT message FROM recipient WHERE state = '{}'"


def _met_with(states: frozenset[State], *, further: bool = False) -> str:
    """The condition for a page: it is found by walking along the messages until it is full, from the first that can be meant.

    Unless it is a `further` page, and so begins behind that anyway.
    """
    if not states <= _UNFINISHED:
        return among(states)
    chosen = [] if further else [f"accepted_at >= {_OLDEST}"]
    chosen += ["over_at IS NULL"] if states == _UNFINISHED else ["over_at IS NULL", among(states)]
    return " AND ".join(chosen)


def with_one_in(states: frozenset[State]) -> str:
    """The condition for all messages with a recipient in one of these states."""
    if states <= _UNUSUAL:  # each named as recipient_fate names it, or SQLite does not see that it may use that
        some = (_OF_STATE.format(state.value) for state in State if state in states)
        return f"id IN ({' UNION ALL '.join(some)})"
    return "due_at IS NOT NULL" if states == {State.QUEUED} else _met_with(states)


def counts(db: sqlite3.Connection) -> tuple[Mapping[State, int], int, datetime | None, int, int, int]:
    """Recipients by state, messages unfinished, when the oldest that does not wait on purpose was accepted, octets in use in
    the file, messages that need attention, recipients that wait on purpose."""
    states = dict.fromkeys(State, 0)
    for state in states:
        if state in _UNUSUAL:
            states[state] = _count(db, f"recipient WHERE state = '{state.value}'")
    ((states[State.QUEUED], postponed, queued_since),) = db.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {POSTPONED}), min(accepted_at) FILTER (WHERE NOT {POSTPONED})"  # noqa: S608
        " FROM message CROSS JOIN recipient ON message = id WHERE message.due_at IS NOT NULL AND state = 'queued'"
    ).fetchall()
    states[State.RELAYED] = _count(db, "recipient") - sum(states.values())
    unfinished = _count(db, f"({_QUEUED})") + (_count(db, f"({_ONLY_HELD})") if states[State.HELD] else 0)
    ((held_since,),) = db.execute(f"SELECT min(accepted_at) FROM ({_ONLY_HELD})").fetchall()  # noqa: S608
    oldest = min((since for since in (queued_since, held_since) if since is not None), default=None)
    pages, free, page = (_pragma(db, name) for name in ("page_count", "freelist_count", "page_size"))
    attention = _count(db, "message WHERE attention = 1")
    return states, unfinished, None if oldest is None else moment(oldest), (pages - free) * page, attention, postponed


def _count(db: sqlite3.Connection, rows: str) -> int:
    number: int = db.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0]  # noqa: S608 - our own words
    return number


def _pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchall()[0][0]
    return value


def free_pages(db: sqlite3.Connection) -> int:
    """Octets in pages of the file that hold nothing."""
    return _pragma(db, "freelist_count") * _pragma(db, "page_size")


def room_within(db: sqlite3.Connection, file: Path) -> int:
    """Octets in free pages, less those by which the file has still to grow for what is in the log only."""
    try:
        growth = _pragma(db, "page_count") * _pragma(db, "page_size") - file.stat().st_size
    except OSError:
        growth = 0
    return free_pages(db) - max(growth, 0)


def last_message(db: sqlite3.Connection) -> int:
    """The highest id that a message or its content has ever had and still has."""
    highest: int = db.execute(
        "SELECT max((SELECT coalesce(max(id), 0) FROM message), (SELECT coalesce(max(message), 0) FROM content))"
    ).fetchall()[0][0]
    return highest


def history(db: sqlite3.Connection, since: datetime, step: timedelta) -> dict[tuple[datetime, str], int]:
    """Lines are written in the order of time, so where to begin is found by halving: no index to keep for this alone."""
    low, high = db.execute("SELECT coalesce(min(number), 1), coalesce(max(number), 0) + 1 FROM trail").fetchall()[0]
    while low < high:
        middle = (low + high) // 2
        found = db.execute("SELECT number, at FROM trail WHERE number >= ? ORDER BY number LIMIT 1", (middle,)).fetchall()
        if not found or found[0][1] >= micros(since):
            high = middle
        else:
            low = found[0][0] + 1
    width = step // timedelta(microseconds=1)
    counted = db.execute(
        "SELECT at / :width, event, count(*) FROM trail WHERE number >= :low AND at >= :since GROUP BY 1, 2",
        {"width": width, "low": low, "since": micros(since)},
    )
    return {(moment(number * width), event): count for number, event, count in counted.fetchall()}


def heard(db: sqlite3.Connection, since: datetime) -> list[Heard]:
    rows = db.execute(
        "SELECT origin, count(*), max(accepted_at) FROM message"
        " WHERE accepted_at >= ? AND NOT notice AND merges = 0 GROUP BY origin",
        (micros(since),),
    )
    return [row_heard(row) for row in rows.fetchall()]


def lines_of(
    db: sqlite3.Connection, clients: Collection[str], events: Collection[str], limit: int
) -> list[tuple[Origin, TrailLine]]:
    of_these, of_those = (", ".join("?" * len(some)) for some in (clients, events))
    rows = db.execute(
        "SELECT origin, at, event, said FROM (SELECT id, origin FROM message"  # noqa: S608 - nothing but question marks
        f" WHERE client IN ({of_these}) AND NOT notice AND merges = 0 ORDER BY accepted_at DESC, id DESC LIMIT ?)"
        f" JOIN trail ON trail.message = id WHERE event IN ({of_those})",
        (*map(plain, clients), limit, *events),
    )
    return [row_told(row) for row in rows.fetchall()]


def kept_by_client(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT client, sum(size) FROM message WHERE kept AND NOT notice GROUP BY client").fetchall())


def sent_on(db: sqlite3.Connection, day: str) -> dict[str, int]:
    return dict(db.execute("SELECT upstream, messages FROM sent_per_day WHERE day = ?", (day,)).fetchall())


def refused_senders(db: sqlite3.Connection, since: datetime) -> frozenset[tuple[str, str]]:
    rows = db.execute("SELECT upstream, sender FROM refused_sender WHERE at >= ?", (micros(since),))
    return frozenset((upstream, sender) for upstream, sender in rows.fetchall())


def pending_notices(db: sqlite3.Connection) -> list[PendingNotice]:
    rows = db.execute(
        "SELECT number, queue_id, kind, notify_local, notify_domain, recipient, made_at FROM notice ORDER BY number"
    )
    return [row_notice(row) for row in rows.fetchall()]
