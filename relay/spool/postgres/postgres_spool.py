"""The spool in PostgreSQL, shared by several relays: leases as rows, content in the database.

While the server is away everything here raises SpoolAway at once, except for settlements: they are kept in memory and
stored as soon as the server is back, unless another relay took the message over meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from psycopg import Connection

from relay import events
from relay.spool.contract import LeaseLost, SpoolAway, SpoolBroken, SpoolFull, SpoolSettings
from relay.spool.entry import (
    Action,
    Claim,
    Content,
    Entry,
    Order,
    Settlement,
    State,
    StoredEntry,
    Tally,
    TrailLine,
)
from relay.spool.postgres import read, write
from relay.spool.postgres.claims import claim_some
from relay.spool.postgres.commit import PostgresCommit
from relay.spool.postgres.connections import LENT, PostgresConnections, complete
from relay.spool.postgres.content import PostgresContent
from relay.spool.postgres.leases import SharedLease, give_back
from relay.spool.postgres.node import Node
from relay.spool.postgres.notify_listener import tell_all
from relay.spool.postgres.queries import Queries
from relay.spool.postgres.shared_rate_limit import turn
from relay.spool.postgres.storms import PostgresStorms
from relay.spool.postgres.transfer import PostgresTransfer
from relay.spool.rows import moment
from relay.spool.sqlite.content import ContentCache
from relay.spool.waiting import LONGEST_SLEEP, STALLED_SLEEP, WaitsForWork, split_trail

T = TypeVar("T")

_FORGET_AT_ONCE = 500
_FAIR_SHARE = 150
"""Messages in hand while other relays are alive; more than a slow upstream may have (`outbound.upstream_state`)."""

_PATIENCE_TO_CLOSE = 5.0


class PostgresSpool(Queries, PostgresStorms, PostgresTransfer, WaitsForWork):
    """`relay.spool.contract.Spool` on PostgreSQL.  Made by `open`; one event loop; many processes may have one each."""

    def __init__(
        self, connections: PostgresConnections, settings: SpoolSettings, now: Callable[[], datetime], home: Path | None
    ) -> None:
        self._settings, self._now, self._connections = settings, now, connections
        self._loop = asyncio.get_running_loop()
        self._cache = ContentCache()
        self._work = asyncio.Event()
        self._back = asyncio.Event()
        self._node = Node(connections, settings, now, home, self._heard, self._cache)
        self._leases = self._node.leases
        self._committer = PostgresCommit(connections, settings, self._cache, self._told)
        self._ready: deque[Claim] = deque()
        self._owed: set[asyncio.Task[None]] = set()
        self._late: list[SharedLease] = []
        self._tally = Tally(dict.fromkeys(State, 0), 0, None, 0, 0)
        self._stalled = self._closed = False
        self._guard: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: SpoolSettings, now: Callable[[], datetime], home: Path | None = None) -> "PostgresSpool":
        """Makes or migrates the tables.  `home` is the state directory of a relay; None: a command.

        Raises SpoolBroken.  A relay starts even if the server cannot be reached; for a command that raises SpoolAway.
        """
        connections = PostgresConnections(complete(settings.url, settings.password.reveal(), settings.name))
        spool = cls(connections, settings, now, home)
        try:
            await asyncio.to_thread(spool._node.begin)
            spool._committer.in_use = await spool._connections.run(read.in_use) if not connections.away else 0
        except SpoolAway:
            if home is None:
                await spool.close()
                raise
        except BaseException:
            await spool.close()
            raise
        spool._guard = asyncio.create_task(spool._watch_over())
        return spool

    @property
    def shared(self) -> bool:
        """Whether other relays use it too."""
        return True

    @property
    def away(self) -> str:
        return self._connections.away

    @property
    def absent(self) -> str:
        return self._connections.away

    # -- accepting --------------------------------------------------------------------------------------------------

    async def commit(self, entry: Entry, trail: tuple[TrailLine, ...] = ()) -> None:
        """Makes the entry durable.  Raises SpoolFull, SpoolAway, SpoolBroken, ValueError for one that contradicts itself."""
        await self._committer.store(entry, trail)
        if self._ready and (entry.accepted_at, entry.accepted_at) < (_due(self._ready[-1]), self._ready[-1].entry.accepted_at):
            await self._give_back_ready()  # it was accepted by an earlier clock, and comes first

    async def notify(
        self, notice: Entry | None, told: tuple[int, ...], trail: tuple[TrailLine, ...] = (), *, attention: bool = False
    ) -> None:
        """Queues a notice (may use the reserve) and removes the pending ones that it contains.

        Lines of the event `noticed` go to the trails of the messages told of, all others to the notice's own.
        """
        about, own = split_trail(notice, trail)

        def strike(db: Connection) -> None:
            write.strike_off(db, told, about, attention=attention)

        if notice is None:
            await self._run(strike)
        else:
            await self._committer.store(notice, own, strike)

    # -- relaying ---------------------------------------------------------------------------------------------------

    async def claim(self, now: datetime) -> Claim | None:
        """The oldest due entry that no relay works on, with its due recipients.  None also while the server is away, or
        what became of another message cannot be stored."""
        while self._ready:
            claim = self._ready.popleft()
            if not (lease := self._leases.find(claim.lease)) or lease.over:
                self._leases.drop(claim.lease)
                continue
            return claim
        if self._node.others and len(self._leases) >= _FAIR_SHARE:
            return None  # other relays get their share of a long queue
        self._work.clear()
        self._stalled = bool(self._connections.away) or any(task for task in self._owed if task.get_name() == "stalled")
        if self._stalled:
            return None
        asking = asyncio.ensure_future(self._run(lambda db: claim_some(db, self._node, self._content, now)))
        try:
            claims = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(self._unwanted)
            raise
        except (SpoolBroken, SpoolFull):
            self._stalled = True
            return None
        if not claims:
            return None
        self._work.set()  # there may be more
        self._ready.extend(claims[1:])
        return claims[0]

    def _unwanted(self, asking: "asyncio.Future[list[Claim]]") -> None:
        if not asking.cancelled() and asking.exception() is None:
            self._ready.extend(asking.result())
            self._work.set()

    async def settle(self, claim: Claim, settlement: Settlement) -> None:
        """Stores what is certain, however long the server is away.

        Raises LeaseLost if the message was removed or taken over, ValueError for a recipient that is not its own.
        """
        lease = self._leases.find(claim.lease)
        if lease is None:
            raise LeaseLost(f"{claim.entry.queue_id} was removed, or its lease given back")
        lease.step += 1
        task = asyncio.create_task(self._settled(lease, settlement, lease.step))
        self._owed.add(task)
        task.add_done_callback(self._owed.discard)
        await asyncio.shield(task)

    async def _settled(self, lease: SharedLease, settlement: Settlement, step: int) -> None:
        now = self._now()
        said = f"uncertain: {self._node.name} tried it too, but its lease had ended when it could say so; it may arrive twice"
        line = TrailLine(now, "warned", said, {"relay": self._node.name, "sent": settlement.sent})

        def work(db: Connection) -> bool:
            return write.settle(db, lease, settlement, step=step, now=now, uncertain=line)

        while True:
            try:
                if await self._run(work):
                    self._cache.forget(lease.message)
                    self._committer.in_use -= lease.size
                return
            except (SpoolAway, SpoolFull):
                if self._closed:
                    raise
                if task := asyncio.current_task():
                    task.set_name("stalled")
                await self._until_back()

    async def release(self, claim: Claim) -> None:
        """Gives the lease back; while the server is away, as soon as it is there again."""
        lease = self._leases.drop(claim.lease)
        if lease is not None:
            await self._given_back(lease)

    async def _given_back(self, lease: SharedLease) -> None:
        try:
            due_at = await self._run(lambda db: give_back(db, lease, self._node.id))
        except SpoolAway:
            self._late.append(lease)
        except (SpoolBroken, SpoolFull):
            return  # it ends by itself
        else:
            if due_at is not None and self._ready and moment(due_at) <= _due(self._ready[-1]):
                await self._give_back_ready()  # it may come before them
        self._told()

    async def turn(
        self, claim: Claim, upstream: str, *, per_minute: int | None, per_day: int | None, now: datetime
    ) -> datetime | None:
        """When this message may go to an upstream that several relays share; None: now."""
        lease = self._leases.find(claim.lease)
        if lease is None or lease.over:
            raise LeaseLost(f"the lease of {claim.entry.queue_id} has ended")
        limits = {"per_minute": per_minute, "per_day": per_day}
        try:
            return await self._run(lambda db: turn(db, lease.message, claim.entry.queue_id, upstream, **limits, now=now))
        except SpoolAway:
            if per_minute is per_day is None:
                return None  # nothing is to be counted
            raise

    async def next_due(self) -> datetime | None:
        """When the next recipient that no relay works on becomes due; None if none waits or the server is away."""
        if self._ready:
            return min(recipient.due_at for recipient in self._ready[0].recipients)
        try:
            return await self._run(read.next_due)
        except SpoolBroken:
            return None

    # -- steering ---------------------------------------------------------------------------------------------------

    async def order(self, order: Order, now: datetime) -> int:
        """Carries out an operator's order; the number of messages that it applied to."""
        await self._give_back_ready()
        chosen = await self._run(lambda db: write.carry_out(db, order, now), again=False)
        gone = [lease for _, lease in chosen if lease is not None and order.action is Action.REMOVE]
        if order.action is Action.REMOVE:
            for message, _ in chosen:
                self._cache.forget(message)
            for number in gone:
                self._leases.drop(number)
        await self._give_back_ready()  # a look that was under way may have brought more
        await self._run(lambda db: tell_all(db, gone))
        self._told()
        return len(chosen)

    async def tell(self, queue_id: str, line: TrailLine) -> bool:
        """Adds a line to the trail of a message; False if it is gone."""
        return await self._run(lambda db: write.tell(db, queue_id, line), again=False)

    async def rebase(self, since: datetime, until: datetime, by: timedelta) -> int:
        """Moves the acceptance time of waiting messages that a wrong clock dated."""
        await self._give_back_ready()
        moved = await self._run(lambda db: write.rebase(db, since, until, by), again=False)
        self._told()
        return moved

    async def _give_back_ready(self) -> None:
        """Gives back what was claimed and not handed out: an order may have changed it."""
        ready, self._ready = self._ready, deque()
        for claim in ready:
            await self.release(claim)

    def adjust(self, settings: SpoolSettings) -> None:
        """Takes over `keep_free`, `keep_history` and `max_size` while it is open."""
        self._settings = self._committer.settings = settings

    async def tidy(self, now: datetime) -> None:
        """Removes what was over before `keep_history`."""
        keep = self._settings.keep_history
        while len(await self._run(lambda db: write.forget_old(db, now, keep, _FORGET_AT_ONCE))) >= _FORGET_AT_ONCE:
            pass
        self._committer.in_use = await self._run(read.in_use)
        await self._drop_merged(now)

    async def close(self) -> None:
        """Stores open settlements, gives all leases back, and closes the connections."""
        if self._closed:
            return
        if self._owed and self._connections.away:
            await asyncio.wait(self._owed, timeout=_PATIENCE_TO_CLOSE)
        self._closed = True
        self._back.set()
        if self._owed:
            await asyncio.wait(self._owed, timeout=_PATIENCE_TO_CLOSE)
        unwritten = len(self._owed)
        for task in self._owed:
            task.cancel()
        if self._guard:
            self._guard.cancel()
        if unwritten:
            events.note("broken", f"{unwritten} settlements could not be written; those messages may be sent again")
        await asyncio.to_thread(self._node.end)
        await asyncio.to_thread(self._connections.close)

    async def entry(self, queue_id: str) -> StoredEntry | None:
        return await self._run(lambda db: read.stored_entry(db, queue_id, self._content))

    async def tally(self) -> Tally:
        """While the server is away, as it was last seen."""
        try:
            states, unfinished, oldest, size, peers, attention, postponed = await self._run(read.counts)
        except SpoolAway:
            return self._tally
        size += self._committer.arriving
        self._tally = Tally(states, unfinished, oldest, self.room(), size, peers, attention, postponed)
        return self._tally

    async def refused_senders(self) -> frozenset[tuple[str, str]]:
        since = self._now() - write.REFUSED_SENDER_KEPT
        return await self._run(lambda db: read.refused_senders(db, since))

    def room(self) -> int:
        return self._committer.left()

    # -- using the server -----------------------------------------------------------------------------------------

    def _content(self, message: int, size: int, lease: SharedLease | None = None) -> Content:
        return PostgresContent(self._connections, message, size, self._cache, lease)

    async def _run(self, work: Callable[[Connection], T], *, again: bool = True) -> T:
        if self._closed and not self._owed:
            raise SpoolBroken("the spool is closed")
        return await self._connections.run(work, again=again)

    async def _until_back(self) -> None:
        """Waits until the server is reached again, or for a while: nobody tells when a full disk has room again."""
        self._back.clear()
        try:
            async with asyncio.timeout(STALLED_SLEEP if not self._connections.away else LONGEST_SLEEP):
                await self._back.wait()
        except TimeoutError:
            pass

    async def _watch_over(self) -> None:
        """Closes connections whose server does not answer."""
        while True:
            await asyncio.sleep(LENT)
            self._connections.hang_up()

    def _told(self) -> None:
        """Something may be due: here at once, at the other relays in a moment."""
        self._work.set()
        self._node.tell()

    def _heard(self, what: str, said: Any) -> None:
        """Called by the listener's thread."""
        self._loop.call_soon_threadsafe(self._hear, what, said)

    def _hear(self, what: str, said: Any) -> None:
        match what:
            case "gone":
                for number in said:
                    self._leases.drop(number)
            case "in_use":
                self._committer.in_use = said
                return
            case "away":
                events.note("broken", f"the spool's database cannot be reached: {said}")
            case "back":
                if said:
                    events.note("woke", f"the spool's database is back after {said:.0f} s")
                late, self._late = self._late, []
                self._returning = [asyncio.create_task(self._given_back(lease)) for lease in late]
        self._back.set()
        self._work.set()


def _due(claim: Claim) -> datetime:
    return min(recipient.due_at for recipient in claim.recipients)
