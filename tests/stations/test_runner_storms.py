"""Storms in the queue runner itself, and what they cost: nothing, where no device has a rule.

spool (SQLite)  -->  Runner with Postponing  -->  an upstream that takes everything
"""

import asyncio
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay import events
from relay.mail.address import parse_address
from relay.mail.device import Device, Quiet, Storm
from relay.mail.envelope import Envelope, Origin
from relay.mail.policy import RepairPolicy
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound.postponing import Postponing
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Route
from relay.outbound.runner import Runner
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Entry, Recipient, State, TrailLine
from relay.spool.queue_id import new_queue_id
from relay.upstream.report import Conversation, Report
from tests.support.sending import transports_by, upstream_at
from tests.support.waiting import until
from tests.support.world import Clock

CONTENT = b"From: cam@lan.example\r\nTo: me@isp.example\r\nSubject: Motion 1\r\n\r\nframe\r\n"
PLAIN = Device("nas", helo=("nas",))
OURS = tuple(
    f"relay{end}" for end in ("/outbound/postponing.py", "/outbound/storms.py", "/spool/sqlite/storms.py", "/mail/digest.py")
)


class Taking:
    """Takes everything."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def __call__(self, upstream, outgoing):
        self.taken.append(b"".join(outgoing.content))
        done = Answer(Stage.CONTENT, Reply(250, "2.0.0", "ok"))
        return Report(dict.fromkeys(outgoing.forward_paths, done), Conversation())


@asynccontextmanager
async def running(tmp_path, clock, devices, submit):
    events.configure("json", "error")
    spool = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/spool.db", keep_free=0), now=clock)
    runner = Runner(
        spool=spool,
        transports=transports_by(submit),
        routes=[Route(via=("isp",))],
        upstreams={"isp": upstream_at(1)},
        retry=RetrySchedule(),
        repair=RepairPolicy(),
        hostname="relay.example",
        devices=devices,
        now=clock,
        postponing=Postponing(spool, clock, new_queue_id, "relay.example", UTC),
    )
    task = asyncio.create_task(runner.run())
    try:
        yield spool, runner
    finally:
        await runner.stop(2)
        await asyncio.wait_for(task, 5)
        await spool.close()


async def accept(spool, clock, helo: str, subject: str = "Motion 1") -> str:
    now, content = clock(), CONTENT.replace(b"Motion 1", subject.encode())
    where = Envelope(parse_address("cam@lan.example"), (parse_address("me@isp.example"),))
    entry = Entry(new_queue_id(now), now, Origin("192.168.0.7", helo), where, len(content), (content,))
    await spool.commit(entry, (TrailLine(now, "accepted", "", {"subject": subject}),))
    return entry.queue_id


async def test_a_storm_in_the_runner(tmp_path: Path) -> None:
    """The first is sent, the rest waits; when the time has come one digest is sent, by the device's route."""
    clock, submit = Clock(), Taking()
    device = Device("cam", helo=("cam",), storm=Storm(timedelta(seconds=30), 30), subject_prefix="[door] ")
    async with running(tmp_path, clock, (device,), submit) as (spool, runner):
        ids = [await accept(spool, clock, "cam") for _ in range(5)]

        async def settled() -> bool:
            stored = [await spool.entry(one) for one in ids]
            return [one.recipients[0].state for one in stored if one] == [State.RELAYED, *[State.QUEUED] * 4] and all(
                one.recipients[0].fault for one in stored[1:] if one
            )

        await until(settled)
        assert len(submit.taken) == 1
        clock.advance(seconds=31)
        runner.wake()

        async def digested() -> bool:
            return (await spool.tally()).unfinished == 0

        await until(digested)
        assert len(submit.taken) == 2
        assert b"Subject: [door] 4 more: Motion 1" in submit.taken[1]
        assert submit.taken[1].count(b"[door]") == 1
        states = (await spool.tally()).states
        assert (states[State.MERGED], states[State.QUEUED]) == (4, 0)


async def test_the_ceiling_in_the_runner_lets_the_first_of_each_new_kind_go(tmp_path: Path) -> None:
    """Over the ceiling known kinds wait, from second to second; what was never seen goes at once, however full the hour is."""
    clock, submit = Clock(), Taking()
    device = Device("cam", helo=("cam",), storm=Storm(None, 3))
    async with running(tmp_path, clock, (device,), submit) as (spool, runner):

        async def sends(subject: str) -> State | Fault | None:
            queue_id = await accept(spool, clock, "cam", subject)
            clock.advance(seconds=1)
            found: list[Recipient] = []

            async def decided() -> bool:
                stored = await spool.entry(queue_id)
                found[:] = stored.recipients if stored else ()
                return any(one.state.over or one.fault for one in found)

            await until(decided)
            return found[0].fault or found[0].state

        assert [await sends(f"Motion {number}") for number in range(5)] == [State.RELAYED] * 3 + [Fault.DIGEST] * 2
        assert [await sends(kind) for kind in ("Disk FAIL", "Door open", "Tamper")] == [State.RELAYED] * 3
        assert [await sends(kind) for kind in ("Disk FAIL", "Motion 9", "Door open")] == [Fault.DIGEST] * 3
        clock.advance(minutes=11)
        runner.wake()

        async def digested() -> bool:
            return (await spool.tally()).unfinished == 0

        await until(digested)
        subjects = [line[9:] for one in submit.taken for line in one.split(b"\r\n") if line.startswith(b"Subject: ")]
        assert subjects == [b"Motion 0", b"Motion 1", b"Motion 2", b"Disk FAIL", b"Door open", b"Tamper", b"5 more: Door open"]
        assert (await spool.tally()).states[State.MERGED] == 5
        clock.advance(hours=1)
        assert await sends("Motion 10") is State.RELAYED


