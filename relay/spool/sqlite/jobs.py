"""Jobs for the writing connection, and the COMMIT of quick ones."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_QUICK_OCTETS = 65_536  # of content: so many jobs fit into the page cache of the connection
_QUICK_ROWS = 20


@dataclass(slots=True, eq=False)
class Job:
    """Something to do with the connection.

    `work` may run more than once and must not change memory; `after` runs once, in the event loop, when what was written
    is durable and before anything else is done.  `looks`: it writes nothing and runs between transactions, in the thread.
    `owed`: it must be written in the end; if the disk is full or broken, its future is answered and the job kept.
    `settles`: it is a settlement.  `wakes`: other messages may be due afterwards.
    `quick`: as `is_quick` has it.
    """

    work: Callable[[sqlite3.Connection], Any]
    future: "asyncio.Future[Any] | None" = None
    after: Callable[[Any], None] | None = None
    looks: bool = False
    owed: bool = False
    settles: bool = False
    wakes: bool = False
    quick: bool = False


Answer = tuple[Job, Any, BaseException | None]


@dataclass(slots=True, eq=False)
class Commit:
    """Quick jobs whose statements are done; they are not durable yet."""

    answers: list[Answer]


def is_quick(octets: int, recipients: int) -> bool:
    """Whether a message of this size is so small that the event loop may run its statements."""
    return octets <= _QUICK_OCTETS and recipients <= _QUICK_ROWS
