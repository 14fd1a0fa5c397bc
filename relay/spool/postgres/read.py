"""All reading from PostgreSQL: one function for each query, on any connection."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

from relay.mail.envelope import Origin
from relay.spool.entry import Content, Heard, Peer, PendingNotice, QueueLine, Recipient, State, StoredEntry, TrailLine
from relay.spool.postgres.rows import RECIPIENT_LIST, json_recipients
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
    row_told,
    row_trail,
)
from relay.spool.search import EVERY_STATE, POSTGRES, PageKey, Search, among, conditions

_UNFINISHED = frozenset({State.QUEUED, State.HELD})
_COLUMNS = f"{MESSAGE_COLUMNS}, (SELECT name FROM peer WHERE peer.id = owner), attention"  # noqa: S608 - our own column names
_OWNER = MESSAGE_COLUMNS.count(",") + 1

ContentOf = Callable[[int, int], Content]
"""Content of a message, by its id and its size in octets."""


def next_due(db: Connection) -> datetime | None:
    """When the first message without a lease is due."""
    found = db.execute("SELECT min(due_at) FROM message WHERE due_at IS NOT NULL AND owner IS NULL").fetchone()
    return moment(found[0]) if found and found[0] is not None else None


def stored_entry(db: Connection, queue_id: str, content: ContentOf) -> StoredEntry | None:
    found = db.execute(
        f"SELECT {_COLUMNS}, {TOGETHER}, {RECIPIENT_LIST.format(message='message.id')}"  # noqa: S608 - our own column names
        " FROM message WHERE queue_id = %s",
        (plain(queue_id),),
    ).fetchone()
    if found is None:
        return None
    recipients = json_recipients(found[-1])
    trail = db.execute("SELECT at, event, said FROM trail WHERE message = %s ORDER BY number", (found[0],))
    entry = row_entry(found, tuple(one.address for one in recipients), content(found[0], found[8]))
    lines = tuple(row_trail(*line) for line in trail)
    return StoredEntry(entry, recipients, lines, found[_OWNER] or "", bool(found[_OWNER + 1]), found[-2])


def stored_entries(
    db: Connection, states: frozenset[State] | None, limit: int, *, newest: bool, skip: int = 0, trail: bool = False
) -> list[StoredEntry]:
    """One query (two with the trails), however many messages."""
    order = "DESC" if newest else "ASC"
    rows = db.execute(
        f"SELECT chosen.*, {RECIPIENT_LIST.format(message='chosen.id')} FROM"  # noqa: S608
        f" (SELECT {_COLUMNS} FROM message {_chosen(states)} ORDER BY accepted_at {order}, id {order}"
        " LIMIT %(limit)s OFFSET %(skip)s) AS chosen",
        {"limit": limit, "skip": skip, "states": [state.value for state in states or ()]},
    ).fetchall()
    rows.sort(key=lambda row: (row[2], row[0]))
    lines: dict[int, list[TrailLine]] = defaultdict(list)
    if trail:
        told = "SELECT message, at, event, said FROM trail WHERE message = ANY(%s) ORDER BY number"
        for message, *line in db.execute(told, ([row[0] for row in rows],)):
            lines[message].append(row_trail(*line))
    return [_entry_of(row, json_recipients(row[-1]), lines[row[0]]) for row in rows]


def _entry_of(row: tuple[Any, ...], recipients: tuple[Recipient, ...], trail: list[TrailLine]) -> StoredEntry:
    entry = row_entry(row, tuple(one.address for one in recipients), ())
    return StoredEntry(entry, recipients, tuple(trail), row[_OWNER] or "", bool(row[_OWNER + 1]))


def _chosen(states: frozenset[State] | None) -> str:
    if states is None:
        return ""
    if states == _UNFINISHED:
        return "WHERE over_at IS NULL"
    return "WHERE EXISTS (SELECT 1 FROM recipient WHERE recipient.message = message.id AND state = ANY(%(states)s))"


def queue_lines(
    db: Connection,
    states: frozenset[State] | None,
    limit: int,
    *,
    search: Search,
    after: PageKey | QueueLine | None = None,
    skip: int = 0,
    newest: bool = False,
) -> list[QueueLine]:
    """One query of the columns that a list shows, however many messages."""
    found, order, beyond = conditions(search, POSTGRES), *(("DESC", "<") if newest else ("ASC", ">"))
    if after:
        found.terms.append(f"(accepted_at, id) {beyond} (%(at)s, %(behind)s)")
    rows = db.execute(
        f"WITH chosen AS (SELECT {LISTED}, owner, attention, merges"  # noqa: S608
        f" FROM message {_chosen(states) or 'WHERE true'} {''.join(f' AND {term}' for term in found.terms)}"
        f" ORDER BY accepted_at {order}, id {order} LIMIT %(limit)s OFFSET %(skip)s)"
        f" SELECT {LISTED}, {RECIPIENT_COLUMNS},"
        f" coalesce((SELECT name FROM peer WHERE peer.id = owner), ''), attention, merges, {FIRST_LINE}"
        " FROM chosen JOIN recipient ON recipient.message = chosen.id"
        f" ORDER BY chosen.accepted_at {order}, chosen.id {order}, seq",
        {
            "limit": limit,
            "skip": skip,
            "at": micros(after.accepted_at) if after else 0,
            "behind": after.message if after else 0,
            "states": [state.value for state in states or ()],
            **found.values,
        },
    )
    return [row_line(row) for row in rows]


def counted(db: Connection, states: frozenset[State] | None, search: Search, also: frozenset[State]) -> tuple[int, int]:
    """Messages that are searched for, with a recipient in one of `states`; and those of them with one in one of `also`."""
    found = conditions(search, POSTGRES)
    found.terms += [] if states is None else [among(states)]

    def count(terms: list[str]) -> int:
        row = db.execute(f"SELECT count(*) FROM message WHERE {' AND '.join(terms) or 'true'}", found.values).fetchone()  # noqa: S608
        return int(row[0]) if row else 0

    matching = count(found.terms)
    if not matching or also == EVERY_STATE:
        return matching, matching
    return matching, count([*found.terms, among(also)]) if also else 0  # a join: within the first count it would go row by row


def beginning(db: Connection, beginnings: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Two ids at most for each: one more than there should be."""
    found = {}
    for text in map(plain, beginnings):
        rows = db.execute(
            "SELECT queue_id FROM message WHERE queue_id >= %s AND queue_id < %s ORDER BY queue_id LIMIT 2",
            (text, text + "\x7f"),
        )
        ids = tuple(row[0] for row in rows)
        found[text] = ids[:1] if text in ids else ids
    return found


