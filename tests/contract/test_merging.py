"""What any spool promises about mail that is kept back and merged: one transaction, one digest, nothing lost."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.mail.device import Device, Storm
from relay.mail.reply import Fault
from relay.outbound.storms import Group, read
from relay.outbound.trail import words
from relay.spool import open_spool
from relay.spool.contract import LeaseLost, SpoolSettings
from relay.spool.entry import ORDERED, PASSED, Action, Order, Settlement, State, TrailLine
from relay.spool.move_spool import move
from relay.spool.storms import Merge, Weighed
from tests.support.spooled import HOUR, after, an_entry, settled
from tests.support.storming import DEFERS, TAKES, Night

M = timedelta(minutes=1)
BATCH = "0123456789abcdef"


async def waiting(spool, clock, name, *, due_at=None, to=("me@example.jp",)):
    """A message that waits for the digest BATCH."""
    line = TrailLine(clock(), "accepted", "", {"subject": f"Motion {name}"})
    await spool.commit(an_entry(name * 14, clock(), content=f"Subject: {name}\r\n\r\n".encode(), to=to), (line,))
    claim = await spool.claim(clock())
    after = tuple(replace(one, due_at=due_at or clock() + HOUR, fault=Fault.DIGEST) for one in claim.recipients)
    weighed = await spool.weigh(claim, "cam", lambda memory, storm: Weighed(memory + name, BATCH, Settlement(after)))
    assert weighed is not None and weighed.storm == BATCH
    await spool.release(claim)
    return claim


def merging(spool, clock, *names, digest="digest00000000", remember=lambda memory: memory + "!", to=("me@example.jp",)):
    entry = replace(an_entry(digest, clock(), content=b"Subject: 2 more\r\n\r\n", to=to), merges=len(names))
    line = TrailLine(clock(), "merged", details={"digest": digest})
    return Merge(entry, (TrailLine(clock(), "accepted"),), "cam", BATCH, tuple(name * 14 for name in names), line, remember)


async def test_what_is_weighed_is_stored_with_what_is_remembered(opened, clock):
    """After a restart too; the next claim knows what was decided, and memory is that of its device alone."""
    spool = await opened()
    await waiting(spool, clock, "a")
    spool = await opened()
    assert await spool.claim(clock()) is None
    claim = await spool.claim(clock() + HOUR)
    assert (claim.storm, claim.recipients[0].fault, claim.recipients[0].attempts) == (BATCH, Fault.DIGEST, 0)
    seen = []

    def weigh(memory, storm):
        seen.append((memory, storm))
        return Weighed("b", PASSED)

    await spool.weigh(claim, "cam", weigh)
    await spool.weigh(claim, "nas", weigh)
    assert seen == [("a", BATCH), ("", PASSED)]


async def test_messages_end_with_their_digest(opened, clock):
    """Merged with the digest's id, over, with a line in the trail; the digest is due like any message."""
    spool = await opened(keep_history=timedelta(days=14))
    for name in "ab":
        await waiting(spool, clock, name)
    parts = await spool.collected(BATCH)
    assert [(one.queue_id, one.subject) for one in parts] == [("a" * 14, "Motion a"), ("b" * 14, "Motion b")]
    assert (await spool.entry("a" * 14)).together == 2
    tally = await spool.tally()
    assert (tally.postponed, tally.unfinished, tally.oldest) == (2, 2, None)  # nobody is to be alarmed by its age
    await spool.order(Order(Action.HOLD, ("a" * 14,), by_hand=False), clock())
    assert (await spool.tally()).oldest == clock()
    await spool.order(Order(Action.RELEASE, ("a" * 14,), by_hand=False), clock())
    assert await spool.merge(merging(spool, clock, "a", "b"))
    spool = await opened(keep_history=timedelta(days=14))
    for name in "ab":
        stored = await spool.entry(name * 14)
        (one,) = stored.recipients
        assert (one.state, one.merged_into, stored.together) == (State.MERGED, "digest00000000", 0)
        assert [line.event for line in stored.trail] == ["accepted", "merged"]
        assert b"".join(stored.entry.content) == f"Subject: {name}\r\n\r\n".encode()
    claim = await spool.claim(clock())
    assert (claim.entry.queue_id, claim.entry.merges, claim.storm) == ("digest00000000", 2, "")
    await spool.release(claim)
    tally = await spool.tally()
    assert (tally.states[State.MERGED], tally.states[State.QUEUED], tally.states[State.RELAYED]) == (2, 1, 0)
    assert (tally.unfinished, tally.postponed) == (1, 0)
    lines = await spool.listed(frozenset({State.MERGED}), 10)
    assert [(line.queue_id, line.merged_into, line.merges) for line in lines] == [
        ("a" * 14, "digest00000000", 0),
        ("b" * 14, "digest00000000", 0),
    ]
    assert await spool.collected(BATCH) == []


