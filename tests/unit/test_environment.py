"""Settings without a file; which file there is; our own name."""

import json
import os
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from relay.config import Config, find, load
from relay.config.environment import LONG, SHORT, WHOLE
from relay.config.loader import default_hostname
from relay.config.schema import SECTIONS
from relay.mail.address import Address
from relay.upstream.settings import TlsMode

FULL = {
    "RELAY_HOST": "mail.isp.example",
    "RELAY_PORT": "465",
    "RELAY_TLS": "implicit",
    "RELAY_USERNAME": "taro@isp.example",
    "RELAY_PASSWORD": " p%s${HOME}$w#rd ",
    "RELAY_SENDER": "nas@isp.example",
    "RELAY_NETWORKS": "192.168.7.0/24, private",
    "RELAY_HOSTNAME": "relay.home.example",
    "RELAY_NOTICES_TO": "me@example.jp",
    "RELAY_LISTEN": "127.0.0.1:2525 [::1]:2525",
    "RELAY_SPOOL": "sqlite:/srv/spool.db",
    "RELAY_WEB": "127.0.0.1:8025",
    "RELAY_RECIPIENTS_EVERYTHING_TO": "me@example.jp",
}


def said(environ: dict[str, str]) -> list[str]:
    """Every mistake in an environment."""
    return [str(mistake) for mistake in load(None, environ, machine_name="nas").mistakes]


def test_everything_that_the_environment_can_say() -> None:
    """Each variable arrives where a file's setting would."""
    loaded = load(None, FULL, machine_name="nas")
    assert loaded.mistakes == ()
    config = loaded.config
    assert config
    (upstream,) = config.upstreams.values()
    assert (upstream.smtp.host, upstream.smtp.port, upstream.smtp.tls.mode) == ("mail.isp.example", 465, TlsMode.IMPLICIT)
    assert upstream.identity.sender == Address("nas", "isp.example")
    assert [listener.name for listener in config.listeners] == ["127.0.0.1:2525", "[::1]:2525"]
    assert all(ip_network("192.168.7.0/24") in listener.networks for listener in config.listeners)
    assert (config.hostname, config.notices.to, config.source) == ("relay.home.example", Address("me", "example.jp"), "")
    assert (config.spool.url, config.web.address) == ("sqlite:/srv/spool.db", "127.0.0.1:8025")
    assert config.recipients.everything_to == (Address("me", "example.jp"),)
    assert config.routes[0].via == (upstream.name,)


SETTINGS = {
    "hostname": "relay.home.example",
    "listen": {"address": "127.0.0.1:2525", "networks": ["192.168.7.0/24", "private"], "tls": "required", "auth": "off",
               "tls_cert": "FILE", "tls_key": "FILE", "plain_login": "true", "legacy_tls": "true"},
    "recipients": {"default_domain": "isp.example", "everything_to": ["me@isp.example", "you@isp.example"]},
    "retry": {"delays": ["5m", "1h"], "give_up_after": "2d", "warn_after": "1h", "rest": ["2m", "4m"], "rest_login": "20m"},
    "notices": {"to": "boss@isp.example", "via": "upstream", "webhook": "https://ntfy.example/topic", "digest": "10m"},
    "repair": {"date_skew": "1d", "fallback_charset": ["utf-8", "cp932"], "hide_client": "true"},
    "spool": {"url": "postgresql://relay@localhost/relay", "password": " a, b ", "fallback": "sqlite:/srv/fallback.db",
              "lease": "30s", "name": "cellar", "max_size": "10GB", "max_message": "20MB", "keep_free": "100MB",
              "keep_history": "7d", "state_dir": "/srv/state"},
    "dns": {"nameservers": ["192.168.0.1", "192.168.0.2:5353"], "trusted": ["192.168.0.1", "192.168.0.2"]},
    "mx": {"tls": "verified", "private": "true", "connections": "3", "per_minute": "60"},
    "dkim": {"domain": "own.example", "selector": "cellar", "key_file": "/srv/dkim.pem", "via": "upstream",
             "algorithm": "ed25519"},
    "limits": {"connections": "50", "per_client": "5", "recipients": "200", "messages_per_minute": "30", "share": "20%",
               "idle": "2m"},
    "web": {"address": "0.0.0.0:8025", "password": "hunter2", "hosts": ["relay.example", "nas.example"],
            "user_header": "Remote-User", "proxies": ["192.168.0.3", "192.168.0.4"], "content": "false"},
    "log": {"format": "json", "level": "debug"},
}  # fmt: skip
"""Each setting that has a variable, none at its default, as a file would say it."""


