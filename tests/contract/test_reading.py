"""What people look at: pages of messages with their trails, a week by the hour, and who mailed last."""

from datetime import timedelta

import pytest

from relay.spool.contract import Spool
from relay.spool.entry import Action, Order, Settlement, State, TrailLine
from tests.support.spooled import after, an_entry
from tests.support.world import Clock

HOUR = timedelta(hours=1)


@pytest.fixture
async def five(spool: Spool, clock: Clock) -> Spool:
    """Five messages an hour apart; the third is held."""
    for number in range(5):
        now = clock()
        await spool.commit(
            an_entry(f"message{number}", now, client=f"10.0.0.{number % 2}"), (TrailLine(now, "accepted", str(number)),)
        )
        clock.advance(hours=1)
    await spool.order(Order(Action.HOLD, ("message2",)), clock())
    return spool


def ids(found: object) -> list[str]:
    return [one.entry.queue_id for one in found]  # type: ignore[attr-defined]


async def test_pages_follow_one_another(five: Spool) -> None:
    """`skip` goes on where the page before ended, from either end, and past the end there is nothing."""
    assert ids(await five.entries(limit=2, skip=2)) == ["message2", "message3"]
    assert ids(await five.entries(limit=2, skip=2, newest=True)) == ["message1", "message2"]
    assert ids(await five.entries(limit=2, skip=5)) == []
    assert ids(await five.entries(frozenset({State.QUEUED}), limit=2, skip=2)) == ["message3", "message4"]


async def test_mail_that_is_kept_is_counted_by_its_client(five: Spool, clock: Clock) -> None:
    """What is gone does not count, nor do notices of our own."""
    size = (await five.entries())[0].entry.size
    assert dict(await five.kept_by_client()) == {"10.0.0.0": 3 * size, "10.0.0.1": 2 * size}
    await five.order(Order(Action.REMOVE, ("message1", "message3", "message4")), clock())
    await five.notify(an_entry("notice", clock(), client="127.0.0.1", notice=True), ())
    assert dict(await five.kept_by_client()) == {"10.0.0.0": 2 * size}


async def test_a_list_goes_on_behind_a_line(five: Spool, clock: Clock) -> None:
    """Each recipient has a line; a page goes on behind the last line of the one before; states choose messages."""
    await five.commit(an_entry("message5", clock(), to=("a@x.jp", "b@x.jp")))
    queued, both = frozenset({State.QUEUED}), frozenset({State.QUEUED, State.HELD})

    async def walked(states: frozenset[State] | None, limit: int, skip: int = 0) -> list[tuple[str, str]]:
        found = page = await five.listed(states, limit, skip=skip)
        while page := await five.listed(states, limit, after=page[-1]):
            assert len({line.queue_id for line in page}) <= limit
            found += page
        return [(line.queue_id[-1], line.state) for line in found]

    everything = [("0", "queued"), ("1", "queued"), ("2", "held"), ("3", "queued"), ("4", "queued"), *[("5", "queued")] * 2]
    for limit in (1, 2, 3, 100):
        assert await walked(None, limit) == await walked(both, limit) == everything
        assert await walked(queued, limit) == [one for one in everything if one[1] == "queued"]
        assert await walked(frozenset({State.HELD}), limit) == [("2", "held")]
    assert await walked(None, 2, skip=4) == everything[4:]
    assert await five.listed(None, 10, skip=6) == await five.listed(frozenset({State.FAILED}), 10) == []


async def test_a_list_tells_what_the_entries_tell(five: Spool, clock: Clock) -> None:
    """The columns of a line are those of the stored message and its recipient."""
    claim = await five.claim(clock())
    assert claim is not None
    await five.settle(claim, Settlement(outcomes=(after(claim.recipients[0], State.FAILED),)))
    lines, stored = await five.listed(None, 10), await five.entries()
    for line, one in zip(lines, stored, strict=True):
        (row,), sender = one.recipients, one.entry.envelope.reverse_path
        assert (line.queue_id, line.accepted_at, line.size) == (one.entry.queue_id, one.entry.accepted_at, one.entry.size)
        assert (line.client, line.notice) == (one.entry.origin.client, one.entry.notice)
        assert (line.sender_local, line.sender_domain) == ((sender.local, sender.domain) if sender else (None, None))
        assert (line.local, line.domain, line.state) == (row.address.local, row.address.domain, row.state.value)
        told = (line.attempts, line.due_at, line.upstream, line.stage, line.code, line.status, line.said, line.via)
        assert told == (row.attempts, row.due_at, row.upstream, row.stage, row.code, row.status, row.said, row.via)
        known = (bool(line.lost), line.fault, line.peer, line.maybe_at, line.maybe_since)
        assert known == (row.lost, row.fault.value if row.fault else "", row.peer, row.maybe_at, row.maybe_since)
        assert line.relay == one.relay


