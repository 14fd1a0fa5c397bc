"""Checks a spool's file: the invariants of schema.sql, each as a query for what breaks it."""

from contextlib import closing
from pathlib import Path

from relay.spool.rows import unpacked
from relay.spool.sqlite.connections import in_truth, reader, translated
from relay.spool.sqlite.content_files import sizes, unknown

_BROKEN_IF_FOUND = {
    "1: a message without recipients": (
        "SELECT queue_id FROM message WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE message = id)"
    ),
    "1: a recipient without its message": "SELECT message FROM recipient WHERE message NOT IN (SELECT id FROM message)",
    "1: a trail without its message": "SELECT message FROM trail WHERE message NOT IN (SELECT id FROM message)",
    "2: due_at is not that of its first queued recipient": (
        "SELECT queue_id FROM message WHERE due_at IS NOT"
        " (SELECT min(due_at) FROM recipient WHERE message = id AND state = 'queued')"
    ),
    "3: over_at disagrees with the recipients' states": (
        "SELECT queue_id FROM message WHERE (over_at IS NULL) IS NOT"
        " EXISTS (SELECT 1 FROM recipient WHERE message = id AND state IN ('queued', 'held'))"
    ),
    "4: content is gone that is still wanted, or kept without need": (
        "SELECT queue_id FROM message WHERE CASE WHEN kept"
        " THEN NOT EXISTS (SELECT 1 FROM recipient WHERE message = id AND state <> 'relayed')"
        " ELSE EXISTS (SELECT 1 FROM recipient WHERE message = id AND state NOT IN ('relayed', 'merged')) END"
    ),
    "4: content is not whole": (
        "SELECT queue_id FROM message WHERE kept AND in_file(id) IS NOT size"
        " AND (size, (size + 65535) / 65536, (size + 65535) / 65536 - 1) IS NOT"
        " (SELECT coalesce(sum(octets(data, packed)), 0), count(*), coalesce(max(seq), -1)"
        " FROM content WHERE message = message.id)"
    ),
    "4: content is in rows and in a file": (
        "SELECT queue_id FROM message WHERE in_file(id) IS NOT NULL AND id IN (SELECT message FROM content)"
    ),
    "4: content was to be gone": (
        "SELECT queue_id FROM message WHERE NOT kept"
        " AND (in_file(id) IS NOT NULL OR EXISTS (SELECT 1 FROM content WHERE message = message.id))"
    ),
    "5: content without its message": "SELECT DISTINCT message FROM content WHERE message NOT IN (SELECT id FROM message)",
}


def _octets(data: bytes, deflated: int) -> int:
    try:
        return len(unpacked(data, deflated))
    except ValueError:
        return -1


def check_invariants(path: Path | str) -> list[str]:
    """What is wrong with the spool at `path`, one line each; empty if all is well.  Raises SpoolBroken if unreadable.

    In an open spool 4 may seem broken by content that waits for its removal, and 5 by a large message that is being
    accepted; opening a spool mends what a crash left of either.
    """
    place = in_truth(Path(path))
    with translated(place), closing(reader(place)) as db:
        files = sizes(place)
        db.create_function("in_file", 1, files.get)
        db.create_function("octets", 2, _octets, deterministic=True)
        wrong = [
            f"{sentence}: {found}"
            for sentence, search in _BROKEN_IF_FOUND.items()
            for (found,) in db.execute(search).fetchall()
        ]
        messages = [message for (message,) in db.execute("SELECT id FROM message").fetchall()]
        wrong += [f"5: a file without its message: {name}" for name in unknown(place, messages)]
        for pragma in ("integrity_check", "foreign_key_check"):
            wrong += [f"{pragma}: {row}" for row in db.execute(f"PRAGMA {pragma}").fetchall() if row != ("ok",)]
    return wrong
