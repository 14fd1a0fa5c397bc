"""What any spool promises about claiming, settling and waiting."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.spool.contract import LeaseLost
from relay.spool.entry import NoticeKind, Settlement, State, TrailLine
from tests.support.spooled import HOUR, a_notice, after, an_entry, settled


async def commit(spool, clock, name, **how):
    await spool.commit(an_entry(name * 14, clock(), **how))


async def test_the_one_due_longest_is_claimed_first(spool, clock):
    """Claims come in the order of due_at, then of acceptance; one that is claimed is not claimed twice."""
    for name, hours in (("a", 0), ("b", 3), ("c", 2)):
        await spool.commit(an_entry(name * 14, clock() - hours * HOUR))
    claims = [await spool.claim(clock()) for _ in range(4)]
    assert [claim and claim.entry.queue_id[0] for claim in claims] == ["b", "c", "a", None]


async def test_a_claim_has_only_the_due_recipients(spool, clock):
    """Recipients put off till later are left out; the envelope names all."""
    await commit(spool, clock, "a", to=("a@x.jp", "b@x.jp", "c@x.jp"))
    claim = await spool.claim(clock())
    later = after(claim.recipients[0], State.QUEUED, due_at=clock() + HOUR)
    await spool.settle(claim, Settlement((later, after(claim.recipients[1], State.RELAYED))))
    await spool.release(claim)
    claim = await spool.claim(clock())
    assert [str(r.address) for r in claim.recipients] == ["c@x.jp"]
    assert len(claim.entry.envelope.forward_paths) == 3
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.release(claim)
    assert await spool.claim(clock()) is None
    assert await spool.next_due() == clock() + HOUR
    claim = await spool.claim(clock() + HOUR)
    assert claim.recipients == (later,)


async def test_a_claim_reads_the_whole_content(spool, clock):
    """What is handed out is what was accepted."""
    await commit(spool, clock, "a", content=b"octets")
    claim = await spool.claim(clock())
    assert b"".join(claim.entry.content) == b"octets" == b"".join(claim.entry.content)


async def test_a_settlement_is_stored_whole(opened, clock):
    """Rows, trail, notices, the day's count, a refused sender and the warning are there after a restart."""
    spool = await opened()
    await commit(spool, clock, "a", to=("a@x.jp", "b@x.jp"))
    claim = await spool.claim(clock())
    assert not claim.warned
    relayed = after(claim.recipients[0], State.RELAYED)
    waiting = after(claim.recipients[1], State.QUEUED, due_at=clock() + HOUR, said="try 音 later")
    line = TrailLine(clock(), "relayed", "250 ok", {"upstream": "isp"})
    notice = a_notice("a" * 14, waiting, clock(), NoticeKind.DELAYED)
    await spool.settle(claim, Settlement((relayed, waiting), (line,), (notice,), "isp", ("isp", "nas@lan"), warned=True))
    spool = await opened()
    stored = await spool.entry("a" * 14)
    assert stored.recipients == (relayed, waiting)
    assert stored.trail == (line,)
    (kept,) = await spool.pending_notices()
    assert kept.number > 0
    assert replace(kept, number=0) == notice
    assert await spool.sent_today(f"{clock():%Y-%m-%d}") == {"isp": 1}
    assert await spool.sent_today("2026-01-01") == {}
    assert await spool.refused_senders() == {("isp", "nas@lan")}
    assert (await spool.claim(clock() + HOUR)).warned


async def test_the_lease_stays_after_settling_and_ends_with_release(spool, clock):
    """Between the steps of an attempt nobody else gets the message."""
    await commit(spool, clock, "a", to=("a@x.jp", "b@x.jp"))
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients[:1], State.RELAYED))
    assert await spool.claim(clock()) is None
    assert await spool.next_due() is None
    await spool.settle(claim, settled(claim.recipients[1:], State.QUEUED))
    assert await spool.claim(clock()) is None
    await spool.release(claim)
    assert (await spool.claim(clock())).recipients[0].attempts == 1


