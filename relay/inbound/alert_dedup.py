"""Which alerts a person was told of, so that each is told once, when it begins.  Pure."""

from datetime import datetime, timedelta

_QUIET = timedelta(days=1)
_KNOWN = 1000


class AlertDedup:
    """At most a thousand; the one not met for longest is forgotten.

    A trouble lasts until `ended`, or if nobody can tell its end, until a day has passed without it.
    """

    def __init__(self) -> None:
        self._met: dict[str, datetime] = {}

    def begins(self, cause: str, now: datetime, *, ends_by_itself: bool = False) -> bool:
        """Whether this is new.  `ends_by_itself`: nobody will say `ended`."""
        last = self._met.pop(cause, None)
        self._met[cause] = now  # the last in the dict is the one met last
        if len(self._met) > _KNOWN:
            del self._met[next(iter(self._met))]
        return last is None or (ends_by_itself and abs(now - last) > _QUIET)

    def ended(self, *causes: str) -> None:
        """These are over: if they come again, a person hears of it again."""
        for cause in causes:
            self._met.pop(cause, None)
