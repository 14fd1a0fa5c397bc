"""The daemon's own check-up: the cheap part of the examination, after the start and daily, its findings kept for the page."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

from relay.doctor.finding import Finding, Grade
from relay.doctor.subject import Subject

FIRST = timedelta(seconds=10)
"""How long a start goes before: on a small board it takes all there is."""

EVERY = timedelta(days=1)
SOON = (timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1))
"""When to look again while something is wrong: after a power cut we are up before the router is.  Each costs half a second."""

Examine = Callable[[Subject], Awaitable[Iterable[dict[str, Any]]]]
"""Everything that was found, in the keys of `relay doctor --json`."""


class CheckUp:
    """`subject` gives what is to be examined, afresh each time: a reload may have changed it."""

    def __init__(
        self, subject: Callable[[], Subject], examine: Examine, *, first: timedelta = FIRST, every: timedelta = EVERY
    ) -> None:
        self._subject, self._examine, self._first, self._every = subject, examine, first, every
        self._found: list[dict[str, Any]] = []
        self.done = asyncio.Event()
        self._again = asyncio.Event()

    async def run(self) -> None:
        """Examines soon and then daily, until it is cancelled.  What goes wrong in it never ends the relay."""
        soon = iter(SOON)
        await self._wait(self._first)
        while True:
            self._again.clear()
            await self.examine()
            await self._wait(min(next(soon, self._every) if self._found else self._every, self._every))

    async def _wait(self, pause: timedelta) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause.total_seconds()):
                await self._again.wait()

    def look_again(self) -> None:
        """Something was changed: what was found may no longer hold."""
        self._again.set()

    async def examine(self) -> None:
        """One check-up; no upstream is troubled, no password said."""
        try:
            found = await self._examine(self._subject())
        except Exception as error:  # a doctor that stumbles must not take the patient along
            cause = f"The check-up itself failed: {type(error).__name__}: {error}"
            found = [Finding("check-up", Grade.WARNING, "doctor", cause, "Run `relay doctor`, and report it.").as_json()]
        wanted = [one for one in found if one["grade"] != Grade.OK.value]
        self._found = sorted(wanted, key=lambda one: one["grade"] != Grade.PROBLEM.value)
        self.done.set()

    def findings(self) -> list[dict[str, Any]]:
        """What needs a person, worst first, in the keys of `relay doctor --json`."""
        return list(self._found)