async def test_quiet_hours_in_the_runner(tmp_path: Path) -> None:
    clock, submit = Clock(datetime(2026, 11, 22, 6, 59, 50, tzinfo=UTC)), Taking()
    hours = ((datetime(2026, 1, 1, 22).time(), datetime(2026, 1, 1, 7).time()),)
    device = Device("nas", helo=("nas",), quiet=Quiet(hours, ("*FAIL*",)))
    async with running(tmp_path, clock, (device,), submit) as (spool, runner):
        queue_id = await accept(spool, clock, "nas")

        async def waits() -> bool:
            stored = await spool.entry(queue_id)
            return bool(stored and stored.recipients[0].fault)

        await until(waits)
        assert not submit.taken
        clock.advance(seconds=10)
        runner.wake()

        async def sent() -> bool:
            return bool(submit.taken)

        await until(sent)


async def test_a_clock_that_goes_back_lets_nobody_wait_a_day_longer(tmp_path: Path) -> None:
    """What waits for the morning was dated by a clock that was a day ahead; it is decided anew, and waits for the right one."""
    clock, submit = Clock(datetime(2026, 11, 23, 23, 0, tzinfo=UTC)), Taking()
    hours = ((datetime(2026, 1, 1, 22).time(), datetime(2026, 1, 1, 7).time()),)
    async with running(tmp_path, clock, (Device("nas", helo=("nas",), quiet=Quiet(hours)),), submit) as (spool, runner):
        queue_id = await accept(spool, clock, "nas")

        def due(day: int):
            async def known() -> bool:
                stored = await spool.entry(queue_id)
                return bool(stored and stored.recipients[0].due_at == datetime(2026, 11, day, 7, tzinfo=UTC))

            return known

        await until(due(24))
        clock.advance(days=-1)
        runner.wake()
        await until(due(23))
        assert not submit.taken


async def cost(tmp_path, devices, helo: str) -> tuple[int, int]:
    """For a message: calls of what keeps mail back, transactions.  What all of it costs is in test_device_cost.py."""
    clock, submit = Clock(), Taking()
    counted = 0

    def look(frame, event, _):
        nonlocal counted
        counted += event == "call" and frame.f_code.co_filename.endswith(OURS)

    async with running(tmp_path, clock, devices, submit) as (spool, _runner):

        async def relayed(queue_id) -> None:
            async def over() -> bool:
                stored = await spool.entry(queue_id)
                return bool(stored and stored.recipients[0].state is State.RELAYED)

            await until(over)

        await relayed(await accept(spool, clock, helo))  # what is done once is done
        await until(lambda: not spool._leases.messages())
        before = spool.syncs
        done = asyncio.Event()
        queue_id = ""
        settle = spool.settle

        async def settled(claim, settlement):
            await settle(claim, settlement)
            if claim.entry.queue_id == queue_id:
                done.set()

        spool.settle = settled
        sys.setprofile(look)
        try:
            queue_id = await accept(spool, clock, helo)
            await done.wait()
        finally:
            sys.setprofile(None)
        await until(lambda: not spool._leases.messages())
        return counted, spool.syncs - before


async def test_devices_without_storm_or_quiet_cost_nothing_more(tmp_path: Path) -> None:
    """No call, no transaction: as without devices, and as it is with the rules of nobody."""
    none = await cost(tmp_path / "a", (), "nas")
    plain = await cost(tmp_path / "b", (PLAIN,), "nas")
    assert (none, plain) == ((0, 2), (0, 2))


async def test_one_devices_storm_costs_the_others_nothing(tmp_path: Path) -> None:
    """Another device's mail needs no call and no transaction more; its own needs one."""
    devices = (Device("cam", helo=("cam",), storm=Storm(timedelta(minutes=10), 30)), PLAIN)
    assert await cost(tmp_path / "a", devices, "nas") == (0, 2)
    own = await cost(tmp_path / "b", (Device("cam", helo=("cam",), storm=Storm(timedelta(seconds=0), 30)),), "cam")
    assert own[1] == 3


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
