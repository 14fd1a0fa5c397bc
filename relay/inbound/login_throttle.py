"""How fast passwords may be tried.  Pure.

A client is what `admission.client_group` says.  After each wrong password its next password waits longer, in any session.
All clients that never had a right password also share one rate.  A client that had one does not wait for the others,
and at most a second for wrong passwords from its own address.
"""

from dataclasses import dataclass

FREE = 3
"""Wrong passwords of a client that cause no wait: people mistype."""
LONGEST = 10.0
"""Seconds that a client's next password waits at most."""
KNOWN_LONGEST = 1.0
"""The same for a client that had a right password before."""
PER_SECOND, AT_ONCE = 5.0, 50
"""How many passwords are checked of all clients that never had a right one."""
FORGOTTEN_AFTER = 3600.0
TOLD_AFTER = 10
"""Wrong passwords of one client within that time, after which an alert is sent."""
TOLD_AFTER_IN_ALL = 100
_REMEMBERED = 1000


@dataclass(slots=True)
class _Tries:
    failed: int = 0
    last: float = 0.0
    free_at: float = 0.0


class LoginThrottle:
    """Keeps at most a thousand clients of each kind; the one not seen for the longest time is forgotten.  Times in seconds."""

    def __init__(self) -> None:
        self._tries: dict[str, _Tries] = {}
        self._known: dict[str, None] = {}
        self._strangers_at = 0.0
        self._all = _Tries()

    def delay(self, client: str, now: float) -> float | None:
        """How long the next password of this client must wait; None if that is too long, so it should try again later."""
        tries = self._tries.get(client) or _Tries()
        known = client in self._known
        if now - tries.last > FORGOTTEN_AFTER:
            tries.failed = 0
        at = max(now, tries.free_at)
        if not known:
            at = max(at, self._strangers_at - AT_ONCE / PER_SECOND)
        if at - now > LONGEST:
            return None
        if not known:
            self._strangers_at = max(self._strangers_at, now) + 1 / PER_SECOND
        if tries.failed >= FREE:
            tries.free_at = at + min(2.0 ** min(tries.failed - FREE, 9), KNOWN_LONGEST if known else LONGEST)
        return at - now

    def wrong(self, client: str) -> int:
        """How many wrong ones it has sent of late."""
        tries = self._tries.get(client)
        return tries.failed if tries else 0

    def guesses(self, client: str) -> bool:
        """Whether it has sent so many wrong ones that its tries are slowed down for that."""
        return self.wrong(client) >= FREE

    def failed(self, client: str, now: float) -> str | None:
        """Counts a wrong password; returns what an alert is due about: this client, "" for all clients, None for nothing."""
        tries = self._tries.pop(client, None) or _Tries()
        self._tries[client] = tries  # the last in the dict is the one seen last
        if len(self._tries) > _REMEMBERED:
            del self._tries[next(iter(self._tries))]
        for one in (tries, self._all):
            one.failed = one.failed + 1 if now - one.last <= FORGOTTEN_AFTER else 1
            one.last = now
        if tries.failed >= TOLD_AFTER:
            return client
        return "" if self._all.failed >= TOLD_AFTER_IN_ALL else None

    def right(self, client: str) -> None:
        """Notes a right password.  Wrong ones still count: whoever has one password could try others."""
        self._known.pop(client, None)
        self._known[client] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
