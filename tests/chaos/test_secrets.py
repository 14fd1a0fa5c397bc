"""Secrets are shown nowhere, whatever fails and whoever asks: passwords, tokens, client secrets, the page's password.

NAS (with a login of its own) ──> relay run ──> upstreams of each kind, which refuse the login and repeat it
                                     └── log, trail, queue, API, page, metrics, doctor, explain, check, notices, core exceptions
"""

import asyncio
import base64
import http.client
import json
import os
import smtplib
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from starlette.requests import Request

from relay.cli.demo_graph import GraphCloud, GraphTrouble, _Refusal
from tests.chaos.ledger import Ledger
from tests.support.oauth import Stub, provider
from tests.support.push_services import Ntfy, serving
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.upstream import ScriptedUpstream
from tests.support.webhook import pushes

SENDER = "nas@isp.example"
PASSWORD, DEVICE_PASSWORD = "corr3ct-Horse-b4ttery", "0ther-p4ss-Staple"
CLIENT_SECRET, PAGE_PASSWORD, PUSH_PASSWORD = "cl13nt~Secret/value", "p4ge-Of-Glass", "t0pic-P4ssword"
UPLOAD, TOPIC, PUSH_TOKEN = "upload-secret-2", "camera-alarms-x7", "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2"
LARGE = b"--x\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n" + b"%b\r\n" % (b"x" * 76) * 42_000 + b"--x--\r\n"
NAMES = ("taro", "taro@isp.example", "nas", "you")
SETTINGS = (PASSWORD, DEVICE_PASSWORD, CLIENT_SECRET, PAGE_PASSWORD, PUSH_PASSWORD)
PATHS = ("/", "/messages", "/messages/{id}", "/metrics", "/healthz", "/readyz", "/api/queue", "/api/queue/{id}", "/api/relay")
PATHS += ("/api/upstreams", "/api/devices", "/api/findings", "/api/history", "/api/version", "/no/such/page")


def secrets_in(text: str, *secrets: str) -> list[str]:
    """The secrets in it, in any of the forms in which protocols say them."""
    forms = [form for one in secrets for form in (one, json.dumps(one)[1:-1], quote(one, safe=""), quote_plus(one))]
    octets = [one.encode() for one in secrets]
    octets += [b"\0%b\0%b" % (name.encode(), one) for one in list(octets) for name in NAMES]
    octets += [b"user=%b\1auth=Bearer %b\1\1" % (name.encode(), one.encode()) for one in secrets for name in NAMES]
    octets += [b"%b:%b" % (name.encode(), one.encode()) for one in secrets for name in NAMES]
    forms += [base64.b64encode(one).decode().rstrip("=") for one in octets]
    return [form for form in forms if form in text]


def test_every_form_is_found() -> None:
    """A search that finds nothing must be able to find something."""
    said = f"x AUTH PLAIN {base64.b64encode(b'x%b taro' % PASSWORD.encode()).decode()}"
    assert secrets_in(said, PASSWORD) == []
    for octets in (PASSWORD.encode(), f"\0taro\0{PASSWORD}".encode(), f"you:{PASSWORD}".encode()):
        assert secrets_in(f"x {base64.b64encode(octets).decode()} y", PASSWORD)
    assert secrets_in(quote(CLIENT_SECRET, safe=""), CLIENT_SECRET)


def failing_mail(relay: RelayProcess) -> str:
    with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=60) as line:
        with suppress(smtplib.SMTPException):
            line.login("taro", DEVICE_PASSWORD)  # what a device insists on saying is nobody's business either
        line.mail(SENDER)
        line.rcpt("b@far.example")
        head = b"Subject: hi\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
        return line.data(head + LARGE)[1].decode().split()[-1]  # so large that Graph wants it by an upload session


def page(place: str, path: str, password: str = PAGE_PASSWORD) -> str:
    connection = http.client.HTTPConnection(place, timeout=20)
    try:
        basic = base64.b64encode(f"you:{password}".encode()).decode()
        connection.request("GET", path, headers={"Authorization": f"Basic {basic}"})
        answer = connection.getresponse()
        return f"{answer.status} {answer.getheaders()}\n{answer.read().decode()}"
    finally:
        connection.close()


def parrot(server: ScriptedUpstream) -> Callable[[str], str]:
    """Refuses a login by saying again what it did not understand, as it came and decoded."""

    def refusal(_mechanism: str) -> str:
        said = server.connections[-1].commands[-1]
        plain = base64.b64decode(said.split()[-1]).decode().replace("\0", " ").replace("\1", " ")
        return f"535 5.7.8 not understood: {said} ({plain})"

    return refusal


class Parrot(GraphCloud):
    """Says again with what token somebody came."""

    def _admit(self, request: Request) -> None:
        raise _Refusal(403, "ErrorAccessDenied", f"not understood: {request.headers['authorization']}")


