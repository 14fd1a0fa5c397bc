"""Evidence about a spool in PostgreSQL: reachable, version, rights, relays, leases, clock.  Blocks; changes nothing."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection

from relay.doctor.spool import DatabaseFacts
from relay.spool.contract import SpoolBroken, SpoolSettings
from relay.spool.postgres.connections import complete, words
from relay.spool.postgres.read import in_use
from relay.spool.postgres.schema import MIGRATIONS, OLDEST, missing_rights
from relay.spool.sqlite.schema import waiting

_PATIENCE = "5s"


def database_facts(settings: SpoolSettings, now: Callable[[], datetime]) -> DatabaseFacts:
    """Everything about the database.  Never raises for what the server or the network does."""
    try:
        where = complete(settings.url, settings.password.reveal(), "doctor")
        with closing(psycopg.connect(where, autocommit=True)) as db:
            db.execute("SELECT set_config('statement_timeout', %s, false)", (_PATIENCE,))
            return _asked(db, settings, now)
    except psycopg.Error as error:
        return DatabaseFacts(settings.shown, words(error), waiting=_in_fallback(settings))
    except SpoolBroken as broken:
        return DatabaseFacts(settings.shown, str(broken), waiting=_in_fallback(settings))


def _asked(db: Connection, settings: SpoolSettings, now: Callable[[], datetime]) -> DatabaseFacts:
    server = db.info.server_version
    version = f"{server // 10000}.{server % 10000}"
    before = now()
    clock = _one(db, "SELECT clock_timestamp()")
    ahead = (clock - before - (now() - before) / 2).total_seconds()
    schema = _schema(db)
    found = DatabaseFacts(
        settings.shown, "", version, server >= OLDEST, schema, len(MIGRATIONS), _may_make(db, schema), ahead=ahead
    )
    if not found.supported or schema != found.newest:
        return found
    if lacking := missing_rights(db):
        return replace(found, lacking=lacking)
    relays = db.execute(
        "SELECT name FROM peer WHERE seen_at > clock_timestamp() - interval '30 seconds' ORDER BY name"
    ).fetchall()
    stuck = _one(db, "SELECT count(*) FROM message WHERE leased_until < clock_timestamp() - interval '1 minute'")
    return replace(found, relays=tuple(name for (name,) in relays), stuck=stuck, stored=in_use(db))


def _schema(db: Connection) -> int:
    """The version of the tables; 0 where there are none, or where this role may not look (its rights are told then)."""
    if not _one(db, "SELECT to_regclass('spool_version') IS NOT NULL"):
        return 0
    if not _one(db, "SELECT has_table_privilege('spool_version', 'SELECT')"):
        return len(MIGRATIONS)
    return int(_one(db, "SELECT version FROM spool_version"))


def _may_make(db: Connection, schema: int) -> bool:
    """New tables need the right to create in the schema; old ones can be changed by their owner only."""
    creates = _one(db, "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)")
    owns = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('message')"
    return bool(creates) and (schema == 0 or bool(_one(db, owns)))


def _in_fallback(settings: SpoolSettings) -> int:
    return waiting(settings.fallback_file) if settings.fallback_file else 0


def _one(db: Connection, question: str) -> Any:
    row = db.execute(question).fetchone()
    return row[0] if row else None
