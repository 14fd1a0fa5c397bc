"""What every spool does alike: it waits for work, and sorts the trail of a notice."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from relay.spool.entry import Entry, TrailLine

LONGEST_SLEEP = 60.0  # seconds; the wall clock may jump while we sleep
STALLED_SLEEP = 1.0

Trail = tuple[TrailLine, ...]


class WaitsForWork:
    """`_work` is set when something may be due; `_stalled`: nothing may be claimed for now."""

    _work: asyncio.Event
    _now: Callable[[], datetime]
    _stalled: bool

    async def wait(self, until: datetime | None) -> None:
        """Returns when something may be due; a jump of the wall clock makes it late by a minute at most."""
        if self._stalled:
            await asyncio.sleep(STALLED_SLEEP)  # what is due cannot be claimed: do not spin
            return
        while not self._work.is_set():
            seconds = LONGEST_SLEEP if until is None else (until - self._now()).total_seconds()
            if seconds <= 0:
                return
            try:
                async with asyncio.timeout(min(seconds, LONGEST_SLEEP)):
                    await self._work.wait()
            except TimeoutError:
                pass


def split_trail(notice: Entry | None, trail: Trail) -> tuple[Trail, Trail]:
    """The lines for the messages that a notice is about (event `noticed`, or all if there is no notice), and its own."""
    about = tuple(line for line in trail if line.event == "noticed" or notice is None)
    return about, tuple(line for line in trail if line not in about)
