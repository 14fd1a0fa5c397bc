"""What any spool promises about an operator's orders."""

from dataclasses import replace

import pytest

from relay.spool.contract import LeaseLost
from relay.spool.entry import Action, NoticeKind, Order, Settlement, State
from tests.support.spooled import HOUR, a_notice, after, an_entry, settled

A, B = "a" * 14, "b" * 14


async def states(spool, queue_id):
    return [r.state for r in (await spool.entry(queue_id)).recipients]


@pytest.fixture
async def two(spool, clock):
    """A spool with two messages: A has a failed and a waiting recipient, B a waiting one."""
    await spool.commit(an_entry(A, clock(), to=("a@x.jp", "b@x.jp")))
    claim = await spool.claim(clock())
    failed = after(claim.recipients[0], State.FAILED)
    await spool.settle(claim, Settlement((failed, after(claim.recipients[1], State.QUEUED, due_at=clock() + HOUR))))
    await spool.release(claim)
    await spool.commit(an_entry(B, clock() + HOUR))
    return spool


async def test_retry_makes_queued_recipients_due_now(two, clock):
    """Only the waiting recipient of the message named is touched; its trail tells."""
    assert await two.order(Order(Action.RETRY, (A,)), clock()) == 1
    claim = await two.claim(clock())
    assert [(str(r.address), r.due_at) for r in claim.recipients] == [("b@x.jp", clock())]
    assert await two.claim(clock()) is None
    assert [line.event for line in (await two.entry(A)).trail] == ["woke"]


async def test_an_order_without_ids_is_for_all_it_can_apply_to(two, clock):
    """The number of messages is returned; orders that apply to nothing return 0."""
    assert await two.order(Order(Action.HOLD), clock()) == 2
    assert await states(two, A) == [State.FAILED, State.HELD]
    assert await two.order(Order(Action.HOLD), clock()) == 0
    assert await two.order(Order(Action.RETRY), clock()) == 0
    assert await two.claim(clock() + 2 * HOUR) is None
    assert await two.order(Order(Action.RELEASE, (B, B, "unknown0000000")), clock()) == 1
    assert (await two.claim(clock())).entry.queue_id == B


async def test_release_via_brings_back_what_failed(two, clock):
    """Held and failed recipients are queued again, by the upstream that was named; others keep their course."""
    assert await two.order(Order(Action.RELEASE, via="gmail"), clock()) == 1
    claim = await two.claim(clock())
    assert [(str(r.address), r.via, r.attempts) for r in claim.recipients] == [("a@x.jp", "gmail", 1)]
    assert b"".join(claim.entry.content).endswith(b"hello\r\n")
    assert (await two.entry(A)).recipients[1].via == ""
    line = (await two.entry(A)).trail[-1]
    assert (line.event, line.details) == ("released", {"via": "gmail"})
    assert (await two.tally()).unfinished == 2


async def test_release_as_routed_drops_an_earlier_order(two, clock):
    """What was sent by another upstream in vain goes by its routes again; trying again alone keeps the order."""
    await two.order(Order(Action.RELEASE, (A,), via="gmail"), clock())
    assert {r.via for r in (await two.entry(A)).recipients} == {"gmail"}
    await two.order(Order(Action.RETRY, (A,)), clock())
    assert {r.via for r in (await two.entry(A)).recipients} == {"gmail"}
    await two.order(Order(Action.HOLD, (A,)), clock())
    await two.order(Order(Action.RELEASE, (A,)), clock())
    assert {r.via for r in (await two.entry(A)).recipients} == {""}


async def test_remove_deletes_the_message_with_its_trail(two, clock):
    """Nothing of it is found any more; the other one stays."""
    assert await two.order(Order(Action.REMOVE, (A,)), clock()) == 1
    assert await two.entry(A) is None
    assert [s.entry.queue_id for s in await two.entries()] == [B]
    assert await two.order(Order(Action.REMOVE), clock()) == 1
    assert await two.entries() == []
    await two.commit(an_entry(A, clock()))


