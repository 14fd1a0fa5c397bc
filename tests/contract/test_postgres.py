"""The spool in PostgreSQL and its server: leases between relays, takeover, away and back."""

import asyncio
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.spool import open_spool
from relay.spool.contract import LeaseLost, SpoolAway, SpoolBroken, SpoolFull, SpoolSettings
from relay.spool.entry import Action, Order, Settlement, State
from tests.support.postgres import check_invariants
from tests.support.spooled import HOUR, an_entry, settled

A, B, C = "a" * 14, "b" * 14, "c" * 14
LARGE = tuple(bytes([number]) * 100_000 for number in range(11))


@pytest.fixture
def url(postgres_server):
    return postgres_server.database()


@pytest.fixture
async def relays(url, clock, tmp_path):
    """Makes relays that share one spool; `lease` in seconds."""
    made = []

    async def make(name: str, lease: float = 60, **settings):
        how = {"keep_free": 0, "name": name, "lease": timedelta(seconds=lease), **settings}
        made.append(await open_spool(SpoolSettings(url, **how), now=clock, home=tmp_path / name))
        return made[-1]

    yield make
    for spool in made:
        await spool.close()
    assert check_invariants(url) == []


def dies(spool) -> None:
    """As if the process were gone: no sign of life, and nothing is given back."""
    spool._node._watch.stop()


async def until_claimed(spool, clock, seconds=15):
    async with asyncio.timeout(seconds):
        while (claim := await spool.claim(clock())) is None:
            await spool.wait(clock() + timedelta(seconds=0.2))
            clock.advance(seconds=0.2)
    return claim


async def test_two_relays_never_have_one_message(relays, clock):
    """Both claim from the same queue at the same time; each message is in one hand, and the list tells whose."""
    one, two = await relays("one"), await relays("two")
    for number in range(60):
        await one.commit(an_entry(f"m{number:013d}", clock()))

    async def claims(spool):
        return [claim.entry.queue_id for _ in range(40) if (claim := await spool.claim(clock()))]

    ones, twos = await asyncio.gather(claims(one), claims(two))
    assert sorted(ones + twos) == [f"m{number:013d}" for number in range(60)]
    assert ones
    assert twos
    holders = {line.queue_id: line.relay for line in await two.listed(None, 100)}
    assert {holders[queue_id] for queue_id in ones} == {"one"}
    assert (await one.entry(twos[0])).relay == "two"
    assert {(peer.name, peer.alive, peer.holds) for peer in (await one.tally()).peers} == {
        ("one", True, len(ones)),
        ("two", True, len(twos)),
    }


async def test_work_is_heard_of_by_the_others(relays, clock):
    """A commit at one relay wakes the other that waits; so do an order and a release."""
    one, two = await relays("one"), await relays("two")
    assert await two.claim(clock()) is None
    waiting = asyncio.create_task(two.wait(clock() + 1000 * HOUR))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await one.commit(an_entry(A, clock()))
    async with asyncio.timeout(10):
        await waiting
    claim = await two.claim(clock())
    assert claim.entry.queue_id == A


@pytest.mark.parametrize("gone", [True, False], ids=["gone at once", "still there"])
async def test_a_guest_is_heard_of_too(relays, url, clock, gone):
    """What `relay spool move` brings wakes the relays that run, whether or not it has ended by then."""
    one = await relays("one")
    assert await one.claim(clock()) is None
    waiting = asyncio.create_task(one.wait(clock() + 1000 * HOUR))
    await asyncio.sleep(0.1)
    guest = await open_spool(SpoolSettings(url, keep_free=0), now=clock)
    await guest.commit(an_entry(A, clock()))
    if gone:
        await guest.close()
    async with asyncio.timeout(10):
        await waiting
    assert (await one.claim(clock())).entry.queue_id == A
    await guest.close()


async def test_who_dies_is_taken_over_when_its_lease_ends(relays, clock):
    """Not before; the trail says that nobody can know whether it was sent.  The old one notices before it settles."""
    dead, alive = await relays("dead", 1.5), await relays("alive", 1.5)
    await dead.commit(an_entry(A, clock(), content=LARGE))
    claim = await dead.claim(clock())
    dies(dead)
    assert await alive.claim(clock()) is None
    taken = await until_claimed(alive, clock)
    assert taken.entry.queue_id == A
    with pytest.raises(LeaseLost):
        list(claim.entry.content)
    with pytest.raises(LeaseLost, match="another relay took it over"):
        await dead.settle(claim, settled(claim.recipients, State.RELAYED))
    stored = await alive.entry(A)
    assert [one.state for one in stored.recipients] == [State.QUEUED]
    told = [line.text for line in stored.trail if line.event == "warned"]
    assert [text.startswith("uncertain: dead") for text in told] == [True, True]
    await alive.settle(taken, settled(taken.recipients, State.RELAYED))
    assert (await alive.tally()).states[State.RELAYED] == 1


