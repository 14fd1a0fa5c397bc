"""Values to what PostgreSQL stores, and back: the same columns as everywhere, text without NUL, lists as JSON.  Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from relay.spool.entry import Recipient, TrailLine
from relay.spool.rows import RECIPIENT_COLUMNS, recipient_row, row_recipient, trail_row

RECIPIENT_LIST = (
    f"(SELECT json_agg(json_build_array({RECIPIENT_COLUMNS}) ORDER BY seq)"  # noqa: S608 - our own column names
    " FROM recipient WHERE recipient.message = {message})"
)
"""All recipients of a message as one value, in the order of RECIPIENT_COLUMNS."""

_TYPES = {"attempts": "int", "due_at": "bigint", "code": "int", "seq": "int", "lost": "int", "maybe_since": "bigint"}
_RECIPIENT = ("seq", "key", *RECIPIENT_COLUMNS.split(", "))
_COLUMNS = ", ".join(_RECIPIENT)
_SHAPE = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in _RECIPIENT)

RECIPIENTS_OF = (
    f"INSERT INTO recipient (message, {_COLUMNS})"  # noqa: S608 - our own column names
    f" SELECT id, {_COLUMNS} FROM {{source}}, json_to_recordset(%(recipients)s::json) AS given({_SHAPE})"
)
"""Inserts recipients for the `id` of a source."""

_LINES = "json_to_recordset({lines}::json) AS given(at bigint, event text, said text)"
TRAIL_WITH = (
    "INSERT INTO trail (message, at, event, said)"  # noqa: S608 - our own column names
    f" SELECT id, at, event, said FROM {{source}}, {_LINES.format(lines='%(trail)s')}"
)
TRAIL_OF = f"INSERT INTO trail (message, at, event, said) SELECT %s, at, event, said FROM {_LINES.format(lines='%s')}"  # noqa: S608
"""Inserts lines for one message: its id, the lines as JSON."""


def clean(row: Mapping[str, Any]) -> dict[str, Any]:
    """Text that PostgreSQL takes: it has no NUL."""
    return {name: value.replace("\0", "\\x00") if isinstance(value, str) else value for name, value in row.items()}


def recipients_json(recipients: Iterable[Recipient]) -> str:
    return json.dumps([{"seq": seq, **clean(recipient_row(one))} for seq, one in enumerate(recipients)])


def trail_json(trail: Iterable[TrailLine]) -> str:
    return json.dumps([dict(zip(("at", "event", "said"), trail_row(line), strict=True)) for line in trail])


def json_recipients(rows: Sequence[Sequence[Any]] | None) -> tuple[Recipient, ...]:
    return tuple(map(row_recipient, rows or ()))
