"""Whose mail it is."""

from ipaddress import ip_network

import pytest

from relay.mail.device import Device, device_of
from relay.mail.envelope import Origin

NET = (ip_network("192.168.0.0/28"),)


@pytest.mark.parametrize(
    ("device", "origin", "is_it"),
    [
        (Device("a", client=NET), Origin("192.168.0.3"), True),
        (Device("a", client=NET), Origin("::ffff:192.168.0.3"), True),
        (Device("a", client=NET), Origin("192.168.0.16"), False),
        (Device("a", client=NET), Origin("fd00::1"), False),
        (Device("a", client=(ip_network("fe80::/10"),)), Origin("fe80::1%eth0"), True),
        (Device("a", client=NET), Origin("unix"), False),
        (Device("a", user=("nas", "Cam")), Origin("192.168.0.3", user="Cam"), True),
        (Device("a", user=("nas",)), Origin("192.168.0.3", user="NAS"), False),
        (Device("a", user=("nas",)), Origin("192.168.0.3"), False),
        (Device("a", helo=("BRN*",)), Origin("192.168.0.3", "brn001122"), True),
        (Device("a", helo=("BRN*",)), Origin("192.168.0.3", "xBRN"), False),
        (Device("a", helo=("BRN*",)), Origin("192.168.0.3"), False),
        (Device("a", client=NET, user=("nas",), helo=("x",)), Origin("192.168.0.3", "x", user="nas"), True),
        (Device("a", client=NET, user=("nas",), helo=("x",)), Origin("192.168.0.3", "x", user="cam"), False),
        (Device("a", client=NET, user=("nas",), helo=("x",)), Origin("192.168.0.3", "y", user="nas"), False),
        (Device("a", client=NET, user=("nas",), helo=("x",)), Origin("192.168.0.99", "x", user="nas"), False),
    ],
)
def test_all_that_is_set_must_hold(device: Device, origin: Origin, is_it: bool) -> None:
    """Address, login and HELO; of several values one."""
    assert device.sent(origin.client, origin.user, origin.helo) is is_it


def test_the_first_that_matches_is_it() -> None:
    """The order of the configuration decides."""
    one, other = Device("one", client=NET, user=("x",)), Device("other", client=NET)
    assert device_of((one, other), Origin("192.168.0.1", user="x")) == one
    assert device_of((one, other), Origin("192.168.0.1")) == other
    assert device_of((one, other), Origin("10.0.0.1")) is None


@pytest.mark.parametrize(
    ("first", "second", "covered"),
    [
        (Device("a", client=NET), Device("b", client=(ip_network("192.168.0.1"),)), True),
        (Device("a", client=NET), Device("b", client=(ip_network("192.168.0.1"), ip_network("10.0.0.1"))), False),
        (Device("a", client=NET), Device("b", user=("x",)), False),
        (Device("a", user=("x", "y")), Device("b", user=("x",), client=NET), True),
        (Device("a", helo=("x",)), Device("b", helo=("x", "y")), False),
        (Device("a", client=(ip_network("::/0"),)), Device("b", client=NET), False),
        (Device("a", helo=("*",)), Device("b", client=NET, user=("x",)), True),
    ],
)
def test_who_is_never_found_is_known(first: Device, second: Device, covered: bool) -> None:
    """A device whose mail is all of one before it."""
    assert first.covers(second) is covered
