"""The settings of the status page and of the devices that should be heard of."""

from datetime import timedelta
from pathlib import Path

import pytest

from relay.config import Loaded, load
from relay.inbound.devices import Expected


def loaded(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "config.yaml"
    path.write_text("upstreams: {isp: {host: mail.isp.example, sender: a@isp.example}}\n" + text, encoding="utf-8")
    return load(path, {}, machine_name="nas")


def test_devices_are_read(tmp_path: Path) -> None:
    """Name, address and time, IPv6 in its usual form."""
    config = loaded(
        tmp_path, "devices: {nas: {client: 192.168.0.20, expect_every: 26h}, cam: {client: 'FD00::0:1', expect_every: 30m}}"
    ).config
    assert config
    assert config.devices == (
        Expected("nas", "192.168.0.20", timedelta(hours=26)),
        Expected("cam", "fd00::1", timedelta(minutes=30)),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("devices: {nas: {client: 192.168.0.20}}", "devices.nas.expect_every: expected a time such as 26h, found nothing"),
        ("devices: {nas: {expect_every: 26h}}", "devices.nas.client: expected the device's address, found nothing"),
        ("devices: {nas: {client: 192.168.0.0/24, expect_every: 26h}}", "devices.nas.client: expected an IP address"),
        ("devices: {nas: {client: nas.local, expect_every: 26h}}", "devices.nas.client: expected an IP address"),
        ("devices: {nas: {client: 10.0.0.1, expect_every: 5s}}", "devices.nas.expect_every"),
        ("devices: {nas: 10.0.0.1}", "devices.nas: expected client and expect_every"),
        ("devices: {nas: {client: 10.0.0.1, expect_evry: 5h}}", "did you mean 'expect_every'"),
        (
            "devices: {a: {client: 10.0.0.1, expect_every: 5h}, b: {client: 10.0.0.1, expect_every: 5h}}",
            "devices.b.client: expected each device once",
        ),
        ("web: {address: '0.0.0.0:8025'}", "web.password: expected password or password_file"),
        ("web: {address: '0.0.0.0:8025', user_header: Remote-User}", "web.proxies: expected the proxy's address"),
        ("web: {address: '127.0.0.1:8025', proxies: [10.0.0.1]}", "web.user_header: expected the header"),
        (
            "web: {address: '127.0.0.1:8025', user_header: Host, proxies: [10.0.0.1]}",
            "web.user_header: expected the name of an HTTP",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, complaint: str) -> None:
    """Each with its place and what was expected."""
    found = loaded(tmp_path, text)
    assert found.config is None
    assert any(complaint in str(mistake) for mistake in found.mistakes), [str(one) for one in found.mistakes]


def test_a_proxy_may_do_the_login(tmp_path: Path) -> None:
    """A header named on purpose, believed from the proxy only, is enough for an address that is not loopback."""
    config = loaded(
        tmp_path, "web: {address: '0.0.0.0:8025', user_header: Remote-User, proxies: [172.16.0.2], hosts: [mail.example.jp]}"
    ).config
    assert config
    assert (config.web.user_header, str(config.web.proxies[0]), config.web.hosts) == (
        "Remote-User",
        "172.16.0.2/32",
        ("mail.example.jp",),
    )