def counts(db: Connection) -> tuple[Mapping[State, int], int, datetime | None, int, tuple[Peer, ...], int, int]:
    """Recipients by state, messages unfinished, when the oldest that does not wait on purpose was accepted, octets of mail
    that is kept, relays, messages that need attention, recipients that wait on purpose."""
    states, postponed = dict.fromkeys(State, 0), 0
    query = f"SELECT state, count(*), count(*) FILTER (WHERE state = 'queued' AND {POSTPONED}) FROM recipient GROUP BY state"  # noqa: S608
    for state, number, on_purpose in db.execute(query):
        states[State(state)], postponed = number, postponed + on_purpose
    row = db.execute(
        "SELECT count(*), min(accepted_at) FILTER (WHERE EXISTS (SELECT 1 FROM recipient WHERE recipient.message = message.id"  # noqa: S608
        f" AND (state = 'held' OR (state = 'queued' AND NOT {POSTPONED})))) FROM message WHERE over_at IS NULL"
    ).fetchone()
    unfinished, oldest = row or (0, None)
    attention = db.execute("SELECT count(*) FROM message WHERE attention = 1").fetchone()
    since = None if oldest is None else moment(oldest)
    return states, unfinished, since, in_use(db), peers(db), attention[0] if attention else 0, postponed


def peers(db: Connection) -> tuple[Peer, ...]:
    """The relays of this spool, those too that died and were not started again."""
    rows = db.execute(
        "SELECT name, seen_at, seen_at > clock_timestamp() - interval '30 seconds',"
        " (SELECT count(*) FROM message WHERE owner = peer.id) FROM peer ORDER BY name, id"
    )
    return tuple(Peer(name, seen_at.astimezone(UTC), alive, holds) for name, seen_at, alive, holds in rows)


def in_use(db: Connection) -> int:
    """Octets of mail that is kept."""
    row = db.execute("SELECT coalesce(sum(size), 0)::bigint FROM message WHERE kept = 1").fetchone()
    return int(row[0]) if row else 0


def history(db: Connection, since: datetime, step: timedelta) -> dict[tuple[datetime, str], int]:
    width = step // timedelta(microseconds=1)
    counted = db.execute(
        "SELECT at / %(width)s, event, count(*) FROM trail WHERE at >= %(since)s GROUP BY 1, 2",
        {"width": width, "since": micros(since)},
    )
    return {(moment(number * width), event): count for number, event, count in counted}


def heard(db: Connection, since: datetime) -> list[Heard]:
    rows = db.execute(
        "SELECT origin, count(*), max(accepted_at) FROM message"
        " WHERE accepted_at >= %s AND notice = 0 AND merges = 0 GROUP BY origin",
        (micros(since),),
    )
    return [row_heard(row) for row in rows]


def lines_of(db: Connection, clients: Collection[str], events: Collection[str], limit: int) -> list[tuple[Origin, TrailLine]]:
    rows = db.execute(
        "SELECT origin, at, event, said FROM"
        " (SELECT id, origin FROM message WHERE client = ANY(%s) AND notice = 0 AND merges = 0"
        " ORDER BY accepted_at DESC, id DESC LIMIT %s)"
        " AS latest JOIN trail ON trail.message = latest.id WHERE event = ANY(%s)",
        ([plain(client) for client in clients], limit, list(events)),
    )
    return [row_told(row) for row in rows]


def kept_by_client(db: Connection) -> dict[str, int]:
    rows = db.execute("SELECT client, sum(size)::bigint FROM message WHERE kept = 1 AND notice = 0 GROUP BY client")
    return {str(client): int(octets) for client, octets in rows}


def sent_on(db: Connection, day: str) -> dict[str, int]:
    return {
        str(upstream): int(messages)
        for upstream, messages in db.execute("SELECT upstream, messages FROM sent_per_day WHERE day = %s", (day,))
    }


def refused_senders(db: Connection, since: datetime) -> frozenset[tuple[str, str]]:
    rows = db.execute("SELECT upstream, sender FROM refused_sender WHERE at >= %s", (micros(since),))
    return frozenset((upstream, sender) for upstream, sender in rows)


def pending_notices(db: Connection) -> list[PendingNotice]:
    rows = db.execute(
        "SELECT number, queue_id, kind, notify_local, notify_domain, recipient, made_at FROM notice ORDER BY number"
    )
    return [row_notice(row) for row in rows]
