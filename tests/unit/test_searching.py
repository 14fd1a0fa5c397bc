"""A search as an address, a form and a program say it, and its pages."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from relay.control.searching import BadSearch, page_of, said_by, understood
from relay.spool.entry import QueueLine, State
from relay.spool.search import PageKey, Search

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


def test_what_was_asked_is_said_again() -> None:
    """The query of what was understood is understood as the same."""
    pairs = [
        ("q", " a  b "),
        ("state", "failed"),
        ("state", "held"),
        ("state", "failed"),
        ("since", "2026-11-22"),
        ("done", "x"),
        ("said", ""),
    ]
    asked = understood(pairs)
    assert asked.search.anything == "a b"
    assert asked.states == {State.FAILED, State.HELD}
    assert asked.states_said == ("failed", "held")
    assert asked.query == "q=a+b&state=failed&state=held&since=2026-11-22"
    assert understood(asked.said) == asked
    assert asked.in_state("queued") == "q=a+b&since=2026-11-22&state=queued"
    assert asked.in_state("") == "q=a+b&since=2026-11-22"
    assert asked.narrowed
    assert understood([]).search == Search()
    assert not understood([("state", "held")]).narrowed


def test_a_day_is_that_whole_day() -> None:
    """`until` a day means to its end; a time is that time; an offset counts."""
    asked = understood([("since", "2026-11-22"), ("until", "2026-11-22")])
    assert asked.search.since is not None
    assert asked.search.until == asked.search.since + timedelta(days=1)
    assert understood([("until", "2026-11-22T01:00+02:00")]).search.until == datetime(2026, 11, 21, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "lost"),
        ("since", "yesterday"),
        ("until", "2026-13-01"),
        ("since", "0001-01-01T00:00+14:00"),
        ("until", "9999-12-31"),
    ],
)
def test_what_cannot_be_understood(name: str, value: str) -> None:
    """Whose value it is, is told; a moment that no clock has is one of them, or is one that everything lies behind."""
    try:
        understood([(name, value)])
    except BadSearch as error:
        assert error.name == name
    else:
        assert value[:4] in ("0001", "9999")


@pytest.mark.parametrize(
    "pairs",
    [[("q", "a " * 9)], [("subject", "x" * 201)], [("q", "a"), ("q", "b")], [("since", "2026-11-22"), ("since", "2026-11-23")]],
)
def test_more_than_can_be_searched_for_is_refused(pairs: list[tuple[str, str]]) -> None:
    """What is left out of a search would match more, and an order would be for that."""
    with pytest.raises(BadSearch):
        understood(pairs)
    assert understood([("q", "a " * 8)]).search.anything == "a a a a a a a a"
    assert len(understood([("q", "x" * 200)]).search.anything) == 200


def test_a_day_is_that_of_who_asks() -> None:
    """It has 23 hours or 25 where the clocks change; an offset that is said counts more than the zone."""
    berlin = ZoneInfo("Europe/Berlin")
    for day, since, hours in (
        ("2026-03-29", datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
        ("2026-10-25", datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
        ("2026-11-22", datetime(2026, 11, 21, 23, tzinfo=UTC), 24),
    ):
        search = understood([("since", day), ("until", day)], berlin).search
        assert (search.since, search.until) == (since, since + timedelta(hours=hours))
    assert understood([("since", "2026-11-22T01:00+02:00")], berlin).search.since == datetime(2026, 11, 21, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    "asked",
    [
        {"what": "x"},
        {"q": 1},
        {"state": [1]},
        {"q": ["a"]},
        {"q": None},
        {},
        {"q": ""},
        {"q": " "},
        {"state": []},
        {"state": ["failed", ""]},
    ],
)
def test_a_program_says_texts(asked: dict[str, object]) -> None:
    """Other values are refused, and empty ones: they would match everything."""
    with pytest.raises(BadSearch):
        said_by(asked)
    assert said_by({"state": ["failed", "held"], "q": "x"}) == [("state", "failed"), ("state", "held"), ("q", "x")]


def lines(*numbers: int) -> list[QueueLine]:
    """Two recipients for each message."""
    rows = []
    for number in numbers:
        head = (number, f"q{number}", NOW + timedelta(hours=number), "10.0.0.1", None, None, 1, 0)
        rows += [QueueLine(*head, f"x{seq}", "y.example", "queued", 0, NOW, "", "", 0, "", "", "") for seq in (0, 1)]
    return rows


def view(rows: list[QueueLine]) -> list[dict[str, object]]:
    return [{"id": queue_id} for queue_id in dict.fromkeys(one.queue_id for one in rows)]


@pytest.mark.parametrize(
    ("rows", "beyond", "back", "found"),
    [
        (lines(9, 8), None, False, ([9, 8], None, None)),
        (lines(9, 8, 7), None, False, ([9, 8], None, 8)),
        (lines(5, 4), PageKey(NOW, 6), False, ([5, 4], 5, None)),
        (lines(5, 4, 3), PageKey(NOW, 6), False, ([5, 4], 5, 4)),
        (lines(7, 8), PageKey(NOW, 6), True, ([8, 7], None, 7)),
        (lines(7, 8, 9), PageKey(NOW, 6), True, ([8, 7], 8, 7)),
        ([], None, False, ([], None, None)),
    ],
)
def test_a_page_knows_where_to_go_on(
    rows: list[QueueLine], beyond: PageKey | None, back: bool, found: tuple[object, ...]
) -> None:
    """Newest first from either side, with the places of its ends where there is more."""
    page = page_of(rows, 2, beyond, back=back, view=view)
    ends = [None if place is None else place.message for place in (page.newer, page.older)]
    assert ([int(str(one["id"])[1:]) for one in page.messages], *ends) == found
