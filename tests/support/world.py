"""What the relay asks of the world, told by the test: what time it is, and which ids are given out."""

from datetime import UTC, datetime, timedelta


class Clock:
    """A `now` that stands still until the test moves it."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)) -> None:
        self._now = start

    def __call__(self) -> datetime:
        return self._now

    def advance(self, **duration: float) -> datetime:
        """Moves on by a `timedelta` said in keywords; the new time."""
        self._now += timedelta(**duration)
        return self._now

    def jump(self, to: datetime) -> None:
        """Sets the time, forwards or back, as NTP does after a power failure."""
        self._now = to


class Ids:
    """Queue ids in order: `test0000000001`, `test0000000002`, ..."""

    def __init__(self, given: int = 0) -> None:
        self.given = given

    def __call__(self, now: datetime) -> str:
        self.given += 1
        return f"test{self.given:010d}"