UPSTREAMS = {
    "smtp": {
        "host": "mail.isp.example", "port": "2465", "tls": "starttls", "ca_file": "FILE", "fingerprint": "ab" * 32,
        "verify": "false", "tls_min": "1.3", "client_cert": "FILE", "client_key": "FILE", "auth": "login",
        "username": "taro@isp.example", "password": " a, b ", "sender": "nas@isp.example",
        "sender_domains": ["isp.example", "other.example"], "rewrite": "always", "rewrite_from": "false", "timeout": "30s",
        "limits": {"connections": "2", "per_minute": "50", "per_day": "400", "message": "20MB", "recipients": "9"},
    },
    "old": {"host": "mail.isp.example", "sender": "nas@isp.example", "legacy_tls": "true"},
    "provider": {"provider": "gmail", "username": "taro@gmail.com", "password": "x"},
    "pop": {"host": "mail.isp.example", "sender": "nas@isp.example", "username": "taro", "password": "x", "auth": "pop",
            "pop": {"host": "pop.isp.example", "port": "1995", "tls": "implicit", "window": "5m"}},
    "oauth": {"host": "mail.isp.example", "username": "taro@isp.example",
              "oauth": {"client_id": "x", "client_secret": "s3cret", "tenant": "isp.example", "provider": "google",
                        "refresh_token_file": "/srv/token", "token_url": "https://isp.example/token",
                        "device_url": "https://isp.example/device", "auth_url": "https://isp.example/auth", "scope": "mail"}},
    "graph": {"provider": "outlook", "api": "graph", "url": "https://graph.microsoft.us", "save_to_sent": "true",
              "username": "nas@company.example",
              "oauth": {"client_id": "x", "tenant": "company.example", "grant": "client-credentials",
                        "certificate_file": "FILE"}},
    "push": {"push": ["ntfys://ntfy.example/one?a=b,c", "ntfys://ntfy.example/two"], "title": "{device}",
             "attachments": "false"},
    "folder": {"folder": "/srv/scans", "save": "both"},
}  # fmt: skip
"""Upstreams of every kind; together they say every key of an upstream."""


def variables(said: Any, prefix: str = "RELAY") -> dict[str, str]:
    """The same by variables."""
    if isinstance(said, dict):
        return {name: text for key, value in said.items() for name, text in variables(value, f"{prefix}_{key}".upper()).items()}
    between = " " if prefix.endswith("_PUSH") else ", "
    return {prefix: said if isinstance(said, str) else between.join(said)}


def sound(path: Path | None, environ: dict[str, str]) -> Config:
    loaded = load(path, environ, machine_name="nas", quick=True)
    assert loaded.mistakes == ()
    assert loaded.config
    return replace(loaded.config, source="")


