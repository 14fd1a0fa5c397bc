"""How much may go to an upstream now: messages in a minute, messages in a day.  Pure.

`key` is what the minute is counted under, if that is not the upstream's name (see `Upstream.key`).
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from relay.upstream.settings import Limits

_MINUTE = timedelta(minutes=1)
_LATE = timedelta(seconds=10)
"""A slot that is not used until then is void."""


def day_of(now: datetime) -> str:
    """The UTC day that counts for a daily quota, as the spool names it."""
    return now.astimezone(UTC).date().isoformat()


class RateLimit:
    """Counts what went where.  A message that must wait for the minute gets a slot of its own, so thousands wait once each."""

    def __init__(self) -> None:
        self._slots: dict[str, list[datetime]] = defaultdict(list)
        self._booked: dict[str, dict[str, datetime]] = defaultdict(dict)
        self._day = ""
        self._sent: dict[str, int] = {}
        self._under_way: dict[str, int] = defaultdict(int)
        self._inherited: dict[str, int] = {}
        self._begun: datetime | None = None
        self._last: datetime | None = None

    def seed(self, now: datetime, sent: Mapping[str, int]) -> None:
        """Takes today's counts from the spool, so that a restart refills neither the day nor the minute.

        The minute is not stored: what went today counts as sent just now, up to the limit of one minute.
        """
        self._day, self._sent = day_of(now), dict(sent)
        self._begun, self._inherited = now, dict(sent)

    def sent_today(self, name: str, now: datetime) -> int:
        self._turn(now)
        return self._sent.get(name, 0)

    def when(self, name: str, limits: Limits, now: datetime, ticket: str, key: str = "") -> datetime | None:
        """When the message `ticket` may go to this upstream; None: now.  The time is reserved until `forget`."""
        self._turn(now)
        if limits.per_day is not None and self._sent.get(name, 0) + self._under_way[name] >= limits.per_day:
            return _tomorrow(now)
        key = key or name
        promised = self._booked[key].get(ticket)
        if promised is not None and promised >= now - _LATE:
            return promised if promised > now else None
        if limits.per_minute is None:
            return None
        if promised is not None:  # it was tried elsewhere meanwhile: others count on the minute in which it would have gone
            self._give_back(key, ticket)
        if key == name:  # else it is not known to whom today's went
            self._inherit(name, limits.per_minute)
        slot = self._next_slot(key, limits.per_minute, now)
        if slot <= now:
            return None
        insort(self._slots[key], slot)
        self._booked[key][ticket] = slot
        return slot

    def begin(self, name: str, limits: Limits, now: datetime, ticket: str, key: str = "") -> None:
        """A transaction begins."""
        self._under_way[name] += 1
        booked = self._booked[key or name].pop(ticket, None)
        if limits.per_minute is None:
            return
        if booked is None or booked > now:
            insort(self._slots[key or name], now)

    def put_off(self, key: str, ticket: str, until: datetime, now: datetime) -> None:
        """Another relay of this spool was first at this upstream: the message that had begun waits until `until`."""
        went = [slot for slot in self._slots[key] if slot <= now]
        if went:
            self._slots[key].remove(went[-1])
        self._booked[key][ticket] = until

    def learn(self, now: datetime, sent: Mapping[str, int]) -> None:
        """What all relays together have sent today."""
        self._turn(now)
        self._sent = dict(sent)

    def end(self, name: str, now: datetime, *, relayed: bool) -> None:
        """A transaction is over; only what was taken counts for the day."""
        self._turn(now)
        self._under_way[name] -= 1
        if relayed:
            self._sent[name] = self._sent.get(name, 0) + 1

    def forget(self, ticket: str) -> None:
        """Gives back the slots of a message that does not need them any more."""
        for name in self._booked:
            self._give_back(name, ticket)

    def _give_back(self, key: str, ticket: str) -> None:
        slot = self._booked[key].pop(ticket, None)
        if slot is not None and slot in self._slots[key]:
            self._slots[key].remove(slot)

    def tidy(self, now: datetime) -> None:
        """Forgets minutes that are over: direct delivery meets many domains once."""
        for key in [key for key, slots in self._slots.items() if not slots or slots[-1] <= now - _MINUTE]:
            del self._slots[key]
        for key in [key for key, booked in self._booked.items() if not booked]:
            del self._booked[key]

    def renew(self, now: datetime) -> None:
        """The limits may be others now: whoever still waits gets another slot by them."""
        for name, booked in self._booked.items():
            self._slots[name] = [slot for slot in self._slots[name] if slot <= now]
            self._booked[name] = {ticket: slot for ticket, slot in booked.items() if slot <= now}

    def _inherit(self, name: str, per_minute: int) -> None:
        number = min(self._inherited.pop(name, 0), per_minute)
        if self._begun is not None:
            self._slots[name] = sorted([*self._slots[name], *[self._begun] * number])

    def _next_slot(self, name: str, per_minute: int, now: datetime) -> datetime:
        """The earliest moment with fewer than `per_minute` messages in the minute before it, behind all promises."""
        slots = self._slots[name]
        while slots and slots[0] <= now - _MINUTE:
            slots.pop(0)
        if len(slots) < per_minute:
            return now
        return max(now, slots[-per_minute] + _MINUTE)

    def _turn(self, now: datetime) -> None:
        if self._last is not None and now < self._last - _MINUTE:  # the clock went back: what was promised means nothing now
            self._slots.clear()
            self._booked.clear()
        self._last = now
        if self._day != day_of(now):
            self._day, self._sent = day_of(now), {}


def _tomorrow(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
