"""config.example.yaml is complete, and true."""

import re
from pathlib import Path

import pytest
import yaml

from relay.config import Config, Loaded, load
from relay.upstream.providers import NAMES

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
UNCOMMENTED = re.sub(r"(?m)^( *)#(?=\S)", r"\1", TEXT)

VARIABLES = {"NAS_PASSWORD": "a", "GMAIL_APP_PASSWORD": "b", "PHONE_URL": "ntfys://ntfy.example/topic"}
"""What it takes from the environment."""

SETTINGS = {
    "listen": "address networks tls tls_cert tls_key auth users plain_login legacy_tls",
    "recipients": "default_domain aliases everything_to",
    "upstreams": (
        "provider host port tls ca_file fingerprint verify auth username password password_file sender sender_domains"
        " rewrite rewrite_from limits timeout oauth pop api url save_to_sent tls_min client_cert client_key legacy_tls"
        " folder save push title attachments"
    ),
    "limits of an upstream": "connections per_minute per_day message recipients",
    "pop": "host port tls window",
    "oauth": (
        "client_id client_secret_file tenant provider refresh_token_file token_url device_url auth_url"
        " scope grant certificate_file"
    ),
    "routes": "to from client listener via reject discard device user copy_to",
    "retry": "delays give_up_after warn_after rest rest_login",
    "notices": "to via webhook digest",
    "repair": "date_skew fallback_charset hide_client",
    "spool": "url max_message keep_free keep_history",
    "dns": "nameservers trusted",
    "mx": "tls private connections per_minute",
    "dkim": "domain selector key_file via algorithm",
    "limits": "connections per_client recipients messages_per_minute share idle",
    "web": "address password_file hosts user_header proxies content",
    "devices": ("client user helo name sender subject_prefix header to copy_to may_send_to limits storm quiet expect_every"),
    "limits of a device": "messages_per_minute per_day message",
    "storm": "same_within per_hour",
    "quiet": "hours except",
    "log": "format level",
}


OF_A_DEVICE = ("limits of a device", "storm", "quiet")


def test_it_passes_as_it_stands() -> None:
    """In a fresh clone, without a file or a variable beside it, and without a remark."""
    loaded = load(EXAMPLE, {}, machine_name="nas")
    assert (loaded.mistakes, loaded.remarks) == ((), ())


@pytest.fixture
def everything(tmp_path: Path) -> Loaded:
    """The example with every setting in use, and the files beside it that it names."""
    for name in re.findall(r"\b[\w-]+\.(?:pem|secret)\b", UNCOMMENTED):
        (tmp_path / name).write_text("x\n", encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(UNCOMMENTED, encoding="utf-8")
    return load(path, VARIABLES, machine_name="nas")


def test_it_passes_with_every_setting_in_use(everything: Loaded) -> None:
    """What stands behind a # is true as well."""
    assert [str(mistake) for mistake in everything.mistakes] == []
    assert everything.config
    assert list(everything.config.upstreams) == ["isp", "gmail", "m365", "m365-application", "old-host", "phone", "scans"]


def test_it_shows_every_setting() -> None:
    """Each key of the contract is in it."""
    root = yaml.safe_load(UNCOMMENTED)
    ups = root["upstreams"].values()
    shown = {
        **{key: set(root[key]) for key in SETTINGS if isinstance(root.get(key), dict)},
        "listen": {key for one in root["listen"] for key in one},
        "routes": {key for one in root["routes"] for key in one},
        "dkim": {key for one in root["dkim"] for key in one},
        "upstreams": {key for one in ups for key in one},
        "limits of an upstream": {key for one in ups for key in one.get("limits", {})},
        "pop": {key for one in ups for key in one.get("pop", {})},
        "oauth": {key for one in ups for key in one.get("oauth", {})},
        "devices": {key for one in root["devices"].values() for key in one},
        "limits of a device": {key for one in root["devices"].values() for key in one.get("limits", {})},
        "storm": {key for one in root["devices"].values() for key in one.get("storm", {})},
        "quiet": {key for one in root["devices"].values() for key in one.get("quiet", {})},
    }
    assert shown == {section: set(keys.split()) for section, keys in SETTINGS.items()}
    assert set(root) == set(SETTINGS) - {"limits of an upstream", "pop", "oauth", *OF_A_DEVICE} | {"hostname"}


def test_the_defaults_it_shows_are_the_defaults(tmp_path: Path) -> None:
    """What is in use in the example, but for the upstream itself, changes nothing."""
    path = tmp_path / "config.yaml"
    path.write_text("upstreams: {isp: {host: mail.isp.example, sender: taro@isp.example}}", encoding="utf-8")
    least, shown = load(path, {}, machine_name="nas").config, load(EXAMPLE, {}, machine_name="nas").config
    assert least
    assert shown
    fields = [name for name in Config.__slots__ if name != "source"]
    assert {name: getattr(shown, name) for name in fields} == {name: getattr(least, name) for name in fields}


def test_it_names_every_provider() -> None:
    """The list of presets in the comment is the list of presets."""
    comment = TEXT[TEXT.index("provider: generic") : TEXT.index("host: mail.isp.example")]
    assert {name for name in NAMES if not re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", comment)} == set()