def only(name: str) -> str:
    """What an upstream is called that variables tell of."""
    return {"provider": "gmail", "graph": "outlook"}.get(name, "upstream")


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_each_variable_says_what_the_setting_says_in_a_file(kind: str, tmp_path: Path) -> None:
    """Of every section, single values, lists, and secrets by file; the whole file in one variable says the same too."""
    path, secret = tmp_path / "config.yaml", tmp_path / "s"
    settings = {**SETTINGS, "notices": {**SETTINGS["notices"], "via": only(kind)}, "dkim": {**SETTINGS["dkim"]}}
    settings["dkim"]["via"] = only(kind)
    if kind in ("graph", "push", "folder"):  # what does not go by SMTP is not signed
        del settings["dkim"]["via"]
    text = json.dumps({"upstreams": {only(kind): UPSTREAMS[kind]}} | settings).replace("FILE", str(path))
    path.write_text(text, encoding="utf-8")
    environ = {**variables(settings), **variables(UPSTREAMS[kind], "RELAY_UPSTREAM")}
    environ = {name: value.replace("FILE", str(path)) for name, value in environ.items()}
    expected = sound(path, {})
    assert sound(None, environ) == expected
    assert sound(None, {WHOLE: text}) == expected
    for name, value in environ.items():
        without = load(None, {**environ, name: ""}, machine_name="nas", quick=True)
        assert replace(without.config, source="") != expected if without.config else without.mistakes, name
        if f"{name}_FILE" in LONG:
            secret.write_text(value.replace(" ntfys:", "\nntfys:"), encoding="utf-8")
            assert sound(None, {**environ, name: "", f"{name}_FILE": str(secret)}) == expected


def test_every_setting_has_a_variable() -> None:
    """All that the reference describes, but for rules and for names of one's own."""
    played = variables(SETTINGS).keys() | {name for one in UPSTREAMS.values() for name in variables(one, "RELAY_UPSTREAM")}
    twins = {f"{name}_FILE" for name in played} & set(LONG)
    assert {name.rpartition("_")[2] for name in played - {"RELAY_UPSTREAM_PUSH"} if f"{name}_FILE" in twins} == {
        "PASSWORD", "SECRET", "WEBHOOK",
    }  # fmt: skip
    assert played | twins == set(LONG)
    described = {".".join(filter(None, (section.path, one.key))) for section in SECTIONS for one in section.settings}
    rest = {path for path in described - set(LONG.values()) if not path.startswith(("routes.", "devices."))}
    assert rest == {"listen.users", "recipients.aliases"}
    assert set(SHORT.values()) < set(LONG.values())


@pytest.mark.parametrize("name", [*LONG, *SHORT])
def test_a_mistake_in_a_setting_names_its_variable(name: str) -> None:
    """Whichever it is; a line end is a mistake in every one."""
    assert any(one.startswith(f"{name}: expected ") for one in said({"RELAY_HOST": "mail.isp.example", name: "\n"}))


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({"RELAY_WEB": "0.0.0.0:8025"}, ""),
        ({"RELAY_WEB_ADDRESS": "[::]:8025"}, ""),
        ({"RELAY_WEB": "127.0.0.1:8025"}, "127.0.0.1:8025"),
        ({"RELAY_WEB": "[0:0::1]:8025"}, "[::1]:8025"),
    ],
)
def test_a_page_whose_password_is_passed_on_empty_is_off(more: dict[str, str], address: str) -> None:
    """Compose files pass variables on that nobody has set; the relay works, and says why it has no page."""
    loaded = load(None, {"RELAY_HOST": "mail.isp.example", "RELAY_SENDER": "a@isp.example", "RELAY_WEB_PASSWORD": "", **more})
    assert loaded.mistakes == ()
    assert loaded.config is not None
    assert loaded.config.web.address == address
    assert any("RELAY_WEB_PASSWORD is empty" in str(remark) for remark in loaded.remarks) is (not address)


def test_a_page_that_is_off_needs_no_password() -> None:
    """Nothing is remarked on, since nobody asked for one; what is no address is a mistake like any other."""
    environ = {"RELAY_HOST": "mail.isp.example", "RELAY_SENDER": "a@isp.example", "RELAY_WEB_PASSWORD": ""}
    loaded = load(None, {**environ, "RELAY_WEB": "off"})
    assert loaded.config is not None
    assert loaded.config.web.address == ""
    assert not any("RELAY_WEB_PASSWORD is empty" in str(remark) for remark in loaded.remarks)
    assert [str(one).partition(":")[0] for one in load(None, {**environ, "RELAY_WEB": "127.nowhere:8025"}).mistakes] == [
        "RELAY_WEB"
    ]


