"""The tables in PostgreSQL: made and brought up to date by the first relay that comes, one at a time."""

from importlib.resources import files

from psycopg import Connection, errors

from relay.spool.contract import SpoolBroken

MIGRATIONS = ("postgres-1.sql",)
"""The script that makes version 1 from nothing, then one for each later version; never changed once released."""

_LOCK = 0x72656C79  # "rely"
_OLDEST = 120000


def prepare(db: Connection) -> None:
    """Makes the tables or brings them up to date.  Raises SpoolBroken; a newer schema is left untouched."""
    if db.info.server_version < _OLDEST:
        raise SpoolBroken(f"PostgreSQL {db.info.server_version // 10000} is too old; the spool needs 12 or newer")
    if version_of(db) == len(MIGRATIONS):
        return
    db.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        with db.transaction():  # begun behind the lock: it sees what another relay has just made
            version = version_of(db)
            if version == 0:
                db.execute("CREATE TABLE spool_version (version INTEGER NOT NULL)")
                db.execute("INSERT INTO spool_version VALUES (0)")
            for script in MIGRATIONS[version:]:
                db.execute(files("relay.spool").joinpath(script).read_bytes())
            if version < len(MIGRATIONS):
                db.execute("UPDATE spool_version SET version = %s", (len(MIGRATIONS),))
    except errors.InsufficientPrivilege as error:
        raise SpoolBroken(
            f"the spool's tables in {_place(db)} cannot be made or changed by this role: {error.diag.message_primary}."
            " Run `relay spool prepare URL` once as the role that owns them"
        ) from error
    except errors.DuplicateTable as error:
        raise SpoolBroken(
            f"{_place(db)} has tables of another program ({error.diag.message_primary}); nothing was touched."
            " Give the relay a database, or a schema, of its own"
        ) from error
    finally:
        db.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def version_of(db: Connection) -> int:
    """0 where there is no spool yet.  Raises SpoolBroken for a newer one."""
    found = db.execute("SELECT to_regclass('spool_version') IS NOT NULL").fetchone()
    row = db.execute("SELECT version FROM spool_version").fetchone() if found and found[0] else None
    version = int(row[0]) if row else 0
    if version > len(MIGRATIONS):
        raise SpoolBroken(
            f"{_place(db)} was written by a newer version of the relay (schema {version}, this one knows up to"
            f" {len(MIGRATIONS)}); nothing was touched"
        )
    return version


def _place(db: Connection) -> str:
    return f"the database {db.info.dbname!r}"
