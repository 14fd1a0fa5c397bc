"""The last seven days as bars: numbers to rectangles that a template writes as SVG.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

KINDS = ("relayed", "deferred", "failed")  # from the bottom up
WIDTH, HEIGHT = 840, 150
_STEP = timedelta(hours=3)
_LEAST = 2.5  # units: one message in a week of thousands can be seen


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle, in units of the drawing."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Day:
    """Where a day begins in the drawing, and its sums."""

    at: datetime
    x: float
    relayed: int
    deferred: int
    failed: int


@dataclass(frozen=True, slots=True)
class Graph:
    """`top` is what the highest bar may stand for; `days` are of the given zone, the first may be cut."""

    bars: tuple[Bar, ...]
    days: tuple[Day, ...]
    top: int
    relayed: int
    deferred: int
    failed: int


def draw(hours: Sequence[Mapping[str, Any]], zone: tzinfo | None) -> Graph:
    """`hours` as `/api/history` gives them, oldest first; None is the system's zone."""
    times = [datetime.fromisoformat(str(hour["at"])).astimezone(zone) for hour in hours]
    per = int(_STEP / timedelta(hours=1))
    slots = [hours[start : start + per] for start in range(0, len(hours), per)]
    sums = [{kind: sum(int(hour[kind]) for hour in slot) for kind in KINDS} for slot in slots]
    top = nice(max((sum(one.values()) for one in sums), default=0))
    width = WIDTH / max(len(slots), 1)
    bars = tuple(bar for number, one in enumerate(sums) for bar in _stack(one, number * width, width, top))
    totals = {kind: sum(one[kind] for one in sums) for kind in KINDS}
    return Graph(bars, tuple(_days(hours, times)), top, **totals)


def nice(number: int) -> int:
    """The next of 1, 2, 4, 5, 10, 20, 40, 50 ... from `number` up, 4 at least."""
    scale = 1
    while True:
        for step in (4, 5, 10, 20):
            if step * scale >= number:
                return step * scale
        scale *= 10


def _stack(counts: Mapping[str, int], x: float, width: float, top: int) -> list[Bar]:
    bars: list[Bar] = []
    y = float(HEIGHT)
    for kind in KINDS:
        if counts[kind]:
            height = max(counts[kind] / top * HEIGHT, _LEAST)
            y -= height
            bars.append(Bar(kind, round(x + width * 0.14, 1), round(max(y, 0.0), 1), round(width * 0.72, 1), round(height, 1)))
    return bars


def _days(hours: Sequence[Mapping[str, Any]], times: Sequence[datetime]) -> list[Day]:
    days: list[Day] = []
    for number, (hour, at) in enumerate(zip(hours, times, strict=True)):
        counts = {kind: int(hour[kind]) for kind in KINDS}
        if days and days[-1].at.date() == at.date():
            last = days.pop()
            counts = {kind: counts[kind] + getattr(last, kind) for kind in KINDS}
            days.append(Day(last.at, last.x, **counts))
        else:
            days.append(Day(at, round(number / len(hours) * WIDTH, 1), **counts))
    return days
