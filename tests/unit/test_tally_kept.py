"""Counting a long queue costs: what watches it gets counts of a moment ago, and never those from before an order."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from relay.control import queue_admin
from relay.control.queue_admin import QueueAdmin
from relay.spool.contract import Tally
from relay.spool.entry import Order, State

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


class Counting:
    """A spool that has `count` unfinished messages, and takes `takes` seconds to say so."""

    def __init__(self, takes: float) -> None:
        self.takes, self.count, self.clock = takes, 1, 0.0

    async def tally(self) -> Tally:
        self.clock += self.takes
        return Tally(dict.fromkeys(State, 0), self.count, NOW, 1, 1)

    async def order(self, _order: Order, _now: datetime) -> int:
        self.count = 0
        return 1


def desk_of(spool: Counting, monkeypatch: pytest.MonkeyPatch) -> QueueAdmin:
    monkeypatch.setattr(queue_admin, "time", SimpleNamespace(monotonic=lambda: spool.clock))
    known: Any = frozenset
    return QueueAdmin(spool, lambda: NOW, known, lambda _changed: None)  # type: ignore[arg-type]


async def told(desk: QueueAdmin) -> int:
    return int((await desk.tally())["unfinished"])


async def test_a_short_queue_is_counted_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Counting(0.001)
    desk = desk_of(spool, monkeypatch)
    assert await told(desk) == 1
    spool.count = 2
    assert await told(desk) == 2


@pytest.mark.parametrize(("takes", "kept"), [(0.05, 1.0), (0.2, 4.0), (3.0, 5.0)])
async def test_a_long_one_is_counted_anew_after_a_while(takes: float, kept: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty times as long as it took, five seconds at most."""
    spool = Counting(takes)
    desk = desk_of(spool, monkeypatch)
    assert await told(desk) == 1
    spool.count = 2
    spool.clock = kept - 0.01 if kept > takes else takes
    assert await told(desk) == 1
    spool.clock = kept + 0.01
    assert await told(desk) == 2


async def test_an_order_shows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Counting(0.2)
    desk = desk_of(spool, monkeypatch)
    assert await told(desk) == 1
    await desk.order("retry", None)
    assert await told(desk) == 0
