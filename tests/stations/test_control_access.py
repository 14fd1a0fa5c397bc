"""Who may look at the page and give orders: password, Host, Origin, form seal, paths, sizes.

program or browser ──HTTP──> relay run
"""

import asyncio
import base64
import http.client
import re
import smtplib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from relay.control.access import AccessRules, FormSeal, Guard, is_our_name, own_names
from relay.control.guesses import MANY, TRIES, WAITING, WINDOW
from tests.support.running import RelayProcess, running

PASSWORD = "correct horse: バッテリー"
ORDER = b'{"action": "retry", "ids": null}'


class Page:
    """The relay's TCP side, asked by a program that writes its headers itself."""

    def __init__(self, relay: RelayProcess) -> None:
        self.relay = relay
        self.place = str(relay.events("started")[-1]["web"])

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.place, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in {"Host": self.place, **named, "Content-Length": str(len(body))}.items():
                if value:
                    connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def code(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        return self.ask(method, path, body, **headers)[0]


def basic(password: str, user: str = "anybody") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def settings(**web: str) -> dict[str, Any]:
    upstream = {"host": "127.0.0.1", "port": 9, "tls": "none", "sender": "taro@isp.example"}
    return {"upstreams": {"isp": upstream}, "retry": {"delays": ["1h"], "rest": ["1h"]}, "web": web}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page on loopback without a password."""
    with running(tmp_path_factory.mktemp("open"), settings(address="127.0.0.1:0")) as relay:
        yield Page(relay)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with a password."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "web.secret").write_text(PASSWORD + "\n")
    with running(folder, settings(address="127.0.0.1:0", password_file=str(folder / "web.secret"))) as relay:
        yield Page(relay)


@pytest.mark.parametrize(
    "path", ["/", "/messages", "/metrics", "/readyz", "/api/queue", "/api/relay", "/static/nowhere.css", "/nowhere"]
)
def test_nothing_but_healthz_is_told_without_the_password(locked: Page, path: str) -> None:
    """401 for everything else, with or without a wrong password; any user name will do with the right one."""
    code, headers, _ = locked.ask("GET", path)
    assert code == 401
    assert headers["www-authenticate"].startswith("Basic ")
    assert locked.code("GET", path, Authorization=basic(PASSWORD)) == (404 if "nowhere" in path else 200)
    assert locked.code("GET", "/healthz") == 200


@pytest.mark.parametrize(
    "given", [basic(""), basic("correct"), basic(PASSWORD + " "), "Basic", "Basic !!!!", "Bearer x", "basic " + "A" * 5000]
)
def test_a_wrong_password_opens_nothing(locked: Page, given: str) -> None:
    """Neither an empty nor a cut nor a malformed one."""
    assert locked.code("GET", "/api/queue", Authorization=given) == 401
    assert locked.code("GET", "/api/queue", Authorization=basic(PASSWORD, user="")) == 200


def test_orders_need_the_password_too(locked: Page) -> None:
    """Without it nothing is ordered."""
    assert locked.code("POST", "/api/orders", ORDER, Content_Type="application/json") == 401
    with_it = {"Content_Type": "application/json", "Authorization": basic(PASSWORD)}
    assert locked.code("POST", "/api/orders", ORDER, **with_it) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8025",
        "127.0.0.1.evil.example",
        "127.0.0.1:80:80",
        "[::1",
        "",
        "localhost.evil.example",
        "relay.test@evil.example",
        "evil",
        "evil.local",
        "evil.lan",
        "relay.evil.local",
        "evil.home.arpa.",
    ],
)
def test_a_foreign_name_that_points_here_gets_nothing(page: Page, host: str) -> None:
    """DNS rebinding: a page of evil.example must not read the queue by making its own name lead to loopback."""
    for path in ("/", "/api/queue", "/metrics"):
        code, _, text = page.ask("GET", path, Host=host)
        assert code == 400
        assert "messages" not in text


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost:8025", "[::1]:8025", "relay.test", "RELAY.test:80", "relay", "relay.local", "192.168.1.5:8025"],
)
def test_our_own_names_are_known(page: Page, host: str) -> None:
    """Addresses, the configured host name, and what the LAN may make of it."""
    assert page.code("GET", "/", Host=host) == 200


def test_names_in_detail() -> None:
    """A name of ours may be set; what only ends like it is somebody else's."""
    names = frozenset({"mail.example.jp"})
    assert is_our_name("mail.example.jp.:443", names)
    assert not is_our_name("xmail.example.jp", names)
    assert not is_our_name("evillocal.example", names)
    assert not is_our_name("mail.example.jp:x", names)
    assert not is_our_name("", names)
    assert own_names("NAS.fritz.box", "relay.home.arpa") >= {"nas.fritz.box", "nas", "nas.local", "relay", "relay.home.arpa"}
    assert "" not in own_names("", ".")


@pytest.mark.parametrize("path", ["/api/orders", "/orders"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_orders_of_foreign_pages_are_refused(page: Page, path: str, headers: dict[str, str]) -> None:
    """What a browser sends for another page is refused before anybody reads it, JSON and form alike."""
    assert page.code("POST", path, ORDER, Content_Type="application/json", **headers) == 403


def test_a_form_without_its_seal_orders_nothing(page: Page) -> None:
    """A form that did not come from a page of ours is refused, as is JSON that says it is a form."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for body in (
        b"action=retry&all=yes",
        b"action=retry&all=yes&form=",
        b"action=retry&all=yes&form=" + b"0" * 64,
        b"\xff" * 30,
    ):
        assert page.code("POST", "/orders", body, **form) == 403
    assert page.code("POST", "/api/orders", ORDER, **form) == 415
    assert page.code("POST", "/api/orders", ORDER, Content_Type="text/plain") == 415


def test_a_form_with_its_seal_is_carried_out(page: Page) -> None:
    """The seal fits the cookie that came with the page, and no other; the answer leads back to where the form was."""
    _, headers, html = page.ask("GET", "/")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    with smtplib.SMTP("127.0.0.1", page.relay.port) as device:
        device.sendmail("a@isp.example", "b@far.example", "Subject: x\r\n\r\nx")
    page.relay.wait_for("deferred")
    _, _, html = page.ask("GET", "/", Cookie=cookie.partition(";")[0])
    seal = re.findall(r'name="form" value="(\w+)"', html)[0].encode()
    form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"http://{page.place}"}
    body = b"action=retry&all=yes&back=/&form=" + seal
    code, headers, _ = page.ask("POST", "/orders", body, Cookie=cookie.partition(";")[0], **form)
    assert (code, headers["location"]) == (303, "/?done=retry&n=1")
    assert page.code("POST", "/orders", body, Cookie="relay_form=another", **form) == 403


@pytest.mark.parametrize(
    "back", ["//evil.example", "http://evil.example/", "/messages/../..//evil.example", "/\\evil.example", "/messages\r\nX: y"]
)
def test_no_form_leads_elsewhere(page: Page, back: str) -> None:
    """Where a form returns to is one of our own pages, whatever it says."""
    from urllib.parse import urlencode

    _, headers, _ = page.ask("GET", "/")
    cookie = headers["set-cookie"].partition(";")[0]
    _, _, html = page.ask("GET", "/messages", Cookie=cookie)
    seal = re.findall(r'name="form" value="(\w+)"', html)[0]
    body = urlencode({"action": "hold", "back": back, "form": seal}).encode()
    code, headers, _ = page.ask("POST", "/orders", body, Cookie=cookie, Content_Type="application/x-www-form-urlencoded")
    assert (code, headers["location"]) == (303, "/?done=unticked&n=0")


def test_an_order_without_a_message_is_told_from_one_that_fits_none(page: Page) -> None:
    """Nothing ticked: tick at least one.  A message that the order does not apply to: nothing was done, and why."""
    _, headers, _ = page.ask("GET", "/")
    cookie = headers["set-cookie"].partition(";")[0]
    _, _, html = page.ask("GET", "/messages", Cookie=cookie)
    seal = re.findall(r'name="form" value="(\w+)"', html)[0].encode()
    told = {}
    for ids in (b"", b"&id=00000000000000"):
        body = b"action=hold&back=/messages&form=" + seal + ids
        _, headers, _ = page.ask("POST", "/orders", body, Cookie=cookie, Content_Type="application/x-www-form-urlencoded")
        told[ids], unticked = page.ask("GET", headers["location"])[2], "Tick at least one message first."
        assert (unticked in told[ids], "this action does not apply" in told[ids]) == (not ids, bool(ids))


@pytest.mark.parametrize(
    "path",
    [
        "/static/../api.py",
        "/static/..%2fapi.py",
        "/static/%2e%2e/desk.py",
        "/static//etc/passwd",
        "/static/page.css/",
        "/templates/home.html",
        "/messages/../../etc",
    ],
)
def test_no_path_leads_out(page: Page, path: str) -> None:
    """Files are served by three names only."""
    code, _, text = page.ask("GET", path)
    assert code in (404, 307)
    assert "import" not in text


def test_the_browser_is_told_to_trust_nothing_else(page: Page) -> None:
    """Every answer has the headers, refusals and files too: no inline script, no frame, no sniffing, nothing kept."""
    for path, host in (("/", ""), ("/api/queue", ""), ("/nowhere", ""), ("/static/page.js", ""), ("/", "evil.example")):
        _, headers, _ = page.ask("GET", path, **({"Host": host} if host else {}))
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert page.ask("GET", "/")[1]["cache-control"] == "no-store"
    assert "server" not in page.ask("GET", "/")[1]


def test_the_page_has_no_inline_script_or_style(page: Page) -> None:
    """The policy would stop it, so there must be none."""
    html = page.ask("GET", "/")[2] + page.ask("GET", "/messages")[2]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", html)


def test_endless_orders_are_cut_off(page: Page) -> None:
    """More than a megabyte is no order, whether its length was told or not."""
    huge = b'{"action": "hold", "ids": ["' + b"x" * 1_100_000 + b'"]}'
    assert page.code("POST", "/api/orders", huge, Content_Type="application/json") == 413
    connection = http.client.HTTPConnection(page.place, timeout=20)
    try:
        pieces = (b"x" * 65536 for _ in range(32))
        connection.request("POST", "/api/orders", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    finally:
        connection.close()


async def answer_of(guard: Guard, client: str, **headers: str) -> int:
    """What the guard answers, without a socket: its clock is the test's."""
    codes: list[int] = []
    pairs = [
        (name.lower().replace("_", "-").encode(), value.encode()) for name, value in {"host": "127.0.0.1", **headers}.items()
    ]

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            codes.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": pairs, "client": (client, 1)}
    await guard(scope, receive, send)
    return codes[0]


async def fine(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def asked(guard: Guard, client: str, password: str, cookie: str = "") -> tuple[int, float]:
    """The answer's code, and how many seconds it took."""
    began = time.monotonic()
    code = await answer_of(guard, client, authorization=basic(password), cookie=cookie)
    return code, time.monotonic() - began


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("relay.control.guesses.PAUSE", 0.2)
    return 0.2


async def test_guessing_is_slow_and_locks_nobody_out(pause: float) -> None:
    """After ten wrong passwords each one waits for its turn, the right one too; others do not wait."""
    guard = Guard(fine, AccessRules(password="right"))
    for _ in range(TRIES):
        code, took = await asked(guard, "192.168.1.7", "wrong")
        assert (code, took < pause) == (401, True)
    for password, expected in (("wrong", 401), ("right", 200)):
        code, took = await asked(guard, "192.168.1.7", password)
        assert (code, took >= pause * 0.9) == (expected, True)
    code, took = await asked(guard, "192.168.1.8", "right")
    assert (code, took < pause) == (200, True)


async def test_many_guesses_at_once_are_no_faster(pause: float) -> None:
    """A few wait, one after the other; the rest are told to come back, and none of those is looked at."""
    guard = Guard(fine, AccessRules(password="right"))
    for _ in range(TRIES):
        await asked(guard, "192.168.1.7", "wrong")
    answers = await asyncio.gather(*(asked(guard, "192.168.1.7", "right") for _ in range(30)))
    assert [code for code, _ in answers].count(200) == WAITING
    assert max(took for _, took in answers) >= pause * WAITING * 0.9


async def test_a_turn_is_used_up_by_who_hangs_up(pause: float) -> None:
    """Who does not wait for the answer gets the next one no sooner."""
    guard = Guard(fine, AccessRules(password="right"))
    for _ in range(TRIES):
        await asked(guard, "192.168.1.7", "wrong")
    gone = asyncio.ensure_future(asked(guard, "192.168.1.7", "wrong"))
    await asyncio.sleep(0)
    gone.cancel()
    code, took = await asked(guard, "192.168.1.7", "right")
    assert (code, took >= 2 * pause * 0.9) == (200, True)


async def test_a_browser_that_was_let_in_does_not_wait_for_a_guesser_at_its_address(pause: float) -> None:
    """Behind one NAT all have the same address; the cookie tells them apart, and another process's cookie does not."""
    guard, sent = Guard(fine, AccessRules(password="right")), []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    pairs = [(b"host", b"127.0.0.1"), (b"authorization", basic("right").encode())]
    await guard({"type": "http", "method": "GET", "path": "/", "headers": pairs, "client": ("172.17.0.1", 1)}, receive, send)
    cookie = dict(sent[0]["headers"])[b"set-cookie"].decode()
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    for _ in range(TRIES):
        await asked(guard, "172.17.0.1", "wrong")
    code, took = await asked(guard, "172.17.0.1", "right", cookie.partition(";")[0])
    assert (code, took < pause) == (200, True)
    foreign = f"relay_known=x.{FormSeal().token('x')}"
    code, took = await asked(guard, "172.17.0.1", "right", foreign)
    assert (code, took >= pause * 0.9) == (200, True)


async def test_the_tries_come_back(pause: float) -> None:
    """After the window nobody waits any more."""
    hour = [0.0]
    guard = Guard(fine, AccessRules(password="right"), clock=lambda: hour[0])
    for _ in range(TRIES):
        assert await answer_of(guard, "192.168.1.7", authorization=basic("wrong")) == 401
    hour[0] = WINDOW + 0.5
    code, took = await asked(guard, "192.168.1.7", "right")
    assert (code, took < pause) == (200, True)


async def test_guesses_from_many_addresses_are_slow_too(pause: float) -> None:
    """When many clients together guess, each has one free try; an owner who comes from elsewhere still does not wait."""
    guard = Guard(fine, AccessRules(password="right"), clock=lambda: 0.0)
    for number in range(MANY):
        await answer_of(guard, f"10.0.0.{number}", authorization=basic("wrong"))
    assert (await asked(guard, "10.0.1.1", "wrong"))[1] < pause
    assert (await asked(guard, "10.0.1.1", "wrong"))[1] >= pause * 0.9
    assert (await asked(guard, "10.0.2.2", "right"))[1] < pause


async def test_the_addresses_of_one_ipv6_host_are_one_guesser(pause: float) -> None:
    """Who has a /64 has more addresses than there are passwords."""
    guard = Guard(fine, AccessRules(password="right"))
    for number in range(TRIES):
        assert await answer_of(guard, f"2001:db8::{number + 1:x}", authorization=basic("wrong")) == 401
    assert (await asked(guard, "2001:db8::ffff", "right"))[1] >= pause * 0.9
    assert (await asked(guard, "2001:db8:1::1", "right"))[1] < pause


async def test_asking_without_a_password_is_no_guess() -> None:
    """A browser asks before it knows that it must; that alone locks nobody out."""
    guard = Guard(fine, AccessRules(password="right"), clock=lambda: 0.0)
    for _ in range(TRIES * 2):
        assert await answer_of(guard, "192.168.1.7") == 401
    assert await answer_of(guard, "192.168.1.7", authorization=basic("right")) == 200


async def test_a_proxy_is_believed_only_where_it_was_named() -> None:
    """`web.user_header` counts from the proxy's address, with a name in it; from anywhere else it is nothing."""
    import ipaddress

    rules = AccessRules(user_header="Remote-User", proxies=(ipaddress.ip_network("172.16.0.2/32"),))
    guard = Guard(fine, rules)
    assert await answer_of(guard, "172.16.0.2", remote_user="taro") == 200
    assert await answer_of(guard, "172.16.0.2", remote_user=" ") == 401
    assert await answer_of(guard, "172.16.0.2") == 401
    assert await answer_of(guard, "172.16.0.3", remote_user="taro") == 401


async def test_a_proxys_path_is_no_reason_to_believe_a_foreign_name() -> None:
    """A script of a page whose name leads here could send that header itself."""
    import ipaddress

    rules = AccessRules(user_header="Remote-User", proxies=(ipaddress.ip_network("127.0.0.1/32"),))
    said = {"remote_user": "taro", "x_ingress_path": "/a"}
    assert await answer_of(Guard(fine, rules), "127.0.0.1", **said) == 200
    assert await answer_of(Guard(fine, rules), "127.0.0.1", host="evil.example:8025", **said) == 400


def test_a_seal_fits_its_cookie_only() -> None:
    """Neither an empty cookie nor another process's seal is taken."""
    seal = FormSeal()
    cookie = seal.new_cookie()
    assert seal.fits(cookie, seal.token(cookie))
    assert not seal.fits(cookie, FormSeal().token(cookie))
    assert not seal.fits("", seal.token(""))
    assert not seal.fits(None, seal.token(""))
    assert not seal.fits(cookie, "é")
