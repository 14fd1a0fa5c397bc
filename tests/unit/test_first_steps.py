"""What a person is told to type into the first device."""

from typing import Any

import pytest

from relay.control.first_steps import DevicePlace, place_for_devices


def on(host: str, port: int = 2525, tls: str = "starttls", auth: str = "any") -> dict[str, Any]:
    return {"host": host, "port": port, "tls": tls, "auth": auth}


EVERYWHERE = [on("0.0.0.0")]


@pytest.mark.parametrize(
    ("asked", "lan", "address"),
    [
        ("192.168.0.5", "192.168.0.5", "192.168.0.5"),
        ("10.8.0.1", "192.168.0.5", "10.8.0.1"),  # the viewer's way here works for a neighbour of the viewer's
        ("fd00::5", "192.168.0.5", "fd00::5"),
        ("nas.local", "192.168.0.5", "192.168.0.5"),  # many devices look up no such names
        ("localhost", "192.168.0.5", "192.168.0.5"),
        ("127.0.0.1", "192.168.0.5", "192.168.0.5"),
        ("::1", "192.168.0.5", "192.168.0.5"),
        ("localhost", "127.0.0.1", ""),
        ("relay.localhost", "", ""),
    ],
)
def test_the_address(asked: str, lan: str, address: str) -> None:
    """An address that others reach; none rather than loopback."""
    assert place_for_devices(EVERYWHERE, asked, lan, False) == DevicePlace(address, 2525, True, False)


@pytest.mark.parametrize(
    ("asked", "address"), [("192.168.0.5", "192.168.0.5"), ("nas.local", "nas.local"), ("localhost", ""), ("127.0.0.1", "")]
)
def test_a_container_knows_the_viewers_way_only(asked: str, address: str) -> None:
    """Its own address is nobody's outside, and its port may be another one there."""
    assert place_for_devices(EVERYWHERE, asked, "172.18.0.2", True) == DevicePlace(address, 2525, True, True)


def test_a_listener_on_one_address_is_reached_there() -> None:
    """Whatever way the viewer came; a relay for this machine alone says so."""
    assert place_for_devices([on("192.168.0.10", 25)], "10.8.0.1", "10.8.0.1", False) == DevicePlace(
        "192.168.0.10", 25, True, False
    )
    assert place_for_devices([on("127.0.0.1", 25)], "10.8.0.1", "10.8.0.1", False) == DevicePlace("127.0.0.1", 25, True, False)


def test_the_easiest_listener_is_named() -> None:
    """One that asks for nothing before one with TLS or a login, and any of them before loopback; none: nothing."""
    strict = on("0.0.0.0", 465, tls="implicit")
    named = on("0.0.0.0", 587, auth="required")
    for listening, port, easy in (
        ([strict, named, on("0.0.0.0", 25)], 25, True),
        ([on("127.0.0.1", 25), strict], 465, False),
        ([named], 587, False),
        ([on("0.0.0.0", 26, tls="required")], 26, False),
    ):
        place = place_for_devices(listening, "192.168.0.5", "", False)
        assert place
        assert (place.port, place.open) == (port, easy)
    assert place_for_devices([], "192.168.0.5", "", False) is None