@asynccontextmanager
async def mailboxes() -> AsyncIterator[tuple[GraphCloud, GraphCloud]]:
    """One that repeats tokens, one that repeats the address of an upload."""
    both = Parrot(SENDER, secret=CLIENT_SECRET), GraphCloud(SENDER, secret=CLIENT_SECRET)
    for one in both:
        await one.start()
    url = f"{both[1].url}/upload/session-2?authtoken={UPLOAD}"
    both[1].trouble += [GraphTrouble("/upload/session-2", 403, "AccessDenied", f"not understood: {url} ({UPLOAD})")] * 9
    try:
        yield both
    finally:
        for one in both:
            await one.stop()


@contextmanager
def phones() -> Iterator[Ntfy | None]:
    """A push service that repeats topic and token; None without the library."""
    if not find_spec("apprise"):
        yield None
        return
    with serving(Ntfy(token=PUSH_TOKEN)) as ntfy:
        ntfy.refuse(403, {"code": 40301, "error": f"not understood: {PUSH_TOKEN} at {TOPIC}"}, times=99)
        yield ntfy


def denied(stub: Stub, refresh_token: str) -> tuple[int, dict[str, str]]:
    """A token server that is as talkative."""
    words = f"unknown refresh token {refresh_token} of the client with the secret {CLIENT_SECRET}, see {stub.base}"
    return 400, {"error": "invalid_grant", "error_description": words}


async def test_secrets_are_shown_nowhere(tmp_path: Path, ledger: Ledger) -> None:
    """Refused logins and tokens, talkative servers, garbage: whatever anybody may read, no secret is in it."""
    users = {"taro": "another password", SENDER: "no token at all"}
    said: list[str] = []
    async with (
        ScriptedUpstream(users=users, require_auth=True) as wrong,
        ScriptedUpstream(users=users) as echo,
        ScriptedUpstream(users=users, mechanisms=["XOAUTH2"]) as modern,
        mailboxes() as clouds,
    ):
        echo.script["AUTH"], modern.script["AUTH"] = parrot(echo), parrot(modern)
        with provider() as stub, provider() as strict, sink(tmp_path / "sink") as good, pushes() as push, phones() as ntfy:
            (tmp_path / "refresh").write_text(stub.consent())
            (tmp_path / "void").write_text(strict.consent())
            strict.trouble = [denied(strict, (tmp_path / "void").read_text())] * 9
            for name in ("refresh", "void"):
                (tmp_path / name).chmod(0o600)
            given = settings(tmp_path, wrong, echo, modern, stub, strict, good.port, push.url)
            others = of_other_kinds(tmp_path, clouds, ntfy)
            given["upstreams"] |= others
            given["routes"][-1]["via"] += others
            relay = RelayProcess(tmp_path, given)
            relay.config_file.chmod(0o644)
            await asyncio.to_thread(relay.start)
            try:
                queue_id = await asyncio.to_thread(failing_mail, relay)
                await asyncio.to_thread(relay.wait_for, "deferred", 1, 40)
                assert [auth for auth in (*wrong.auths, *echo.auths, *modern.auths) if auth[2] is False]
                assert stub.asked("refresh_token")
                assert strict.asked("refresh_token")
                assert clouds[0].requests
                assert ("PUT", "/upload") in clouds[1].requests
                assert ntfy is None or ntfy.requests
                asked = (asyncio.to_thread(relay.command, *words) for words in commands(queue_id))
                for done in await asyncio.gather(*asked):
                    assert done.stdout, (done.args, done.stderr)
                    said += [done.stdout, done.stderr]
                place = relay.events("started")[-1]["web"]
                pages = [await asyncio.to_thread(page, place, path.replace("{id}", queue_id)) for path in PATHS]
                assert [one.partition(" ")[0] for one in pages] == ["200"] * (len(PATHS) - 1) + ["404"]
                said += [*pages, await asyncio.to_thread(page, place, "/api/queue", PASSWORD)]
                modes = {place.name: stat.S_IMODE(place.stat().st_mode) for place in relay.spool.parent.rglob("*")}
                await asyncio.to_thread(good.wait_for, 1)
            finally:
                await asyncio.to_thread(relay.stop)
            notices = b"".join(one.octets for one in good.taken()).decode("latin-1")
            tokens = {*strict.refresh_tokens, *stub.refresh_tokens, *stub.access_tokens}
            tokens |= {(tmp_path / name).read_text() for name in ("refresh", "void")}
            tokens |= {*clouds[0].tokens, *clouds[1].tokens, UPLOAD, PUSH_TOKEN, TOPIC}
            told = [json.dumps(body, ensure_ascii=False) for body in push.bodies]
    assert any(queue_id in one for one in said)
    assert "wrong" in notices
    assert told
    everything = "\n".join([*said, *relay.lines, notices, *told])
    assert "not understood" in everything
    assert "unknown refresh token" in everything
    assert secrets_in(everything, *SETTINGS, *tokens) == []
    files = (place for name in ("spool.db*", "spool.db-content/*") for place in relay.spool.parent.glob(name))
    stored = b"".join(place.read_bytes() for place in files if place.is_file())
    assert secrets_in(stored.decode("latin-1"), *SETTINGS, *tokens) == []
    readable = "readable by everyone" in everything or "others" in everything or "every user" in everything
    assert readable, "a literal password in a file that others may read is remarked on at the start"
    private = {name: oct(mode) for name, mode in modes.items() if mode & 0o077}
    assert private == {}, "files beside the spool are for their owner only"
    words = f"{len(everything) // 1000} kB of output and {len(stored) // 1000} kB of files searched"
    ledger.enter("secrets, after refused logins", words=words)


