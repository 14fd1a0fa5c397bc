"""How fast content must come, so that a client cannot keep a slot by sending an octet now and then.  Pure; times are given."""

PACE = 30
"""Octets a second that a client must send on average: a tenth of what the slowest radio link does."""
BRISK = 1000
"""Octets a second.  A slower client may lose its slot when all slots are in use."""
BRISK_FOR = 4.0
"""Seconds of sending after which that is judged."""


class ContentPace:
    """The time that a client has left within one message.  Our own work on the content does not count.

    The client has `left` seconds to send as many octets as `PACE` makes in `idle` seconds.
    """

    def __init__(self, idle: float, now: float) -> None:
        self.left = self._idle = idle
        self.slow_since = self._waited_until = now
        self._brought = self._briskly = 0

    def waits(self, now: float) -> None:
        """From now on we wait for octets."""
        self.slow_since += now - self._waited_until
        self._began = now

    def brought(self, octets: int, now: float) -> None:
        """That many octets came."""
        self.left = max(self.left - (now - self._began), 0.001)
        self._waited_until = now
        self._brought += octets
        self._briskly += octets
        if self._brought >= PACE * self._idle:
            self.left, self._brought = self._idle, 0
        if self._briskly >= BRISK * BRISK_FOR:
            self.slow_since, self._briskly = now, 0