async def test_what_waits_of_some_clients_is_told(spool, clock):
    """By digest and by reason; a message counts once, and what is held, merged or ordered to go does not wait on purpose."""
    due = clock() + 2 * M
    for name in "abcd":
        await waiting(spool, clock, name, due_at=due if name == "b" else None)
    await spool.commit(an_entry("e" * 14, clock(), to=("x@y.example", "z@y.example"), client="10.0.0.9"))
    claim = await spool.claim(clock())
    quiet = tuple(replace(one, due_at=clock() + HOUR, fault=Fault.QUIET) for one in claim.recipients)
    await spool.settle(claim, Settlement(quiet))
    await spool.release(claim)
    await spool.commit(an_entry("f" * 14, clock(), client="10.0.0.9"))  # due now, on no purpose
    await spool.order(Order(Action.HOLD, ("c" * 14,)), clock())
    await spool.order(Order(Action.RETRY, ("d" * 14,)), clock())
    usual = (await spool.entry("a" * 14)).entry.origin.client
    [one] = await spool.postponed([usual, "10.1.1.1"])
    assert (one.storm, one.fault, one.messages, one.due_at) == (BATCH, Fault.DIGEST, 2, due)
    assert (one.origin.client, one.queue_id) == (usual, "a" * 14)
    [other] = await spool.postponed(["10.0.0.9"])
    assert (other.storm, other.fault, other.messages, other.queue_id) == ("", Fault.QUIET, 1, "e" * 14)
    assert len(await spool.postponed([usual, "10.0.0.9"])) == 2
    assert await spool.merge(merging(spool, clock, "a", "b"))
    assert await spool.postponed([usual]) == await spool.postponed([]) == []


async def test_messages_that_do_not_wait_any_more_are_not_merged(spool, clock):
    """All or nothing: no digest tells of a message that goes by itself."""
    for name in "abc":
        await waiting(spool, clock, name)
    await spool.order(Order(Action.RELEASE, ("a" * 14,), by_hand=True), clock())
    await spool.order(Order(Action.HOLD, ("b" * 14,)), clock())
    assert not await spool.merge(merging(spool, clock, "b", "c"))
    assert await spool.entry("digest00000000") is None
    assert [one.queue_id for one in await spool.collected(BATCH)] == ["a" * 14, "c" * 14]
    await spool.order(Order(Action.RETRY, ("a" * 14,)), clock())
    assert [one.queue_id for one in await spool.collected(BATCH)] == ["c" * 14]
    assert await spool.merge(merging(spool, clock, "c"))
    assert not await spool.merge(merging(spool, clock, "c", digest="digest00000001"))


async def test_a_merge_that_is_said_twice_is_one(spool, clock):
    """Its answer was lost: the digest is there once."""
    for name in "ab":
        await waiting(spool, clock, name)
    what = merging(spool, clock, "a", "b")
    assert await spool.merge(what)
    remembered = []
    assert await spool.merge(replace(what, remember=lambda memory: remembered.append(memory) or memory))
    assert remembered == []
    assert [one.entry.queue_id for one in await spool.entries()] == ["a" * 14, "b" * 14, "digest00000000"]


