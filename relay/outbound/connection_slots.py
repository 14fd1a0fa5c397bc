"""Whose turn it is at an upstream: as many at a time as it allows connections, and one alone at a door not yet opened."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from relay.outbound.chain import Step
from relay.upstream.settings import DIRECT

_MOST_STRANGERS = 50
"""Sessions by `mx` at once; upstreams have places of their own, which silent strangers do not take."""


class _Lane:
    def __init__(self, connections: int) -> None:
        self.places = asyncio.Semaphore(connections)
        self.door = asyncio.Lock()
        self.trying = contextlib.ExitStack()
        self.users = 0


class ConnectionSlots:
    """The ways to the upstreams, to each domain its own one.  `proven`: whether one let us in since it was last in trouble."""

    def __init__(self, proven: Callable[[str], bool]) -> None:
        self._proven = proven
        self._lanes: dict[str, _Lane] = {}
        self._strangers = asyncio.Semaphore(_MOST_STRANGERS)

    def clear(self) -> None:
        """Limits may have changed; those who are on their way end by the old ones."""
        self._lanes.clear()

    def opened(self, name: str) -> None:
        """The one who tried this door is in: a long message of his must not hold up the others."""
        if lane := self._lanes.get(name):
            lane.trying.close()

    @contextlib.asynccontextmanager
    async def turn(self, step: Step) -> AsyncIterator[None]:
        """Waits for a place.  Before an upstream is proven its password is tried by one message at a time."""
        key, direct = step.key, step.upstream.name == DIRECT
        lane = self._lanes.setdefault(key, _Lane(step.upstream.limits.connections))
        lane.users += 1
        try:
            async with lane.places, self._strangers if direct else contextlib.nullcontext():
                with await self._door(lane, step.upstream.name):
                    yield
        finally:
            lane.users -= 1
            if direct and not lane.users and self._lanes.get(key) is lane:
                del self._lanes[key]  # there are many domains, and most are met once

    async def _door(self, lane: _Lane, name: str) -> contextlib.ExitStack:
        """What is to be given back when the turn is over, or when the door is open before."""
        hold = contextlib.ExitStack()
        if self._proven(name):
            return hold
        await lane.door.acquire()
        hold.callback(lane.door.release)
        if self._proven(name):
            hold.close()
        else:
            lane.trying = hold
        return hold
