"""An examination that somebody asked for: the whole one, in a process of its own, its findings there as they come.

One at a time, whoever asks: who asks while one is under way gets to see that one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from relay.doctor.child_process import whole
from relay.doctor.subject import Subject

Examine = Callable[[Subject, Callable[[dict[str, Any]], None]], Awaitable[None]]
"""Examines, and tells of each piece of news: {"progress": words} or {"findings": all that is known so far}."""


class AskedExamination:
    """`subject` gives what is to be examined, afresh each time; `ended` is called after each run."""

    def __init__(
        self,
        subject: Callable[[], Subject],
        now: Callable[[], datetime],
        ended: Callable[[], None] = lambda: None,
        examine: Examine = whole,
    ) -> None:
        self._subject, self._now, self._ended, self._examine = subject, now, ended, examine
        self._task: asyncio.Task[None] | None = None
        self._started_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._progress, self._trouble = "", ""
        self._findings: list[dict[str, Any]] = []

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> bool:
        """Begins one; False if one is under way already."""
        if self.running:
            return False
        self._started_at, self._ended_at = self._now(), None
        self._progress, self._trouble, self._findings = "", "", []
        self._task = asyncio.create_task(self._run())
        return True

    async def _run(self) -> None:
        try:
            await self._examine(self._subject(), self._hear)
        except TimeoutError:
            self._trouble = "The examination took too long and was ended."
        except Exception as error:  # a doctor that stumbles must not take the patient along
            self._trouble = f"The examination failed: {type(error).__name__}: {error}"
        finally:
            self._ended_at, self._progress = self._now(), ""
        self._ended()

    def _hear(self, news: dict[str, Any]) -> None:
        self._progress = str(news.get("progress", self._progress))
        self._findings = news.get("findings", self._findings)

    def standing(self) -> dict[str, Any]:
        """How far it is; `findings` in the keys of `relay doctor --json`, worst first once it has ended."""
        order = ("problem", "warning", "ok")
        return {
            "running": self.running,
            "started_at": _stamp(self._started_at),
            "ended_at": _stamp(self._ended_at),
            "progress": self._progress,
            "trouble": self._trouble,
            "findings": sorted(self._findings, key=lambda one: order.index(one["grade"])),
        }

    async def close(self) -> None:
        """Ends the one that is under way, and its process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


def _stamp(moment: datetime | None) -> str | None:
    return moment.isoformat()[:19] + "Z" if moment else None
