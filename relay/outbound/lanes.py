"""Whose turn it is at an upstream: as many at a time as it allows connections, and one alone at a door not yet opened."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from relay.upstream.settings import DIRECT, Upstream


class _Lane:
    def __init__(self, connections: int) -> None:
        self.places = asyncio.Semaphore(connections)
        self.door = asyncio.Lock()


class Lanes:
    """The ways to the upstreams.  `proven` says whether one let us in since it was last in trouble."""

    def __init__(self, proven: Callable[[str], bool]) -> None:
        self._proven = proven
        self._lanes: dict[str, _Lane] = {}

    def clear(self) -> None:
        """Limits may have changed; those who are on their way end by the old ones."""
        self._lanes.clear()

    @contextlib.asynccontextmanager
    async def turn(self, upstream: Upstream) -> AsyncIterator[None]:
        """Waits for a place.  Before an upstream is proven its password is tried by one message at a time."""
        if upstream.name == DIRECT:
            yield  # as many servers as there are domains: the pool bounds them
            return
        lane = self._lanes.setdefault(upstream.name, _Lane(upstream.limits.connections))
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(lane.places)
            if not self._proven(upstream.name):
                await lane.door.acquire()
                if self._proven(upstream.name):
                    lane.door.release()
                else:
                    stack.callback(lane.door.release)
            yield
