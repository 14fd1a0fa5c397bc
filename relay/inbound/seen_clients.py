"""The clients that were seen: when, their names in HELO, their quirks.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_KNOWN = 1000
_NAMES = 8
_ORIGINS = 16
_QUIRKS = 32


@dataclass(slots=True)
class SeenClient:
    """One client address.  `helo`, `users` (who logged in) and `quirks` keep the order in which they were first seen.

    `outside`: it was not let in when it came last, since its address is in none of the listener's networks.
    `origins` has when each HELO name came last, and with which login; behind one address there may be several devices.
    """

    client: str
    last_seen: datetime
    helo: dict[str, None] = field(default_factory=dict)
    users: dict[str, None] = field(default_factory=dict)
    quirks: dict[str, None] = field(default_factory=dict)
    origins: dict[tuple[str, str], datetime] = field(default_factory=dict)
    messages: int = 0
    refused: int = 0
    last_refusal: str = ""
    outside: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "last_seen": self.last_seen.isoformat(),
            "helo": list(self.helo),
            "users": list(self.users),
            "quirks": list(self.quirks),
            "origins": [{"helo": helo, "user": user, "at": at.isoformat()} for (helo, user), at in self.origins.items()],
            "messages": self.messages,
            "refused": self.refused,
            "last_refusal": self.last_refusal,
            "outside": self.outside,
        }


class SeenClients:
    """Keeps at most a thousand clients; the one not seen for the longest time is forgotten."""

    def __init__(self) -> None:
        self._clients: dict[str, SeenClient] = {}

    def saw(self, client: str, now: datetime, helo: str = "", quirks: Iterable[str] = (), user: str = "") -> SeenClient:
        """Notes that a device spoke.  The caller notes messages and refusals in what is returned."""
        device = self._clients.pop(client, None) or SeenClient(client, now)
        self._clients[client] = device  # the last in the dict is the one seen last
        if len(self._clients) > _KNOWN:
            del self._clients[next(iter(self._clients))]
        device.last_seen, device.outside = now, False
        device.origins.pop((helo, user), None)
        device.origins[helo, user] = now
        if len(device.origins) > _ORIGINS:
            del device.origins[next(iter(device.origins))]
        if helo:
            _remember(device.helo, [helo], _NAMES)
        if user:
            _remember(device.users, [user], _NAMES)
        _remember(device.quirks, quirks, _QUIRKS)
        return device

    def as_json(self) -> list[dict[str, Any]]:
        """The device seen last comes first."""
        return [device.as_json() for device in reversed(self._clients.values())]


def _remember(known: dict[str, None], new: Iterable[str], most: int) -> None:
    for one in new:
        if one in known or len(known) < most:
            known[one] = None