def commands(queue_id: str) -> list[tuple[str, ...]]:
    message = ("--from", SENDER, "--to", "b@far.example")
    return [
        ("queue", "show", queue_id),
        ("queue", "show", queue_id, "--json"),
        ("queue", "list"),
        ("queue", "list", "--json"),
        ("check",),
        ("explain", *message),
        ("explain", *message, "--json"),
        ("health", "--json"),
        ("oauth", "status", "--json"),
        ("doctor",),
        ("doctor", "--json"),
    ]


def of_other_kinds(folder: Path, clouds: tuple[GraphCloud, GraphCloud], ntfy: Ntfy | None) -> dict[str, Any]:
    """Upstreams that are no SMTP."""
    oauth = {"client_id": "app", "client_secret": CLIENT_SECRET, "grant": "client-credentials", "tenant": "isp.example"}
    graph = {"provider": "outlook", "api": "graph", "username": SENDER}
    found: dict[str, Any] = {
        name: {**graph, "url": cloud.url, "oauth": {**oauth, "token_url": cloud.token_url}}
        for name, cloud in zip(("m365", "office"), clouds, strict=True)
    }
    if ntfy:
        found["phone"] = {"push": f"ntfy://{PUSH_TOKEN}@127.0.0.1:{ntfy.port}/{TOPIC}"}
    return {**found, "scans": {"folder": str(folder / "not-there")}}


def settings(
    folder: Path,
    wrong: ScriptedUpstream,
    echo: ScriptedUpstream,
    modern: ScriptedUpstream,
    stub: Stub,
    strict: Stub,
    good: int,
    push: str,
) -> dict[str, Any]:
    account = {"host": "127.0.0.1", "tls": "none", "username": "taro", "password": PASSWORD, "sender": SENDER}
    by_token = {"host": "127.0.0.1", "port": modern.port, "tls": "none", "username": SENDER, "auth": "xoauth2"}
    client = {"provider": "microsoft", "client_id": "app", "client_secret": CLIENT_SECRET}
    return {
        "upstreams": {
            "wrong": {**account, "port": wrong.port},
            "echo": {**account, "port": echo.port, "auth": "plain"},
            "modern": {**by_token, "oauth": {**client, **stub.urls, "refresh_token_file": str(folder / "refresh")}},
            "void": {**by_token, "oauth": {**client, **strict.urls, "refresh_token_file": str(folder / "void")}},
            "nobody": {**account, "port": 1},
            "good": {"host": "127.0.0.1", "port": good, "tls": "none", "sender": SENDER},
        },
        "routes": [{"to": "me@isp.example", "via": ["good"]}, {"via": ["wrong", "echo", "modern", "void", "nobody"]}],
        "listen": [
            {"address": "127.0.0.1:0", "networks": ["private"]},
            {"address": "127.0.0.1:0", "networks": ["private"], "auth": "required", "users": {"nas": DEVICE_PASSWORD}},
        ],
        "notices": {"to": "me@isp.example", "webhook": push.replace("://", f"://you:{PUSH_PASSWORD}@"), "digest": "1s"},
        "web": {"address": "127.0.0.1:0", "password": PAGE_PASSWORD},
        "dns": {"nameservers": ["127.0.0.1:9"]},
        "log": {"format": "json", "level": "debug"},
    }


def test_a_crash_inside_shows_no_secret(tmp_path: Path) -> None:
    """An exception with the settings in its locals prints them as ***."""
    from relay import config

    with provider() as stub:
        nobody = ScriptedUpstream()
        (tmp_path / "refresh").write_text(stub.consent())
        said = settings(tmp_path, nobody, nobody, nobody, stub, stub, 1, "http://127.0.0.1:9/topic")
        for port, upstream in enumerate(said["upstreams"].values(), 1):
            upstream["port"] = port
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(said))
    loaded = config.load(config.find(str(file), os.environ), os.environ)
    assert loaded.config is not None, loaded.mistakes
    assert secrets_in(f"{loaded!r} {loaded.config!r} {loaded.config}", *SETTINGS) == []
    assert "***" in repr(loaded.config)
