"""A mistake in the settings never shows what stands where a secret might: not in its text, and not in its path."""

from pathlib import Path

import pytest

from relay.config import load

SECRET = "Hunter2secret"
ISP = "host: a.example, username: a@b.c"
CASES = [
    "upstreams: {isp: {ISP, password_file: SECRET}}",
    "upstreams: {isp: {ISP, password_file: SECRET/x}}",
    "upstreams: {isp: {ISP, password: [SECRET]}}",
    "upstreams: {isp: {ISP, password: {SECRET: x}}}",
    "upstreams: {isp: {ISP, password: {x: SECRET}}}",
    "upstreams: {isp: {ISP, password SECRET}}",
    "upstreams: {isp: {ISP, password=SECRET}}",
    "upstreams: {isp: {ISP, passwordSECRET}}",
    "upstreams: {isp: {ISP, password:SECRET}}",
    "upstreams: {isp: {ISP, password, SECRET}}",
    "upstreams: {isp: {ISP, SECRET}}",
    "upstreams: {isp: {ISP, password: !SECRET x}}",
    "upstreams: {isp: {ISP, password: !SECRET!x y}}",
    "upstreams: {isp: {ISP, password: &SECRET x}}",
    "upstreams: {isp: {ISP, password: *SECRET}}",
    "upstreams: {isp: {ISP, password: |SECRET}}",
    "upstreams:\n isp:\n  host: a\n  password: SECRET: x\n",
    "upstreams:\n isp:\n  host: a\n  password = SECRET\n  port: 3\n",
    "upstreams:\n isp:\n  host: a\n  password SECRET\n",
    "upstreams:\n isp:\n  host: a\n  SECRET\n",
    "upstreams:\n isp:\n  host: a\n  ? SECRET\n",
    "upstreams:\n isp:\n  host: a\n  passwd: SECRET\n  pasword: SECRET\n  client_secret: SECRET\n token: SECRET\n",
    "upstreams: {password: SECRET, host: x}",
    "upstreams: SECRET",
    "SECRET",
    "- SECRET",
    "password: SECRET",
    "upstreams: {isp: SECRET}",
    "upstreams: [SECRET]",
    "upstreams: {isp: {host: 'smtp://me:SECRET@mail.example'}}",
    "upstreams: {isp: {host: 'me:SECRET@mail.example'}}",
    "upstreams: {isp: {host: 'me:SECRETp@x/y@mail.example'}}",
    "upstreams: {isp: {host: 'http://me:a SECRET@mail.example'}}",
    "upstreams: {isp: {ISP, oauth: SECRET}}",
    "upstreams: {isp: {ISP, oauth: {client_id: x, client_secret: [SECRET]}}}",
    "upstreams: {isp: {ISP, oauth: {client_id: x, token_url: 'http://me:SECRET@x/', auth_url: 'x?token=SECRET'}}}",
    "upstreams: {isp: {ISP, oauth: {client_id: x, provider: google, client_secret_file: SECRET}}}",
    "upstreams: {isp: {ISP, oauth: {client_id: x, refresh_token: SECRET, refresh_token_file: [SECRET]}}}",
    "upstreams: {isp: {ISP, oauth: {client_id: x, provider: google, refresh_token SECRET}}}",
    "upstreams: {phone: {push: SECRET}}",
    "upstreams: {phone: {push: 'nothing://x/SECRET'}}",
    "upstreams: {phone: {push: ['ntfy://ntfy.example/SECRET', 'ntfy://']}}",
    "upstreams: {phone: {push: {SECRET: x}}}",
    "upstreams: {phone: {push: 'ntfy//ntfy.example/SECRET'}}",
    "upstreams: {phone: {push_file: 'ntfy://ntfy.example/SECRET'}}",
    "upstreams: {phone: {push_file: SECRET}}",
    "upstreams: {phone: {push ntfy://ntfy.example/SECRET}}",
    "upstreams: {phone: {push: 'ntfy://ntfy.example/SECRET', push_file: x}}",
    "notices: {webhook: 'SECRET'}",
    "notices: {webhook: 'ntfy.sh/SECRET'}",
    "notices: {webhook: 'htps://x/SECRET'}",
    "notices: {webhook: 'https://x y/SECRET'}",
    "notices: {webhook: ['https://x/SECRET']}",
    "notices: 'https://x/SECRET'",
    "notices: {webhok: 'https://x/SECRET'}",
    "spool: {url: 'postgre://u:SECRET@h/db'}",
    "spool: {url: 'postgres//u:SECRET@h/db'}",
    "spool: {url: 'http://h/db?password=SECRET'}",
    "spool: 'postgresql://u:SECRET@h/db'",
    "spool: {url: 'postgresql://u:p@h/db', password: [SECRET], fallback: 'postgresql://u:SECRET@h/db'}",
    "spool: {url: 'sqlite:x', password: SECRET}",
    "spool: {url: 'postgresql://u:p@h/db', password_file: SECRET}",
    "web: {address: '0.0.0.0:8025', password: [SECRET]}",
    "web: SECRET",
    "web: {address: '0.0.0.0:8025', password_file: SECRET}",
    "web: {address: '0.0.0.0:8025', passphrase: SECRET}",
    "listen: [{auth: required, users: {nas: [SECRET]}}]",
    "listen: [{auth: required, users: ['nas:SECRET']}]",
    "listen: [{auth: required, users: 'nas:SECRET'}]",
    "listen: [{auth: required, users: {nas_file: SECRET}}]",
    "listen: [{auth: required, users: {nas: {x: SECRET}}}]",
    "listen: [{auth: required, users: {'nas:SECRET'}}]",
    "listen: [{auth: required, users: {nas, SECRET}}]",
    "listen: [{auth: required, user: {nas: SECRET}}]",
    "listen: [{auth: 'SECRETx:y@z'}]",
    'upstreams: {isp: {ISP, password: "SECRET\\n"}}',
    'upstreams: {isp: {ISP, password: "SECRET\\q"}}',
    'upstreams: {isp: {ISP, password: "SECRET',
    "upstreams: {isp: {ISP, password: 'SECRET'x}}",
]
ENVIRONMENTS = [
    {"RELAY_HOST": "a.example", "RELAY_USERNAME": "x", "RELAY_PASSWORD_FILE": SECRET},
    {"RELAY_HOST": f"smtp://me:{SECRET}@x", "RELAY_USERNAME": "x", "RELAY_PASSWORD": "y"},
    {"RELAY_HOST": "x", "RELAY_SPOOL": f"pg://u:{SECRET}@h"},
    {"RELAY_HOST": "x", "RELAY_USERNAME": "u", "RELAY_PASSWROD": SECRET},
    {"RELAY_HOST": "x", "RELAY_WEB_PASSWORD": f"{SECRET}\n"},
    {"RELAY_HOST": "x", "RELAY_WEB_PASSWORD_FILE": SECRET},
    {"RELAY_HOST": "x", "RELAY_WEB_PASSWROD": SECRET},
    {"RELAY_HOST": "x", "RELAY_NOTICES_WEBHOOK": f"ntfy.sh/{SECRET}"},
    {"RELAY_HOST": "x", "RELAY_NOTICES_WEBHOOK_FILE": SECRET},
    {"RELAY_HOST": "x", "RELAY_SPOOL_PASSWORD": SECRET},
    {"RELAY_HOST": "x", "RELAY_UPSTREAM_OAUTH_CLIENT_SECRET": SECRET, "RELAY_UPSTREAM_OAUTH_CLIENT_SECRET_FILE": SECRET},
    {"RELAY_UPSTREAM_PUSH": f"nothing://x/{SECRET} ntfy//{SECRET}"},
    {"RELAY_UPSTREAM_PUSH_FILE": SECRET},
    {"RELAY_HOST": "x", "RELAY_SPOOL_FALLBACK": f"postgresql://u:{SECRET}@h/db"},
    {"RELAY_HOST": "x", "RELAY_SPOOL_URL": f"pg://u:{SECRET}@h", "RELAY_SPOOL": f"pg://u:{SECRET}@h"},
]