async def test_a_lease_that_was_given_back_settles_nothing(spool, clock):
    """Old claims cannot speak for a message that may be in other hands."""
    await commit(spool, clock, "a")
    claim = await spool.claim(clock())
    await spool.release(claim)
    await spool.release(claim)
    with pytest.raises(LeaseLost):
        await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    assert (await spool.entry("a" * 14)).recipients[0].state is State.QUEUED


async def test_a_lease_does_not_outlive_the_process(opened, clock):
    """After a restart everything that was in hand may be claimed again."""
    spool = await opened()
    await commit(spool, clock, "a")
    assert await spool.claim(clock())
    spool = await opened()
    assert await spool.claim(clock())


async def test_a_claim_whose_caller_went_away_is_not_lost(spool, clock):
    """A cancelled claim gives its lease back by itself."""
    await commit(spool, clock, "a")
    task = asyncio.create_task(spool.claim(clock()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while (claim := await spool.claim(clock())) is None:
            await spool.wait(None)
    assert claim.entry.queue_id == "a" * 14


@pytest.mark.parametrize("last", [State.RELAYED, State.FAILED, State.EXPIRED, State.HELD])
async def test_content_stays_until_every_recipient_is_relayed(opened, clock, last):
    """Relayed to all: content goes at once.  Failed, expired or held: it stays, for a release."""
    spool = await opened()
    await commit(spool, clock, "a", to=("a@x.jp", "b@x.jp"), content=b"octets")
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients[:1], State.RELAYED))
    assert b"".join(claim.entry.content) == b"octets"
    await spool.settle(claim, settled(claim.recipients[1:], last))
    for _ in range(2):
        stored = await spool.entry("a" * 14)
        if last is State.RELAYED:
            with pytest.raises(LeaseLost):
                list(stored.entry.content)
        else:
            assert b"".join(stored.entry.content) == b"octets"
        spool = await opened()


async def test_an_outcome_for_a_stranger_is_refused_whole(spool, clock):
    """One recipient that the message does not have spoils its settlement, and nothing of it is stored."""
    await commit(spool, clock, "a")
    await commit(spool, clock, "b", to=("else@x.jp",))
    one, other = await spool.claim(clock()), await spool.claim(clock())
    with pytest.raises(ValueError, match="no recipient"):
        await spool.settle(one, Settlement((*settled(one.recipients, State.RELAYED).outcomes, other.recipients[0]), sent="isp"))
    assert (await spool.entry("a" * 14)).recipients == one.recipients
    assert await spool.sent_today(f"{clock():%Y-%m-%d}") == {}


async def test_sent_messages_are_counted_per_upstream_and_utc_day(spool, clock):
    """The quota's day ends at midnight UTC."""
    for name in "abc":
        await commit(spool, clock, name)
        claim = await spool.claim(clock())
        await spool.settle(claim, replace(settled(claim.recipients, State.RELAYED), sent="gmail" if name == "c" else "isp"))
        if name == "a":
            first = f"{clock():%Y-%m-%d}"
            clock.advance(days=1)
    assert await spool.sent_today(first) == {"isp": 1}
    assert await spool.sent_today(f"{clock():%Y-%m-%d}") == {"isp": 1, "gmail": 1}


async def test_a_refused_sender_is_forgotten_after_thirty_days(spool, clock):
    """A right that was missing may have been given meanwhile; a new refusal renews the memory."""
    await commit(spool, clock, "a")
    claim = await spool.claim(clock())
    await spool.settle(claim, Settlement(refused_sender=("isp", "nas@lan")))
    clock.advance(days=29)
    assert await spool.refused_senders() == {("isp", "nas@lan")}
    await spool.settle(claim, Settlement(refused_sender=("isp", "nas@lan")))
    clock.advance(days=29)
    assert await spool.refused_senders() == {("isp", "nas@lan")}
    clock.advance(days=2)
    assert await spool.refused_senders() == frozenset()