async def test_an_id_is_found_by_its_beginning(five: Spool, clock: Clock) -> None:
    """One that has it alone, two of several, none; a whole id means itself even if others go on from it."""
    await five.commit(an_entry("message00", clock()))
    found = await five.beginning(["message3", "mess", "nobody", "message0", "message00"])
    assert found["message3"] == ("message3",)
    assert len(found["mess"]) == 2
    assert found["nobody"] == ()
    assert found["message0"] == ("message0",)
    assert found["message00"] == ("message00",)


async def test_trails_come_only_when_asked_for(five: Spool) -> None:
    """Each message gets its own lines, in order; a plain list has none."""
    assert [one.trail for one in await five.entries()] == [()] * 5
    told = [[line.text for line in one.trail][:1] for one in await five.entries(limit=2, skip=1, trail=True)]
    assert told == [["1"], ["2"]]


async def test_a_history_counts_what_happened_by_the_step(five: Spool, clock: Clock) -> None:
    """Lines are counted by event in the step that they fall into; what is older is left out."""
    start = clock() - 5 * HOUR
    claim = await five.claim(clock())
    assert claim is not None
    lines = (TrailLine(clock(), "deferred", "later"), TrailLine(clock(), "relayed", "done"))
    await five.settle(claim, Settlement(outcomes=(after(claim.recipients[0], State.RELAYED),), trail=lines))
    whole = await five.history(start, HOUR)
    begin = start.replace(minute=0, second=0, microsecond=0)
    assert [whole[begin + number * HOUR, "accepted"] for number in range(5)] == [1] * 5
    assert whole[begin + 5 * HOUR, "relayed"] == whole[begin + 5 * HOUR, "deferred"] == 1
    later = await five.history(start + 3 * HOUR, HOUR)
    assert sum(count for (_, event), count in later.items() if event == "accepted") == 2
    assert {at for at, _ in later} == {begin + number * HOUR for number in (3, 4, 5)}


async def test_an_empty_spool_has_no_history(spool: Spool, clock: Clock) -> None:
    """Nothing happened, nothing is counted, nobody mailed."""
    assert await spool.history(clock(), HOUR) == {}
    assert await spool.heard(clock() - HOUR) == []


async def test_who_mailed_is_known(five: Spool, clock: Clock) -> None:
    """How often, and when for the last time, whatever became of it; only since the time that is asked for."""
    found = {one.origin.client: (one.messages, one.last) for one in await five.heard(clock() - 100 * HOUR)}
    assert found["10.0.0.0"][1] == clock() - HOUR
    assert found["10.0.0.1"][1] == clock() - 2 * HOUR
    assert sum(messages for messages, _ in found.values()) == 5
    assert [one.origin.client for one in await five.heard(clock() - HOUR)] == ["10.0.0.0"]


async def test_lines_of_some_clients_are_found(five: Spool, clock: Clock) -> None:
    """Of the newest messages, of these events, each with its origin; no client, or none that mailed, has none."""
    claim = await five.claim(clock())
    assert claim
    lines = (TrailLine(clock(), "repaired", details={"repairs": ["added Date"]}), TrailLine(clock(), "routed"))
    await five.settle(claim, Settlement(trail=lines))
    found = await five.lines_of(["10.0.0.0", "10.9.9.9"], ["repaired"], 10)
    assert [(origin.client, line.details) for origin, line in found] == [("10.0.0.0", {"repairs": ["added Date"]})]
    accepted = await five.lines_of(["10.0.0.0", "10.0.0.1"], ["accepted"], 2)
    assert sorted(line.text for _, line in accepted) == ["3", "4"]
    assert await five.lines_of(["10.9.9.9"], ["repaired", "accepted"], 10) == []


async def test_a_list_names_the_device(five: Spool, clock: Clock) -> None:
    """By the name that it had when its mail was accepted."""
    line = TrailLine(clock(), "accepted", "", {"subject": "hi", "device": "Printer, hallway"})
    await five.commit(an_entry("message5", clock()), (line,))
    assert [one.device for one in await five.listed(None, 10)] == ["", "", "", "", "", "Printer, hallway"]