def test_what_is_missing_beside_a_variable_is_a_variable() -> None:
    """Where there is none, the setting is named."""

    def told(**environ: str) -> list[str]:
        return said({"RELAY_HOST": "mail.isp.example", **environ})

    words = "expected RELAY_WEB_PASSWORD or RELAY_WEB_PASSWORD_FILE"
    assert told(RELAY_WEB_ADDRESS="0.0.0.0:8025") == [
        f"RELAY_WEB_PASSWORD: {words}, since web.address is not loopback, found nothing"
    ]
    both = told(RELAY_WEB_ADDRESS="0.0.0.0:8025", RELAY_WEB_PASSWORD="hunter2", RELAY_WEB_PASSWORD_FILE="/nowhere")
    assert both == [f"RELAY_WEB_PASSWORD_FILE: {words}, found both"]
    assert told(RELAY_LISTEN_TLS_CERT="/dev/null") == [
        "RELAY_LISTEN_TLS_KEY: expected the file of tls_key beside tls_cert, found nothing"
    ]
    assert told(RELAY_LISTEN_AUTH="required", RELAY_LISTEN="127.0.0.1:25 127.0.0.1:26") == [
        "listen.users: expected user names and their passwords, since auth is required, found nothing"
    ]


@pytest.mark.parametrize("short", SHORT)
def test_two_names_of_one_setting_are_a_mistake(short: str, tmp_path: Path) -> None:
    """Which of them counted would be a guess."""
    (tmp_path / "s").write_text("hunter2\n", encoding="utf-8")
    long = next(name for name, path in LONG.items() if path == SHORT[short])
    full = {**FULL, "RELAY_PROVIDER": "generic", "RELAY_PASSWORD_FILE": str(tmp_path / "s")}
    value = full[short]
    del full["RELAY_PASSWORD" if short == "RELAY_PASSWORD_FILE" else "RELAY_PASSWORD_FILE"], full[short]
    assert said({**full, short: value, long: value}) == [f"{long}: expected {short} or {long}, found both"]
    assert sound(None, {**full, long: value}) == sound(None, {**full, short: value})


@pytest.mark.parametrize("name", ["RELAY_NETWORKS", "RELAY_PASSWORD", "RELAY_LISTEN", "RELAY_LISTEN_TLS"])
def test_a_variable_that_is_no_utf_8_is_a_mistake(name: str) -> None:
    """It is not taken for one that was not set."""
    told = said({"RELAY_HOST": "a.example", name: os.fsdecode(b"\xff")})
    assert f"{name}: expected UTF-8 text, found other octets" in told


def test_a_password_from_the_environment_is_taken_as_it_is() -> None:
    """Neither blanks nor `${` mean anything there."""
    config = load(None, FULL).config
    assert config
    password = config.upstreams["upstream"].login.password
    assert password is not None
    assert password.reveal() == " p%s${HOME}$w#rd "


def test_four_settings_are_enough(tmp_path: Path) -> None:
    """A provider, an account, its secret's file and who is told."""
    (tmp_path / "s").write_text("abcd efgh\n", encoding="utf-8")
    (tmp_path / "s").chmod(0o600)
    environ = {"RELAY_PROVIDER": "Gmail", "RELAY_USERNAME": "me@gmail.com", "RELAY_NOTICES_TO": "me@gmail.com"}
    loaded = load(None, environ | {"RELAY_PASSWORD_FILE": str(tmp_path / "s")})
    assert loaded.config
    assert (loaded.mistakes, loaded.remarks) == ((), ())
    gmail = loaded.config.upstreams["gmail"]
    assert gmail.login.password is not None
    assert (gmail.smtp.host, gmail.login.password.reveal(), gmail.limits.per_day) == ("smtp.gmail.com", "abcd efgh", 500)


def test_empty_variables_are_not_set() -> None:
    """Compose files hand on what nobody set as empty text."""
    environ = dict.fromkeys(FULL, "") | {"RELAY_HOST": "mail.isp.example"}
    assert said(environ) == []


