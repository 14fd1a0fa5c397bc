"""The tables in PostgreSQL: made and brought up to date by the first relay that comes, one at a time."""

from collections import defaultdict
from importlib.resources import files

from psycopg import Connection, errors

from relay.spool.contract import SpoolBroken
from relay.spool.search import sought_before

MIGRATIONS = ("schema-1.sql", "schema-2.sql", "schema-3.sql", "schema-4.sql")
"""The script that makes version 1 from nothing, then one for each later version; never changed once released."""

_PATIENCE = 10
"""Seconds for a lock on a table: whoever uses it after us waits as long as we do, and so does the mail of other relays."""
_FILLED_AT_ONCE = 500  # messages
_SOUGHT = ("people", "about", "source")

_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
RIGHTS = {
    "spool_version": ("SELECT",),
    "peer": _ALL,
    "message": _ALL,
    "content": ("SELECT", "INSERT", "DELETE"),
    "recipient": ("SELECT", "INSERT", "UPDATE"),
    "trail": ("SELECT", "INSERT"),
    "notice": ("SELECT", "INSERT", "DELETE"),
    "sent_per_day": _ALL,
    "refused_sender": _ALL,
    "turn_lock": ("SELECT", "INSERT", "UPDATE"),
    "turn": _ALL,
    "under_way": ("SELECT", "INSERT", "DELETE"),
    "token": ("SELECT", "INSERT", "UPDATE"),
    "token_lock": ("SELECT", "INSERT", "UPDATE"),
    "moved": ("SELECT", "INSERT", "DELETE"),
    "storm": _ALL,
    "lease_number": ("USAGE",),
}
"""What a relay does with each table and sequence.  (FOR UPDATE needs UPDATE; what goes with its message, its owner removes.)"""

_SEQUENCES = frozenset({"lease_number"})
_SAID_AGAIN = "see docs/postgres.md; say the GRANTs again after each `relay spool prepare`"

_LOCK = 0x72656C79  # "rely"
OLDEST = 120000


def prepare(db: Connection) -> None:
    """Makes the tables or brings them up to date.  Raises SpoolBroken; a newer schema is left untouched.

    A missing right is found here: later a message might be sent already, and its settlement could not be stored.
    """
    if db.info.server_version < OLDEST:
        raise SpoolBroken(f"PostgreSQL {db.info.server_version // 10000} is too old; the spool needs 12 or newer")
    if version_of(db) < len(MIGRATIONS):
        _bring_up_to_date(db)
    if lacking := missing_rights(db):
        raise SpoolBroken(lacking)


def _bring_up_to_date(db: Connection) -> None:
    db.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        with db.transaction():  # begun after the lock: it sees what another relay has just made
            db.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}s'")
            version = version_of(db)
            if version == 0:
                db.execute("CREATE TABLE spool_version (version INTEGER NOT NULL)")
                db.execute("INSERT INTO spool_version VALUES (0)")
            for script in MIGRATIONS[version:]:
                db.execute(files("relay.spool.postgres").joinpath(script).read_bytes())
            if version < len(MIGRATIONS):
                db.execute("UPDATE spool_version SET version = %s", (len(MIGRATIONS),))
    except errors.InsufficientPrivilege as error:
        raise SpoolBroken(
            f"the spool's tables in {_place(db)} cannot be made or changed by this role: {error.diag.message_primary}."
            " Run `relay spool prepare URL` once as the role that owns them"
        ) from error
    except errors.LockNotAvailable as error:
        raise SpoolBroken(
            f"the spool's tables in {_place(db)} were in use for {_PATIENCE} seconds, so they could not be brought up to date;"
            " nothing was touched. Start the relay again, or stop what uses them"
        ) from error
    except errors.DuplicateTable as error:
        raise SpoolBroken(
            f"{_place(db)} has tables of another program ({error.diag.message_primary}); nothing was touched."
            " Give the relay a database, or a schema, of its own"
        ) from error
    finally:
        db.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def fill(db: Connection) -> None:
    """What messages of older versions are found by: their subjects are decoded here.

    At each start, since a relay of an older version may go on beside newer ones; each batch is committed, so that nobody waits.
    """
    behind = 0
    while found := db.execute(
        "SELECT id, reverse_local || '@' || reverse_domain,"
        " (SELECT string_agg(local || '@' || domain, ' ' ORDER BY seq) FROM recipient WHERE recipient.message = message.id),"
        " (SELECT said FROM trail WHERE trail.message = message.id ORDER BY number LIMIT 1), client"
        " FROM message WHERE source = '' AND id > %s ORDER BY id LIMIT %s",  # who knows the columns fills `source` always
        (behind, _FILLED_AT_ONCE),
    ).fetchall():
        behind = found[-1][0]
        rows = [(message, *(sought_before(name, *about) for name in _SOUGHT)) for message, *about in found]
        with db.transaction():
            db.execute(
                "UPDATE message SET people = given.people, about = given.about, source = given.source"
                " FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS given(id, people, about, source)"
                " WHERE message.id = given.id",
                [list(column) for column in zip(*rows, strict=True)],
            )


def version_of(db: Connection) -> int:
    """0 where there is no spool yet.  Raises SpoolBroken for a newer one."""
    found = db.execute("SELECT to_regclass('spool_version') IS NOT NULL").fetchone()
    try:
        row = db.execute("SELECT version FROM spool_version").fetchone() if found and found[0] else None
    except errors.InsufficientPrivilege as error:
        raise SpoolBroken(_refused(db, _lacking(db))) from error
    version = int(row[0]) if row else 0
    if version > len(MIGRATIONS):
        raise SpoolBroken(
            f"{_place(db)} was written by a newer version of the relay (schema {version}, this one knows up to"
            f" {len(MIGRATIONS)}); nothing was touched"
        )
    return version


def missing_rights(db: Connection) -> str:
    """What this role may not do, with the GRANTs that are the cure; "" if it may do all."""
    lacking = _lacking(db)
    return _refused(db, lacking) if lacking else ""


def _lacking(db: Connection) -> list[tuple[str, str]]:
    used = [(name, right) for name, rights in RIGHTS.items() for right in rights]
    return db.execute(
        'SELECT name, "right" FROM unnest(%s::text[], %s::text[]) AS used (name, "right")'
        " WHERE NOT CASE WHEN name = ANY(%s) THEN has_sequence_privilege(to_regclass(name), 'USAGE, UPDATE')"
        ' ELSE has_table_privilege(to_regclass(name), "right") END',
        ([name for name, _ in used], [right for _, right in used], sorted(_SEQUENCES)),
    ).fetchall()


def _refused(db: Connection, lacking: list[tuple[str, str]]) -> str:
    rights: dict[str, list[str]] = defaultdict(list)
    for name, right in lacking:
        rights[name].append(right)
    alike: dict[str, list[str]] = defaultdict(list)  # few GRANTs, even if all are missing
    for name, some in rights.items():
        alike[f"{', '.join(some)} ON {'SEQUENCE ' if name in _SEQUENCES else ''}"].append(name)
    found = db.execute("SELECT quote_ident(current_user)").fetchone()
    role = found[0] if found else db.info.user
    grants = "; ".join(f"GRANT {what}{', '.join(names)} TO {role}" for what, names in alike.items())
    return f"the role {role} lacks rights that the relay needs in {_place(db)}. As the owner: {grants}; {_SAID_AGAIN}"


def _place(db: Connection) -> str:
    return f"the database {db.info.dbname!r}"
