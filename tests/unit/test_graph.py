"""A week of numbers as bars."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.control.graph import HEIGHT, KINDS, WIDTH, draw, nice

BEGIN = datetime(2026, 11, 15, 11, tzinfo=UTC)
COUNTS = st.integers(0, 10**6)


def week(counts: dict[int, dict[str, int]]) -> list[dict[str, Any]]:
    empty = dict.fromkeys(KINDS, 0)
    return [{"at": (BEGIN + timedelta(hours=n)).isoformat(), **empty, **counts.get(n, {})} for n in range(168)]


def test_an_empty_week_has_no_bars() -> None:
    """Nothing is drawn for nothing, and the scale still has a top."""
    graph = draw(week({}), UTC)
    assert (graph.bars, graph.top, graph.relayed) == ((), 4, 0)


def test_three_hours_stand_in_one_bar() -> None:
    """Hours 0 to 2 are one bar, hour 3 begins the next; failed stands on top of relayed."""
    graph = draw(week({0: {"relayed": 1}, 2: {"relayed": 2, "failed": 1}, 3: {"deferred": 4}}), UTC)
    assert [bar.kind for bar in graph.bars] == ["relayed", "failed", "deferred"]
    first, above, second = graph.bars
    assert first.x == above.x < second.x
    assert above.y + above.height == pytest.approx(first.y, abs=0.2)
    assert (graph.relayed, graph.deferred, graph.failed) == (3, 4, 1)


def test_days_begin_at_midnight_of_the_zone() -> None:
    """In Japan the first day of a week that begins at 11:00 UTC has four hours left."""
    graph = draw(week({3: {"relayed": 5}, 4: {"relayed": 7}}), timezone(timedelta(hours=9)))
    assert [day.relayed for day in graph.days[:2]] == [5, 7]
    assert graph.days[1].x == pytest.approx(4 / 168 * WIDTH, abs=0.1)
    assert len(graph.days) == 8


@given(st.dictionaries(st.integers(0, 167), st.fixed_dictionaries(dict.fromkeys(KINDS, COUNTS)), max_size=20))
def test_no_bar_leaves_the_drawing(counts: dict[int, dict[str, int]]) -> None:
    """Whatever the numbers, every bar has a size and lies inside, and none that counts something is left out."""
    graph = draw(week(counts), UTC)
    for bar in graph.bars:
        assert bar.height > 0
        assert bar.width > 0
        assert bar.x >= 0
        assert bar.x + bar.width <= WIDTH
        assert -0.1 <= bar.y <= HEIGHT
    assert sum(day.relayed for day in graph.days) == graph.relayed == sum(one["relayed"] for one in counts.values())


@given(COUNTS)
def test_the_top_of_the_scale_is_a_round_number_above(number: int) -> None:
    """The scale is high enough and never three times too high."""
    top = nice(number)
    assert number <= top <= max(4, number * 2.5)
    assert str(top).strip("0") in ("4", "5", "1", "2")