@pytest.mark.parametrize("per_day", [None, 100])
async def test_who_may_have_taken_it_is_known_to_the_one_that_takes_over(relays, clock, per_day):
    """The one that was called last, and only for those it was called for; not once its answer is stored."""
    dead, alive = await relays("dead", 1.5), await relays("alive", 1.5)
    for queue_id in (A, B, C):
        await dead.commit(an_entry(queue_id, clock()))
    claims = {claim.entry.queue_id: claim for _ in range(3) if (claim := await dead.claim(clock()))}
    for queue_id in (A, B):
        for upstream in ("first", "isp"):
            assert await dead.turn(claims[queue_id], upstream, per_minute=None, per_day=per_day, now=clock()) is None
    later = replace(claims[B].recipients[0], attempts=1, due_at=clock() + HOUR, code=451)
    await dead.settle(claims[B], Settlement((later,)))
    dies(dead)
    clock.advance(hours=2)
    died = clock()
    taken = [await until_claimed(alive, clock) for _ in range(3)]
    found = {claim.entry.queue_id: claim.recipients[0].maybe_at for claim in taken}
    assert found == {A: "isp", B: "", C: ""}
    assert all((one.maybe_since or died) >= died for claim in taken for one in claim.recipients)


async def test_a_fate_that_comes_late_is_stored_while_nobody_has_taken_the_message_up(relays, clock):
    """A machine that slept: its lease has ended, but nobody has sent the message again."""
    slept, other = await relays("slept", 1.5), await relays("other", 1.5)
    await slept.commit(an_entry(A, clock()))
    claim = await slept.claim(clock())
    dies(slept)
    async with asyncio.timeout(20):
        while (await other.entry(A)).relay:
            await asyncio.sleep(0.1)
    await slept.settle(claim, settled(claim.recipients, State.RELAYED))
    assert (await other.entry(A)).recipients[0].state is State.RELAYED
    assert await other.claim(clock()) is None


async def test_a_lease_is_renewed_while_its_relay_lives(relays, clock):
    """A slow upstream may take longer than a lease."""
    slow, other = await relays("slow", 1.0), await relays("other", 1.0)
    await slow.commit(an_entry(A, clock(), content=LARGE))
    claim = await slow.claim(clock())
    await asyncio.sleep(2.5)
    assert await other.claim(clock()) is None
    assert len(b"".join(claim.entry.content)) == claim.entry.size
    await slow.settle(claim, settled(claim.recipients, State.RELAYED))


async def test_a_restart_takes_its_own_back_at_once(relays, clock, tmp_path):
    """The state directory knows who we are: nothing waits for the lease of our own former life."""
    first = await relays("office", 3600)
    await first.commit(an_entry(A, clock()))
    assert await first.claim(clock())
    dies(first)
    with pytest.raises(SpoolBroken, match="another relay uses this state directory"):
        await relays("office")
    import os

    os.close(first._node._lock)  # as the kernel does for a process that was killed
    first._node._lock = -1
    again = await relays("office", 3600)
    assert (await again.claim(clock())).entry.queue_id == A


async def test_removal_by_one_relay_ends_the_attempt_of_the_other(relays, clock):
    """What a person removes is not sent any more, wherever it was under way."""
    one, two = await relays("one"), await relays("two")
    await one.commit(an_entry(A, clock()))
    claim = await one.claim(clock())
    await two.order(Order(Action.REMOVE, (A,)), clock())
    async with asyncio.timeout(10):
        while one._leases.find(claim.lease):
            await asyncio.sleep(0.02)
    with pytest.raises(LeaseLost):
        list(claim.entry.content)


