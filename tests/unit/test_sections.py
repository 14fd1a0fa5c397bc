"""The settings as a whole: what is wrong is told exactly, what is right becomes the stations' own values."""

import os
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from relay.config import Config, load
from relay.config.schema import EXAMPLES
from relay.inbound.admission import ListenAuth, ListenTls
from relay.mail.address import Address
from relay.mail.rewrite import Rewrite
from relay.upstream.settings import Auth, TlsMode, Upstream

CORPUS = Path(__file__).parents[1] / "corpus" / "config" / "mistakes.txt"
CASES = [tuple(case.split("-----\n")) for case in CORPUS.read_text(encoding="utf-8").split("=====\n") if case]
BASE = "upstreams: {isp: {host: mail.isp.example, sender: taro@isp.example}}\n"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages name the file as it was given; here that is config.yaml."""
    monkeypatch.chdir(tmp_path)


def said(source: str, environ: dict[str, str] | None = None) -> list[str]:
    """Every mistake in a text."""
    Path("config.yaml").write_text(source, encoding="utf-8")
    return [str(mistake) for mistake in load(Path("config.yaml"), environ or {}, machine_name="nas").mistakes]


def read(source: str, environ: dict[str, str] | None = None) -> tuple[Config, tuple[str, ...]]:
    """The settings of a text that has no mistake, and the remarks."""
    assert said(source, environ) == []
    Path("config.yaml").chmod(0o600)
    loaded = load(Path("config.yaml"), environ or {}, machine_name="nas")
    assert loaded.config
    return loaded.config, loaded.remarks


def upstream(source: str) -> Upstream:
    """One upstream from its settings between braces."""
    return read(f"upstreams: {{isp: {{{source}}}}}\n")[0].upstreams["isp"]


@pytest.mark.parametrize(("source", "expected"), CASES, ids=range(len(CASES)))
def test_mistakes(source: str, expected: str) -> None:
    """Each way to be wrong has its words and its place."""
    assert said(source) == expected.splitlines()


def test_there_are_enough_cases() -> None:
    """The table did not get lost."""
    assert len(CASES) > 120


def test_all_mistakes_at_once_in_the_order_of_their_places() -> None:
    """The four lines that house.md shows come out of one reading."""
    source = """# four mistakes
upstreams: {
  isp: {host: mail.isp.example, port: 587a},

 gmail: {hst: smtp.gmail.com, provider: gmail, username: me@gmail.com, password: x},
  isp: {host: other.example}}
routes:
  - to: "*@host.example"
    via: [gmial]
  - {via: [isp]}
"""
    assert said(source) == [
        "config.yaml:3:39: upstreams.isp.port: expected a port from 1 to 65535, found '587a'",
        "config.yaml:5:10: upstreams.gmail.hst: no such setting; did you mean 'host'?",
        "config.yaml:6:3: upstreams.isp: set twice; first on line 3",
        "config.yaml:9:11: routes[0].via[0]: no upstream is named 'gmial'; did you mean 'gmail'?",
    ]


def test_the_least_that_can_be_said() -> None:
    """One upstream is enough: everything else has its default."""
    config, remarks = read(BASE)
    (listener,) = config.listeners
    assert (listener.name, listener.tls, listener.auth) == ("0.0.0.0:25", ListenTls.STARTTLS, ListenAuth.ANY)
    assert ip_network("192.168.0.0/16") in listener.networks
    assert [route.via for route in config.routes] == [("isp",)]
    isp = config.upstreams["isp"]
    assert (isp.smtp.port, isp.smtp.tls.mode, isp.smtp.tls.verify, isp.login.auth) == (587, TlsMode.STARTTLS, True, Auth.AUTO)
    assert (config.hostname, config.source, remarks) == ("relay.home.arpa", "config.yaml", ())


def test_the_contract_s_own_example(tmp_path: Path) -> None:
    """Every section of the contract arrives where it belongs."""
    for name in ("isp", "old", "token"):
        (tmp_path / name).write_text("secret\n", encoding="utf-8")
    config, _ = read(
        """
