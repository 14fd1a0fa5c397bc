"""The spool in one SQLite file: one writer, readers of their own, leases in memory."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from relay import events
from relay.spool.contract import LeaseLost, SpoolBroken, SpoolFull, SpoolSettings
from relay.spool.entry import (
    Action,
    Claim,
    Content,
    Entry,
    Order,
    Recipient,
    Settlement,
    Tally,
    TrailLine,
)
from relay.spool.rows import as_stored, row_entry
from relay.spool.sqlite import read, wal, write
from relay.spool.sqlite.claim_ahead import TOGETHER, ClaimAhead
from relay.spool.sqlite.commit import ENOUGH_TO_SETTLE, SqliteCommit
from relay.spool.sqlite.connections import Lock, Room, in_truth, translated
from relay.spool.sqlite.content import ContentCache, SqliteContent
from relay.spool.sqlite.content_files import ContentFiles
from relay.spool.sqlite.jobs import Job, is_quick
from relay.spool.sqlite.leases import LocalLeases
from relay.spool.sqlite.leftovers import Leftovers
from relay.spool.sqlite.queries import SqliteQueries
from relay.spool.sqlite.schema import prepare
from relay.spool.sqlite.storms import SqliteStorms
from relay.spool.sqlite.transfer import SqliteTransfer
from relay.spool.sqlite.writer import Writer
from relay.spool.waiting import WaitsForWork, split_trail

_VACUUM_PAGES = 2000
_FORGET_AT_ONCE = 500
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class SqliteSpool(SqliteQueries, SqliteStorms, SqliteTransfer, WaitsForWork):
    """`relay.spool.contract.Spool` on SQLite.  Made by `open`; one event loop, one process.

    An order to HOLD reaches recipients that are being tried, too: the result of the attempt is stored, and they stay
    held unless it was final.  REMOVE takes the message away at once; its attempt's settlement meets LeaseLost.
    """

    def __init__(self, path: Path, settings: SpoolSettings, now: Callable[[], datetime], lock: Lock) -> None:
        self._path = path
        self._settings = settings
        self._now = now
        self._lock: Lock | None = lock
        self._room = Room(path, settings.keep_free)
        self._writer = Writer(path, self._room, self._told)
        self._cache = ContentCache()
        self._files = ContentFiles(path, self._room.ask_again)
        self._leftovers = Leftovers(self._room, lambda: self._writer.syncs)
        self._leases = LocalLeases()
        self._ahead = ClaimAhead()
        self._work = asyncio.Event()
        self._stalled = False

    @classmethod
    async def open(cls, path: Path, settings: SpoolSettings, now: Callable[[], datetime]) -> "SqliteSpool":
        """Takes the lock, makes or migrates the file, sweeps what a crash left.  Raises SpoolBroken, SpoolFull."""
        path = in_truth(path)
        lock = Lock(path)
        try:
            await asyncio.to_thread(prepare, path)
            spool = cls(path, settings, now, lock)
        except BaseException:
            lock.let_go()
            raise
        try:
            await spool._start()
        except BaseException:
            await spool.close()
            raise
        return spool

    async def _start(self) -> None:
        self._writer.start()
        last = await self._writer.look(read.last_message)
        self._committer = SqliteCommit(self._writer, self._room, self._cache, self._leftovers, self._files, last, self._stored)
        await self._writer.write(write.sweep, owed=True)
        await self._writer.look(self._sweep_files)
        wal.lay_out(self._writer, self._path)

    @property
    def shared(self) -> bool:
        """Whether other relays use it too: a file has one owner."""
        return False

    @property
    def away(self) -> str:
        return ""

    absent = away

    @property
    def syncs(self) -> int:
        """Transactions written since the start, each one fsync."""
        return self._writer.syncs

    # -- accepting ------------------------------------------------------------------------------------------------

    async def commit(self, entry: Entry, trail: tuple[TrailLine, ...] = ()) -> None:
        """Makes the entry durable.  Raises SpoolFull, SpoolBroken, ValueError for an entry that contradicts itself."""
        await self._committer.store(entry, trail)

    def _stored(self, message: int, entry: Entry, recipients: tuple[Recipient, ...], repeated: bool) -> None:
        """Claims what has just become durable, so that the runner has it without a query."""
        kept = as_stored(entry, recipients, self._content(message, entry.size)) if recipients else None
        if kept is None:
            self._give_back(self._ahead.doubt())
        else:
            claim = self._leases.grant(message, kept, recipients, 0, repeated=repeated, warned=False)
            self._give_back(self._ahead.arrived(claim))
        self._work.set()

    async def notify(
        self, notice: Entry | None, told: tuple[int, ...], trail: tuple[TrailLine, ...] = (), *, attention: bool = False
    ) -> None:
        """Queues a notice (may use the reserve) and removes the pending ones that it contains.

        Lines of the event `noticed` go to the trails of the messages told of, all others to the notice's own.
        """
        about, own = split_trail(notice, trail)
        strike = partial(write.strike_off, told=told, trail=about, attention=attention)
        if notice is None:
            await self._writer.write(strike)
        else:
            await self._committer.store(notice, own, strike)

    # -- relaying -------------------------------------------------------------------------------------------------

    async def claim(self, now: datetime) -> Claim | None:
        """The oldest due entry that nobody works on, with its due recipients.  None also while nothing may be sent:
        a settlement is not written yet, the medium is broken, or there is no room to remember what would be sent."""
        self._work.clear()
        if not self._may_claim():
            return None
        while claim := self._ahead.take(now):
            if self._leases.of(claim):  # else the message was removed
                return claim
        if self._ahead.nothing_due(now):
            return None
        self._give_back(self._ahead.doubt())  # those whose time has not come by this clock
        self._ahead.looking()
        future = self._writer.submit(Job(lambda db: self._claims(db, now), looks=True))
        try:
            found: tuple[list[Claim], bool, datetime | None] = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._unwanted)
            raise
        except (SpoolBroken, SpoolFull):
            self._stalled = True
            return None
        claims, all_of_them, next_due = found
        if not self._ahead.found(claims[1:], all_of_them=all_of_them and not self._stalled, next_due=next_due):
            self._give_back(claims)
            return await self.claim(now)
        return claims[0] if claims else None

    def _may_claim(self) -> bool:
        self._stalled = self._writer.owes or self._room.free() < ENOUGH_TO_SETTLE
        return not self._stalled

    def _claims(self, db: sqlite3.Connection, now: datetime) -> tuple[list[Claim], bool, datetime | None]:
        """What is due, some at a time, whether that is all, and when more will be (by the writer thread)."""
        if not self._may_claim():
            return [], False, None
        messages, all_of_them, next_due = read.due_first(db, self._leases.messages(), now, TOGETHER)
        rows, recipients = read.message_rows(db, messages), read.recipients_of(db, messages)
        claims: list[Claim] = []
        try:
            for message in messages:
                claims.append(self._claim(rows[message], recipients[message], now))
        except Exception:  # a row that cannot be read: the others must not stay leased
            for claim in claims:
                self._leases.give_back(claim)
            raise
        return claims, all_of_them, next_due

    def _claim(self, row: tuple[Any, ...], recipients: tuple[Recipient, ...], now: datetime) -> Claim:
        due = tuple(r for r in recipients if r.due(now))
        entry = row_entry(row, tuple(r.address for r in recipients), self._content(row[0], row[8]))
        return self._leases.grant(row[0], entry, due, row[14], repeated=bool(row[12]), warned=bool(row[13]), storm=row[16])

    def _give_back(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._leases.give_back(claim)
            self._work.set()

    def _reread(self) -> None:
        """Messages ended that may be among the claims made ahead."""
        self._give_back(self._ahead.ordered())
        self._work.set()

    def _unwanted(self, future: "asyncio.Future[tuple[list[Claim], bool, datetime | None]]") -> None:
        if not future.cancelled() and future.exception() is None:
            self._ahead.doubt_rest()
            self._give_back(future.result()[0])
            self._work.set()

    async def settle(self, claim: Claim, settlement: Settlement) -> None:
        """Stores what is certain.  Raises LeaseLost if the message was removed, ValueError for a recipient not its own."""
        lease = self._leases.of(claim)
        if lease is None:
            raise LeaseLost(f"{claim.entry.queue_id} was removed, or its lease given back")
        lease.step += 1
        step, now = lease.step, self._now()

        message, size = lease.message, claim.entry.size
        in_file = message in self._files

        def work(db: sqlite3.Connection) -> tuple[bool, datetime | None, tuple[int, ...]]:
            done, due_at = write.settle(db, message, settlement, step=step, vias=lease.vias, now=now)
            drop = done and not in_file and self._leftovers.enough(size)
            return done, due_at, self._leftovers.remove(db, (message,)) if drop else ()

        def after(stored: tuple[bool, datetime | None, tuple[int, ...]]) -> None:
            done, lease.due_at, removed = stored
            self._leftovers.forgotten(removed)
            if done:
                self._cache.forget(message)
                self._files.remove((message,))
                if not (removed or in_file):
                    self._leftovers.add(message, size)
                    self._leftovers.keep_few(self._writer)

        quick = is_quick(0 if in_file else size, len(claim.recipients))
        await self._writer.write(work, after=after, owed=True, settles=True, quick=quick)

    async def release(self, claim: Claim) -> None:
        """Gives the lease back."""
        lease = self._leases.give_back(claim)
        if lease is not None and lease.due_at is not None:
            self._work.set()
            if not self._ahead.may_be_due(lease.due_at):
                self._give_back(self._ahead.doubt())  # it comes before some of those

    async def turn(
        self, claim: Claim, upstream: str, *, per_minute: int | None, per_day: int | None, now: datetime
    ) -> datetime | None:
        """Always now: no other relay uses this spool."""
        return None

    async def next_due(self) -> datetime | None:
        """When the next recipient that nobody works on becomes due; None if none waits or the medium is broken."""
        if self._ahead.sure:
            return self._ahead.next_due
        if first := self._ahead.first_due():
            return first
        try:
            return await self._writer.look(lambda db: read.due_first(db, self._leases.messages(), _LONG_AGO, 1)[2])
        except SpoolBroken:
            return None

    # -- steering -------------------------------------------------------------------------------------------------

    async def order(self, order: Order, now: datetime) -> int:
        """Carries out an operator's order; the number of messages that it applied to."""

        def after(chosen: list[int]) -> None:
            if order.action is Action.REMOVE:
                self._forget(chosen)

        return len(await self._writer.write(lambda db: write.carry_out(db, order, now), after=after, wakes=True))

    async def tell(self, queue_id: str, line: TrailLine) -> bool:
        """Adds a line to the trail of a message; False if it is gone."""
        return await self._writer.write(lambda db: write.tell(db, queue_id, line))

    async def rebase(self, since: datetime, until: datetime, by: timedelta) -> int:
        """Moves the acceptance time of waiting messages that a wrong clock dated."""
        return await self._writer.write(lambda db: write.rebase(db, since, until, by), wakes=True)

    def _forget(self, messages: list[int]) -> None:
        for message in messages:
            self._cache.forget(message)
        self._files.remove(messages)
        self._leases.take_away(messages)

    def adjust(self, settings: SpoolSettings) -> None:
        """Takes over `keep_free` and `keep_history` while it is open."""
        self._settings, self._room.keep_free = settings, settings.keep_free

    async def tidy(self, now: datetime) -> None:
        """Removes what was over before `keep_history`, sweeps, and gives free pages back to the file system."""
        keep = self._settings.keep_history

        def forget(db: sqlite3.Connection) -> list[int]:
            return write.forget_old(db, now, keep, self._leases.messages(), _FORGET_AT_ONCE)

        while len(await self._writer.write(forget, after=self._forget)) >= _FORGET_AT_ONCE:
            pass
        await self._drop_merged(now)
        await self._writer.write(self._leftovers.remove, after=self._leftovers.forgotten)
        await self._writer.write(write.sweep)
        await self._writer.look(self._sweep_files)
        while await self._writer.look(self._give_back_pages):
            pass  # in slices, so that a commit never waits long
        await self._writer.look(lambda db: wal.bring_home(db, self._path))

    def _sweep_files(self, db: sqlite3.Connection) -> None:
        with translated(self._path):
            self._files.sweep(db, lambda: self._committer.arriving)

    def _give_back_pages(self, db: sqlite3.Connection) -> bool:
        """One slice of vacuum; whether there is more to do."""
        before = read.free_pages(db)
        if before:
            db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # execute() would give back a single page
            self._room.changed(read.room_within(db, self._path))
        return 0 < read.free_pages(db) < before

    async def close(self) -> None:
        """Writes what is not written yet, and closes the file."""
        if self._leftovers:
            with suppress(SpoolBroken, SpoolFull):  # else the next start sweeps
                await self._writer.write(self._leftovers.remove, after=self._leftovers.forgotten)
        unwritten = await self._writer.close()
        await asyncio.to_thread(self._files.close)
        if unwritten:
            events.note("broken", f"{unwritten} settlements could not be written; those messages may be sent again")
        if self._lock is not None:
            self._lock.let_go()
            self._lock = None

    # -- looking --------------------------------------------------------------------------------------------------

    async def tally(self) -> Tally:
        states, unfinished, oldest, size, attention, postponed = await self._read(read.counts)
        return Tally(
            states, unfinished, oldest, self.room(), size + self._files.octets, attention=attention, postponed=postponed
        )

    async def refused_senders(self) -> frozenset[tuple[str, str]]:
        since = self._now() - write.REFUSED_SENDER_KEPT
        return await self._read(lambda db: read.refused_senders(db, since))

    def room(self) -> int:
        return self._committer.left()

    # -- reading the file -----------------------------------------------------------------------------------------

    def _content(self, message: int, size: int) -> Content:
        return SqliteContent(self._path, message, size, self._cache, self._files)

    def _told(self, wake: bool, news: list[str]) -> None:
        if wake:
            self._give_back(self._ahead.ordered())
            self._work.set()
        for trouble in news:
            events.note("broken", trouble)
