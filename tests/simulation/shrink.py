"""The shortest list of events that still breaks the same promise: halves, quarters ... are left out (delta debugging)."""

from dataclasses import replace
from time import perf_counter

from tests.simulation.plan import DAY, Event, Plan
from tests.simulation.play import Played, play


def shrunk(first: Played, seconds: float = 60.0) -> Played:
    """`first` itself, if nothing can be left out within `seconds`."""
    end, best, size = perf_counter() + seconds, first, max(1, len(first.plan.events) // 2)
    while size and perf_counter() < end:
        place, before = 0, len(best.plan.events)
        while place < len(best.plan.events) and perf_counter() < end:
            events = best.plan.events
            if smaller := _still(best.plan, events[:place] + events[place + size :], first):
                best = smaller
            else:
                place += size
        if len(best.plan.events) == before:
            size //= 2
    return best


def _still(plan: Plan, events: tuple[Event, ...], first: Played) -> Played | None:
    days = max((int(one.at // DAY) + 1 for one in events), default=1)
    played = play(replace(plan, events=events, days=min(plan.days, days)))
    return played if played.kinds & first.kinds else None


def told(played: Played, most: int = 40) -> str:
    """What happens, and what breaks."""
    lines = [
        f"seed {played.plan.seed}, {played.plan.days} days, stride {played.plan.stride}, {len(played.plan.events)} events:"
    ]
    lines += [f"  {event}" for event in played.plan.events[:most]]
    return "\n".join([*lines, *(f"  BROKEN {one}" for one in played.broken[:6])])
