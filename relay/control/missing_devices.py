"""Devices that should mail: who has gone quiet, and who is back."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from relay import events
from relay.control.device_reports import shown
from relay.control.queue_admin import EVER
from relay.control.views import stamp
from relay.mail.device import Device, device_of
from relay.spool.entry import Heard

Hear = Callable[[datetime], Awaitable[Sequence[Heard]]]
Alarm = Callable[[str, str], None]

_LATE = timedelta(minutes=10)
"""How long after its acceptance a message may be found in the spool: disks are slow, clocks of several relays differ."""


class MissingDevices:
    """Tells once of each silence, and once of its end.  `began` is since when we listen: before that nobody could mail.

    `hear` tells who mailed since a time: at first since ever, then only what is new.
    """

    def __init__(self, hear: Hear, alarm: Alarm, now: Callable[[], datetime]) -> None:
        self._hear, self._alarm, self._now, self._began = hear, alarm, now, now()
        self._devices: tuple[Device, ...] = ()
        self._since = EVER
        self._mailed: dict[str, datetime] = {}
        self._quiet: dict[str, datetime] = {}
        self._lines: list[dict[str, Any]] = []

    async def look(self, devices: Sequence[Device]) -> None:
        """Compares each device with its last mail in the spool; raises what the spool raises."""
        expected = [(one, one.expect_every) for one in devices if one.expect_every is not None]
        if expected:
            await self._listen(tuple(devices))
        lines = []
        for one, every in expected:
            mailed = self._mailed.get(one.name)
            since = mailed or self._began
            silent = self._now() - since > every
            self._tell(one, every, since, silent=silent, mailed=mailed)
            lines.append({"name": one.name, "client": shown(one), "silent": silent, "since": stamp(since)})
            lines[-1]["every_seconds"] = int(every.total_seconds())
        self._lines = lines
        self._quiet = {name: since for name, since in self._quiet.items() if name in {line["name"] for line in lines}}

    def lines(self) -> list[dict[str, Any]]:
        """For the status: name, client, silent, since (its last mail, or since when we listen), every_seconds."""
        return list(self._lines)

    async def _listen(self, devices: tuple[Device, ...]) -> None:
        """Whose mail came since the last look; all that is known once more where the settings have changed."""
        if devices != self._devices:
            self._devices, self._since, self._mailed = devices, EVER, {}
        began = self._now()
        for origin, _, last in await self._hear(self._since):
            device = device_of(devices, origin)
            if device:
                self._mailed[device.name] = max(last, self._mailed.get(device.name, last))
        self._since = began - _LATE

    def _tell(self, one: Device, every: timedelta, since: datetime, *, silent: bool, mailed: datetime | None) -> None:
        known, who = self._quiet.get(one.name), f"{one.name} ({shown(one)})"
        if silent and known is None:
            self._quiet[one.name] = since
            when = f"since {since:%Y-%m-%d %H:%M} UTC" if mailed else f"since the relay listens ({since:%Y-%m-%d %H:%M} UTC)"
            from relay.control.i18n import Texts  # here: the words of the page, in two languages

            self._say(
                f"{who} has sent no mail {when}; one was expected every {Texts('en').span(every)}. See whether the device"
                " is on, whether it still mails to this relay, and whether its address has changed.",
                f"silent {one.name} {since.isoformat()}",
            )
        elif not silent and known is not None:
            del self._quiet[one.name]
            self._say(f"{who} is back: it sent mail at {since:%Y-%m-%d %H:%M} UTC.", f"back {one.name} {since.isoformat()}")

    def _say(self, text: str, cause: str) -> None:
        events.note("warned", text)
        self._alarm(text, cause)
