"""Whose turn it is at an upstream: as many at a time as it allows connections, and one alone at a door not yet opened."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from relay.outbound.chain import Step
from relay.upstream.settings import DIRECT

_MOST_STRANGERS = 50
"""Sessions by `mx` at once; upstreams have places of their own, which silent strangers do not take."""


class _Slots:
    def __init__(self, connections: int) -> None:
        self.places = asyncio.Semaphore(connections)
        self.login = asyncio.Lock()
        self.trying = contextlib.ExitStack()
        self.users = 0


class ConnectionSlots:
    """The ways to the upstreams, to each domain its own one.  `proven`: whether one let us in since it was last in trouble."""

    def __init__(self, proven: Callable[[str], bool]) -> None:
        self._proven = proven
        self._slots: dict[str, _Slots] = {}
        self._strangers = asyncio.Semaphore(_MOST_STRANGERS)

    def clear(self) -> None:
        """Limits may have changed; those who are on their way end by the old ones."""
        self._slots.clear()

    def opened(self, name: str) -> None:
        """The one who tried this door is in: a long message of his must not hold up the others."""
        if slots := self._slots.get(name):
            slots.trying.close()

    @contextlib.asynccontextmanager
    async def turn(self, step: Step) -> AsyncIterator[None]:
        """Waits for a place.  Before an upstream is proven its password is tried by one message at a time."""
        key, direct = step.key, step.upstream.name == DIRECT
        slots = self._slots.setdefault(key, _Slots(step.upstream.limits.connections))
        slots.users += 1
        try:
            async with slots.places, self._strangers if direct else contextlib.nullcontext():
                with await self._login_turn(slots, step.upstream.name):
                    yield
        finally:
            slots.users -= 1
            if direct and not slots.users and self._slots.get(key) is slots:
                del self._slots[key]  # there are many domains, and most are met once

    async def _login_turn(self, slots: _Slots, name: str) -> contextlib.ExitStack:
        """What is to be given back when the turn is over, or when the door is open before."""
        hold = contextlib.ExitStack()
        if self._proven(name):
            return hold
        await slots.login.acquire()
        hold.callback(slots.login.release)
        if self._proven(name):
            hold.close()
        else:
            slots.trying = hold
        return hold
