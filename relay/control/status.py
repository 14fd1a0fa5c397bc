"""What page, API and monitors are told by.  Pure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from relay import __version__
from relay.control.device_reports import mail_of, overview, portrait, postponed
from relay.control.queue_admin import QueueAdmin
from relay.control.views import stamp
from relay.mail.device import Device

if TYPE_CHECKING:
    from relay.control.care import Care
    from relay.control.content_reader import AsSent

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
    """The desk, how the relay is, and the hour.  `findings` is empty until a doctor reports here; `devices` are those of
    today's configuration.  `care` is loaded by who first asks for it.  `content` says whether people may look into
    messages, `as_sent` how one is sent."""

    desk: QueueAdmin
    status: Status
    now: Callable[[], datetime]
    findings: Findings = list
    reload: Reload = nothing_to_reload
    devices: Callable[[], tuple[Device, ...]] = tuple
    care: "Callable[[], Awaitable[Care]] | None" = None
    content: Callable[[], bool] = bool
    as_sent: "AsSent | None" = None

    async def known_devices(self) -> Any:
        """All devices, and the clients that no device is known by."""
        return overview(self.devices(), await self.desk.heard(), (await self.status()).get("expected", ()))

    async def device(self, name: str) -> Any:
        """One device and what was made of its mail; None if none has this name."""
        devices = self.devices()
        device = next((one for one in devices if one.name == name), None)
        if device is None:
            return None
        from relay.control.timeline import digest_at, worst_state

        mail = mail_of(device, devices, await self.desk.heard())
        clients = {one.origin.client for one in mail}
        found: dict[str, Any] = portrait(device, devices, mail, await self.desk.made_of(clients), await self.status())
        found |= postponed(device, devices, await self.desk.postponed(clients), self.now())
        for one in found["collecting"]:
            story = await self.desk.message(one["example"])
            if story and (at := digest_at(story["trail"])):  # what is due before is another look
                one["due_at"] = stamp(datetime.fromisoformat(at))
        for one in found["digests"]:
            story = await self.desk.message(one["id"])
            one["state"] = worst_state(story["recipients"]) if story else ""
        return found

    async def relay(self) -> dict[str, Any]:
        """What `/api/relay` answers."""
        return {"version": __version__, "tally": await self.desk.tally(), **await self.status()}
