"""Storing what became of a message, however long it takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from relay import events
from relay.spool.contract import LeaseLost, Spool, SpoolAway, SpoolBroken, SpoolFull
from relay.spool.entry import Claim, Settlement

T = TypeVar("T")


async def stored(spool: Spool, claim: Claim, settlement: Settlement) -> None:
    """Tries until it is stored: a 250 that is not on disk must not be followed by another attempt.  Raises LeaseLost."""
    await until_stored(claim.entry.queue_id, lambda: spool.settle(claim, settlement), whatever=True)


async def until_stored(queue_id: str, store: Callable[[], Awaitable[T]], *, whatever: bool = False) -> T:
    """What `store` returns once the medium takes it.  Raises LeaseLost; unless `whatever`, SpoolAway and all other errors."""
    seconds = 1.0
    while True:
        try:
            return await store()
        except LeaseLost:
            raise
        except Exception as error:
            if not whatever and (isinstance(error, SpoolAway) or not isinstance(error, SpoolFull | SpoolBroken)):
                raise
            text = f"what became of a message cannot be stored, trying again in {seconds:g} s: {error}"
            events.note("broken", text, queue_id=queue_id, error=type(error).__name__)
            await asyncio.sleep(seconds)
            seconds = min(seconds * 2, 60.0)