def test_a_cluster_s_variables_are_not_ours() -> None:
    """RELAY_PORT=tcp://... comes from Docker links and Kubernetes, for any service of that name."""
    assert said({"RELAY_HOST": "a.example", "RELAY_PORT": "tcp://10.0.0.7:25", "RELAY_PORT_25_TCP_ADDR": "10.0.0.7"}) == []
    others = {"RELAY_SPOOL_NAME": "/mail/relay-spool", "RELAY_LISTEN_PORT": "tcp://10.0.0.7:25"}
    assert said({"RELAY_HOST": "a.example"} | others) == []


@pytest.mark.parametrize(
    ("environ", "mistakes"),
    [
        ({"RELAY_PORT": "587a"}, ["RELAY_PORT: expected a port from 1 to 65535, found '587a'"]),
        ({"RELAY_TLS": "ssl"}, ["RELAY_TLS: expected starttls, implicit or none, found 'ssl'"]),
        (
            {"RELAY_HOST": "a.example:587"},
            ["RELAY_HOST: expected a host name or address, found 'a.example:587'; the port is a setting of its own"],
        ),
        ({"RELAY_USERNAME": "a"}, ["RELAY_PASSWORD: expected RELAY_PASSWORD or RELAY_PASSWORD_FILE beside the user name,"
             " found nothing"]),
        ({"RELAY_PASSWORD": "hunter2"}, ["RELAY_USERNAME: expected a user name beside the password or oauth, found nothing"]),
        (
            {"RELAY_USERNAME": "a@b.c", "RELAY_PASSWORD": "hunter2", "RELAY_PASSWORD_FILE": "/nowhere"},
            ["RELAY_PASSWORD_FILE: expected RELAY_PASSWORD or RELAY_PASSWORD_FILE, found both"],
        ),
        (
            {"RELAY_USERNAME": "a@b.c", "RELAY_PASSWORD_FILE": "/nowhere/s"},
            ["RELAY_PASSWORD_FILE: expected a readable file with one line of text,"
             " found *** (No such file or directory)"],
        ),
        ({"RELAY_SENDER": "taro"}, ["RELAY_SENDER: expected an address such as me@example.jp,"
             " found 'taro'; the part after the @ is missing"]),
        (
            {"RELAY_NETWORKS": "private,0.0.0.0/0"},
            ["RELAY_NETWORKS: expected private or networks of your own,"
             " found '0.0.0.0/0'; this would be an open relay for the whole Internet"],
        ),
        ({"RELAY_LISTEN": "2525:25"}, ["RELAY_LISTEN: expected an address such as 127.0.0.1:25 or [::]:25, found '2525:25'"]),
        ({"RELAY_HOSTNAME": "a b"}, ["RELAY_HOSTNAME: expected a host name such as relay.home.example, found 'a b'"]),
        ({"RELAY_SPOOL": "spool"}, ["RELAY_SPOOL: expected sqlite:/path/to/spool.db or postgresql://..., found 'spool'"]),
        ({"RELAY_HOST_NAME": "x"}, ["RELAY_HOST_NAME: no such setting; did you mean RELAY_HOSTNAME?"]),
        (
            {"RELAY_LISTEN_TLS": "on", "RELAY_LISTEN_AUTH": "yes"},
            ["RELAY_LISTEN_AUTH: expected any, off or required, found 'yes'",
             "RELAY_LISTEN_TLS: expected off, starttls, required or implicit, found 'on'"],
        ),
        (
            {"RELAY_RECIPIENTS_EVERYTHING_TO": "me@example.jp you"},
            ["RELAY_RECIPIENTS_EVERYTHING_TO: expected an address such as me@example.jp,"
             " found 'you'; the part after the @ is missing"],
        ),
        ({"RELAY_PASWORD": "x"}, ["RELAY_PASWORD: no such setting; did you mean RELAY_PASSWORD?"]),
        (
            {"RELAY_PORT": "x", "RELAY_HOST": "y z"},
            ["RELAY_HOST: expected a host name or address,"
             " found 'y z'", "RELAY_PORT: expected a port from 1 to 65535, found 'x'"],
        ),
    ],
)  # fmt: skip
def test_mistakes_name_the_variable(environ: dict[str, str], mistakes: list[str]) -> None:
    """A variable is blamed like a line of a file; its secret is not shown."""
    assert said({"RELAY_HOST": "mail.isp.example"} | environ) == mistakes