async def test_a_minute_and_a_day_are_shared(relays, clock):
    """`per_minute` and `per_day` hold for all relays together; who must wait has a time of its own, and keeps it."""
    one, two = await relays("one"), await relays("two")
    for number in range(8):
        await one.commit(an_entry(f"m{number:013d}", clock()))
    claims = [(spool, await spool.claim(clock())) for spool in (one,) * 8]
    claims = [(one if number % 2 else two, claim) for number, (_, claim) in enumerate(claims)]
    for _, claim in claims:  # both may speak for it here: whose lease it is does not matter for the counting
        two._leases.add(one._leases.find(claim.lease))

    async def turns(per_minute, per_day, upstream="isp", first=0):
        limits = {"per_minute": per_minute, "per_day": per_day, "now": clock()}
        return [await spool.turn(claim, upstream, **limits) for spool, claim in claims[first:]]

    first = await turns(3, None)
    minute = timedelta(minutes=1)
    assert first == [None] * 3 + [clock() + minute] * 3 + [clock() + 2 * minute] * 2
    clock.advance(minutes=1)
    second = await turns(3, None)
    assert second[3:6] == [None] * 3
    assert None not in second[:3] + second[6:]
    clock.advance(hours=1)
    await turns(2, None, "raised")
    assert await turns(5, None, "raised", 2) == [None] * 3 + [clock() + minute] * 3, "a limit that was raised counts at once"
    clock.advance(hours=1)
    midnight = datetime(clock().year, clock().month, clock().day, tzinfo=UTC) + timedelta(days=1)
    assert await turns(None, 5, "daily") == [None] * 5 + [midnight] * 3
    await one.settle(claims[0][1], settled(claims[0][1].recipients, State.FAILED))
    await one.release(claims[0][1])
    assert await two.turn(claims[6][1], "daily", per_minute=None, per_day=5, now=clock()) is None


async def test_a_server_that_is_away_is_no_wait(relays, clock, postgres_server):
    """Everything is refused at once; when it is back all goes on, and what was sent meanwhile is stored."""
    spool = await relays("office")
    await spool.commit(an_entry(A, clock()))
    claim = await spool.claim(clock())
    postgres_server.stop()
    try:
        with pytest.raises(SpoolAway):
            await spool.commit(an_entry(B, clock()))
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(SpoolAway):
                await spool.commit(an_entry(B, clock()))
        assert time.monotonic() - began < 2
        assert await spool.claim(clock()) is None
        assert spool.away
        assert (await spool.tally()).room == 0 or spool.away
        storing = asyncio.create_task(spool.settle(claim, settled(claim.recipients, State.RELAYED)))
        await asyncio.sleep(0.3)
        assert not storing.done()
    finally:
        postgres_server.go_on()
    async with asyncio.timeout(30):
        await storing
    assert (await spool.entry(A)).recipients[0].state is State.RELAYED
    await spool.commit(an_entry(B, clock()))
    assert not spool.away


async def test_a_server_that_says_nothing_counts_as_away(relays, clock, postgres_server):
    """A network that broke: nobody hangs up, and nobody answers.  The device hears of it after a while, then at once."""
    spool = await relays("office")
    await spool.commit(an_entry(A, clock()))
    postgres_server.freeze()
    try:
        storing = asyncio.create_task(spool.commit(an_entry(B, clock())))
        await asyncio.sleep(0.5)
        spool._connections.hang_up(0.1)
        async with asyncio.timeout(30):
            with pytest.raises(SpoolAway):
                await storing
        with pytest.raises(SpoolAway):
            await spool.commit(an_entry(B, clock()))
    finally:
        postgres_server.thaw()
    async with asyncio.timeout(40):
        while spool.away:
            await asyncio.sleep(0.1)
    assert {one.entry.queue_id for one in await spool.entries()} >= {A}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_what_was_promised_outlives_the_server(relays, clock, postgres_server, how):
    """Stopped or crashed: after the restart every message that commit returned for is there, with its octets."""
    spool = await relays("office")
    for name in (A, B):
        await spool.commit(an_entry(name, clock(), content=LARGE))
    postgres_server.stop(how)
    postgres_server.go_on()
    async with asyncio.timeout(30):
        while spool.away:
            await asyncio.sleep(0.02)
    assert {one.entry.queue_id for one in await spool.entries()} == {A, B}
    assert b"".join((await spool.entry(B)).entry.content) == b"".join(LARGE)
    await spool.commit(an_entry(C, clock()))  # a connection that died unnoticed costs nothing


async def test_a_relay_starts_while_the_server_is_away_and_a_visitor_does_not(postgres_server, url, clock, tmp_path):
    """Devices hear 451 instead of nothing; who only looks hears why at once."""
    postgres_server.stop()
    try:
        with pytest.raises(SpoolAway):
            await open_spool(SpoolSettings(url), now=clock)
        spool = await open_spool(SpoolSettings(url, keep_free=0), now=clock, home=tmp_path / "home")
        with pytest.raises(SpoolAway):
            await spool.commit(an_entry(A, clock()))
    finally:
        postgres_server.go_on()
    async with asyncio.timeout(30):
        while spool.away:
            await asyncio.sleep(0.05)
    await spool.commit(an_entry(A, clock()))
    assert (await spool.claim(clock())).entry.queue_id == A
    await spool.close()


