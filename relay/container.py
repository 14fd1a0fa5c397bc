"""What a container changes: clients hidden behind its gateway, folders that are removed with it."""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

HostAddress = IPv4Address | IPv6Address

_MARKS = (".dockerenv", "run/.containerenv", "run/secrets/kubernetes.io")
_CGROUP = re.compile(r"/(?:docker|libpod|kubepods|containerd|crio)[./-]")
_REAL_TYPES = frozenset({"bond", "bridge", "ipvlan", "macvlan", "ppp", "vlan", "wlan", "wwan"})
"""Interfaces without hardware of their own that still stand in the LAN: their gateway is a router, not a NAT in front."""
_NAMELESS = re.compile(r"/volumes/[0-9a-f]{64}/_data$")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`masks`: addresses that any client may seem to have, since the container's network replaces the real ones."""

    container: bool = False
    masks: frozenset[HostAddress] = frozenset()


def look_around(root: Path = Path("/")) -> Surroundings:
    """The surroundings of this process.  Never raises; what cannot be read counts as not there."""
    if not in_container(root):
        return Surroundings()
    shown = [*_gateways_v4(_read(root / "proc/net/route")), *_gateways_v6(_read(root / "proc/net/ipv6_route"))]
    if not shown or _in_the_lan(root / "sys/class/net", {interface for interface, _ in shown}):
        return Surroundings(container=True)
    own = _own_addresses(_read(root / "proc/net/fib_trie"))
    return Surroundings(container=True, masks=frozenset({address for _, address in shown} | own))


def in_container(root: Path = Path("/")) -> bool:
    """Docker, Podman, Kubernetes: by the marks they leave.  Not LXC, whose disk stays."""
    return any(os.path.exists(root / mark) for mark in _MARKS) or bool(_CGROUP.search(_read(root / "proc/1/cgroup")))


def lost_with_container(folder: Path, root: Path = Path("/")) -> str:
    """Why what lies in `folder` is gone when the container is made anew; "" if it stays, or if this is no container."""
    if not in_container(root):
        return ""
    mount = mount_of(folder, root)
    if mount is None:
        return ""
    point, source, kind = mount
    if kind in ("tmpfs", "ramfs"):
        return f"{folder} is in memory ({kind})"
    if point == Path("/"):
        return f"{folder} is inside the container, not on a volume"
    if _NAMELESS.search(source):
        return f"{folder} is on a volume without a name"
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gateways_v4(table: str) -> Iterator[tuple[str, HostAddress]]:
    """Interface and gateway of each default route in /proc/net/route, whose numbers have this machine's byte order."""
    for line in table.splitlines()[1:]:
        interface, destination, gateway, *_ = [*line.split(), "", "", ""]
        if destination == "00000000" and int(gateway or "0", 16):
            yield interface, IPv4Address(int(gateway, 16).to_bytes(4, sys.byteorder))


def _gateways_v6(table: str) -> Iterator[tuple[str, HostAddress]]:
    for line in table.splitlines():
        fields = line.split()
        if len(fields) == 10 and fields[0] == "0" * 32 and fields[1] == "00" and int(fields[4], 16):
            yield fields[9], IPv6Address(int(fields[4], 16))


def _own_addresses(trie: str) -> set[HostAddress]:
    """Rootless engines replace the client's address by the container's own IPv4 address."""
    found = {IPv4Address(text) for text in re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", trie)}
    return {address for address in found if not address.is_loopback}


def _in_the_lan(interfaces: Path, default: set[str]) -> bool:
    """Whether the default route goes by an interface of the LAN: the host's own (network_mode: host), or a macvlan.

    A bridge is seen on its host only; a container behind one has one end of a veth pair, without hardware or a type.
    """
    if any(interfaces.glob("*/bridge")):
        return True
    return any(os.path.exists(interfaces / name / "device") or _type(interfaces / name) in _REAL_TYPES for name in default)


def _type(interface: Path) -> str:
    found = re.search(r"^DEVTYPE=(.+)$", _read(interface / "uevent"), re.MULTILINE)
    return found[1] if found else ""


def mount_of(folder: Path, root: Path = Path("/")) -> tuple[Path, str, str] | None:
    """Mount point, source folder and file system type of what `folder` lies on.  proc(5), /proc/pid/mountinfo."""
    real, best = folder.resolve(), None
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5:
            continue
        point = Path(_unescaped(fields[4]))
        if (point == real or point in real.parents) and (best is None or len(point.parts) >= len(best[0].parts)):
            best = point, _unescaped(fields[3]), kind
    return best


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