async def test_a_failure_is_told_even_if_its_message_is_removed(two, clock):
    """Pending failure notices stay; those of a delay go with the message."""
    claim = await two.claim(clock() + 2 * HOUR)
    kinds = (NoticeKind.DELAYED, NoticeKind.FAILED)
    notices = tuple(a_notice(A, claim.recipients[0], clock(), kind) for kind in kinds)
    await two.settle(claim, Settlement(notices=notices))
    await two.order(Order(Action.REMOVE, (A,)), clock())
    assert [n.kind for n in await two.pending_notices()] == [NoticeKind.FAILED]


async def test_removal_ends_the_lease(two, clock):
    """A settlement that comes after the removal meets LeaseLost and stores nothing; release does no harm."""
    claim = await two.claim(clock() + 2 * HOUR)
    await two.order(Order(Action.REMOVE, (A,)), clock())
    with pytest.raises(LeaseLost):
        await two.settle(claim, replace(settled(claim.recipients, State.RELAYED), sent="isp"))
    await two.release(claim)
    assert await two.sent_today(f"{clock():%Y-%m-%d}") == {}


@pytest.mark.parametrize(("learned", "stays"), [(State.QUEUED, State.HELD), (State.RELAYED, State.RELAYED)])
async def test_a_hold_during_an_attempt_keeps_what_the_attempt_learned(two, clock, learned, stays):
    """Put off again becomes held, with the words of the attempt; relayed is relayed."""
    claim = await two.claim(clock() + 2 * HOUR)
    assert await two.order(Order(Action.HOLD, (A,)), clock()) == 1
    await two.settle(claim, settled(claim.recipients, learned, due_at=clock(), said="greylisted"))
    await two.release(claim)
    recipient = (await two.entry(A)).recipients[1]
    assert (recipient.state, recipient.said, recipient.attempts) == (stays, "greylisted", 2)


async def test_a_release_via_during_an_attempt_outlives_its_settlement(two, clock):
    """The newer order stands when the attempt that did not know of it is put off."""
    await two.order(Order(Action.HOLD, (B,)), clock())
    claim = await two.claim(clock() + HOUR)
    assert claim.entry.queue_id == A
    await two.order(Order(Action.HOLD, (A,)), clock())
    await two.order(Order(Action.RELEASE, (A,), "gmail"), clock())
    await two.settle(claim, settled(claim.recipients, State.QUEUED, due_at=clock()))
    assert (await two.entry(A)).recipients[1].via == "gmail"


async def test_of_messages_due_together_the_one_accepted_first_goes_first(spool, clock):
    """An order to retry makes all due at one moment; their age decides, not the order of their commits."""
    for name, hours in ((B, 1), (A, 2)):
        await spool.commit(an_entry(name, clock() - hours * HOUR))
    await spool.order(Order(Action.RETRY), clock())
    assert [(await spool.claim(clock())).entry.queue_id for _ in range(2)] == [A, B]


@pytest.mark.parametrize(
    ("order", "attempts"),
    [
        (Order(Action.RETRY, (A,)), 0),
        (Order(Action.RETRY), 0),
        (Order(Action.RETRY, by_hand=False), 0),
        (Order(Action.RETRY, (A,), by_hand=False), 1),
    ],
)
async def test_who_orders_a_retry_starts_the_delays_anew(spool, clock, order, attempts):
    """By hand, and at a reload, the next delay is the shortest again; an upstream that wakes changes nothing of it."""
    await spool.commit(an_entry(A, clock()))
    claim = await spool.claim(clock())
    (row,) = claim.recipients
    await spool.settle(claim, Settlement(outcomes=(replace(row, attempts=1, due_at=clock() + HOUR),)))
    await spool.release(claim)
    assert await spool.order(order, clock()) == 1
    assert [one.attempts for one in (await spool.claim(clock())).recipients] == [attempts]
