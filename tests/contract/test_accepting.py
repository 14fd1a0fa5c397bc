"""What any spool promises about accepting and looking."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.mail.envelope import Envelope, Origin
from relay.spool.contract import LeaseLost, SpoolFull
from relay.spool.entry import Action, Order, State, TrailLine
from tests.support.spooled import HOUR, an_entry, settled

LARGE = tuple(bytes([number]) * 100_000 for number in range(11))


async def test_an_entry_comes_back_as_it_was_committed(opened, clock):
    """Envelope, origin, content and trail survive closing and opening, field for field."""
    spool = await opened()
    entry = an_entry("a" * 14, clock(), to=("root", '"x y"@example.jp', "b@例え.jp"), message_id="<1@nas>")
    line = TrailLine(clock(), "accepted", "from the NAS", {"port": 25, "tls": None, "quirk": "音"})
    await spool.commit(entry, (line,))
    spool = await opened()
    stored = await spool.entry("a" * 14)
    assert stored.entry == entry
    assert b"".join(stored.entry.content) == b"".join(entry.content)
    assert stored.trail == (line,)
    assert [(r.address, r.state, r.attempts, r.due_at) for r in stored.recipients] == [
        (path, State.QUEUED, 0, clock()) for path in entry.envelope.forward_paths
    ]


async def test_an_entry_for_one_upstream_begins_with_that_order(opened, clock):
    """The claim has it, and so has the file, for the attempt after a restart."""
    spool = await opened()
    await spool.commit(replace(an_entry("a" * 14, clock()), via="phone"))
    assert [one.via for one in (await spool.claim(clock())).recipients] == ["phone"]
    spool = await opened()
    assert [one.via for one in (await spool.entry("a" * 14)).recipients] == ["phone"]


async def test_the_null_reverse_path_stays_null(spool, clock):
    """`<>` comes back as None, which is not an empty address."""
    entry = replace(an_entry("a" * 14, clock()), envelope=Envelope(None, an_entry("x", clock()).envelope.forward_paths))
    await spool.commit(entry)
    assert (await spool.entry("a" * 14)).entry.envelope.reverse_path is None


async def test_text_that_was_never_utf8_can_be_stored(spool, clock):
    """A HELO and a trail with raw octets (surrogates) do not keep a message out."""
    entry = replace(an_entry("a" * 14, clock()), origin=Origin("10.0.0.1", "nas\udc8f"), message_id="<\udcff@x>")
    await spool.commit(entry, (TrailLine(clock(), "accepted", "said \udc80"),))
    stored = await spool.entry("a" * 14)
    assert stored.entry.origin.helo == "nas\udc8f"
    assert stored.trail[0].text == "said \udc80"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 262_144, 262_145, 1_100_000])
async def test_content_of_any_size_is_kept_octet_for_octet(opened, clock, size):
    """Around the sizes of a block and of what counts as large nothing is lost; it can be read again and again."""
    content = bytes(range(251)) * (size // 251 + 1)
    spool = await opened()
    await spool.commit(an_entry("a" * 14, clock(), content=content[:size]))
    for _ in range(2):
        stored = await spool.entry("a" * 14)
        assert b"".join(stored.entry.content) == content[:size] == b"".join(stored.entry.content)
        spool = await opened()


async def test_content_may_be_read_in_another_thread(opened, clock):
    """A claim's content is iterated where the upstream's session runs, also in a worker thread."""
    spool = await opened()
    await spool.commit(an_entry("a" * 14, clock(), content=LARGE))
    claim = await spool.claim(clock())
    assert await asyncio.to_thread(lambda: b"".join(claim.entry.content)) == b"".join(LARGE)


async def test_content_that_goes_while_it_is_read_does_not_just_end(spool, clock):
    """A message removed in the middle of reading raises: half of it must never pass for the whole."""
    await spool.commit(an_entry("a" * 14, clock(), content=LARGE))
    reading = iter((await spool.claim(clock())).entry.content)
    next(reading)
    await spool.order(Order(Action.REMOVE, ("a" * 14,)), clock())
    with pytest.raises(LeaseLost):
        list(reading)


async def test_doubled_recipients_become_one(spool, clock):
    """Two spellings of one mailbox have one row and one fate."""
    await spool.commit(an_entry("a" * 14, clock(), to=("me@example.jp", "me@EXAMPLE.jp", "you@example.jp")))
    assert [str(r.address) for r in (await spool.entry("a" * 14)).recipients] == ["me@example.jp", "you@example.jp"]


@pytest.mark.parametrize("content", [b"x" * 99, LARGE])
async def test_an_entry_whose_size_is_wrong_is_refused_and_leaves_nothing(opened, clock, content):
    """Size and content must agree, or a reader could not tell the whole from a part."""
    spool = await opened()
    for size in (98, 400_000, 5_000_000):
        with pytest.raises(ValueError, match="size"):
            await spool.commit(an_entry("a" * 14, clock(), content=content, size=size))
    assert await spool.entries() == []
    assert (await spool.tally()).unfinished == 0


async def test_a_queue_id_is_used_once(spool, clock):
    """The second entry of one id is refused, the first stays."""
    await spool.commit(an_entry("a" * 14, clock(), content=b"first"))
    for content in (b"second", LARGE):
        with pytest.raises(ValueError, match="taken"):
            await spool.commit(an_entry("a" * 14, clock(), content=content))
    assert b"".join((await spool.entry("a" * 14)).entry.content) == b"first"


async def test_an_entry_without_recipients_is_refused(spool, clock):
    """Nobody could ever settle it."""
    with pytest.raises(ValueError, match="recipient"):
        await spool.commit(an_entry("a" * 14, clock(), to=()))


async def test_a_message_larger_than_the_room_is_refused(opened, clock):
    """With less than `keep_free` left the device is told to come back; a notice of our own may use the reserve."""
    spool = await opened(keep_free=1 << 62)
    assert spool.room() < 0
    for content in (b"small", LARGE):
        with pytest.raises(SpoolFull):
            await spool.commit(an_entry("a" * 14, clock(), content=content))
    assert await spool.entries() == []
    await spool.notify(an_entry("b" * 14, clock(), notice=True), ())
    assert (await spool.claim(clock())).entry.queue_id == "b" * 14


async def test_messages_that_arrive_together_are_all_kept(spool, clock):
    """Two hundred commits at once, some large, all return and all are there."""
    entries = [an_entry(f"m{n:013d}", clock(), content=LARGE if n % 50 == 0 else b"%d" % n) for n in range(200)]
    await asyncio.gather(*map(spool.commit, entries))
    stored = await spool.entries()
    assert {s.entry.queue_id for s in stored} == {e.queue_id for e in entries}
    for number in (0, 1, 199):
        content = (await spool.entry(f"m{number:013d}")).entry.content
        assert b"".join(content) == b"".join(entries[number].content)


async def test_one_bad_entry_does_not_cost_the_others(spool, clock):
    """Of messages that share a transaction only the one that cannot be stored is refused."""
    entries = [an_entry(f"m{n:013d}", clock()) for n in (1, 2, 2, 3)]
    results = await asyncio.gather(*map(spool.commit, entries), return_exceptions=True)
    assert [type(one) for one in results] == [type(None), type(None), ValueError, type(None)]
    assert len(await spool.entries()) == 3


async def test_a_cancelled_large_commit_leaves_nothing_in_the_file(spool, clock):
    """What was written of a message whose session went away is given back."""
    task = asyncio.create_task(spool.commit(an_entry("a" * 14, clock(), content=LARGE * 20)))
    while (await spool.tally()).size < 2_000_000 and not task.done():
        await asyncio.sleep(0)
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await spool.commit(an_entry("b" * 14, clock()))
    tally = await spool.tally()
    assert tally.unfinished == 1
    assert tally.size < 500_000


async def test_entries_are_listed_by_age_and_state(spool, clock):
    """Oldest first; a state picks messages with such a recipient; a limit keeps the oldest, or the newest."""
    for number in range(4):
        await spool.commit(an_entry(f"m{number:013d}", clock() - number * HOUR, to=("a@x.jp", "b@x.jp")))
    claim = await spool.claim(clock())
    assert claim.entry.queue_id == "m0000000000003"
    await spool.settle(claim, settled(claim.recipients[:1], State.FAILED))

    async def listed(*states: State, **how: object) -> list[int]:
        return [int(s.entry.queue_id[1:]) for s in await spool.entries(frozenset(states) or None, **how)]

    assert await listed() == [3, 2, 1, 0]
    assert await listed(State.FAILED) == [3]
    assert await listed(State.QUEUED) == [3, 2, 1, 0]
    assert await listed(State.HELD, State.RELAYED) == []
    assert await listed(limit=2) == [3, 2]
    assert await listed(limit=2, newest=True) == [1, 0]
    assert [len(s.recipients) for s in await spool.entries()] == [2, 2, 2, 2]


async def test_an_unknown_id_is_none(spool):
    """Looking for what is not there is no error."""
    assert await spool.entry("nothing0here00") is None


async def test_the_tally_counts(spool, clock):
    """Recipients by state, unfinished messages, the oldest of them, room and size."""
    assert (await spool.tally()).oldest is None
    await spool.commit(an_entry("a" * 14, clock() - HOUR, to=("a@x.jp", "b@x.jp")))
    await spool.commit(an_entry("b" * 14, clock()))
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients[:1], State.RELAYED))
    tally = await spool.tally()
    assert tally.states == {**dict.fromkeys(State, 0), State.QUEUED: 2, State.RELAYED: 1}
    assert (tally.unfinished, tally.oldest) == (2, clock() - HOUR)
    assert tally.room > 0 < tally.size
    await spool.settle(claim, settled(claim.recipients[1:], State.FAILED))
    tally = await spool.tally()
    assert (tally.unfinished, tally.oldest) == (1, clock())


async def test_what_is_over_is_forgotten_after_a_while(opened, clock):
    """Finished messages go after `keep_history`; waiting, held and untold ones stay."""
    spool = await opened(keep_history=timedelta(days=2))
    for name in "abc":
        await spool.commit(an_entry(name * 14, clock()))
    await spool.order(Order(Action.HOLD, ("c" * 14,)), clock())
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    clock.advance(hours=47)
    await spool.tidy(clock())
    assert len(await spool.entries()) == 3
    clock.advance(hours=2)
    await spool.tidy(clock())
    assert len(await spool.entries()) == 3, "a leased one is in somebody's hands"
    await spool.release(claim)
    await spool.tidy(clock())
    assert [s.entry.queue_id[0] for s in await spool.entries()] == ["b", "c"]


async def test_limits_change_while_it_is_open(opened, clock):
    """`keep_free`, the most it may hold and `keep_history` count from the moment on; the rest stays."""
    spool = await opened(keep_free=0, max_size=1_000_000_000)
    before = spool.room()
    spool.adjust(replace(spool._settings, keep_free=1_000_000, max_size=2_000_000_000))
    assert spool.room() - before == pytest.approx(999_000_000 if spool.shared else -1_000_000, abs=900_000)
    spool.adjust(replace(spool._settings, keep_free=10**15))
    with pytest.raises(SpoolFull):
        await spool.commit(an_entry("a" * 14, clock()))
    spool.adjust(replace(spool._settings, keep_free=0))
    await spool.commit(an_entry("b" * 14, clock()))
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.release(claim)
    spool.adjust(replace(spool._settings, keep_history=HOUR))
    await spool.tidy(clock.advance(hours=2))
    assert await spool.entries() == []
