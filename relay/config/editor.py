"""The configuration on the page: what is in force, a draft checked, a draft saved and taken over.

The work is done in editor_process.py, one request at a time; of the last look a copy is kept for those who ask again.
"""

import asyncio
import json
import os
import pickle
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.detached import environment

if TYPE_CHECKING:
    from relay.config.config_values import Config

PATIENCE = 20.0
"""Seconds for one request; the library of a push service may need some to look at its URLs."""

MOST_WAITING = 4
_FRESH = 20.0  # seconds that a look is good for while the file stays the same
_SOURCE = Path(__file__).parents[2]

Reload = Callable[[], Awaitable[dict[str, Any]]]


class Busy(Exception):
    """Too many ask at once, or the one before takes too long."""


class Editor:
    """`config` gives the configuration in force, `reload` has the relay read it again."""

    def __init__(self, config: "Callable[[], Config]", reload: Reload) -> None:
        self._config, self._reload = config, reload
        self._turn, self._waiting = asyncio.Lock(), 0
        self._seen: tuple[Config, object, float, dict[str, Any]] | None = None
        self._taking_over: asyncio.Task[dict[str, Any]] | None = None
        self.last: dict[str, Any] | None = None
        """What came of the last draft that was saved."""

    async def look(self) -> dict[str, Any]:
        """See editor_process.py.  Raises Busy."""
        running = self._config()
        state = _state(running.source)
        if self._seen and self._seen[0] is running and self._seen[1] == state and time.monotonic() - self._seen[2] < _FRESH:
            return self._seen[3]
        found = await self._asked("look")
        self._seen = (running, state, time.monotonic(), found)
        return found

    async def check(self, text: str) -> dict[str, Any]:
        """{"mistakes", "remarks"}: nothing is changed by it.  Raises Busy."""
        return await self._asked("check", text)

    async def save(self, text: str, stamp: str) -> dict[str, Any]:
        """{"saved", "refused", "mistakes", ...}; if it was saved, with what the reload says.  Raises Busy."""
        said = await self._asked("save", text, stamp)
        self._seen = None
        if not said["saved"]:
            return said
        self._taking_over = asyncio.create_task(self._taken_over(said))
        return await asyncio.shield(self._taking_over)  # it may move the page that this came over

    async def _taken_over(self, said: dict[str, Any]) -> dict[str, Any]:
        self.last = {**said, "reload": await self._reload()}
        return self.last

    async def _asked(self, work: str, text: str = "", stamp: str = "") -> dict[str, Any]:
        if self._waiting >= MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE), self._turn:
                return await self._done(work, text, stamp)
        except (TimeoutError, OSError, ValueError) as error:
            raise Busy from error
        finally:
            self._waiting -= 1

    async def _done(self, work: str, text: str, stamp: str) -> dict[str, Any]:
        from relay.config.editor_process import Request

        request = Request(work, self._config(), dict(os.environ), text, stamp)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "relay.config.editor_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # never shown: an error of ours might repeat what was read
            env=environment("RELAY_TEST_", PYTHONPATH=str(_SOURCE)),
            start_new_session=True,
        )
        try:
            said, _ = await process.communicate(pickle.dumps(request))
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        found: dict[str, Any] = json.loads(said)
        return found


def _state(source: str) -> object:
    """What changes when the file does."""
    try:
        there = Path(source).stat()
    except OSError:
        return None
    return there.st_ino, there.st_size, there.st_mtime_ns, there.st_mode
