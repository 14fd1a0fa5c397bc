"""Which upstreams rest, until when, and why.  Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.mail.reply import Answer
from relay.outbound.retry import RetrySchedule


@dataclass(frozen=True, slots=True)
class Rest:
    """An upstream that did not serve us: how many times in a row, since when this rest, until when, in whose words.

    `by`: the message that it was said of, "" if it was said before any was named; `alone`: no other message has met it.
    """

    failures: int
    since: datetime
    until: datetime
    why: str
    login: bool = False
    by: str = ""
    alone: bool = False
    answer: Answer | None = None


class UpstreamRests:
    """Who is in trouble.  Names are upstreams, or `mx DOMAIN` for direct delivery."""

    def __init__(self) -> None:
        self._troubles: dict[str, Rest] = {}

    def trouble(
        self,
        name: str,
        why: str,
        schedule: RetrySchedule,
        now: datetime,
        *,
        began: datetime,
        login: bool = False,
        by: str = "",
        answer: Answer | None = None,
    ) -> Rest | None:
        """Sends an upstream to rest, longer each time; the new rest, or None if this trouble is the known one.

        `began` is when the conversation began: ten that fail together are one trouble, not ten.  One message that
        meets it again and again, alone, proves nothing about others.
        """
        known = self._troubles.get(name)
        if known and known.alone:
            if known.by == by:
                return None
            known = self._troubles[name] = replace(known, alone=False)
        if known and began <= known.since and (known.login or not login):
            return None
        failures = known.failures + 1 if known else 1
        if login and known and not known.login:
            failures = 1  # the lock-out clock starts with the first refused login
        rest = Rest(
            failures, now, now + schedule.rest_for(failures, login=login), why, login, by, bool(by and not known), answer
        )
        self._troubles[name] = rest
        return rest

    def success(self, name: str) -> Rest | None:
        """It served us; the trouble that it had been in before."""
        return self._troubles.pop(name, None)

    def wake(self, name: str | None = None) -> tuple[str, ...]:
        """Ends the rest of one upstream, or of all, by hand; the names that were in trouble."""
        names = tuple(self._troubles) if name is None else tuple(n for n in self._troubles if n.split(" ")[0] == name)
        for each in names:
            del self._troubles[each]
        return names

    def resting_until(self, name: str, now: datetime) -> datetime | None:
        """When it may be called again; None if it may now."""
        known = self._troubles.get(name)
        if known is None or known.until <= now:
            return None
        return min(known.until, now + (known.until - known.since))  # the clock may have gone back meanwhile

    def names(self) -> tuple[str, ...]:
        return tuple(self._troubles)

    def of(self, name: str) -> Rest | None:
        return self._troubles.get(name)

    def forget(self, now: datetime, after: timedelta = timedelta(days=1)) -> None:
        """Drops troubles long over: direct delivery meets many domains once.

        A rest that began in the future was begun by a wrong clock: it begins now, or it would last until then.
        """
        for name, known in self._troubles.items():
            if known.since > now:
                self._troubles[name] = replace(known, since=now, until=now + (known.until - known.since))
        for name in [name for name, known in self._troubles.items() if known.until + after < now]:
            del self._troubles[name]
