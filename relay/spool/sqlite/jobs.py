"""What is to be done with the connection that writes: jobs, and what is left of quick ones."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_QUICK_OCTETS = 65_536  # of content: so many jobs fit into the page cache of the connection
_QUICK_ROWS = 20


@dataclass(slots=True, eq=False)
class Job:
    """Something to be done with the connection.

    `work` may run more than once and must leave memory alone; `after` runs once, in the event loop, when what was written
    is durable and before anything else is done.  `looks`: it writes nothing and runs between transactions, in the thread.
    `owed`: it is a fact and must be written at last; on a full or broken medium its future is answered and the job kept.
    `settles`: it says what became of a message.  `wakes`: something else may be due afterwards than was before.
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
    """Quick jobs whose statements are done: what is left is to make them durable."""

    answers: list[Answer]


def is_quick(octets: int, recipients: int) -> bool:
    """Whether what concerns a message of this size is so little that the event loop may do its statements."""
    return octets <= _QUICK_OCTETS and recipients <= _QUICK_ROWS
