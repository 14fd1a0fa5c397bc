"""Storing what became of a message, however long it takes."""

import asyncio

from relay import events
from relay.spool.contract import LeaseLost, Spool
from relay.spool.entry import Claim, Settlement


async def stored(spool: Spool, claim: Claim, settlement: Settlement) -> None:
    """Tries until it is stored: a 250 that is not on disk must not be followed by another attempt.  Raises LeaseLost."""
    seconds = 1.0
    while True:
        try:
            await spool.settle(claim, settlement)
            return
        except LeaseLost:
            raise
        except Exception as error:
            text = f"what became of a message cannot be stored, trying again in {seconds:g} s: {error}"
            events.note("broken", text, queue_id=claim.entry.queue_id, error=type(error).__name__)
            await asyncio.sleep(seconds)
            seconds = min(seconds * 2, 60.0)
