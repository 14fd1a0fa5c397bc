"""The queries of the PostgreSQL spool that only read, each in a thread."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from psycopg import Connection

from relay.mail.envelope import Origin
from relay.spool.entry import Heard, PendingNotice, QueueLine, State, StoredEntry, TrailLine
from relay.spool.postgres import read
from relay.spool.postgres.connections import PostgresConnections
from relay.spool.search import EVERYTHING, PageKey, Search

T = TypeVar("T")


class Queries:
    """The part of a spool that only reads."""

    _connections: PostgresConnections
    _now: Callable[[], datetime]

    async def _run(self, work: Callable[[Connection], T], *, again: bool = True) -> T:
        return await self._connections.run(work, again=again)

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
        return await self._run(lambda db: read.stored_entries(db, states, limit, newest=newest, skip=skip, trail=trail))

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
        return await self._run(
            lambda db: read.queue_lines(db, states, limit, search=search, after=after, skip=skip, newest=newest)
        )

    async def counted(
        self, states: frozenset[State] | None, search: Search, among: frozenset[State] = frozenset()
    ) -> tuple[int, int]:
        """How many messages a list would have, and how many of them have a recipient in one of the states `among`."""
        return await self._run(lambda db: read.counted(db, states, search, among))

    async def beginning(self, beginnings: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Queue ids by what they begin with, two at most for each."""
        return await self._run(lambda db: read.beginning(db, beginnings))

    async def history(self, since: datetime, step: timedelta) -> Mapping[tuple[datetime, str], int]:
        return await self._run(lambda db: read.history(db, since, step))

    async def kept_by_client(self) -> Mapping[str, int]:
        return await self._run(read.kept_by_client)

    async def heard(self, since: datetime) -> list[Heard]:
        return await self._run(lambda db: read.heard(db, since))

    async def lines_of(self, clients: Collection[str], events: Collection[str], limit: int) -> list[tuple[Origin, TrailLine]]:
        return await self._run(lambda db: read.lines_of(db, clients, events, limit))

    async def sent_today(self, day: str) -> Mapping[str, int]:
        return await self._run(lambda db: read.sent_on(db, day))

    async def pending_notices(self) -> list[PendingNotice]:
        return await self._run(read.pending_notices)
