"""What is certain is on disk before anybody else is told: transactions one by one, stops, doors and lanes.

spool (SQLite)  -->  Runner  -->  submit of the test, or Transports  -->  ScriptedUpstream
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay import events
from relay.mail.policy import RepairPolicy
from relay.mail.reply import Answer, Reply, Stage
from relay.outbound import housekeeping
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Route
from relay.outbound.runner import Runner
from relay.secret import Secret
from relay.spool.contract import SpoolAway
from relay.spool.entry import Action, Order, Settlement, State
from relay.upstream.report import Report
from relay.upstream.settings import DIRECT, DIRECT_UPSTREAM, Auth, Limits, Login
from tests.stations.test_runner import QUICK, running, upstream, utcnow
from tests.support.peers import free_port
from tests.support.sending import transports_by
from tests.support.upstream import HANG, ScriptedUpstream

TAKEN = Answer(Stage.CONTENT, Reply(250, "2.0.0", "taken"))


def taking(log=None):
    """A `submit` that takes everything at once and writes down for whom."""

    async def submit(upstream, outgoing):
        if log is not None:
            log.append([str(path) for path in outgoing.forward_paths])
        return Report(dict.fromkeys(outgoing.forward_paths, TAKEN))

    return submit


async def test_what_is_claimed_while_the_relay_stops_is_given_back(tmp_path):
    """stop() comes while the spool is handing out a message: nobody is told of it, and stop() returns after the loop."""
    told = []
    async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", 1)], submit=taking(told)) as world:
        claim, handing_out, go_on = world.spool.claim, asyncio.Event(), asyncio.Event()

        async def slow(now):
            found = await claim(now)
            if found is not None:
                handing_out.set()
                await go_on.wait()
            return found

        world.spool.claim = slow
        queue_id = await world.accept("x@y.example")
        await asyncio.wait_for(handing_out.wait(), 10)
        stop = asyncio.create_task(world.runner.stop(10))
        await asyncio.sleep(0.05)
        assert not stop.done()
        go_on.set()
        await asyncio.wait_for(stop, 10)
        world.spool.claim = claim
        stored = await world.spool.entry(queue_id)
        again = await claim(utcnow())
    assert told == []
    assert [each.state for each in stored.recipients] == [State.QUEUED]
    assert again is not None and again.entry.queue_id == queue_id


async def test_a_250_is_on_disk_before_the_next_transaction_begins(tmp_path):
    """One recipient for each transaction: while the second one hangs the spool knows that the first was relayed."""
    script = {"RCPT": lambda path: HANG if path.startswith("two@") else None}
    async with ScriptedUpstream(script=script) as isp:
        settings = upstream("isp", isp.port, timeout=30 * timedelta(seconds=1), limits=Limits(recipients=1))
        async with running(tmp_path, [Route(via=("isp",))], [settings]) as world:
            queue_id = await world.accept("one@b.example", "two@b.example")
            async with asyncio.timeout(10):
                while len(isp.transactions) < 2:
                    await asyncio.sleep(0.02)
            stored = await world.spool.entry(queue_id)
            states = {str(each.address): each.state for each in stored.recipients}
            assert states == {"one@b.example": State.RELAYED, "two@b.example": State.QUEUED}


async def test_recipients_within_the_limit_share_a_transaction(tmp_path):
    """Five recipients at three for each transaction are two transactions, and one attempt."""
    async with ScriptedUpstream() as isp:
        settings = upstream("isp", isp.port, limits=Limits(recipients=3))
        async with running(tmp_path, [Route(via=("isp",))], [settings]) as world:
            queue_id = await world.accept(*[f"{name}@b.example" for name in "abcde"])
            rows = await world.until(queue_id, State.RELAYED)
        assert [len(each.forward_paths) for each in isp.messages] == [3, 2]
    assert {row.attempts for row in rows.values()} == {1}


async def test_each_domain_of_direct_delivery_is_settled_on_its_own(tmp_path):
    """By `mx` a domain that answers is on disk while another one is silent; recipients of one domain go together."""
    told, silent = [], asyncio.Event()

    async def submit(upstream, outgoing):
        told.append([str(path) for path in outgoing.forward_paths])
        if outgoing.forward_paths[0].domain == "silent.example":
            silent.set()
            await asyncio.Event().wait()
        return Report(dict.fromkeys(outgoing.forward_paths, TAKEN))

    async with running(tmp_path, [Route(via=(DIRECT,))], [DIRECT_UPSTREAM], submit=submit) as world:
        queue_id = await world.accept("a@quick.example", "b@silent.example", "c@Quick.example")
        await asyncio.wait_for(silent.wait(), 10)
        stored = await world.spool.entry(queue_id)
        states = {str(each.address): each.state.value for each in stored.recipients}
        await world.runner.stop(0.1)
    assert told == [["a@quick.example", "c@Quick.example"], ["b@silent.example"]]
    assert states == {"a@quick.example": "relayed", "b@silent.example": "queued", "c@Quick.example": "relayed"}


async def test_a_silent_domain_does_not_block_direct_mail(tmp_path):
    """Thirty messages for a domain that never answers take its own places only; once it rests nobody calls it again."""
    calls, go_on = [], asyncio.Event()

    async def submit(upstream, outgoing):
        [path] = outgoing.forward_paths
        if path.domain == "silent.example":
            calls.append(path)
            await go_on.wait()
            refused = Answer(Stage.CONNECT, Reply(421, "4.4.1", "no answer"), lost=True)
            return Report({path: refused})
        return Report({path: TAKEN})

    retry = RetrySchedule(rest=(timedelta(hours=1),))
    async with running(tmp_path, [Route(via=(DIRECT,))], [DIRECT_UPSTREAM], submit=submit, retry=retry) as world:
        stuck = [await world.accept("x@silent.example") for _ in range(30)]
        async with asyncio.timeout(10):
            while len(calls) < DIRECT_UPSTREAM.limits.connections:
                await asyncio.sleep(0.02)
        await world.until(await world.accept("x@quick.example"), State.RELAYED, seconds=5)
        go_on.set()
        async with asyncio.timeout(10):
            while any([not (await world.spool.entry(each)).recipients[0].said for each in stuck]):
                await asyncio.sleep(0.02)
    assert len(calls) == DIRECT_UPSTREAM.limits.connections


@pytest.mark.parametrize("per_minute", [None, 30])
async def test_direct_mail_waits_for_a_database_that_is_away(tmp_path, per_minute):
    """The turn among several relays is asked for again after a second, not without end at once."""
    direct = replace(DIRECT_UPSTREAM, limits=replace(DIRECT_UPSTREAM.limits, per_minute=per_minute))
    asked = 0

    async def away_at_first(*_, **__):
        nonlocal asked
        asked += 1
        if asked == 1:
            raise SpoolAway("the database is away")

    async with running(tmp_path, [Route(via=(DIRECT,))], [direct], submit=taking()) as world:
        world.spool.turn = away_at_first
        queue_id = await world.accept("a@there.example")
        async with asyncio.timeout(10):
            while not asked:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert asked == 1
        await world.until(queue_id, State.RELAYED)
    assert asked == 2


async def test_a_door_is_open_when_the_first_is_in(tmp_path):
    """The first message at a new upstream is long: as soon as it is logged in the others go beside it."""
    held = []

    def first_hangs(argument):
        held.append(argument)
        return HANG if len(held) == 1 else None

    async with ScriptedUpstream(users={"taro": "secret"}, script={"MAIL": first_hangs}) as isp:
        login = Login(Auth.PLAIN, "taro", Secret("secret"))
        settings = upstream("isp", isp.port, timeout=30 * timedelta(seconds=1), login=login)
        async with running(tmp_path, [Route(via=("isp",))], [settings]) as world:
            for _ in range(5):
                await world.accept("x@y.example")
            async with asyncio.timeout(10):
                while len(isp.messages) < 4:
                    await asyncio.sleep(0.02)
        assert len(held) == 5


async def test_a_wrong_password_is_tried_by_one_alone(tmp_path):
    """Until somebody is logged in the password is tried by one message at a time."""
    async with ScriptedUpstream(users={"taro": "right"}, require_auth=True, delays={"AUTH": 0.2}) as isp:
        settings = upstream("isp", isp.port, login=Login(Auth.PLAIN, "taro", Secret("wrong")))
        retry = RetrySchedule(rest_login=timedelta(minutes=15))
        async with running(tmp_path, [Route(via=("isp",))], [settings], retry=retry) as world:
            ids = [await world.accept("x@y.example") for _ in range(10)]
            async with asyncio.timeout(10):
                while any([not (await world.spool.entry(each)).recipients[0].said for each in ids]):
                    await asyncio.sleep(0.02)
        assert len(isp.auths) == 1


async def test_waking_and_reloading_are_not_told_as_orders(tmp_path):
    """An upstream that wakes and a reload make mail due, but no trail says that somebody ordered it; by hand it does."""
    retry = RetrySchedule(delays=(timedelta(hours=1),), rest=(timedelta(hours=1),))
    isp = upstream("isp", free_port())
    async with running(tmp_path, [Route(via=("isp",))], [isp], retry=retry) as world:
        queue_id = await world.accept("x@y.example")

        async def attempts(number):
            async with asyncio.timeout(10):
                while sum(line.startswith("tried:") for line in await world.trail(queue_id)) < number:
                    await asyncio.sleep(0.02)

        await attempts(1)
        world.runner.wake()
        await attempts(2)
        same = {"routes": [Route(via=("isp",))], "upstreams": {"isp": isp}, "hostname": "relay.example"}
        world.runner.reload(**same, retry=retry, repair=RepairPolicy())
        await attempts(3)
        assert not any("order" in line for line in await world.trail(queue_id))
        await world.spool.order(Order(Action.RETRY, (queue_id,)), utcnow())
        assert any("ordered to be tried again" in line for line in await world.trail(queue_id))


async def test_all_mail_dated_into_the_far_future_is_healed(tmp_path, monkeypatch):
    """However many wait, each one that a broken clock dated is made due, not only the oldest."""
    monkeypatch.setattr(housekeeping, "_PAGE", 2)
    ahead = timedelta(days=400)
    told = []
    async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", free_port())], retry=QUICK) as world:
        await world.runner.stop(1)
        ids = [await world.accept("x@y.example") for _ in range(7)]
        while claim := await world.spool.claim(utcnow()):
            [row] = claim.recipients
            dated = replace(row, due_at=utcnow() + ahead, attempts=1, said="later")
            await world.spool.settle(claim, Settlement((dated,)))
            await world.spool.release(claim)
        healer = Runner(
            spool=world.spool,
            transports=transports_by(taking(told)),
            routes=[Route(via=("isp",))],
            upstreams={"isp": upstream("isp", 1)},
            retry=QUICK,
            repair=RepairPolicy(),
            hostname="relay.example",
            now=utcnow,
        )
        work = asyncio.create_task(healer.run())
        for queue_id in ids:
            await world.until(queue_id, State.RELAYED)
        await healer.stop(5)
        await work
    assert len(told) == 7


@pytest.fixture(autouse=True)
def quiet():
    events.configure("json", "error")


async def test_a_long_stall_is_no_error(tmp_path):
    """While what is due cannot be handed out for hours, the runner looks every two seconds, after a few quicker looks."""
    async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", 1)], submit=taking()) as world:
        await world.runner.stop(1)
        await world.accept("x@y.example")
        world.runner._stopping = False
        pauses = []

        async def doze(seconds):
            pauses.append(seconds)

        world.runner._doze = doze
        empty = 0
        for _ in range(2000):  # more than an hour
            empty = await world.runner._idle(empty)
    assert pauses[:8] == [0.01 * 2**number for number in range(8)]
    assert set(pauses[8:]) == {2.0}
    assert len(pauses) == 2000
