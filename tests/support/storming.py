"""A spool and the real queue runner, with a clock that the test moves: everything that is due is done, nobody waits.

accept ── commit ──┐
until(moment) ── the next thing that is due ── the runner's attempt ── `answer` of the upstream for each recipient
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from relay import events
from relay.mail.address import Address, parse_address
from relay.mail.device import Device
from relay.mail.envelope import Envelope, Origin
from relay.mail.outgoing import Outgoing
from relay.mail.policy import RepairPolicy
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound.in_hand import InHand
from relay.outbound.postponing import Postponing
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Route
from relay.outbound.runner import Runner
from relay.spool.contract import Spool
from relay.spool.entry import Action, Claim, Entry, Order, Recipient, State, StoredEntry, TrailLine
from relay.upstream.report import Report
from relay.upstream.settings import Upstream
from tests.support.sending import transports_by, upstream_at
from tests.support.world import Clock, Ids

TAKES = Answer(Stage.CONTENT, Reply(250, "2.0.0", "taken"))
DEFERS = Answer(Stage.RCPT, Reply(450, "4.2.0", "greylisted"))
REFUSES = Answer(Stage.RCPT, Reply(550, "5.1.1", "no such user"))
DOWN = Answer(Stage.CONNECT, Reply(421, "4.4.1", "connection refused"), lost=True, fault=Fault.REFUSED)

LATE = timedelta(minutes=4)
"""Until a message that the upstream deferred is tried again, at most."""
RETRY = RetrySchedule(
    delays=(timedelta(minutes=3), timedelta(minutes=3), timedelta(minutes=30)), give_up_after=timedelta(hours=6)
)
NOBODY = "nobody@isp.example"
"""A rule discards mail to it."""
BOSS = Address("boss", "isp.example")
_ROUTES = (Route(to=(NOBODY,), discard=True), Route(via=("isp",)))


@dataclass
class Night:
    """`answer` is the upstream's for a recipient; `sent` are the messages that it took, with when that was.

    `accepted` are queue ids, `removed` those that a person removed, `released` counts those taken out of a digest.
    `delivered` counts how often each recipient got which message; `digests_made` are queue ids that digests may have.  The
    marks of what is in hand are kept in `home`, if any.
    """

    spool: Spool
    clock: Clock
    devices: Sequence[Device]
    ids: Ids = field(default_factory=Ids)
    answer: Callable[[Address], Answer] = lambda recipient: TAKES
    zone: Any = None
    home: Path | None = None
    sent: list[tuple[datetime, Entry, bytes]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """Digests that had ended when they were removed."""
    released: int = 0
    delivered: Counter[tuple[str, str]] = field(default_factory=Counter)
    digests_made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        events.configure("json", "error")
        self._entries: dict[str, Entry] = {}
        self._runner_of: tuple[tuple[Device, ...], Runner] | None = None
        self.in_hand = InHand.open(self.home) if self.home else InHand()

    def over(self, spool: Spool) -> None:
        """The same after a restart of the relay."""
        self.spool = spool
        self.__post_init__()

    def _runner(self) -> Runner:
        """For the devices of this moment, as after a reload."""
        devices = tuple(self.devices)
        if self._runner_of is None or self._runner_of[0] != devices:
            runner = Runner(
                spool=self.spool,
                transports=transports_by(self._submit),
                routes=_ROUTES,
                upstreams={"isp": upstream_at(1)},
                retry=RETRY,
                repair=RepairPolicy(),
                hostname="relay.example",
                devices=devices,
                now=self.clock,
                notify_whom=lambda entry: BOSS,
                in_hand=self.in_hand,
                postponing=Postponing(self.spool, self.clock, self._digest_id, "relay.example", self.zone),
            )
            self._runner_of = devices, runner
        return self._runner_of[1]

    def _digest_id(self, now: datetime) -> str:
        self.digests_made.append(self.ids(now))
        return self.digests_made[-1]

    async def _submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        answers = {one: self.answer(one) for one in outgoing.forward_paths}
        outgoing.at_dot()
        got = [one.key for one, answer in answers.items() if answer.reply.code == 250]
        self.delivered.update((outgoing.queue_id, key) for key in got)
        if got:
            self.sent.append((self.clock(), self._entries[outgoing.queue_id], b"".join(outgoing.content)))
        return Report(answers)

    async def accept(
        self,
        subject: str,
        *,
        client: str = "192.168.0.7",
        sender: str = "cam@lan.example",
        to: Sequence[str] = ("me@isp.example",),
        body: str = "something moved",
    ) -> str:
        now = self.clock()
        content = f"From: <{sender}>\r\nTo: <{to[0]}>\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()
        entry = Entry(
            self.ids(now),
            now,
            Origin(client, "cam"),
            Envelope(parse_address(sender), tuple(map(parse_address, to))),
            len(content),
            (content,),
            digest=hashlib.sha256(content).hexdigest(),
        )
        await self.spool.commit(entry, (TrailLine(now, "accepted", "from the device", {"subject": subject}),))
        self.accepted.append(entry.queue_id)
        return entry.queue_id

    async def remove(self, queue_id: str) -> None:
        """By a person's order.  Who removes what has failed has seen that it failed."""
        found = await self.spool.entry(queue_id)
        if found and found.entry.merges and all(one.state.over for one in found.recipients):
            self.seen.add(queue_id)
        await self.spool.order(Order(Action.REMOVE, (queue_id,)), self.clock())
        if queue_id in self.accepted:
            self.accepted.remove(queue_id)
            self.removed.append(queue_id)

    async def work(self, together: int = 1) -> None:
        """All that is due now, so many at a time."""
        while claims := [claim for claim in [await self.spool.claim(self.clock()) for _ in range(together)] if claim]:
            await asyncio.gather(*map(self.carry, claims))

    async def carry(self, claim: Claim) -> None:
        """One attempt of the runner."""
        self._entries[claim.entry.queue_id] = claim.entry
        await self._runner()._carry(claim)

    async def until(self, moment: datetime, together: int = 1) -> None:
        """Moves the clock on, from one thing that is due to the next."""
        await self.work(together)
        while (due := await self.spool.next_due()) is not None and due <= moment:
            self.clock.jump(max(due, self.clock()))
            await self.work(together)
        self.clock.jump(max(moment, self.clock()))

    async def end(self, most: timedelta = timedelta(days=3)) -> None:
        """Until nothing waits any more."""
        latest = self.clock() + most
        while (due := await self.spool.next_due()) is not None:
            assert due <= latest, "something waits for ever"
            await self.until(due)

    async def stored(self, queue_id: str) -> StoredEntry:
        found = await self.spool.entry(queue_id)
        assert found is not None, f"{queue_id} is lost"
        return found

    def sent_ids(self) -> list[str]:
        return [entry.queue_id for _, entry, _ in self.sent]

    def digests(self) -> list[tuple[datetime, Entry, bytes]]:
        return [one for one in self.sent if one[1].merges]

    async def accounted_for(self) -> dict[str, int]:
        """Fails unless each recipient of each accepted message has exactly one end; how many have which.

        Relayed and discarded: by itself.  Merged: its digest was relayed (or discarded).  Failed, expired: nobody got it, nor
        its digest, and somebody is told of it, or of its digest unless a person removed that.
        """
        told = {(one.queue_id, one.recipient.address.key, one.recipient.state) for one in await self.spool.pending_notices()}
        ends = Counter[str]()
        parts = Counter[tuple[str, str]]()
        for queue_id in self.accepted:
            stored = await self.stored(queue_id)
            for one in stored.recipients:
                key = one.address.key
                assert one.state.over, f"{queue_id} still waits"
                assert self.delivered[queue_id, key] == self._times(one), (
                    f"{queue_id} was sent {self.delivered[queue_id, key]} x"
                )
                if one.merged_into:
                    parts[one.merged_into, key] += 1
                    removed = any(line.details.get("removed") for line in stored.trail)
                    await self._ends_with_digest(one, told, removed=removed)
                elif one.state in (State.FAILED, State.EXPIRED):
                    assert (queue_id, key, one.state) in told, f"nobody is told of {queue_id}"
                else:
                    assert one.state is State.RELAYED
                ends["discarded" if one.state is State.RELAYED and not one.upstream else one.state.value] += 1
        for digest, key in parts:
            if found := await self.spool.entry(digest):
                assert 0 <= found.entry.merges - parts[digest, key] <= len(self.removed) + self.released
        assert {entry.queue_id for _, entry, _ in self.digests()} <= {digest for digest, _ in parts}
        return dict(ends)

    @staticmethod
    def _times(one: Recipient) -> int:
        """How often its recipient must have got the message by itself."""
        return int(one.state is State.RELAYED and bool(one.upstream))

    async def _ends_with_digest(self, part: Recipient, told: set[tuple[str, str, State]], *, removed: bool) -> None:
        digest, key = part.merged_into, part.address.key
        got = self.delivered[digest, key]
        found = await self.spool.entry(digest)
        if found is None:
            assert got == (part.state is State.MERGED) and (
                got or removed or digest in self.seen or str(part.address) == NOBODY
            )
            return
        (its,) = [one for one in found.recipients if one.address.key == key]
        assert got == self._times(its)
        assert its.state is (State.RELAYED if part.state is State.MERGED else part.state)
        assert its.state is State.RELAYED or (digest, key, its.state) in told, f"nobody is told of the digest {digest}"