@pytest.mark.parametrize("source", CASES)
def test_no_mistake_shows_a_secret(source: str, tmp_path: Path) -> None:
    """Forgotten colons, wrong types, wrong places, wrong names, half a URL: each is a mistake, and none repeats the value."""
    (tmp_path / "config.yaml").write_text(source.replace("ISP", ISP).replace("SECRET", SECRET))
    loaded = load(tmp_path / "config.yaml", {})
    assert loaded.mistakes
    told = "\n".join(map(str, (*loaded.mistakes, *loaded.remarks)))
    assert SECRET[1:] not in told


@pytest.mark.parametrize("source", CASES)
def test_no_mistake_in_a_whole_file_of_the_environment_shows_a_secret(source: str) -> None:
    """The same text in RELAY_CONFIG_YAML."""
    loaded = load(None, {"RELAY_CONFIG_YAML": source.replace("ISP", ISP).replace("SECRET", SECRET)})
    assert loaded.mistakes
    assert SECRET[1:] not in "\n".join(map(str, (*loaded.mistakes, *loaded.remarks)))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_mistake_shows_a_variable_with_a_secret(environment: dict[str, str]) -> None:
    """The same for what the environment says."""
    loaded = load(None, environment)
    assert loaded.mistakes
    assert SECRET not in "\n".join(map(str, (*loaded.mistakes, *loaded.remarks)))