def test_a_provider_that_needs_a_host_says_which() -> None:
    """The form of the name is told."""
    environ = {"RELAY_PROVIDER": "sakura", "RELAY_USERNAME": "a@b.example", "RELAY_PASSWORD": "x"}
    assert said(environ) == ["RELAY_HOST: expected the server's name such as INITIALDOMAIN.sakura.ne.jp, found nothing"]


@pytest.mark.parametrize("environ", [{}, {"RELAY_USERNAME": "a@b.c", "RELAY_PASSWORD": "x"}, {"RELAY_HOST": ""}])
def test_with_neither_the_error_says_what_to_set(environ: dict[str, str]) -> None:
    """No file and no server: one sentence names the ways out."""
    (mistake,) = said(environ)
    for word in ("--config", "./config.yaml", "/etc/relay/config.yaml", "RELAY_PROVIDER", "RELAY_HOST", "RELAY_PASSWORD_FILE"):
        assert word in mistake


def test_variables_beside_a_file_are_told(tmp_path: Path) -> None:
    """A file wins, and says so of each variable that has no effect."""
    path = tmp_path / "config.yaml"
    path.write_text("upstreams: {isp: {host: a.example, sender: a@b.c}}", encoding="utf-8")
    loaded = load(path, {"RELAY_HOST": "b.example"})
    assert loaded.config
    assert loaded.config.upstreams["isp"].smtp.host == "a.example"
    assert loaded.remarks == (f"RELAY_HOST: not used, since the settings come from {path}",)


def test_a_spool_s_directory_is_enough(tmp_path: Path) -> None:
    """A directory means spool.db in it."""
    config = load(None, {"RELAY_HOST": "a.example", "RELAY_SPOOL": f"{tmp_path}/"}).config
    assert config
    assert config.spool.url == f"sqlite:{tmp_path}/spool.db"


def test_where_the_settings_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, then $RELAY_CONFIG, then ./config.yaml; a directory means config.yaml in it."""
    monkeypatch.chdir(tmp_path)
    assert find(None, {}) in (None, Path("/etc/relay/config.yaml"))
    here, there = tmp_path / "config.yaml", tmp_path / "etc"
    here.touch()
    there.mkdir()
    assert find(None, {}) == Path("config.yaml")
    assert find(None, {"RELAY_CONFIG": ""}) == Path("config.yaml")
    assert find(None, {"RELAY_CONFIG": str(there)}) == there / "config.yaml"
    assert find("other.yaml", {"RELAY_CONFIG": str(there)}) == Path("other.yaml")
    assert find(str(there), {}) == there / "config.yaml"


def test_an_empty_directory_leaves_room_for_variables(tmp_path: Path) -> None:
    """An image that names /etc/relay for good can be told everything by variables."""
    environ = {"RELAY_CONFIG": str(tmp_path), "RELAY_HOST": "a.example"}
    assert find(None, environ) is None
    assert find(str(tmp_path), environ) == tmp_path / "config.yaml"
    (tmp_path / "config.yaml").touch()
    assert find(None, environ) == tmp_path / "config.yaml"


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("relay.example.jp", "relay.example.jp"),
        ("nas", "relay.home.arpa"),
        ("localhost", "relay.home.arpa"),
        ("localhost.localdomain", "relay.home.arpa"),
        ("nas.local", "relay.home.arpa"),
        ("3f2a9c1b7d5e", "relay.home.arpa"),
        ("3f2a9c1b7d5e.example.jp", "relay.home.arpa"),
        ("192.168.0.2", "relay.home.arpa"),
        ("", "relay.home.arpa"),
        ("ho st.example.jp", "relay.home.arpa"),
        ("my_nas.example.jp", "relay.home.arpa"),
    ],
)
def test_our_own_name(machine: str, name: str) -> None:
    """A full public name, never a container's id, localhost or a name of the LAN; always with a dot."""
    assert default_hostname(machine) == name