async def test_the_fallback_takes_mail_and_gives_it_over_once(postgres_server, url, clock, tmp_path):
    """While the server is away mail waits here, through a restart too; then each message is there, and no more here."""
    settings = SpoolSettings(url, keep_free=0, name="office", fallback=f"sqlite:{tmp_path}/fallback.db")
    spool = await open_spool(settings, now=clock, home=tmp_path)
    await spool.commit(an_entry(A, clock()))
    postgres_server.stop()
    try:
        await spool.commit(an_entry(B, clock(), content=LARGE))
        assert not spool.away
        assert spool.absent
        assert spool.room() > 0
        assert (await spool.entry(B)).entry.size == 1_100_000
        assert await spool.claim(clock()) is None
        await spool.close()
        spool = await open_spool(settings, now=clock, home=tmp_path)
        await spool.commit(an_entry(C, clock()))
        await spool._here.commit(an_entry(A, clock()))  # as when the line died behind the COMMIT of A
    finally:
        postgres_server.go_on()
    async with asyncio.timeout(30):
        while len(await spool._here.entries()):
            await asyncio.sleep(0.05)
    stored = {one.entry.queue_id: one for one in await spool.entries(trail=True)}
    assert set(stored) == {A, B, C}
    assert [line.text for line in stored[B].trail] == ["taken by office while the database was away"]
    assert b"".join((await spool.entry(B)).entry.content) == b"".join(LARGE)
    await spool.close()
    assert check_invariants(url) == []


async def test_a_line_that_dies_behind_the_commit_does_not_double_it(relays, clock, monkeypatch):
    """The message is looked for before it is written again."""
    from relay.spool.postgres import write as keeping
    from relay.spool.postgres.connections import shut

    spool = await relays("office")
    real, calls = keeping.add_entry, []

    def added(db, *rest):
        calls.append(real(db, *rest))
        if len(calls) == 1:
            shut(db)
            db.execute("SELECT 1")
        return calls[-1]

    monkeypatch.setattr(keeping, "add_entry", added)
    await spool.commit(an_entry(A, clock()))
    assert len(calls) == 1
    assert [one.entry.queue_id for one in await spool.entries()] == [A]


async def test_no_more_is_taken_than_may_wait(relays, clock):
    """`max_size` bounds the whole queue, `keep_free` of it is for what devices do not send."""
    spool = await relays("office", max_size=1_000_000, keep_free=100_000)
    await spool.commit(an_entry(A, clock(), content=b"x" * 800_000))
    with pytest.raises(SpoolFull):
        await spool.commit(an_entry(B, clock(), content=b"x" * 200_000))
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.commit(an_entry(B, clock(), content=b"x" * 200_000))


async def test_a_moment_away_for_some_pauses_nothing(relays, clock):
    """One connection found the server away and the watch did not: what was settled and given back then is stored at once."""
    spool = await relays("office", 3600)
    for queue_id in (A, B, C):
        await spool.commit(an_entry(queue_id, clock()))
    first, second = await spool.claim(clock()), await spool.claim(clock())
    spool._connections.lose(OSError("one of many connections"))
    began = time.monotonic()
    settling = asyncio.create_task(spool.settle(first, settled(first.recipients, State.RELAYED)))
    await spool.release(second)
    async with asyncio.timeout(5):
        await settling
        await spool.release(first)
        found = set()
        while len(found) < 2:
            if claim := await spool.claim(clock()):
                found.add(claim.entry.queue_id)
            else:
                await spool.wait(clock())
                await asyncio.sleep(0.02)
    assert found == {B, C}
    assert time.monotonic() - began < 3
    assert await spool.claim(clock()) is None


async def test_what_was_claimed_without_knowing_is_free_again(relays, clock, monkeypatch):
    """The line died behind the COMMIT of a claim: those messages do not wait for the end of their lease."""
    from relay.spool.postgres import claims

    spool = await relays("office", 3600)
    await spool.commit(an_entry(A, clock()))
    keep = claims._claim
    monkeypatch.setattr(claims, "_claim", lambda *_: (_ for _ in ()).throw(SpoolBroken("the answer was lost")))
    assert await spool.claim(clock()) is None
    monkeypatch.setattr(claims, "_claim", keep)
    assert (await until_claimed(spool, clock)).entry.queue_id == A