async def test_a_merged_message_can_be_released_by_itself(spool, clock):
    """Named it goes, at any hour; an order for all leaves those that were merged where they are."""
    for name in "ab":
        await waiting(spool, clock, name)
    await spool.merge(merging(spool, clock, "a", "b"))
    assert await spool.order(Order(Action.RELEASE, None), clock()) == 0
    assert await spool.order(Order(Action.RELEASE, ("a" * 14,)), clock()) == 1
    claims = [await spool.claim(clock()) for _ in range(2)]
    (claim,) = [one for one in claims if not one.entry.merges]
    assert (claim.entry.queue_id, claim.storm, claim.recipients[0].merged_into) == ("a" * 14, ORDERED, "")
    assert b"".join(claim.entry.content) == b"Subject: a\r\n\r\n"


async def test_a_message_in_hand_is_merged_all_the_same(spool, clock):
    """Whoever holds it finds nothing left to decide, and nothing to send."""
    for name in "ab":
        await waiting(spool, clock, name)
    clock.advance(hours=1)
    claim = await spool.claim(clock())
    assert await spool.merge(merging(spool, clock, "a", "b"))
    asked = []
    assert await spool.weigh(claim, "cam", lambda memory, storm: asked.append(storm)) is None
    assert asked == []
    await spool.release(claim)
    claim = await spool.claim(clock())
    assert claim.entry.merges == 2
    assert await spool.claim(clock()) is None


async def test_a_lease_that_is_lost_decides_nothing(spool, clock):
    await spool.commit(an_entry("a" * 14, clock()))
    claim = await spool.claim(clock())
    await spool.order(Order(Action.REMOVE, ("a" * 14,)), clock())
    with pytest.raises(LeaseLost):
        await spool.weigh(claim, "cam", lambda memory, storm: Weighed("x", PASSED))


async def test_merged_messages_are_kept_for_the_history(opened, clock):
    spool = await opened(keep_history=timedelta(days=2))
    for name in "ab":
        await waiting(spool, clock, name)
    await spool.merge(merging(spool, clock, "a", "b"))
    clock.advance(days=1.9)
    await spool.tidy(clock())
    assert await spool.entry("a" * 14) is not None
    clock.advance(days=0.2)
    await spool.tidy(clock())
    assert await spool.entry("a" * 14) is not None  # nobody has taken the digest yet
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.release(claim)
    await spool.tidy(clock())
    assert await spool.entry("a" * 14) is None
    assert await spool.entry("digest00000000") is not None


PEOPLE = ("me@isp.example", "you@isp.example")


async def merged_in(opened, clock, *names, **settings):
    """Messages that are merged into a digest for two people, and the claim of the digest."""
    spool = await opened(**settings)
    for name in names:
        await waiting(spool, clock, name, to=PEOPLE)
    assert await spool.merge(merging(spool, clock, *names, to=PEOPLE))
    return spool, await spool.claim(clock())


async def fates(spool, name):
    return [(one.state, one.merged_into) for one in (await spool.entry(name * 14)).recipients]


@pytest.mark.parametrize(("state", "said"), [(State.FAILED, "refused for good"), (State.EXPIRED, "given up")])
async def test_messages_end_as_badly_as_their_digest(opened, clock, state, said):
    """Merged only for whom the digest reached; their content stays, an order for all leaves them, one by one they can go."""
    spool, claim = await merged_in(opened, clock, "a", "b")
    clock.advance(hours=1)
    mine, yours = claim.recipients
    await spool.settle(claim, Settlement((after(mine, State.RELAYED), after(yours, state))))
    await spool.release(claim)
    spool = await opened()
    for name in "ab":
        assert await fates(spool, name) == [(State.MERGED, "digest00000000"), (state, "digest00000000")]
        stored = await spool.entry(name * 14)
        assert b"".join(stored.entry.content) == f"Subject: {name}\r\n\r\n".encode()
        assert words(stored.trail[-1]) == f"you@isp.example: its digest digest00000000 was {said}"
    tally = await spool.tally()
    assert (tally.states[State.MERGED], tally.states[state], tally.unfinished) == (2, 3, 0)
    assert await spool.order(Order(Action.RELEASE, None), clock()) == 1  # the digest
    claim = await spool.claim(clock())
    assert claim.entry.merges == 2 and await spool.claim(clock()) is None
    assert await spool.order(Order(Action.RELEASE, ("a" * 14,)), clock()) == 1
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    assert await fates(spool, "a") == [(State.QUEUED, "")] * 2  # it goes by itself, whatever becomes of the digest
    assert await fates(spool, "b") == [(State.MERGED, "digest00000000")] * 2
    assert (await spool.entry("b" * 14)).trail[-1].event == "merged"