hostname: relay.home.example
listen: {address: "[::]:2525", networks: [192.168.0.0/24, private],
  tls: off, auth: required, plain_login: true, users: {nas: no}}
recipients:
  default_domain: Example.JP
  aliases: {root: me@example.jp, "*@NAS.local": me, Ups@x.example: [a@b.example, c@d.example]}
upstreams:
  isp:
    provider: generic
    host: mail.isp.example
    username: taro@isp.example
    password_file: isp
    rewrite: always
    rewrite_from: no
    limits: {connections: 1, per_minute: 60, per_day: 500, message: 25MB, recipients: 10}
    timeout: 90s
  m365:
    provider: outlook
    username: nas@company.example
    oauth: {client_id: 0123, tenant: company.example, refresh_token_file: token}
  old-host:
    host: s1.host.example
    port: 25
    auth: pop
    pop: {host: s1.host.example, port: 110, tls: none, window: 10m}
    username: me
    password_file: old
    sender: me@host.example
routes:
  - {to: "*@host.example", via: [isp]}
  - {from: ["*@office.example", "<>"], client: 192.168.0.0/28, listener: "[::]:2525", via: [m365, isp]}
  - {to: "*@spam.example", reject: "not from here"}
  - {to: "*@nowhere.example", discard: true}
  - {to: "*@direct.example", via: [mx, old-host]}
  - via: isp
