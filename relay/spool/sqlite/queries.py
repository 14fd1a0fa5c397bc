"""The questions to the SQLite spool that only read, each in a thread and on a connection of its own."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from relay.mail.envelope import Origin
from relay.spool.entry import Content, Heard, PendingNotice, QueueLine, State, StoredEntry, TrailLine
from relay.spool.search import EVERYTHING, PageKey, Search
from relay.spool.sqlite import read
from relay.spool.sqlite.connections import reader, translated

T = TypeVar("T")


class SqliteQueries:
    """The part of a spool that only reads."""

    _path: Path

    def _content(self, message: int, size: int) -> Content:
        raise NotImplementedError

    async def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        def ask() -> T:
            with translated(self._path), closing(reader(self._path)) as db:
                db.execute("BEGIN")  # one picture for all queries of the question
                return question(db)

        return await asyncio.to_thread(ask)

    async def entries(
        self,
        states: frozenset[State] | None = None,
        limit: int = 1000,
        *,
        newest: bool = False,
        skip: int = 0,
        trail: bool = False,
    ) -> list[StoredEntry]:
        """Oldest first; of more than `limit` the oldest ones, or with `newest` the newest."""
        return await self._read(lambda db: read.stored_entries(db, states, limit, newest=newest, skip=skip, trail=trail))

    async def listed(
        self,
        states: frozenset[State] | None,
        limit: int,
        *,
        search: Search = EVERYTHING,
        after: PageKey | QueueLine | None = None,
        skip: int = 0,
        newest: bool = False,
    ) -> list[QueueLine]:
        """A row for each recipient of the next `limit` messages after that of `after`."""
        return await self._read(
            lambda db: read.queue_lines(db, states, limit, search=search, after=after, skip=skip, newest=newest)
        )

    async def counted(
        self, states: frozenset[State] | None, search: Search, among: frozenset[State] = frozenset()
    ) -> tuple[int, int]:
        """How many messages a list would have, and how many of them have a recipient in one of the states `among`."""
        return await self._read(lambda db: read.counted(db, states, search, among))

    async def beginning(self, beginnings: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Queue ids by what they begin with, two at most for each."""
        return await self._read(lambda db: read.beginning(db, beginnings))

    async def entry(self, queue_id: str) -> StoredEntry | None:
        return await self._read(lambda db: read.stored_entry(db, queue_id, self._content))

    async def history(self, since: datetime, step: timedelta) -> Mapping[tuple[datetime, str], int]:
        return await self._read(lambda db: read.history(db, since, step))

    async def heard(self, since: datetime) -> list[Heard]:
        return await self._read(lambda db: read.heard(db, since))

    async def lines_of(self, clients: Collection[str], events: Collection[str], limit: int) -> list[tuple[Origin, TrailLine]]:
        return await self._read(lambda db: read.lines_of(db, clients, events, limit))

    async def kept_by_client(self) -> Mapping[str, int]:
        return await self._read(read.kept_by_client)

    async def sent_today(self, day: str) -> Mapping[str, int]:
        return await self._read(lambda db: read.sent_on(db, day))

    async def pending_notices(self) -> list[PendingNotice]:
        return await self._read(read.pending_notices)
