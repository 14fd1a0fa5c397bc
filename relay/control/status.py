"""What page, API and monitors are told by.  Pure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay import __version__
from relay.control.queue_admin import QueueAdmin

Status = Callable[[], Awaitable[dict[str, Any]]]
"""How the relay is: {"ready": bool, "why": [...], "listening": [...], "upstreams": [...], "devices": [...], ...}."""

Reload = Callable[[], Awaitable[dict[str, Any]]]
"""Reads the configuration again: {"reloaded": bool, "mistakes": [...], "not_applied": [{"setting", "reason"}, ...]}."""

Findings = Callable[[], list[dict[str, Any]]]
"""What the doctor found last: {"grade": ok | warning | problem, "cause", "cure", ...}."""


async def nothing_to_reload() -> dict[str, Any]:
    """Where there is no configuration."""
    return {"reloaded": False, "mistakes": [], "not_applied": []}


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """The desk, how the relay is, and the hour.  `findings` is empty until a doctor reports here."""

    desk: QueueAdmin
    status: Status
    now: Callable[[], datetime]
    findings: Findings = list
    reload: Reload = nothing_to_reload

    async def relay(self) -> dict[str, Any]:
        """What `/api/relay` answers."""
        return {"version": __version__, "tally": await self.desk.tally(), **await self.status()}
