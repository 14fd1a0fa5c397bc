"""Guesses at the page's password: each client has a few at once, and then one at a time, with pauses.

Nobody is locked out: whoever has the right password waits for a turn at most, and only where somebody guesses from the same
address.  A pause goes on when its client has hung up, so that hanging up gains nothing.
"""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TRIES = 10
"""Wrong passwords of one client within WINDOW that cost no time."""
TRIES_UNDER_ATTACK = 1
"""The same while many clients together have given MANY wrong ones."""
MANY = 100
WINDOW = 300.0
PAUSE = 2.0
"""Seconds between two passwords of a client that has used up its tries."""
WAITING = 3
"""Passwords of one client that may wait for their turn; one more is told to come back."""
_CLIENTS = 2000


class Guesses:
    """Who guessed how often.  `clock` counts seconds; the table of clients is bounded, the latest stay."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._pause = clock, PAUSE
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=MANY)
        self._next: OrderedDict[str, float] = OrderedDict()

    async def turn(self, client: str) -> int:
        """Returns 0 when this client's password may be looked at, else after how many seconds it may come back."""
        if self._tries_left(client):
            return 0
        now = self._clock()
        at = max(now, self._next.get(client, 0.0)) + self._pause
        if at - now > WAITING * self._pause:
            return math.ceil(at - now)
        _remember(self._next, client, at)
        await asyncio.sleep(at - now)
        return 0

    def wrong(self, client: str) -> None:
        now = self._clock()
        self._all.append(now)
        times = self._wrong.get(client) or deque(maxlen=TRIES)
        times.append(now)
        _remember(self._wrong, client, times)

    def _tries_left(self, client: str) -> bool:
        since = self._clock() - WINDOW
        times = self._wrong.get(client, ())
        attack = len(self._all) == MANY and self._all[0] > since
        return sum(time > since for time in times) < (TRIES_UNDER_ATTACK if attack else TRIES)


def _remember(table: OrderedDict[str, T], client: str, value: T) -> None:
    table[client] = value
    table.move_to_end(client)
    if len(table) > _CLIENTS:
        table.popitem(last=False)
