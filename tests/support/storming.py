"""A spool and what keeps mail back, with a clock that the test moves: everything that is due is done, nobody waits.

accept ── commit ──┐
until(moment) ── the next thing that is due ── Postponing ── sent to `upstream`, which takes it or not
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from relay import events
from relay.mail.address import parse_address
from relay.mail.device import Device
from relay.mail.envelope import Envelope, Origin
from relay.outbound.in_hand import InHand
from relay.outbound.postponing import Postponing
from relay.outbound.prepare import device_for
from relay.spool.contract import Spool
from relay.spool.entry import Claim, Entry, Settlement, State, StoredEntry, TrailLine
from tests.support.world import Clock, Ids

LATE = timedelta(minutes=3)
"""Until a message that the upstream did not take is tried again."""


@dataclass
class Night:
    """`up` tells whether the upstream takes mail; `sent` are the messages that it took, with when that was."""

    spool: Spool
    clock: Clock
    devices: Sequence[Device]
    ids: Ids = field(default_factory=Ids)
    up: Callable[[], bool] = lambda: True
    zone: Any = None
    sent: list[tuple[datetime, Entry, bytes]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        events.configure("json", "error")
        self.in_hand = InHand()
        self.postponing = Postponing(self.spool, self.clock, self.ids, "relay.example", self.zone)

    def over(self, spool: Spool) -> None:
        """The same after a restart of the relay."""
        self.spool = spool
        self.__post_init__()

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

    async def work(self, together: int = 1) -> None:
        """All that is due now, so many at a time."""
        while claims := [claim for claim in [await self.spool.claim(self.clock()) for _ in range(together)] if claim]:
            await asyncio.gather(*map(self.carry, claims))

    async def carry(self, claim: Claim) -> None:
        """As the runner does it."""
        try:
            async with self.in_hand.mark(claim.entry.queue_id) as mark:
                if not await self.postponing.holds_back(claim, device_for(claim.entry, self.devices), mark):
                    await self._send(claim)
        finally:
            await self.spool.release(claim)

    async def _send(self, claim: Claim) -> None:
        now = self.clock()
        if self.up():
            self.sent.append((now, claim.entry, b"".join(claim.entry.content)))
            after = [replace(one, state=State.RELAYED, attempts=one.attempts + 1, upstream="isp") for one in claim.recipients]
        else:
            after = [replace(one, due_at=now + LATE, attempts=one.attempts + 1, upstream="isp") for one in claim.recipients]
        await self.spool.settle(claim, Settlement(tuple(after)))

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
        """Fails unless each accepted message has exactly one end; how many have which."""
        ends: dict[str, int] = {}
        merges: dict[str, int] = {}
        for queue_id in self.accepted:
            for recipient in (await self.stored(queue_id)).recipients:
                assert recipient.state.over, f"{queue_id} still waits"
                ends[recipient.state.value] = ends.get(recipient.state.value, 0) + 1
                assert (recipient.state is State.MERGED) == bool(recipient.merged_into)
                if recipient.merged_into:
                    merges[recipient.merged_into] = merges.get(recipient.merged_into, 0) + 1
                times = self.sent_ids().count(queue_id)
                assert times == (recipient.state is State.RELAYED), f"{queue_id} was sent {times} times"
        for digest, count in merges.items():
            stored = await self.stored(digest)
            assert {one.state for one in stored.recipients} == {State.RELAYED}
            assert stored.entry.merges == count
            assert self.sent_ids().count(digest) == 1
        assert {entry.queue_id for _, entry, _ in self.digests()} == set(merges)
        return ends
