"""What a person searches for among the messages of a spool: every spool finds the same, page by page, and counts it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.control import queue_admin
from relay.control.queue_admin import BadOrder, QueueAdmin
from relay.control.searching import understood
from relay.spool.contract import Spool
from relay.spool.entry import ORDERED, Action, Order, QueueLine, Settlement, State, TrailLine
from relay.spool.search import PageKey, Search
from tests.support.spooled import after, an_entry
from tests.support.world import Clock

MAIL = (
    ("mail0000000000", ("anna@example.jp",), "Backup of disk 1", "Cellar NAS", "10.0.0.1"),
    ("mail0000000001", ("bob@example.jp", "Carla@Example.JP"), "=?utf-8?B?5YGc6Zu744GX44G+44GX44Gf?=", "", "10.0.0.2"),
    ("mail0000000002", ("anna@example.jp",), "=?iso-8859-1?Q?STRASSE_gepr=FCft_100%_a=5Fb?=", "Printer", "10.0.0.3"),
    ("mail0000000003", tuple(f"recipient{number:03}@many.example" for number in range(60)), "to all", "", "10.0.0.1"),
    ("mail0000000004", ("anna@example.jp",), "", "", "10.0.0.9"),
)


@pytest.fixture
async def five(spool: Spool, clock: Clock) -> Spool:
    """Five messages an hour apart; the first has failed, the second is held."""
    for queue_id, to, subject, device, client in MAIL:
        details = {"subject": subject, "helo": f"helo-{client}", **({"device": device} if device else {})}
        await spool.commit(an_entry(queue_id, clock(), to=to, client=client), (TrailLine(clock(), "accepted", "", details),))
        clock.advance(hours=1)
    claim = await spool.claim(clock())
    assert claim is not None
    await spool.settle(
        claim, Settlement(outcomes=(after(claim.recipients[0], State.FAILED, said="No Such User here"),), attention=True)
    )
    await spool.release(claim)
    await spool.order(Order(Action.HOLD, ("mail0000000001",)), clock())
    return spool


def numbers(lines: list[QueueLine]) -> list[int]:
    return [int(one) for one in dict.fromkeys(line.queue_id[-1] for line in lines)]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (Search(), [0, 1, 2, 3, 4]),
        (Search(address="ANNA@"), [0, 2, 4]),
        (Search(address="carla@example.jp"), [1]),
        (Search(address="nas lan.local"), [0, 1, 2, 3, 4]),
        (Search(address="recipient059"), [3]),
        (Search(address="recipient060"), []),
        (Search(subject="DISK backup"), [0]),
        (Search(subject="停電"), [1]),
        (Search(subject="straße GEPRÜFT"), [2]),
        (Search(subject="100%"), [2]),
        (Search(subject="%"), [2]),
        (Search(subject="a_b"), [2]),
        (Search(subject="acb"), []),
        (Search(subject="'; DROP TABLE message; --"), []),
        (Search(subject="\0"), []),
        (Search(subject="\\"), []),
        (Search(device="cellar"), [0]),
        (Search(device="10.0.0.1"), [0, 3]),
        (Search(device="helo-10.0.0.9"), [4]),
        (Search(said="no such user"), [0]),
        (Search(said="2.0.0 NO SUCH"), [0]),
        (Search(said="no such thing"), []),
        (Search(said="250 user"), [0]),
        (Search(said="2.0.0"), [0]),
        (Search(said="u_er"), []),
        (Search(said="%"), []),
        (Search(said="\\"), []),
        (Search(attention=True), [0]),
        (Search(anything="anna"), [0, 2, 4]),
        (Search(anything="anna printer"), [2]),
        (Search(anything="anna backup"), [0]),
        (Search(anything="mail0000000003"), [3]),
        (Search(anything="mail00000000"), [0, 1, 2, 3, 4]),
        (Search(anything="recipient042"), [3]),
        (Search(address="anna", subject="disk", device="nas", said="user", attention=True), [0]),
        (Search(address="anna", said="user", device="printer"), []),
    ],
    ids=str,
)
async def test_what_is_searched_for_is_found(five: Spool, search: Search, found: list[int]) -> None:
    """By each thing alone and together; in both directions; the count is that of the list."""
    assert numbers(await five.listed(None, 100, search=search)) == found
    assert numbers(await five.listed(None, 100, search=search, newest=True)) == found[::-1]
    assert await five.counted(None, search, frozenset(State)) == (len(found), len(found))


async def test_a_search_begins_and_ends_at_an_hour(five: Spool, clock: Clock) -> None:
    """From an hour on, before another one."""
    start = clock() - timedelta(hours=5)
    search = Search(since=start + timedelta(hours=1), until=start + timedelta(hours=3))
    assert numbers(await five.listed(None, 100, search=search)) == [1, 2]
    assert await five.counted(None, search) == (2, 0)


async def test_states_narrow_a_search(five: Spool) -> None:
    """With a recipient in one of them; counted by a second set too: those that an order is for."""
    for states, found in (
        ({State.QUEUED}, [2, 3, 4]),
        ({State.HELD}, [1]),
        ({State.QUEUED, State.HELD}, [1, 2, 3, 4]),
        ({State.FAILED, State.EXPIRED}, [0]),
        ({State.FAILED, State.QUEUED}, [0, 2, 3, 4]),
        ({State.RELAYED}, []),
    ):
        some = frozenset(states)
        assert numbers(await five.listed(some, 100, newest=True)) == found[::-1]
        assert numbers(await five.listed(some, 100, search=Search(anything="example"))) == found
        assert await five.counted(some, Search()) == (len(found), 0)
    either, failed = frozenset({State.FAILED, State.QUEUED}), frozenset({State.FAILED})
    assert await five.counted(either, Search(address="anna"), failed) == (3, 1)
    assert await five.counted(None, Search(), either) == (5, 4)


async def test_pages_go_on_behind_a_place(five: Spool) -> None:
    """Whatever was removed meanwhile: a place needs no message to be there."""
    first = await five.listed(None, 2, newest=True)
    assert numbers(first) == [4, 3]
    place = PageKey.read(str(PageKey(first[-1].accepted_at, first[-1].message)))
    assert place == (first[-1].accepted_at, first[-1].message)
    await five.order(Order(Action.REMOVE, (first[-1].queue_id,)), first[-1].accepted_at)
    assert numbers(await five.listed(None, 2, after=place, newest=True)) == [2, 1]
    assert numbers(await five.listed(None, 2, after=place)) == [4]
    assert numbers(await five.listed(None, 9, after=place, newest=True, search=Search(address="anna"))) == [2, 0]


async def test_a_line_is_added_to_a_trail(five: Spool, clock: Clock) -> None:
    """To the end of the message's own; a message that is gone has none."""
    line = TrailLine(clock(), "looked", "looked at by somebody", {"how": "page"})
    assert await five.tell("mail0000000002", line)
    assert not await five.tell("nosuchmessage0", line)
    stored = await five.entry("mail0000000002")
    assert stored is not None
    assert stored.trail[-1] == line