retry: {delays: 1m, give_up_after: 1d, warn_after: 1h30m, rest: [1m, 2m], rest_login: 20m}
notices: {to: me@example.jp, webhook: "https://ntfy.example/topic", digest: 0s}
repair: {date_skew: 3d, fallback_charset: cp932, hide_client: on}
spool: {url: "sqlite:/srv/spool.db", max_message: 10MiB, keep_free: 1GB, keep_history: 1d}
dns: {nameservers: ["192.168.0.1", "[fd00::1]:5353"]}
limits: {connections: 5, per_client: 4, recipients: 300, messages_per_minute: 2, idle: 1m}
web: {address: "0.0.0.0:8025", password: 0123}
log: {format: JSON, level: debug}
"""
    )
    (listener,) = config.listeners
    assert (listener.name, listener.tls, listener.users["nas"].reveal()) == ("[::]:2525", ListenTls.OFF, "no")
    assert config.recipients.default_domain == "example.jp"
    assert config.recipients.aliases["*@nas.local"] == (Address("me", "example.jp"),)
    assert len(config.recipients.aliases["ups@x.example"]) == 2
    isp, m365, old = config.upstreams.values()
    assert isp.login.password is not None
    assert (isp.login.password.reveal(), isp.identity.rewrite, isp.identity.rewrite_from) == ("secret", Rewrite.ALWAYS, False)
    assert (isp.limits.message, isp.limits.per_day, isp.timeout) == (25_000_000, 500, timedelta(seconds=90))
    assert m365.login.oauth is not None
    assert (m365.login.oauth.client_id, m365.login.oauth.provider) == ("0123", "microsoft")
    assert m365.login.oauth.refresh_token_file == str(tmp_path / "token")
    assert old.login.pop is not None
    assert (old.login.auth, old.login.pop.window) == (Auth.POP, timedelta(minutes=10))
    second = config.routes[1]
    assert (second.sender, second.client, second.listener) == (
        ("*@office.example", "<>"),
        (ip_network("192.168.0.0/28"),),
        ("[::]:2525",),
    )
    assert (config.routes[2].reject, config.routes[3].discard, config.routes[4].via) == (
        "not from here",
        True,
        ("mx", "old-host"),
    )
    assert (config.retry.delays, config.retry.warn_after) == ((timedelta(minutes=1),), timedelta(minutes=90))
    assert (config.notices.to, config.notices.digest) == (Address("me", "example.jp"), timedelta(0))
    assert (config.repair.fallback_charset, config.repair.hide_client) == (("cp932",), True)
    assert (config.spool.max_message, config.spool.keep_history) == (10_485_760, timedelta(days=1))
    assert config.nameservers == ("192.168.0.1:53", "[fd00::1]:5353")
    assert (config.limits.per_client, config.limits.idle) == (4, timedelta(minutes=1))
    assert config.web.password is not None
    assert (config.web.address, config.web.password.reveal()) == ("0.0.0.0:8025", "0123")
    assert (config.log.format, config.log.level) == ("json", "debug")


@pytest.mark.parametrize(
    ("said_of_it", "port", "mode"),
    [
        ("", 587, TlsMode.STARTTLS),
        ("tls: implicit", 465, TlsMode.IMPLICIT),
        ("port: 465", 465, TlsMode.IMPLICIT),
        ("port: 25", 25, TlsMode.STARTTLS),
        ("port: 465, tls: starttls", 465, TlsMode.STARTTLS),
        ("provider: gmail, username: a@gmail.com, password: x", 465, TlsMode.IMPLICIT),
        ("provider: gmail, username: a@gmail.com, password: x, port: 587", 587, TlsMode.STARTTLS),
        ("provider: gmail, username: a@gmail.com, password: x, tls: starttls", 587, TlsMode.STARTTLS),
    ],
)
def test_port_and_tls_follow_each_other(said_of_it: str, port: int, mode: TlsMode) -> None:
    """Where one is said, the other is what belongs to it."""
    found = upstream(", ".join(part for part in ("host: a.example", said_of_it) if part))
    assert (found.smtp.port, found.smtp.tls.mode) == (port, mode)


@pytest.mark.parametrize(
    ("said_of_it", "remark"),
    [
        ("host: a.example, sender: a@b.c, port: 465, tls: starttls", "tls: port 465 begins with TLS"),
        ("host: a.example, sender: a@b.c, port: 587, tls: implicit", "tls: port 587 begins without TLS"),
        ("host: a.example, tls: none, username: a@b.c, password: x", "tls: tls is none: the password is sent"),
        ("host: a.example, sender: a@b.c, verify: no", "verify: the server's certificate is not verified"),
        ("host: a.example", "sender: not set, and there is no user name"),
        ("host: a.example, username: me, password: x", "sender: not set, and the user name is no address"),
        ("provider: gmail, username: a@gmail.com, password: x, port: 2525", "port: Gmail is known to listen on 465 or 587"),
        ("provider: outlook.com, username: a@outlook.com, password: x", "password: Outlook.com takes no password any more"),
        ("provider: outlook, username: a@hotmail.com, password: x", "provider: outlook is Microsoft 365 of a company"),
        ("host: a.example, username: a@b.c, password: x, auth: none", "auth: auth is none"),
        ("host: a.example, username: a@b.c, password: x #y\n}", "password: what follows the # is a comment"),
    ],
)
def test_what_is_allowed_but_risky_is_remarked_on(said_of_it: str, remark: str) -> None:
    """A remark names its place and its setting, and stops nothing."""
    source = said_of_it.removesuffix("}") if said_of_it.endswith("\n}") else said_of_it
    _, remarks = read(f"upstreams: {{isp: {{{source}}}}}\n")
    assert any(f"upstreams.isp.{remark}" in line and line.startswith("config.yaml:") for line in remarks)


@pytest.mark.parametrize(
    ("source", "remark"),
    [
        ("spool: {url: postgresql://db/relay}", "config.yaml:2:14: spool.url: nothing proves that it is your database"),
        ("hostname: nas", "config.yaml:2:11: hostname: has no dot"),
        ("retry: {give_up_after: 1h, warn_after: 2h}", "config.yaml:2:40: retry.warn_after: not shorter than give_up_after"),
        ("limits: {recipients: 10}", "config.yaml:2:22: limits.recipients: fewer than 100"),
        ("routes: [{discard: true}]", "config.yaml:1:18: upstreams.isp: no rule uses this upstream"),
    ],
)
def test_what_comes_to_nothing_is_remarked_on(source: str, remark: str) -> None:
    """Settings without effect are never silently ignored."""
    _, remarks = read(BASE + source + "\n")
    assert any(line.startswith(remark) for line in remarks)


def test_sections_whose_lines_are_commented_out_have_their_defaults() -> None:
    """`web:` and nothing under it is no mistake."""
    keys = ("listen", "recipients", "routes", "retry", "notices", "repair", "spool", "dns", "limits", "web", "log")
    config, _ = read(BASE + "".join(f"{key}:\n" for key in keys))
    assert config == read(BASE)[0]


def test_direct_delivery_alone() -> None:
    """Whoever wants no upstream at all says so."""
    assert read("upstreams: {}\nroutes: [{via: mx}]\n")[0].routes[0].via == ("mx",)


@pytest.mark.parametrize("secret", ["0123", "no", "22:22", "1_000", "'null'", "a#b", "p%s$w{rd", "' x '", '"\\u00e9"'])
def test_secrets_stay_what_was_typed(secret: str) -> None:
    """Octal, base 60 and truth are not for passwords; blanks in quotes stay."""
    config, _ = read(f"upstreams:\n  isp:\n    host: a.example\n    username: a@b.c\n    password: {secret}\n")
    password = config.upstreams["isp"].login.password
    assert password is not None
    assert password.reveal() == (secret[1:-1] if secret[0] == "'" else secret if secret[0] != '"' else "é")
    assert "***" in repr(config)


def test_references() -> None:
    """`${NAME}` is filled in anywhere, once; `$${` is the characters."""
    source = "upstreams:\n  isp:\n    host: ${H}.example\n    port: ${P}\n    username: a@b.c\n    password: $${x}${S}\n"
    isp = read(source, {"H": "mail", "P": "2525", "S": "${H}"})[0].upstreams["isp"]
    assert isp.login.password is not None
    assert (isp.smtp.host, isp.smtp.port, isp.login.password.reveal()) == ("mail.example", 2525, "${x}${H}")


def test_a_value_from_a_variable_says_so() -> None:
    """What was found is the variable's text, unless its name says that it is a secret."""
    source = "upstreams: {isp: {host: a.example, port: '${P}', timeout: '${MY_PASSWORD}'}}"
    assert said(source, {"P": "587a", "MY_PASSWORD": "hunter2"}) == [
        "config.yaml:1:42: upstreams.isp.port: expected a port from 1 to 65535, found '587a' (from '${P}')",
        "config.yaml:1:59: upstreams.isp.timeout: expected a duration such as 30s, 5m, 4h or 2d, "
        "found what '${MY_PASSWORD}' stands for",
    ]