@pytest.mark.parametrize(
    ("second", "repeated"),
    [
        ({"content": b"other"}, True),
        ({"content": b"first"}, False),
        ({"content": b"other", "message_id": "<2@nas>"}, False),
        ({"content": b"other", "client": "192.168.0.8"}, False),
        ({"content": b"other", "to": ("you@example.jp",)}, False),
        ({"content": b"other", "to": ("you@example.jp", "me@EXAMPLE.jp")}, True),
    ],
)
async def test_a_message_id_used_before_for_other_content_is_told(spool, clock, second, repeated):
    """The same device, non-empty id and recipient with another content make a repetition; the first is none."""
    await commit(spool, clock, "a", message_id="<1@nas>", content=b"first")
    await commit(spool, clock, "b", **{"message_id": "<1@nas>", **second})
    assert not (await spool.claim(clock())).repeated_id
    assert (await spool.claim(clock())).repeated_id is repeated


async def test_messages_without_an_id_are_no_repetition(spool, clock):
    """Devices that give no Message-ID at all are not accused of repeating it."""
    await commit(spool, clock, "a", content=b"first")
    await commit(spool, clock, "b", content=b"other")
    assert not (await spool.claim(clock())).repeated_id
    assert not (await spool.claim(clock())).repeated_id


async def test_a_notice_strikes_off_what_it_tells(opened, clock):
    """Queuing the notice and striking off the pending ones is one step; the messages told of get the trail line."""
    spool = await opened()
    await commit(spool, clock, "a", to=("a@x.jp", "b@x.jp"))
    claim = await spool.claim(clock())
    failed = settled(claim.recipients, State.FAILED)
    notices = tuple(a_notice("a" * 14, one, clock()) for one in failed.outcomes)
    await spool.settle(claim, replace(failed, notices=notices))
    first, second = await spool.pending_notices()
    lines = (TrailLine(clock(), "noticed", "told the boss"), TrailLine(clock(), "accepted", "a notice of our own"))
    await spool.notify(an_entry("n" * 14, clock(), notice=True), (first.number,), lines)
    assert await spool.pending_notices() == [second]
    assert (await spool.entry("a" * 14)).trail == lines[:1]
    assert (await spool.entry("n" * 14)).trail == lines[1:]
    told = await spool.claim(clock())
    assert told.entry.notice
    await spool.notify(None, (second.number,))
    spool = await opened()
    assert await spool.pending_notices() == []
    assert (await spool.entry("n" * 14)) is not None


async def test_a_notice_that_cannot_be_stored_strikes_nothing_off(spool, clock):
    """Exactly one notice for a failure: if it is not queued, the failure is still to be told."""
    await commit(spool, clock, "a")
    claim = await spool.claim(clock())
    failed = settled(claim.recipients, State.FAILED)
    await spool.settle(claim, replace(failed, notices=(a_notice("a" * 14, failed.outcomes[0], clock()),)))
    (pending,) = await spool.pending_notices()
    with pytest.raises(ValueError, match="taken"):
        await spool.notify(an_entry("a" * 14, clock(), notice=True), (pending.number,))
    assert await spool.pending_notices() == [pending]


async def test_waiting_ends_when_work_arrives(spool, clock):
    """A commit, a release and an order wake who waits, also when they come between claim and wait."""
    assert await spool.claim(clock()) is None
    await commit(spool, clock, "a")
    async with asyncio.timeout(5):
        await spool.wait(None)
    claim = await spool.claim(clock())
    assert await spool.claim(clock()) is None
    waiting = asyncio.create_task(spool.wait(clock() + 1000 * HOUR))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await spool.release(claim)
    async with asyncio.timeout(5):
        await waiting
    assert await spool.claim(clock())


async def test_waiting_ends_at_the_time_given(opened, clock):
    """`until` in the past returns at once; a moment ahead returns when it has come."""
    spool = await opened()
    assert await spool.claim(clock()) is None
    async with asyncio.timeout(5):
        await spool.wait(clock() - HOUR)
        await spool.wait(clock())
    begun = time.monotonic()
    waiting = asyncio.create_task(spool.wait(clock() + timedelta(seconds=0.1)))
    await asyncio.sleep(0.05)
    clock.advance(seconds=1)
    async with asyncio.timeout(5):
        await waiting
    assert time.monotonic() - begun > 0.09
