"""What a container changes, read from files as the kernel writes them: gateways, networks, mounts."""

from ipaddress import ip_address

import pytest

from relay.container import Surroundings, in_container, look_around, lost_with_container

ROUTE = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t{gateway}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
)
ROUTE_V6 = (
    "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
)
TRIE = (
    "Local:\n  +-- 172.17.0.0/16 2 0 2\n     |-- 172.17.0.2\n        /32 host LOCAL\n"
    "     |-- 127.0.0.1\n        /32 host LOCAL\n"
)


def native(address: str) -> str:
    """As /proc/net/route has it on this machine."""
    import sys

    return f"{int.from_bytes(ip_address(address).packed, sys.byteorder):08X}"


@pytest.fixture
def root(tmp_path):
    """The root of a container behind a bridge."""
    (tmp_path / ".dockerenv").touch()
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/1").mkdir()
    (tmp_path / "proc/net/route").write_text(ROUTE.format(gateway=native("172.17.0.1")))
    (tmp_path / "proc/net/ipv6_route").write_text(ROUTE_V6)
    (tmp_path / "proc/net/fib_trie").write_text(TRIE)
    (tmp_path / "sys/class/net/eth0").mkdir(parents=True)
    (tmp_path / "sys/class/net/eth0/uevent").write_text("INTERFACE=eth0\nIFINDEX=7\n")
    (tmp_path / "sys/class/net/lo").mkdir()
    return tmp_path


def test_behind_a_bridge_gateways_and_own_addresses_are_masks(root):
    """The gateways of both families, and the own address that rootless engines show; loopback never."""
    seen = look_around(root)
    assert seen.container
    assert {str(one) for one in seen.masks} == {"172.17.0.1", "fd00::1", "172.17.0.2"}


def test_outside_a_container_nothing_is_masked(root):
    """A router of the LAN that sends its log by mail is a device like any other."""
    (root / ".dockerenv").unlink()
    assert look_around(root) == Surroundings()


def hardware(net):
    (net / "eth0/device").mkdir()


def macvlan(net):
    (net / "eth0/uevent").write_text("DEVTYPE=macvlan\nINTERFACE=eth0\n")


def hosts_bridge(net):
    (net / "docker0/bridge").mkdir(parents=True)


@pytest.mark.parametrize("network", [hardware, macvlan, hosts_bridge])
def test_in_the_hosts_network_nothing_is_masked(root, network):
    """network_mode: host and macvlan show true addresses, and the gateway is the home's router."""
    network(root / "sys/class/net")
    assert look_around(root) == Surroundings(container=True)


def test_without_a_network_nothing_is_masked(root):
    """No default route, no gateway."""
    (root / "proc/net/route").write_text(ROUTE.splitlines()[0] + "\n")
    (root / "proc/net/ipv6_route").unlink()
    assert look_around(root) == Surroundings(container=True)


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        ("12:pids:/docker/0123456789abcdef\n", True),
        ("0::/system.slice/docker-0123456789.scope\n", True),
        ("1:name=systemd:/kubepods.slice/x\n", True),
        ("0::/machine.slice/libpod-0123.scope\n", True),
        ("0::/init.scope\n", False),
        ("0::/system.slice/docker.service\n", True),  # whatever lives in there
        ("0::/lxc.payload.nas\n", False),
    ],
)
def test_containers_are_known_by_their_group(root, cgroup, container):
    """Where there is no mark file, process 1 tells."""
    (root / ".dockerenv").unlink()
    (root / "proc/1/cgroup").write_text(cgroup)
    assert in_container(root) is container


MOUNTS = {
    "layer": "600 500 0:52 / / ro,relatime - overlay overlay rw,lowerdir=/x",
    "named": "610 600 8:1 /var/lib/docker/volumes/relay_spool/_data {place} rw,relatime - ext4 /dev/sda1 rw",
    "nameless": "610 600 8:1 /var/lib/docker/volumes/" + "0a" * 32 + "/_data {place} rw,relatime - ext4 /dev/sda1 rw",
    "bind": "610 600 8:1 /srv/relay {place} rw,relatime - ext4 /dev/sda1 rw",
    "memory": "610 600 0:60 / {place} rw,relatime - tmpfs tmpfs rw,size=64k",
}


@pytest.mark.parametrize(
    ("kind", "words"),
    [("layer", "not on a volume"), ("nameless", "without a name"), ("memory", "in memory"), ("named", ""), ("bind", "")],
)
def test_what_a_new_container_would_lose(root, tmp_path_factory, kind, words):
    """The mount that the folder lies on decides; a mount on its parent counts, one on a neighbour does not."""
    place = tmp_path_factory.mktemp("state dir")
    written = str(place).replace(" ", "\\040")
    lines = [MOUNTS["layer"], MOUNTS[kind].format(place=written)] if kind != "layer" else [MOUNTS["layer"]]
    lines.append(MOUNTS["named"].format(place=written + "-neighbour"))
    (root / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")
    told = lost_with_container(place, root)
    assert bool(told) == bool(words)
    assert words in told
    assert lost_with_container(place / "deeper", root).replace("/deeper", "") == told


def test_outside_a_container_no_folder_is_lost(root):
    """A disk is a disk."""
    (root / ".dockerenv").unlink()
    (root / "proc/self/mountinfo").write_text(MOUNTS["layer"] + "\n")
    assert lost_with_container(root, root) == ""


def test_unreadable_facts_are_no_reason_to_stop(tmp_path):
    """An empty /proc says nothing and breaks nothing."""
    (tmp_path / ".dockerenv").touch()
    assert look_around(tmp_path) == Surroundings(container=True)
    assert lost_with_container(tmp_path, tmp_path) == ""
