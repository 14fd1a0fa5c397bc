"""What to type into a device: the address that it reaches this machine by, and the port.  Pure."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PLAIN = ("off", "starttls")
_EVERY = ("0.0.0.0", "::")  # noqa: S104 - what a listener says of itself


@dataclass(frozen=True, slots=True)
class DevicePlace:
    """`address` "" where nobody here knows it.  `open`: a device needs neither TLS nor a login there.

    `inside`: the port is that of a container, which may be another one outside.
    """

    address: str
    port: int
    open: bool
    inside: bool


def place_for_devices(listening: Sequence[Mapping[str, Any]], asked: str, lan: str, container: bool) -> DevicePlace | None:
    """`asked`: the host name or address by which the viewer came here; `lan`: this machine's own address in the LAN.

    A container knows the viewer's way in only; what it takes for its own address exists inside alone.  None without listeners.
    """
    if not listening:
        return None
    best = min(listening, key=lambda one: (_loops(str(one["host"])), not _is_open(one)))
    address = str(best["host"])
    if container or address in _EVERY:
        known = (container or _is_address(asked)) and not _loops(asked)
        address = asked if known else "" if container or _loops(lan) else lan
    return DevicePlace(address, int(best["port"]), _is_open(best), container)


def _is_open(listener: Mapping[str, Any]) -> bool:
    return listener["tls"] in _PLAIN and listener.get("auth") != "required"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _loops(host: str) -> bool:
    """Whether it leads nowhere but to the machine itself."""
    if not _is_address(host):
        return not host or host == "localhost" or host.endswith(".localhost")
    return ipaddress.ip_address(host).is_loopback
