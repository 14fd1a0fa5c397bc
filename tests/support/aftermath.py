"""A spool's file as it lies there after a crash: looked at, never opened for writing."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Aftermath:
    """`states`: queue id -> recipient -> state, of mail that came from devices; `notices`: queue ids of our own letters;
    `pending`: how many failures and delays somebody has still to be told of; `queued`: recipients that wait."""

    states: dict[str, dict[str, str]] = field(default_factory=dict)
    notices: frozenset[str] = frozenset()
    pending: int = 0
    queued: int = 0


def aftermath(spool: Path) -> Aftermath:
    with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        states: dict[str, dict[str, str]] = {}
        notices = set()
        for queue_id, notice, address, state in db.execute(
            "SELECT queue_id, notice, local || '@' || domain, state FROM message JOIN recipient ON message = id"
        ):
            if notice:
                notices.add(queue_id)
            else:
                states.setdefault(queue_id, {})[address] = state
        (pending,) = db.execute("SELECT count(*) FROM notice").fetchone()
        (queued,) = db.execute("SELECT count(*) FROM recipient WHERE state = 'queued'").fetchone()
    return Aftermath(states, frozenset(notices), pending, queued)
