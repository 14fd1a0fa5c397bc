"""A spool in PostgreSQL with one of this relay's own beside it, for mail that comes while the server is away."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from relay import events
from relay.spool.contract import SpoolAway, SpoolBroken, SpoolFull, SpoolSettings
from relay.spool.entry import Entry, State, StoredEntry, Tally, TrailLine
from relay.spool.move_spool import move
from relay.spool.postgres.postgres_spool import PostgresSpool
from relay.spool.sqlite.sqlite_spool import SqliteSpool

_AGAIN = 2.0  # seconds between tries to move what was taken meanwhile


class PostgresWithFallback(PostgresSpool):
    """What is taken here while the server is away goes over when it is back, each message once by its queue id.

    It is not sent from here: the rate limits and what was sent are known in the database only.
    """

    _here: SqliteSpool
    _mover: asyncio.Task[None]

    @classmethod
    async def open(
        cls, settings: SpoolSettings, now: Callable[[], datetime], home: Path | None = None
    ) -> "PostgresWithFallback":
        place = Path(settings.fallback.partition(":")[2].removeprefix("//"))
        here = await SqliteSpool.open(place, settings, now)
        try:
            spool = await super().open(settings, now, home)
        except BaseException:
            await here.close()
            raise
        assert isinstance(spool, cls)  # noqa: S101 - for the type checker
        spool._here, spool._fresh = here, asyncio.Event()
        spool._fresh.set()  # an earlier life may have left something
        spool._mover = asyncio.create_task(spool._move())
        return spool

    _fresh: asyncio.Event

    @property
    def away(self) -> str:
        """Mail is taken all the same."""
        return ""

    async def commit(self, entry: Entry, trail: tuple[TrailLine, ...] = ()) -> None:
        """Makes the entry durable, there or here.  Raises SpoolFull, SpoolBroken, ValueError."""
        try:
            await super().commit(entry, trail)
        except SpoolAway:
            line = TrailLine(self._now(), "warned", f"taken by {self._node.name} while the database was away")
            await self._here.commit(entry, (*trail, line))
            self._fresh.set()

    def room(self) -> int:
        return self._here.room() if self._connections.away else super().room()

    def adjust(self, settings: SpoolSettings) -> None:
        """Both."""
        super().adjust(settings)
        self._here.adjust(settings)

    async def tally(self) -> Tally:
        """Both together."""
        there, here = await super().tally(), await self._here.tally()
        states = {state: there.states[state] + here.states[state] for state in State}
        oldest = min(filter(None, (there.oldest, here.oldest)), default=None)
        return replace(there, states=states, unfinished=there.unfinished + here.unfinished, oldest=oldest, room=self.room())

    async def kept_by_client(self) -> Mapping[str, int]:
        """Of the spool that takes mail now."""
        return await self._here.kept_by_client() if self._connections.away else await super().kept_by_client()

    async def entry(self, queue_id: str) -> StoredEntry | None:
        try:
            return await super().entry(queue_id) or await self._here.entry(queue_id)
        except SpoolAway:
            return await self._here.entry(queue_id)

    async def tell(self, queue_id: str, line: TrailLine) -> bool:
        """Of either."""
        try:
            return await super().tell(queue_id, line) or await self._here.tell(queue_id, line)
        except SpoolAway:
            return await self._here.tell(queue_id, line)

    async def close(self) -> None:
        """Closes both; what is here stays here until the next start."""
        if not self._closed and hasattr(self, "_mover"):
            self._mover.cancel()
            await asyncio.gather(self._mover, return_exceptions=True)
        await super().close()
        if hasattr(self, "_here"):
            await self._here.close()

    async def _move(self) -> None:
        told = ""
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            if self._connections.away:
                self._fresh.set()
                await asyncio.sleep(_AGAIN)
                continue
            try:
                if moved := await move(self._here, self, self._now):
                    events.note("released", f"{moved} messages moved to the database that was away", messages=moved)
                told = ""
            except (SpoolBroken, SpoolFull) as error:
                self._fresh.set()
                if not isinstance(error, SpoolAway) and told != str(error):
                    told = str(error)
                    events.note("broken", f"mail in the fallback spool cannot be moved yet: {error}")
                await asyncio.sleep(_AGAIN)
