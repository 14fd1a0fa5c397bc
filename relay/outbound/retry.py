"""When to try again, when to give up, how long an upstream in trouble rests.  RFC 5321 s4.5.4.1.  Pure."""

import zlib
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate

_M = timedelta(minutes=1)
_JITTER = 0.1
_GRACE = timedelta(seconds=15)  # beyond a wait that a server named: its clock began later than ours
_BELIEVED = 3  # attempts


def spread(key: str) -> float:
    """A number from 0 up to 1, always the same for the same key: the schedule has no randomness."""
    return zlib.crc32(key.encode("utf-8", "surrogateescape")) / 2**32


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """`delays` between attempts (the last one repeats), end of trying, delay warning, and rests of upstreams."""

    delays: tuple[timedelta, ...] = (_M, 5 * _M, 15 * _M, 30 * _M, 60 * _M, 120 * _M, 240 * _M)
    give_up_after: timedelta = timedelta(days=5)
    warn_after: timedelta = timedelta(hours=4)
    rest: tuple[timedelta, ...] = (_M, 2 * _M, 4 * _M, 8 * _M, 15 * _M, 30 * _M, 60 * _M)
    rest_login: timedelta = 15 * _M

    def next(self, attempts: int, age: timedelta, key: str, said: timedelta | None = None) -> timedelta | None:
        """How long to wait after `attempts` attempts (the one just made included); None: expired.

        `key` is the queue id, `said` the wait that the server named; one that goes on naming a short one is not believed.
        The last attempt falls on the end of `give_up_after`, not beyond it.
        """
        if self.expired(attempts, age):
            return None
        delay = self._delay(max(attempts, 1))
        if said is not None:
            delay = max(said + _GRACE, delay if attempts > _BELIEVED else timedelta(0))
        delay += delay * _JITTER * spread(f"{key} {attempts}")
        left = self.give_up_after - max(age, timedelta(0))
        return min(delay, left) if left > timedelta(0) else delay

    def expired(self, attempts: int, age: timedelta, *, waited: timedelta = timedelta(0)) -> bool:
        """Whether to give up: the message is old, and was tried often enough or seen to wait (`waited`) all that time.

        Age alone is no proof: a machine without a clock battery starts in 1970, and a minute later it is decades later.
        """
        return age >= self.give_up_after and (attempts >= self.tries or waited >= self.give_up_after)

    @property
    def tries(self) -> int:
        """How many attempts a message must have had before its age counts: as many as fit, at most one for each delay."""
        fit = sum(1 for total in accumulate(self.delays, initial=timedelta(0)) if total < self.give_up_after)
        return max(1, min(fit, len(self.delays)))

    @property
    def longest(self) -> timedelta:
        """No message is due later than this from now; if one seems to be, a wrong clock dated it."""
        return max(*self.delays, *self.rest, self.rest_login, timedelta(seconds=1)) * (1 + _JITTER)

    def rest_for(self, failures: int, *, login: bool = False) -> timedelta:
        """How long an upstream rests after that many troubles in a row (the first is 1).

        A refused login rests from `rest_login` at once and doubles, up to the longest rest: providers lock accounts.
        """
        steps = self.rest or (_M,)
        plain = steps[min(max(failures, 1), len(steps)) - 1]
        if not login:
            return plain
        doubled: timedelta = self.rest_login * 2 ** min(max(failures, 1) - 1, 6)
        return min(doubled, max(self.rest_login, *steps))

    def _delay(self, attempts: int) -> timedelta:
        delays = self.delays or (_M,)
        return delays[min(attempts, len(delays)) - 1]
