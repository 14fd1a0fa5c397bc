"""The settings of the status page."""

from pathlib import Path

import pytest

from relay.config import Loaded, load


def loaded(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "config.yaml"
    path.write_text("upstreams: {isp: {host: mail.isp.example, sender: a@isp.example}}\n" + text, encoding="utf-8")
    return load(path, {}, machine_name="nas")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
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
