"""Claiming in PostgreSQL: some messages at a time, each for one relay only, with all that an attempt needs of it."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from psycopg import Connection

from relay.spool.entry import Claim, Content, State
from relay.spool.postgres.leases import SharedLease
from relay.spool.postgres.node import Node
from relay.spool.postgres.rows import RECIPIENT_LIST, json_recipients
from relay.spool.rows import MESSAGE_COLUMNS, micros, row_entry

_TOGETHER = 20
_WITH_ROW = 65_536
"""Octets of content that come with the claim itself: all of most messages."""

_CLAIM = (
    "WITH due AS MATERIALIZED (SELECT id AS due_id FROM message WHERE due_at <= %(now)s AND owner IS NULL"  # noqa: S608
    " ORDER BY due_at, accepted_at, id LIMIT %(most)s FOR UPDATE SKIP LOCKED),"
    " claimed AS (UPDATE message SET owner = %(owner)s, lease = nextval('lease_number'),"
    " leased_until = clock_timestamp() + %(seconds)s * interval '1 second' FROM due WHERE id = due_id RETURNING message.*)"
    f" SELECT {MESSAGE_COLUMNS}, due_at, lease, {RECIPIENT_LIST.format(message='claimed.id')},"
    " CASE WHEN size BETWEEN 1 AND %(with_row)s THEN (SELECT data FROM content WHERE message = claimed.id AND seq = 0) END"
    " FROM claimed"
)

ContentOf = Callable[[int, int, SharedLease | None], Content]
"""Content of a message, by its id, its size in octets and the lease under which it is read."""


def claim_some(db: Connection, node: Node, content: ContentOf, now: datetime) -> list[Claim]:
    """Claims some messages that are due and not claimed, the oldest first."""
    owner, asked = node.enter(db), time.monotonic()
    values = {"now": micros(now), "most": _TOGETHER, "owner": owner, "seconds": node.leases.seconds, "with_row": _WITH_ROW}
    with node.claiming:
        rows = db.execute(_CLAIM, values).fetchall()
        rows.sort(key=lambda row: (row[17], row[2], row[0]))
        return [_claim(row, node, content, now, asked) for row in rows]


def _claim(row: tuple[Any, ...], node: Node, content: ContentOf, now: datetime, asked: float) -> Claim:
    *_, number, listed, octets = row
    recipients = json_recipients(listed)
    due = tuple(one for one in recipients if one.state is State.QUEUED and one.due_at <= now)
    vias = {one.address.key: one.via for one in due}
    lease = SharedLease(number, row[0], vias, asked + node.leases.seconds, size=row[8])
    if octets is not None:
        node.remember(row[0], (octets,))
    node.leases.add(lease)
    entry = row_entry(row, tuple(one.address for one in recipients), content(row[0], row[8], lease))
    return Claim(entry, due, number, repeated_id=bool(row[12]), warned=bool(row[13]), storm=row[16])