@pytest.mark.parametrize(
    ("octets", "outcome"),
    [
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b" hunter2 ", " hunter2 "),
        (b"\xef\xbb\xbfhunter2", "hunter2"),
        (b"", "empty"),
        (b"\n", "empty"),
        (b"hunter\n2\n", "more than one line"),
        (b"hunter\0002", "more than one line"),
        (b"\xff", "not UTF-8 text"),
        (b"x" * 70000, "larger than 64 KiB"),
    ],
)
def test_secret_files(octets: bytes, outcome: str) -> None:
    """A secret's file loses its trailing newline and nothing else; what cannot be a secret is told without showing it."""
    Path("s").write_bytes(octets)
    found = said("upstreams: {isp: {host: a.example, username: a@b.c, password_file: s}}")
    if found:
        place = "config.yaml:1:68: upstreams.isp.password_file"
        assert found == [f"{place}: expected a readable file with one line of text, found 's' ({outcome})"]
    else:
        password = load(Path("config.yaml"), {}).config.upstreams["isp"].login.password  # type: ignore[union-attr]
        assert password.reveal() == outcome  # type: ignore[union-attr]


def test_a_password_that_everybody_can_read_is_remarked_on() -> None:
    """A literal secret in a file with mode 644 is told; with 600, or from a variable, it is not."""
    source = "upstreams: {isp: {host: a.example, username: a@b.c, password: hunter2}}"
    assert said(source) == []
    Path("config.yaml").chmod(0o644)
    (remark,) = load(Path("config.yaml"), {}).remarks
    assert remark.startswith("config.yaml:1:63: upstreams.isp.password: every user of this machine can read it")
    assert "hunter2" not in remark
    Path("config.yaml").chmod(0o600)
    assert load(Path("config.yaml"), {}).remarks == ()


