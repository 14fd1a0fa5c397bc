"""The daemon's own check-up: the cheap part of the examination at start and once a day, its findings kept for the page."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from relay.doctor.facts import Subject
from relay.doctor.finding import Finding, Grade
from relay.doctor.gather import World, gather_cheaply
from relay.doctor.judge import judge

EVERY = timedelta(days=1)
SOON = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
"""When to look again while something is wrong: after a power cut we are up before the router is."""


class CheckUp:
    """`subject` gives what is to be examined, afresh each time: a reload may have changed it."""

    def __init__(self, subject: Callable[[], Subject], world: World | None = None, *, every: timedelta = EVERY) -> None:
        self._subject, self._world, self._every = subject, world or World(), every
        self._found: Sequence[Finding] = ()
        self.done = asyncio.Event()
        self._again = asyncio.Event()

    async def run(self) -> None:
        """Examines now and then daily, until it is cancelled.  What goes wrong in it never ends the relay."""
        soon = iter(SOON)
        while True:
            self._again.clear()
            await self.examine()
            pause = next(soon, self._every) if self.findings() else self._every
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause, self._every).total_seconds()):
                    await self._again.wait()

    def look_again(self) -> None:
        """Something was changed: what was found may no longer hold."""
        self._again.set()

    async def examine(self) -> None:
        """One check-up; no upstream is troubled, no password said."""
        try:
            subject = self._subject()
            self._found = judge(await gather_cheaply(subject, self._world), subject)
        except Exception as error:  # a doctor that stumbles must not take the patient along
            cause = f"The check-up itself failed: {type(error).__name__}: {error}"
            self._found = (Finding("check-up", Grade.WARNING, "doctor", cause, "Run `relay doctor`, and report it."),)
        self.done.set()

    def findings(self) -> list[dict[str, Any]]:
        """What needs a person, worst first, in the keys of `relay doctor --json`."""
        wanted = [one for one in self._found if one.grade is not Grade.OK]
        return [one.as_json() for one in sorted(wanted, key=lambda one: one.grade is not Grade.PROBLEM)]