async def test_an_order_for_all_that_match_has_a_bound(five: Spool, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many messages at most, and that there are more is said; the next order goes on."""
    woken: list[bool] = []
    desk = QueueAdmin(five, clock, lambda: frozenset({"isp"}), woken.append)
    monkeypatch.setattr(queue_admin, "MOST_MATCHED", 2)
    monkeypatch.setattr(queue_admin, "PAGE", 2)
    waiting = understood([("state", "queued")])
    assert (await desk.counted(waiting), await desk.matching(waiting, "hold")) == (3, (3, 3))
    assert await desk.order_matching("hold", waiting) == {"applied": 2, "unknown": [], "more": True}
    assert await desk.order_matching("hold", waiting) == {"applied": 1, "unknown": [], "more": False}
    assert await desk.order_matching("hold", waiting) == {"applied": 0, "unknown": [], "more": False}
    assert woken == []


async def test_an_order_is_for_those_it_fits(five: Spool, clock: Clock) -> None:
    """Of what matches only what it applies to; acknowledging is for failures that nobody could be told of."""
    woken: list[bool] = []
    desk = QueueAdmin(five, clock, lambda: frozenset({"isp"}), woken.append)
    everything = understood([])
    fitting = [await desk.matching(everything, one) for one in ("retry", "hold", "release", "remove", "acknowledge")]
    assert fitting == [(5, 3), (5, 3), (5, 2), (5, 5), (5, 1)]
    assert await desk.matching(everything, "release", "isp") == (5, 5)
    assert (await desk.order_matching("acknowledge", everything))["applied"] == 1
    assert await desk.matching(everything, "acknowledge") == (5, 0)
    assert (await desk.order_matching("release", understood([("address", "anna")])))["applied"] == 1
    assert woken == [False]
    for action, via in (("explode", ""), ("release", "nobody"), ("hold", "isp")):
        with pytest.raises(BadOrder):
            await desk.order_matching(action, everything, via)


async def end(spool: Spool, clock: Clock, *states: State) -> None:
    """The next message's recipients are settled so; merged ones in a digest."""
    claim = await spool.claim(clock())
    assert claim is not None
    outcomes = [after(one, state) for one, state in zip(claim.recipients, states, strict=True)]
    parts = [replace(one, merged_into="digest00000000" if one.state is State.MERGED else "") for one in outcomes]
    await spool.settle(claim, Settlement(outcomes=tuple(parts)))
    await spool.release(claim)


async def states_of(spool: Spool, queue_id: str) -> list[State]:
    stored = await spool.entry(queue_id)
    return [one.state for one in stored.recipients] if stored else []


async def test_what_was_merged_is_not_sent_beside_its_digest(spool: Spool, clock: Clock) -> None:
    """A release of what was found leaves alone who gets it, or was to get it, in a digest; the count says the same."""
    desk = QueueAdmin(spool, clock, lambda: frozenset({"isp"}), lambda _: None)
    to = ("anna@example.jp", "bob@example.jp")
    await spool.commit(an_entry("mixed000000000", clock(), to=to), ())
    await end(spool, clock, State.MERGED, State.FAILED)
    await spool.commit(an_entry("part0000000000", clock()), ())
    claim = await spool.claim(clock())
    assert claim is not None
    part = replace(after(claim.recipients[0], State.FAILED), merged_into="digest00000000")
    await spool.settle(claim, Settlement(outcomes=(part,)))
    await spool.release(claim)
    failed = understood([("state", "failed")])
    for via in ("", "isp"):
        assert await desk.matching(failed, "release", via) == (2, 1)
    assert (await desk.order_matching("release", failed))["applied"] == 1
    assert await states_of(spool, "mixed000000000") == [State.MERGED, State.QUEUED]
    assert await states_of(spool, "part0000000000") == [State.FAILED]
    merged = understood([("state", "merged")])
    assert await desk.matching(merged, "release") == (1, 1)
    assert (await desk.order_matching("release", merged))["applied"] == 1  # asked for on purpose
    assert await states_of(spool, "mixed000000000") == [State.QUEUED, State.QUEUED]


async def test_a_retry_of_what_was_found_keeps_quiet_hours(spool: Spool, clock: Clock) -> None:
    """Only messages that a person named go at any hour."""
    desk = QueueAdmin(spool, clock, frozenset, lambda _: None)
    await spool.commit(an_entry("mail0000000000", clock()), ())
    assert (await desk.order_matching("retry", understood([])))["applied"] == 1
    claim = await spool.claim(clock())
    assert claim is not None
    assert claim.storm == ""
    await spool.release(claim)
    await desk.order("retry", ["mail0000000000"])
    claim = await spool.claim(clock())
    assert claim is not None
    assert claim.storm == ORDERED
    await spool.release(claim)


async def test_what_waits_and_was_not_searched_for_is_left_alone(spool: Spool, clock: Clock) -> None:
    """A message that still waits for another recipient is not removed, and its queued recipients keep their upstream."""
    desk = QueueAdmin(spool, clock, lambda: frozenset({"isp"}), lambda _: None)
    for number, states in enumerate(
        (
            (State.RELAYED, State.QUEUED),
            (State.RELAYED, State.HELD),
            (State.RELAYED, State.FAILED),
            (State.FAILED, State.QUEUED),
        )
    ):
        await spool.commit(an_entry(f"mail000000000{number}", clock(), to=("anna@example.jp", "bob@example.jp")), ())
        claim = await spool.claim(clock())
        assert claim is not None
        later = clock() + timedelta(hours=1)
        outcomes = [after(one, state, due_at=later) for one, state in zip(claim.recipients, states, strict=True)]
        await spool.settle(claim, Settlement(outcomes=tuple(outcomes)))
        await spool.release(claim)
    relayed = understood([("state", "relayed")])
    assert await desk.matching(relayed, "remove") == (3, 1)
    assert (await desk.order_matching("remove", relayed))["applied"] == 1
    assert await states_of(spool, "mail0000000002") == []
    assert await desk.matching(understood([("state", "relayed"), ("state", "held")]), "remove") == (2, 1)
    assert await desk.matching(understood([]), "remove") == (3, 3)
    assert (await desk.order_matching("release", understood([("state", "failed")]), "isp"))["applied"] == 1
    stored = await spool.entry("mail0000000003")
    assert stored is not None
    assert [(one.state, one.via) for one in stored.recipients] == [(State.QUEUED, "isp"), (State.QUEUED, "")]


async def test_nothing_that_came_after_the_question_is_removed(five: Spool, clock: Clock) -> None:
    """From the page: after the person saw how many there are; by the API: after the order began."""
    desk = QueueAdmin(five, clock, frozenset, lambda _: None)
    asked_at = clock()
    clock.advance(seconds=1)
    await five.commit(an_entry("late0000000000", clock()), ())
    assert (await desk.order_matching("remove", understood([]), "", asked_at))["applied"] == 5
    assert await states_of(five, "late0000000000") == [State.QUEUED]
    clock.advance(hours=-1)  # as if it came while the order is carried out
    assert (await desk.order_matching("remove", understood([])))["applied"] == 0
    clock.advance(hours=2)
    assert (await desk.order_matching("remove", understood([])))["applied"] == 1


async def test_what_fits_again_has_no_bound(five: Spool, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next order would be for the same messages, and those behind them would never have their turn."""
    desk = QueueAdmin(five, clock, lambda: frozenset({"isp"}), lambda _: None)
    monkeypatch.setattr(queue_admin, "MOST_MATCHED", 2)
    monkeypatch.setattr(queue_admin, "PAGE", 2)
    assert await desk.order_matching("retry", understood([])) == {"applied": 3, "unknown": [], "more": False}
    assert await desk.order_matching("release", understood([]), "isp") == {"applied": 5, "unknown": [], "more": False}
    assert [desk.at_once(9, action, via) for action, via in (("retry", ""), ("release", "isp"), ("release", ""))] == [9, 9, 2]