@pytest.mark.parametrize("variable", ["ISP_PASS", "PW", "DB_URL", "CREDENTIALS", "API_TOKEN"])
def test_no_mistake_shows_what_such_a_variable_holds(variable: str, tmp_path: Path) -> None:
    """A variable whose name speaks of a secret stands in the wrong place: its name is told, what it holds is not."""
    (tmp_path / "config.yaml").write_text(f'upstreams: {{isp: {{host: "${{{variable}}}", port: "${{{variable}}}"}}}}')
    told = "\n".join(map(str, load(tmp_path / "config.yaml", {variable: f"{SECRET} x"}).mistakes))
    assert variable in told
    assert SECRET not in told


def test_what_is_no_secret_is_still_shown(tmp_path: Path) -> None:
    """A person must see what was found: a wrong port, a misspelt setting, a host with something before it."""
    (tmp_path / "config.yaml").write_text("upstreams: {isp: {hots: x, host: 'smtp://mail.example', port: 587a}}")
    told = "\n".join(map(str, load(tmp_path / "config.yaml", {}).mistakes))
    for shown in ("isp.hots", "'smtp://mail.example'", "'587a'"):
        assert shown in told


BLANK = "the secret begins or ends with a blank, which counts; remove it if it is not meant"
QUOTED = "the secret stands in quotation marks, which count; remove them if they are not meant"


@pytest.mark.parametrize(
    ("held", "mode", "told"),
    [
        (SECRET, 0o600, []),
        (f"{SECRET}\r\n", 0o640, []),
        (f"a {SECRET}'", 0o600, []),
        ('"', 0o600, []),
        (f"{SECRET} \n", 0o600, [BLANK]),
        (f"\t{SECRET}\n", 0o600, [BLANK]),
        (f'"{SECRET}"\n', 0o600, [QUOTED]),
        (f"'{SECRET}'", 0o600, [QUOTED]),
        (SECRET, 0o644, ["every user of this machine can read the secret; chmod 600 isp.secret"]),
        (f"{SECRET} ", 0o604, ["every user of this machine can read the secret; chmod 600 isp.secret", BLANK]),
    ],
)
def test_a_secret_s_file_that_may_not_be_as_meant_is_remarked_on(held: str, mode: int, told: list[str], tmp_path: Path) -> None:
    """It is used as it is: what counts in it is told, not changed; and who else can read it."""
    file = tmp_path / "isp.secret"
    file.write_text(held, encoding="utf-8")
    file.chmod(mode)
    (tmp_path / "config.yaml").write_text(f"upstreams: {{isp: {{{ISP}, password_file: isp.secret}}}}")
    loaded = load(tmp_path / "config.yaml", {})
    assert loaded.config
    password = loaded.config.upstreams["isp"].login.password
    assert password
    assert password.reveal() == held.rstrip("\r\n")
    assert [remark.partition("password_file: ")[2] for remark in loaded.remarks] == told
    environ = {"RELAY_HOST": "a.example", "RELAY_USERNAME": "a@b.c"}
    by_variable = load(None, {**environ, "RELAY_PASSWORD": held.rstrip("\r\n")}).remarks
    assert [remark.partition("RELAY_PASSWORD: ")[2] for remark in by_variable] == [
        one for one in told if one in (BLANK, QUOTED)
    ]


def test_what_an_engine_shows_to_its_container_is_for_the_relay_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swarm and Kubernetes give secrets a mode that all may read, and nobody else is there."""
    file = tmp_path / "isp"
    file.write_text(SECRET, encoding="utf-8")
    file.chmod(0o444)
    monkeypatch.setattr("relay.config.fields._ENGINE_SECRETS", tmp_path)
    environ = {"RELAY_HOST": "a.example", "RELAY_USERNAME": "a@b.c", "RELAY_PASSWORD_FILE": str(file)}
    assert load(None, environ).remarks == ()
