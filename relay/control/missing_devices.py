"""Devices that should mail: who has gone quiet, and who is back."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any

from relay import events
from relay.control.views import stamp
from relay.inbound.devices import Expected

LastMail = Callable[[str], Awaitable[datetime | None]]
Alarm = Callable[[str, str], None]


class MissingDevices:
    """Tells once of each silence, and once of its end.  `began` is since when we listen: before that nobody could mail."""

    def __init__(self, last: LastMail, alarm: Alarm, now: Callable[[], datetime]) -> None:
        self._last, self._alarm, self._now, self._began = last, alarm, now, now()
        self._quiet: dict[str, datetime] = {}
        self._lines: list[dict[str, Any]] = []

    async def look(self, expected: Iterable[Expected]) -> None:
        """Compares each device with its last mail in the spool; raises what the spool raises."""
        lines = []
        for one in expected:
            mailed = await self._last(one.client)
            since = mailed or self._began
            silent = self._now() - since > one.every
            self._tell(one, since, silent=silent, mailed=mailed)
            lines.append({"name": one.name, "client": one.client, "silent": silent, "since": stamp(since)})
            lines[-1]["every_seconds"] = int(one.every.total_seconds())
        self._lines = lines
        self._quiet = {name: since for name, since in self._quiet.items() if name in {line["name"] for line in lines}}

    def lines(self) -> list[dict[str, Any]]:
        """For the status: name, client, silent, since (its last mail, or since when we listen), every_seconds."""
        return list(self._lines)

    def _tell(self, one: Expected, since: datetime, *, silent: bool, mailed: datetime | None) -> None:
        known = self._quiet.get(one.name)
        if silent and known is None:
            self._quiet[one.name] = since
            when = f"since {since:%Y-%m-%d %H:%M} UTC" if mailed else f"since the relay listens ({since:%Y-%m-%d %H:%M} UTC)"
            from relay.control.i18n import Texts  # here: the words of the page, in two languages

            every = Texts("en").span(one.every)
            self._say(
                f"{one.name} ({one.client}) has sent no mail {when}; one was expected every {every}. See whether the device"
                " is on, whether it still mails to this relay, and whether its address has changed.",
                f"silent {one.name} {since.isoformat()}",
            )
        elif not silent and known is not None:
            del self._quiet[one.name]
            text = f"{one.name} ({one.client}) is back: it sent mail at {since:%Y-%m-%d %H:%M} UTC."
            self._say(text, f"back {one.name} {since.isoformat()}")

    def _say(self, text: str, cause: str) -> None:
        events.note("warned", text)
        self._alarm(text, cause)
