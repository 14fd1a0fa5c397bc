"""A spool with a long history to search in: most of it delivered, some failed, held and waiting; of both kinds of spool."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Entry, TrailLine
from relay.spool.postgres.write import add_entry as add_to_database
from relay.spool.sqlite import schema
from relay.spool.sqlite.connections import connect
from relay.spool.sqlite.write import add_entry as add_to_file
from tests.support.postgres import PostgresServer
from tests.support.spooled import an_entry

SEARCHES = (
    "",
    "q=report",
    "q=nobody-has-this-word",
    "q=bench00012345",
    "address=user77777@",
    "address=nobody@",
    "subject=report+88888",
    "subject=%E5%81%9C%E9%9B%BB&device=cellar",
    "device=printer",
    "device=nothing-like-it",
    "said=no+such+user",
    "said=nothing+like+it",
    "state=queued",
    "state=held",
    "state=failed&state=expired",
    "state=failed&q=nobody-has-this-word",
    "state=relayed&q=report",
    "state=attention",
    "since=2026-01-02&until=2026-01-03",
    "q=nobody&address=nobody&subject=nobody&device=nobody&said=nobody",
)
"""What is asked for: what many match, one, or none, so that every message is looked at."""

_WORDS = ("Report {}", "Backup of disk {} done", "=?utf-8?B?5YGc6Zu744GX44G+44GX44Gf?= {}", "Scan {}")
_DEVICES = ("Cellar NAS", "Printer, hallway", "", "Camera")


def fill(url: str, count: int) -> None:
    """So many messages, accepted, one a minute, in one transaction: only reading is measured."""
    now = datetime.now(UTC)
    entries = (_message(number, now - timedelta(minutes=count - number)) for number in range(count))
    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:"))
        schema.prepare(path)
        with closing(connect(path)) as db:
            db.execute("BEGIN")
            for number, (entry, line) in enumerate(entries, 1):
                add_to_file(db, number, entry, (line,))
            for statement in (*_OVER, "COMMIT"):
                db.execute(statement)
        return
    asyncio.run(_made(url))
    with psycopg.connect(url) as server, server.transaction():
        for entry, line in entries:
            add_to_database(server, entry, (line,), ())
    for statement in (*_OVER, "VACUUM ANALYZE"):
        PostgresServer.ask(url, statement)


async def _made(url: str) -> None:
    await (await open_spool(SpoolSettings(url, keep_free=0), now=lambda: datetime.now(UTC))).close()


def _message(number: int, at: datetime) -> tuple[Entry, TrailLine]:
    device = _DEVICES[number % 4]
    details = {"subject": _WORDS[number % 4].format(number), "helo": "nas", **({"device": device} if device else {})}
    entry = an_entry(f"bench{number:08d}", at, to=(f"user{number}@example.jp",), client=f"192.168.0.{number % 200}")
    return entry, TrailLine(at, "accepted", "from a NAS", details)


_OVER = (
    # one of a hundred has failed, of a thousand is held, the last hundred wait; all others were relayed
    "UPDATE recipient SET attempts = 1, upstream = 'isp', state = CASE WHEN message % 1000 = 7 THEN 'held'"
    " WHEN message % 100 = 3 THEN 'failed' ELSE 'relayed' END,"
    " code = CASE WHEN message % 100 = 3 THEN 550 ELSE 250 END, status = '2.0.0',"
    " said = CASE WHEN message % 100 = 3 THEN '<b@example.jp>: no such user here' ELSE 'Ok: queued as 4cQz5y1Xk2z9x' END"
    " WHERE message <= (SELECT max(id) - 100 FROM message)",
    "UPDATE message SET due_at = NULL, kept = 0, over_at = CASE WHEN id % 1000 = 7 THEN NULL ELSE accepted_at + 1000000 END"
    " WHERE id <= (SELECT max(id) - 100 FROM message)",
)