async def test_a_digest_that_fails_leaves_alone_what_was_released(opened, clock):
    spool, claim = await merged_in(opened, clock, "a", "b")
    await spool.order(Order(Action.RELEASE, ("a" * 14,)), clock())
    await spool.settle(claim, settled(claim.recipients, State.FAILED))
    assert await fates(spool, "a") == [(State.QUEUED, "")] * 2
    assert await fates(spool, "b") == [(State.FAILED, "digest00000000")] * 2


async def test_what_an_unsent_digest_stands_for_has_failed_when_it_is_removed(opened, clock):
    """Those to whom it went have it; the rest is neither lost nor told as delivered."""
    spool, claim = await merged_in(opened, clock, "a", "b")
    await spool.settle(claim, Settlement((after(claim.recipients[0], State.RELAYED),)))
    await spool.release(claim)
    assert await spool.order(Order(Action.REMOVE, ("digest00000000",)), clock()) == 1
    for name in "ab":
        assert await fates(spool, name) == [(State.MERGED, "digest00000000"), (State.FAILED, "digest00000000")]
        said = words((await spool.entry(name * 14)).trail[-1])
        assert said == "you@isp.example: its digest digest00000000 was removed by order"
    assert await spool.order(Order(Action.RELEASE, ("a" * 14,)), clock()) == 1


async def test_the_history_of_a_message_begins_when_its_digest_is_over(opened, clock):
    spool, claim = await merged_in(opened, clock, "a", keep_history=timedelta(days=2))
    clock.advance(days=5)
    await spool.settle(claim, settled(claim.recipients, State.EXPIRED))
    await spool.release(claim)
    clock.advance(days=1.9)
    await spool.tidy(clock())
    assert (await spool.pack("a" * 14)).kept
    clock.advance(days=0.2)
    await spool.tidy(clock())
    assert await spool.entry("a" * 14) is None


async def test_merged_messages_give_way_where_room_gets_short(spool, clock, cam, monkeypatch):
    """The oldest first, and no more than needed: they must not be why mail is refused."""
    night = Night(spool, clock, [cam])
    for number in range(110):
        await night.accept(f"Motion {number}")
    await night.end()
    await spool.tidy(clock())
    assert (await spool.tally()).states[State.MERGED] == 109
    left, size = spool._committer.left, (await night.stored(night.accepted[-1])).entry.size
    monkeypatch.setattr(spool._committer, "left", lambda: min(left(), 3 * 100 * size))
    await spool.tidy(clock())
    assert (await spool.tally()).states[State.MERGED] == 109  # the history has them all
    kept = [bool((await spool.pack(one)).kept) for one in night.accepted]
    assert kept == [False] * 51 + [True] * 59  # the first was relayed
    lost, whole = night.accepted[1], night.accepted[-1]
    assert words((await night.stored(lost)).trail[-1]).startswith("its content was dropped")
    assert await spool.order(Order(Action.RELEASE, (lost, whole)), clock()) == 1
    claim = await spool.claim(clock())
    assert claim.entry.queue_id == whole and b"Motion 109" in b"".join(claim.entry.content)


async def test_content_stays_until_everybody_has_the_digest(spool, clock, cam, monkeypatch):
    """However short room is: before that it is nowhere else."""
    night = Night(spool, clock, [cam])
    for number in range(5):
        await night.accept(f"Motion {number}")
    await night.work()
    night.answer = lambda recipient: DEFERS
    await night.until(clock() + HOUR)
    digest = (await night.stored(night.accepted[1])).recipients[0].merged_into
    assert digest
    monkeypatch.setattr(spool._committer, "left", lambda: 0)
    for state in (State.QUEUED, State.HELD):
        assert (await night.stored(digest)).recipients[0].state is state
        await spool.tidy(clock())
        assert (await spool.pack(night.accepted[1])).kept
        await spool.order(Order(Action.HOLD, (digest,)), clock())
    night.answer = lambda recipient: TAKES
    await spool.order(Order(Action.RELEASE, (digest,)), clock())
    await night.work()
    await spool.tidy(clock())
    assert not (await spool.pack(night.accepted[1])).kept


