"""The rate limit of an account that several relays share, counted in the database."""

from datetime import UTC, datetime, time, timedelta

from psycopg import Connection

from relay.spool.postgres.leases import LATELY
from relay.spool.rows import micros, moment, plain

_MINUTE = 60_000_000  # microseconds

_CALLS = (
    f"WITH lately AS MATERIALIZED (SELECT {LATELY}),"  # noqa: S608 - our own words
    " before AS (DELETE FROM under_way WHERE message = %(message)s AND upstream <> %(upstream)s)"
    " INSERT INTO under_way (message, upstream) SELECT id, %(upstream)s FROM message, lately WHERE id = %(message)s"
    " ON CONFLICT DO NOTHING"
)
"""Who is called now: one at a time."""


def turn(
    db: Connection, message: int, ticket: str, upstream: str, *, per_minute: int | None, per_day: int | None, now: datetime
) -> datetime | None:
    """None: this message may go now, and counts.  Else when it may go; that time is reserved for it.

    The same rules as `relay.outbound.rate_limit`: never more than `per_minute` in any minute, and each message that waits has
    a time of its own.  What is under way counts for the day until its fate is known;
    should this relay die, it tells the others which upstream may have taken the message.
    """
    name = plain(upstream)
    if per_minute is None and per_day is None:
        db.execute(_CALLS, {"message": message, "upstream": name})
        return None
    with db.transaction():
        db.execute(f"SELECT {LATELY}")
        db.execute("INSERT INTO turn_lock (upstream) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
        db.execute("SELECT 1 FROM turn_lock WHERE upstream = %s FOR UPDATE", (name,))
        if per_day is not None and _today(db, name, message, now) >= per_day:
            db.execute("DELETE FROM turn WHERE upstream = %s AND ticket = %s", (name, ticket))
            return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
        until = None if per_minute is None else _slot(db, name, ticket, per_minute, micros(now))
        if until is None:
            db.execute(_CALLS, {"message": message, "upstream": name})
    return None if until is None else moment(until)


def _today(db: Connection, upstream: str, message: int, now: datetime) -> int:
    day = f"{now.astimezone(UTC):%Y-%m-%d}"
    row = db.execute(
        "SELECT coalesce((SELECT messages FROM sent_per_day WHERE day = %s AND upstream = %s), 0)"
        " + (SELECT count(*) FROM under_way WHERE upstream = %s AND message <> %s)",
        (day, upstream, upstream, message),
    ).fetchone()
    return int(row[0]) if row else 0


def _slot(db: Connection, upstream: str, ticket: str, per_minute: int, now: int) -> int | None:
    # what lies far ahead was promised by a clock that has been set back since
    db.execute(
        "DELETE FROM turn WHERE upstream = %s AND (at <= %s OR at > %s)", (upstream, now - _MINUTE, now + 1440 * _MINUTE)
    )
    promised = db.execute("SELECT number, at FROM turn WHERE upstream = %s AND ticket = %s", (upstream, ticket)).fetchone()
    number, own = promised or (None, None)
    full = db.execute(
        "SELECT at FROM turn WHERE upstream = %s AND (%s::bigint IS NULL OR (at, number) < (%s, %s))"
        " ORDER BY at DESC, number DESC OFFSET %s LIMIT 1",
        (upstream, own, own, number, per_minute - 1),
    ).fetchone()
    at = now if full is None else max(now, int(full[0]) + _MINUTE)
    if own is not None:
        at = min(at, max(now, int(own)))  # earlier than was promised, if `per_minute` has been raised since
    goes = at <= now
    if number is None:
        db.execute("INSERT INTO turn (upstream, at, ticket) VALUES (%s, %s, %s)", (upstream, at, "" if goes else ticket))
    else:
        db.execute("UPDATE turn SET at = %s, ticket = %s WHERE number = %s", (at, "" if goes else ticket, number))
    return None if goes else at
