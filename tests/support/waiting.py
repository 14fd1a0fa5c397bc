"""Waiting for something that happens elsewhere: looked for often, given up after a bound, never slept for blindly."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = 30, complaint: Callable[[], str] | str = "it did not happen") -> T:
    """The first truthy thing that `look` returns; AssertionError with the complaint after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{complaint() if callable(complaint) else complaint} (waited {seconds} s)")
        time.sleep(0.03)


async def until(look: Callable[[], T | Awaitable[T]], true: Callable[[T], Any] = bool, seconds: float = 30) -> T:
    """The first thing that `look` returns and that is `true`, beside the other tasks; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            seen = look()
            found: T = await seen if inspect.isawaitable(seen) else seen
            if true(found):
                return found
            await asyncio.sleep(0.02)