async def test_what_is_merged_stays_so_whatever_its_holder_settles(spool, clock):
    """Whoever has it in hand may find quiet hours, or a fault of ours: it must not go beside its digest."""
    for name in "ab":
        await waiting(spool, clock, name)
    clock.advance(hours=1)
    claim = await spool.claim(clock())
    assert await spool.merge(merging(spool, clock, "a", "b"))
    for state in (State.QUEUED, State.HELD):
        later = tuple(replace(one, state=state, due_at=clock() + HOUR) for one in claim.recipients)
        await spool.settle(claim, Settlement(later))
    await spool.release(claim)
    (recipient,) = (await spool.entry(claim.entry.queue_id)).recipients
    assert (recipient.state, recipient.merged_into) == (State.MERGED, "digest00000000")
    clock.advance(hours=2)
    assert (await spool.claim(clock())).entry.merges == 2
    assert await spool.claim(clock()) is None


async def test_memory_that_cannot_be_made_leaves_everything_as_it_was(spool, clock):
    for name in "ab":
        await waiting(spool, clock, name)

    def broken(memory):
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError):
        await spool.merge(merging(spool, clock, "a", "b", remember=broken))
    assert await spool.entry("digest00000000") is None
    assert len(await spool.collected(BATCH)) == 2


@pytest.mark.parametrize("together", [1, 20])
async def test_a_storm_in_the_spool(spool, clock, cam, together):
    """The first goes, the rest is one digest, however many are in hand at the same time."""
    night = Night(spool, clock, [cam])
    for number in range(20):
        await night.accept(f"Motion {number}")
    await night.work(together)
    assert len(night.sent) == 1
    await night.until(clock() + HOUR, together)
    assert [entry.merges for _, entry, _ in night.sent] == [0, 19]
    assert await night.accounted_for() == {"relayed": 1, "merged": 19}


async def test_the_digest_is_made_if_the_one_that_would_make_it_is_gone(spool, clock, cam):
    """Removed, or held by a person: the others make it a minute later, and only one of them."""
    night = Night(spool, clock, [cam])
    ids = [await night.accept(f"Motion {number}") for number in range(6)]
    await night.work()
    await spool.order(Order(Action.REMOVE, (ids[1],)), clock())
    await spool.order(Order(Action.HOLD, (ids[2],)), clock())
    await night.until(clock() + HOUR, together=6)
    assert [entry.merges for _, entry, _ in night.sent] == [0, 3]
    assert (await night.stored(ids[2])).recipients[0].state is State.HELD


async def test_a_message_moves_with_its_digest_to_another_spool(spool, clock, cam, tmp_path):
    """What waits for a digest waits for one there, and what was merged says into which."""
    night = Night(spool, clock, [cam])
    for number in range(4):
        await night.accept(f"Motion {number}")
    await night.until(clock() + 11 * M)
    for number in range(3):
        await night.accept(f"Motion {number}")
    await night.work()
    other = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/other.db", keep_free=0), now=clock)
    await move(spool, other, clock)
    night.over(other)
    await night.end()
    assert [entry.merges for _, entry, _ in night.sent][:2] == [0, 3]
    await night.accounted_for()
    await other.close()


async def test_two_that_decide_at_once_let_one_go(spool, clock, cam):
    """The device's row is locked: the second sees what the first decided."""
    night = Night(spool, clock, [cam])
    for number in range(10):
        await night.accept(f"Motion {number}")
    claims = [await spool.claim(clock()) for _ in range(10)]
    await asyncio.gather(*map(night.carry, claims))
    assert len(night.sent) == 1
    memory = []
    await night.accept("Other")
    claim = await spool.claim(clock())
    await spool.weigh(claim, "cam", lambda text, storm: memory.append(read(text)) or Weighed(text, PASSED))
    (group,) = memory[0].groups.values()
    assert isinstance(group, Group) and group.count == 9


@pytest.fixture
def cam():
    return Device("cam", helo=("cam",), storm=Storm(10 * M, 30))
