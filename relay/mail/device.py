"""A device that the configuration names: how it is known, and what holds for its mail.  Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import time, timedelta

from relay.mail.address import Address
from relay.mail.envelope import Origin
from relay.mail.glob import matching
from relay.networks import Network, client_of

OWN_FIELDS = re.compile(
    r"(?i)(from|sender|to|cc|bcc|subject|date|message-id|received|return-path|mime-version|in-reply-to|references"
    r"|content-.*|resent-.*|(x-google-)?dkim-.*|domainkey-.*|arc-.*|authentication-results|x-original-.*)"
)
"""Fields that are the message's own, or that the relay writes itself: no device adds them."""


def is_prefix(text: str) -> bool:
    """Whether every Subject of a device may begin with it."""
    return bool(text.strip()) and text.isprintable() and len(text) <= 100


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """What one device may send: messages a minute and a day (by UTC), octets of one message.  None: no limit of its own."""

    messages_per_minute: int | None = None
    per_day: int | None = None
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Storm:
    """When mail of a device becomes a digest: more of the same within `same_within` of the last of it, and whatever is
    over `per_hour` messages.  None: not looked at.
    """

    same_within: timedelta | None = None
    per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Quiet:
    """When mail of a device waits: from, until, by the local clock; past midnight if `until` is the earlier one.

    `unless` are globs over the subject of mail that goes at once (`except` in the configuration).
    """

    hours: tuple[tuple[time, time], ...]
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """One device.  `client`, `user` and `helo` say how it is known: all that are set must hold, of several values one.

    `display` is the display name of From (`name` in the configuration).  `to` replaces its recipients, `copy_to` adds
    some; `may_send_to` are globs over what it may address, () is anybody.  `expect_every` None: its silence is no news.
    """

    name: str
    client: tuple[Network, ...] = ()
    user: tuple[str, ...] = ()
    helo: tuple[str, ...] = ()
    display: str = ""
    sender: Address | None = None
    subject_prefix: str = ""
    header: tuple[tuple[str, str], ...] = ()
    to: tuple[Address, ...] = ()
    copy_to: tuple[Address, ...] = ()
    may_send_to: tuple[str, ...] = ()
    limits: DeviceLimits = DeviceLimits()
    storm: Storm | None = None
    quiet: Quiet | None = None
    expect_every: timedelta | None = None

    @property
    def may_wait(self) -> bool:
        """Whether some of its mail waits: for the end of quiet hours, or for a digest."""
        return bool(self.storm or self.quiet)

    def sent(self, client: str, user: str, helo: str) -> bool:
        """Whether what came so is of this device."""
        if self.user and user not in self.user:
            return False
        if self.client:
            address = client_of(client)
            if address is None or not any(address in network for network in self.client):
                return False
        return not self.helo or matching(self.helo, helo) is not None

    def covers(self, other: "Device") -> bool:
        """Whether all mail of the other is of this one, so that the other is never found behind it."""
        inside = all(any(_inside(one, wide) for wide in self.client) for one in other.client)
        by_client = not self.client or (bool(other.client) and inside)
        by_user = not self.user or (bool(other.user) and set(other.user) <= set(self.user))
        by_helo = not self.helo or "*" in self.helo or (bool(other.helo) and set(other.helo) <= set(self.helo))
        return by_client and by_user and by_helo


def device_of(devices: Iterable[Device], origin: Origin) -> Device | None:
    """The first device that a message of this origin is of.  Notices of our own are of none: do not ask for them."""
    return known_as(devices, origin.client, origin.user, origin.helo)


def known_as(devices: Iterable[Device], client: str, user: str, helo: str) -> Device | None:
    """The same, before there is a message."""
    return next((one for one in devices if one.sent(client, user, helo)), None)


def _inside(one: Network, wide: Network) -> bool:
    # mypy cannot see that both are of one version
    return one.version == wide.version and one.subnet_of(wide)  # type: ignore[arg-type]