def test_a_directory_that_may_not_be_entered_is_named_with_the_user(tmp_path, monkeypatch):
    """A mounted directory of another user is told as such, and is no reason to crash."""

    def barred(self, *_how, **_more):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.stat", barred)
    monkeypatch.setattr("pathlib.Path.open", barred)
    monkeypatch.chdir(tmp_path)
    assert find(None, {}) == Path("config.yaml")
    assert find(None, {"RELAY_CONFIG": str(tmp_path)}) == tmp_path
    told = str(load(tmp_path / "config.yaml", {}).mistakes[0])
    assert f"Permission denied: the relay runs as user {os.geteuid()}" in told


def test_a_variable_that_nobody_reads_is_named() -> None:
    """Unknown ones with our prefix are remarked on; what links set, and near misses (mistakes already), are not."""
    links = {"RELAY_PORT_25_TCP": "x", "RELAY_WEB_SERVICE_HOST": "x", "RELAY_WEB_PORT": "tcp://10.0.0.1:80", "RELAY_NAME": "x"}
    loaded = load(None, FULL | links | {"RELAY_FOO": "1", "RELAYS": "1"}, machine_name="nas")
    assert loaded.mistakes == ()
    assert [remark for remark in loaded.remarks if "not read" in remark] == ["RELAY_FOO: not read: no setting has this name"]
    assert load(None, FULL | {"RELAY_HOSTT": "x", "RELAY_PASSWORD": "x"}, machine_name="nas").remarks == ()


def test_a_file_may_name_any_variable(tmp_path: Path) -> None:
    """Beside a file only those are remarked on that it does not name."""
    path = tmp_path / "config.yaml"
    path.write_text("upstreams: {isp: {host: 'mail.isp.example', username: '${RELAY_WHO}', password: '${RELAY_WORD}'}}\n")
    loaded = load(path, {"RELAY_WHO": "taro@isp.example", "RELAY_WORD": "x", "RELAY_FOO": "1"}, machine_name="nas")
    assert loaded.mistakes == ()
    assert [remark for remark in loaded.remarks if "not read" in remark] == ["RELAY_FOO: not read: no setting has this name"]
    path.write_text(path.read_text().replace("RELAY_WORD", "RELAY_PASSWORD"))
    loaded = load(path, {"RELAY_WHO": "taro@isp.example", "RELAY_PASSWORD": "x", "RELAY_HOST": "y"}, machine_name="nas")
    assert [remark for remark in loaded.remarks if "not used" in remark] == [
        f"RELAY_HOST: not used, since the settings come from {path}"
    ]


def test_a_home_that_is_nobody_s_is_no_reason_to_crash(tmp_path: Path) -> None:
    """`~taro` where there is no such user stays what it is, as in a shell."""
    environ = {"RELAY_HOST": "a.example", "RELAY_USERNAME": "a@b.example", "RELAY_PASSWORD_FILE": "~nobody-of-that-name/secret"}
    (told,) = said(environ)
    assert told.startswith("RELAY_PASSWORD_FILE: expected a readable file with one line of text")
    (told,) = said(
        {"RELAY_HOST": "a.example", "RELAY_SENDER": "a@b.example", "RELAY_UPSTREAM_CA_FILE": "~nobody-of-that-name/ca"}
    )
    assert told.startswith("RELAY_UPSTREAM_CA_FILE: expected a readable file")
    assert said({"RELAY_UPSTREAM_FOLDER": "~nobody-of-that-name/scans"}) == []


def test_a_directory_that_has_been_removed_is_no_reason_to_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay is asked from where a folder was deleted meanwhile."""
    monkeypatch.setattr("pathlib.Path.cwd", lambda: (_ for _ in ()).throw(FileNotFoundError(2, "No such file or directory")))
    assert sound(None, {"RELAY_HOST": "a.example", "RELAY_SENDER": "a@b.example"})
    text = "upstreams: {isp: {host: a.example, sender: a@b.example}}"
    assert sound(None, {WHOLE: text})
