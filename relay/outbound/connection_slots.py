"""Slots at the upstreams: as many at a time as connections are allowed, only one while the login is not known to work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from relay.outbound.chain import Step
from relay.upstream.settings import DIRECT

_MOST_STRANGERS = 50
"""Sessions of direct delivery at once.  Upstreams have slots of their own: MX hosts that do not answer cannot take those."""


class _Slots:
    def __init__(self, connections: int) -> None:
        self.places = asyncio.Semaphore(connections)
        self.login = asyncio.Lock()
        self.trying = contextlib.ExitStack()
        self.users = 0


class ConnectionSlots:
    """The slots of each upstream (of each domain for `mx`).  `proven`: whether its login worked since its last trouble."""

    def __init__(self, proven: Callable[[str], bool]) -> None:
        self._proven = proven
        self._slots: dict[str, _Slots] = {}
        self._strangers = asyncio.Semaphore(_MOST_STRANGERS)

    def clear(self) -> None:
        """Limits may have changed; sessions that have begun keep their old slots."""
        self._slots.clear()

    def opened(self, name: str) -> None:
        """The login worked: others need not wait until the message of that session is sent."""
        if slots := self._slots.get(name):
            slots.trying.close()

    @contextlib.asynccontextmanager
    async def turn(self, step: Step) -> AsyncIterator[None]:
        """Waits for a slot.  Until an upstream is proven, one message at a time tries the password."""
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
        """Holds the login lock until the turn is over, or until the login has worked."""
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
