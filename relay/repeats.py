"""What one address does again and again is logged once a minute, with a count.  Pure."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

MINUTE = 60.0
MOST = 100
"""How many kinds of events are kept apart within a minute, of all addresses together; the rest is one kind, `others`."""


@dataclass(slots=True)
class Repeated:
    """One kind of event: logged at `since`, then left out `times` times; `fields` are those of the last."""

    event: str
    since: float
    times: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


class Repeats:
    """A bounded table of what was logged within the last minute.  `now` counts seconds."""

    def __init__(self) -> None:
        self.told: dict[Hashable, Repeated] = {}
        """By event and kind, in the order of their first time."""

    def is_new(self, event: str, key: Hashable, now: float, fields: dict[str, Any]) -> bool:
        """Whether this is to be told now; if not, it is counted."""
        known = self.told.get((event, key))
        if known is None and len(self.told) >= MOST:
            key, fields = "others", {"text": fields.get("text", "")}
            known = self.told.get((event, key))
        if known is None:
            self.told[event, key] = Repeated(event, now)
            return True
        known.times += 1
        known.fields = fields
        return False

    def over(self, now: float, least: float = MINUTE) -> list[Repeated]:
        """The kinds whose minute is over, and forgotten by this; those that were repeated are to be told."""
        over = [key for key in list(self.told) if now - self.told[key].since >= least]
        return [one for key in over if (one := self.told.pop(key)).times]

    def next_over(self, now: float) -> float | None:
        """Seconds until the next minute is over; None if nothing is waited for."""
        first = next(iter(self.told.values()), None)
        return None if first is None else max(0.0, first.since + MINUTE - now)
