"""A night of a camera and one of a NAS in the whole relay: in by SMTP, decided by the real runner, out to an upstream.

device -> listener -> spool -> runner -> scripted upstream; only the clock is the test's.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.daemon import Relay
from relay.spool.entry import State
from relay.spool.sqlite.sqlite_spool import SqliteSpool
from tests.support.device import Device
from tests.support.inprocess import relay_at_home, told
from tests.support.spooled import quick_directory
from tests.support.upstream import Message, ScriptedUpstream
from tests.support.world import Clock

TOKYO = ZoneInfo("Asia/Tokyo")
EVENING = datetime(2026, 11, 22, 22, 0, tzinfo=TOKYO).astimezone(UTC)
MORNING = datetime(2026, 11, 23, 7, 0, tzinfo=TOKYO).astimezone(UTC)
MAILS, TOGETHER = 1434, 15


class Whole:
    """The relay, its clock, its upstream, and one device that keeps its connection."""

    def __init__(self, relay: Relay, clock: Clock, isp: ScriptedUpstream, device: Device) -> None:
        self.relay, self.clock, self.isp, self._device = relay, clock, isp, device

    async def send(self, subject: str, body: str = "something moved") -> str:
        """The queue id that it was promised under."""
        await self._device.say(b"MAIL FROM:<cam@isp.example>\r\nRCPT TO:<me@far.example>\r\nDATA\r\n")
        assert [(await self._device.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        content = f"From: cam@isp.example\r\nTo: me@far.example\r\nSubject: {subject}\r\n\r\n{body}\r\n.\r\n"
        said = await self._device.ask(content.encode())
        assert said.startswith("250"), said
        return said.split()[-1]

    async def done(self, moment: datetime | None = None) -> list[Message]:
        """What the upstream has when the runner has done all that is due, at that moment if it is given."""
        assert self.relay._services is not None
        runner, spool = self.relay._services.runner, self.relay._spool
        assert isinstance(spool, SqliteSpool)
        self.clock.jump(max(moment or self.clock(), self.clock()))
        async with asyncio.timeout(30):
            while await self._busy(spool):
                runner.wake()
                await asyncio.sleep(0.01)
        return self.isp.messages

    async def _busy(self, spool: SqliteSpool) -> bool:
        """Whether something is due or in hand, or was while this was found out."""
        written, leased = spool.syncs, spool._leases.messages()
        due = await spool.next_due()
        return bool(leased or spool._leases.messages() or spool.syncs != written or (due and due <= self.clock()))

    async def end(self) -> list[Message]:
        """The same when nothing waits any more."""
        mails = await self.done()
        while (due := await self.relay._spool.next_due()) is not None:
            mails = await self.done(due)
        return mails


@asynccontextmanager
async def whole(monkeypatch: pytest.MonkeyPatch, now: datetime, manners: dict[str, Any]) -> AsyncIterator[Whole]:
    clock = Clock(now)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        with quick_directory() as directory:
            async with ScriptedUpstream() as isp:
                upstreams = {"isp": {"host": "127.0.0.1", "port": isp.port, "tls": "none", "rewrite": "never"}}
                devices = {"cam": {"client": "127.0.0.1", **manners}}
                async with relay_at_home(Path(directory), {"upstreams": upstreams, "devices": devices}, clock) as relay:
                    device = await Device.connect(relay.inbound.bound[0])
                    await device.reply()
                    await device.dialog((b"EHLO cam\r\n", "250"))
                    yield Whole(relay, clock, isp, device)
    finally:
        monkeypatch.undo()
        time.tzset()


def subject_of(message: Message) -> str:
    return message.content.partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0].decode()


async def test_a_camera_sends_1434_mails_in_a_night(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner gets the first at once and a handful of digests; every one of the 1,434 is in the history."""
    manners = {"storm": {"same_within": "10m", "per_hour": 30}}
    async with whole(monkeypatch, EVENING, manners) as night:
        ids = [await night.send("Motion 0")]
        assert [subject_of(one) for one in await night.done()] == ["Motion 0"]
        for number in range(1, MAILS):
            ids.append(await night.send(f"Motion {number}", f"frame {number}"))
            if number % TOGETHER == 0:
                await night.done(night.clock() + timedelta(minutes=5))
        mails = await night.end()
        assert night.clock() <= EVENING + MAILS / TOGETHER * timedelta(minutes=5) + timedelta(minutes=11)
        digests = [int(subject_of(one).partition(" more: Motion ")[0]) for one in mails[1:]]
        assert sum(digests) == MAILS - 1 and len(digests) <= 6
        assert b"frame 1433" in mails[-1].content
        tally = await night.relay._spool.tally()
        assert (tally.states[State.MERGED], tally.states[State.RELAYED], tally.unfinished) == (MAILS - 1, 1 + len(digests), 0)
        kept = {one.queue_id for one in await night.relay._spool.listed(None, 2 * MAILS)}
        assert set(ids) < kept and len(kept) == MAILS + len(digests)


async def test_a_nas_is_quiet_at_night_but_for_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local time: what comes in the quiet hours goes when they end, a failure at once."""
    manners = {"quiet": {"hours": "22:00-07:00", "except": ["*FAIL*", "*critical*"]}}
    async with whole(monkeypatch, EVENING - timedelta(minutes=1), manners) as night:
        await night.send("Backup begun")
        assert [subject_of(one) for one in await night.done()] == ["Backup begun"]
        night.clock.jump(EVENING + timedelta(minutes=3))
        waits = [await night.send(f"Backup done {number}") for number in range(3)]
        await night.send("Disk 2 FAIL")
        for moment in (None, MORNING - timedelta(seconds=1)):
            assert [subject_of(one) for one in await night.done(moment)] == ["Backup begun", "Disk 2 FAIL"]
            assert {(await told(night.relay, one))["recipients"][0]["fault"] for one in waits} == {"quiet"}
        mails = await night.done(MORNING)
        assert sorted(map(subject_of, mails[2:])) == [f"Backup done {number}" for number in range(3)]
        assert {(await told(night.relay, one))["recipients"][0]["state"] for one in waits} == {"relayed"}
