"""Which alerts were sent, so that each is sent once, when its cause begins.  Pure."""

from datetime import datetime, timedelta

_QUIET = timedelta(days=1)
_KNOWN = 1000


class AlertDedup:
    """Keeps at most a thousand causes; the one not seen for the longest time is forgotten.

    A cause lasts until `ended` is called.  If nothing calls it, the cause is over when a day has passed without it.
    """

    def __init__(self) -> None:
        self._seen: dict[str, datetime] = {}

    def begins(self, cause: str, now: datetime, *, ends_by_itself: bool = False) -> bool:
        """Whether this is new.  `ends_by_itself`: nothing will call `ended`."""
        last = self._seen.pop(cause, None)
        self._seen[cause] = now  # the last in the dict is the one seen last
        if len(self._seen) > _KNOWN:
            del self._seen[next(iter(self._seen))]
        return last is None or (ends_by_itself and abs(now - last) > _QUIET)

    def ended(self, *causes: str) -> None:
        """These causes are over.  If one comes again, the alert is sent again."""
        for cause in causes:
            self._seen.pop(cause, None)
