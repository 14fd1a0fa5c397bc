"""What is kept open for a while, to be used again: sessions, connections, processes."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class IdlePool(Generic[T]):
    """Each is kept for `idle` seconds, then `part` ends it."""

    def __init__(self, idle: float, part: Callable[[T], None]) -> None:
        self._idle, self._part = idle, part
        self._kept: list[tuple[T, float]] = []  # with the time of the loop until which it is kept, in that order
        self._timer: asyncio.TimerHandle | None = None

    def take(self, usable: Callable[[T], bool], wanted: Callable[[T], bool] = lambda one: True) -> T | None:
        """The `wanted` one that was used last; those that are no longer `usable` are ended."""
        for place in reversed(range(len(self._kept))):
            one = self._kept[place][0]
            if not wanted(one):
                continue
            del self._kept[place]
            if usable(one):
                return one
            self._part(one)
        return None

    def keep(self, one: T) -> None:
        loop = asyncio.get_running_loop()
        self._kept.append((one, loop.time() + self._idle))
        if self._timer is None:  # one for all, and it is never put off: most are taken again long before
            self._timer = loop.call_later(self._idle, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        late = [one for one, until in self._kept if until <= loop.time()]
        self._kept = self._kept[len(late) :]
        self._timer = loop.call_at(self._kept[0][1], self._expire) if self._kept else None
        for one in late:
            self._part(one)

    def close(self) -> None:
        """Ends all of them."""
        while self._kept:
            self._part(self._kept.pop()[0])