def test_files_are_meant_from_the_folder_of_the_settings(tmp_path: Path) -> None:
    """A configuration directory can be moved, and the relay started from anywhere."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "s").write_text("x", encoding="utf-8")
    text = "upstreams: {isp: {host: a.example, username: a@b.c, password_file: s, ca_file: s}}"
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    loaded = load(folder, {})
    assert loaded.config
    assert loaded.config.upstreams["isp"].smtp.tls.ca_file == str(folder / "s")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The mistake names the file and the reason."""
    missing = tmp_path / "x.yaml"
    assert [str(m) for m in load(missing, {}).mistakes] == [
        f"{missing}:1:1: expected a readable file, found none ({os.strerror(2)})"
    ]


@pytest.mark.parametrize("path", [path for path in EXAMPLES if "." not in path and path != "upstreams"])
def test_what_a_section_is_said_to_look_like_is_right(path: str) -> None:
    """The example that a mistake shows passes the check."""
    assert said(f"{BASE}{path}: {EXAMPLES[path] if path != 'routes' else f'[{EXAMPLES[path]}]'}\n") == []
    assert f"({EXAMPLES[path]})" in said(f"{BASE}{path}: hello\n")[0]


@pytest.mark.parametrize("path", ["upstreams", "upstreams.*", "upstreams.*.limits", "recipients.aliases", "listen.users"])
def test_the_examples_of_what_lies_deeper_are_right(path: str) -> None:
    """Those too pass where they belong."""
    frames = {
        "upstreams": "upstreams: {}\n",
        "upstreams.*": "upstreams: {{isp: {}}}\n",
        "upstreams.*.limits": "upstreams: {{isp: {{host: mail.isp.example, limits: {}}}}}\n",
        "recipients.aliases": BASE.replace("{", "{{").replace("}", "}}") + "recipients: {{aliases: {}}}\n",
        "listen.users": BASE.replace("{", "{{").replace("}", "}}") + "listen: {{auth: required, users: {}}}\n",
    }
    assert said(frames[path].format(EXAMPLES[path])) == []
    assert f"({EXAMPLES[path]})" in " ".join(said(frames[path].format("hello")))


HASH = "scrypt:16384:8:5:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    ("listen", "remark"),
    [
        (f"tls: required, auth: required, users: {{nas: '{HASH}'}}", ""),
        (f"tls: implicit, auth: required, users: {{nas_file: hash, cam: {HASH}}}", ""),
        ("auth: required, users: {nas: geheim}", "'nas': a plain password; `relay hash` makes a hash"),
        (f"auth: required, users: {{nas_file: plain, cam: {HASH}}}", "'nas': a plain password"),
        (f"tls: off, auth: required, plain_login: true, users: {{nas: {HASH}}}", "sent without TLS, and can be read"),
        (f"tls: required, auth: required, plain_login: true, users: {{nas: {HASH}}}", "not used"),
        ("plain_login: true", "not used"),
        ("tls: required", ""),
    ],
)
def test_logins_of_devices(listen: str, remark: str) -> None:
    """Hashed and plain, in the file or beside it; what means less than a person may think is remarked on."""
    Path("hash").write_text(HASH + "\n")
    Path("plain").write_text("geheim\n")
    for name in ("hash", "plain"):
        Path(name).chmod(0o600)
    config, remarks = read(f"{BASE}listen: {{{listen}}}\n")
    assert len(remarks) == bool(remark)
    assert remark in "".join(remarks)
    assert "geheim" not in "".join(remarks)
    assert all(secret.reveal() in (HASH, "geheim") for secret in config.listeners[0].users.values())
