"""When to try again, when to give up, how long an upstream in trouble is left alone.  RFC 5321 s4.5.4.1.  Pure."""

from dataclasses import dataclass
from datetime import timedelta

_M = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """`delays` between attempts (the last one repeats), end of trying, delay warning, and rests of upstreams."""

    delays: tuple[timedelta, ...] = (_M, 5 * _M, 15 * _M, 30 * _M, 60 * _M, 120 * _M, 240 * _M)
    give_up_after: timedelta = timedelta(days=5)
    warn_after: timedelta = timedelta(hours=4)
    rest: tuple[timedelta, ...] = (_M, 2 * _M, 4 * _M, 8 * _M, 15 * _M, 30 * _M, 60 * _M)
    rest_login: timedelta = 15 * _M
