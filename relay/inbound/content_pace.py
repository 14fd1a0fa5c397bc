"""How fast content has to come, so that a place is not held by an octet now and then.  Pure; times are given."""

PACE = 30
"""Octets of content a second, on the whole, that a device must bring: a tenth of what the slowest radio link does."""
BRISK = 1000
"""Octets of content a second, under which a device may have to give up its place when all are taken."""
BRISK_FOR = 4.0
"""Seconds after which that is looked at."""


class ContentPace:
    """The time that is left to a device within one message; our own work on what it sent does not count.

    `left` seconds are for so many octets as a slow but living link brings in `idle` seconds.
    """

    def __init__(self, idle: float, now: float) -> None:
        self.left = self._idle = idle
        self.slow_since = self._waited_until = now
        self._brought = self._briskly = 0

    def waits(self, now: float) -> None:
        """We wait for octets from now on."""
        self.slow_since += now - self._waited_until
        self._began = now

    def brought(self, octets: int, now: float) -> None:
        """So many came."""
        self.left = max(self.left - (now - self._began), 0.001)
        self._waited_until = now
        self._brought += octets
        self._briskly += octets
        if self._brought >= PACE * self._idle:
            self.left, self._brought = self._idle, 0
        if self._briskly >= BRISK * BRISK_FOR:
            self.slow_since, self._briskly = now, 0
