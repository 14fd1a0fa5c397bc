"""Logging in on the page, beside HTTP Basic: the way of a person, and what an attacker may try.

browser ──HTTP──> relay run
"""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from starlette.requests import Request

from relay.control import page_maker
from relay.control.access import KNOWN, AccessRules, Guard, PasswordCheck
from relay.control.guesses import TRIES
from tests.stations.test_control_access import PASSWORD, Page, answer_of, basic, fine, settings
from tests.support.running import running

FORM = "application/x-www-form-urlencoded"
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Person:
    """A browser without a window: keeps cookies, asks for HTML, sends the forms that pages have."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []
        """The Set-Cookie fields of the last answer."""

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        code, said, text = self.page.ask(method, path, body, **{"Accept": HTML, "Cookie": cookie, **headers})
        self.set = self.page.set_cookies
        for name, value, attributes in re.findall(r"(relay_\w+)=([^;]*);?(.*)", "\n".join(self.set)):
            self.cookies[name] = value
            if "Max-Age=0" in attributes:
                del self.cookies[name]
        return code, said, text

    def log_in(self, password: str = PASSWORD, next_: str = "/", **headers: str) -> tuple[int, dict[str, str], str]:
        """Opens the form and sends it."""
        _, _, html = self.ask("GET", "/login?" + urlencode({"next": next_}))
        body = urlencode({"form": seal_in(html), "password": password, "next": next_}).encode()
        return self.ask("POST", "/login", body, Content_Type=FORM, **headers)


class Remembering(Page):
    """Keeps each Set-Cookie apart: an answer may have several."""

    set_cookies: list[str]

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], str]:
        import http.client

        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.place, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in {"Host": self.place, **named, "Content-Length": str(len(body))}.items():
                if value:
                    connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body)
            answer = connection.getresponse()
            self.set_cookies = answer.headers.get_all("set-cookie") or []
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()


def seal_in(html: str) -> str:
    found = re.search(r'name="form" value="(\w+)"', html)
    assert found, html
    return found[1]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remembering]:
    folder = tmp_path_factory.mktemp("locked")
    (folder / "web.secret").write_text(PASSWORD + "\n")
    with running(folder, settings(address="127.0.0.1:0", password_file=str(folder / "web.secret"))) as relay:
        yield Remembering(relay)


@pytest.fixture
def person(locked: Remembering) -> Person:
    return Person(locked)


def test_a_person_logs_in_and_out(person: Person) -> None:
    """Led to the form, then to what was wanted; the session opens everything, and ends when they say so."""
    code, headers, _ = person.ask("GET", "/messages?state=failed")
    assert (code, headers["location"]) == (303, "/login?next=/messages%3Fstate%3Dfailed")
    code, _, html = person.ask("GET", headers["location"])
    assert (code, "Log in" in html, "log_out" in html) == (200, True, False)
    assert 'name="next" value="/messages?state=failed"' in html
    code, headers, _ = person.log_in(next_="/messages?state=failed")
    assert (code, headers["location"]) == (303, "/messages?state=failed")
    code, _, html = person.ask("GET", "/messages?state=failed")
    assert (code, "Log out" in html) == (200, True)
    assert person.ask("GET", "/api/queue")[0] == 200
    assert person.ask("GET", "/login?next=/devices")[1]["location"] == "/devices", "who is logged in is not asked again"

    before = dict(person.cookies)
    code, headers, _ = person.ask("POST", "/logout", urlencode({"form": seal_in(html)}).encode(), Content_Type=FORM)
    assert (code, headers["location"]) == (303, "/login?out=1")
    assert "relay_session" not in person.cookies
    assert "You are logged out." in person.ask("GET", "/login?out=1")[2]
    person.cookies = before  # somebody kept the cookie
    assert person.ask("GET", "/messages")[0] == 303
    assert person.page.code("GET", "/api/queue", Cookie=f"relay_session={before['relay_session']}") == 401


def test_programs_keep_http_basic(locked: Remembering) -> None:
    """Who does not ask for HTML gets 401 with Basic, and needs no session; one is not begun for it."""
    for accept in ("", "*/*", "application/json"):
        code, headers, _ = locked.ask("GET", "/messages", Accept=accept)
        assert (code, headers["www-authenticate"].partition(" ")[0]) == (401, "Basic")
    assert locked.ask("GET", "/messages", Accept=HTML, Authorization=basic(PASSWORD))[0] == 200
    assert not any("relay_session" in one for one in locked.set_cookies)
    code, headers, _ = locked.ask("GET", "/messages", Accept=HTML, Authorization=basic("wrong"))
    assert (code, headers["www-authenticate"].partition(" ")[0]) == (401, "Basic")


def test_what_is_for_programs_is_no_page_for_persons(locked: Remembering) -> None:
    """A monitor that says it were a browser is not led to a page that answers 200."""
    for path in ("/readyz", "/metrics", "/api/queue"):
        assert locked.ask("GET", path, Accept=HTML)[0] == 401


def test_a_wrong_password_is_told_in_the_form(person: Person) -> None:
    """No session begins; where the person wanted to go is kept; an empty one is no guess."""
    for password, words in (
        ("wrong", "This is not the password."),
        ("", "Type the password first."),
        ("\ud800", "not the password"),
    ):
        body = {"form": seal_in(person.ask("GET", "/login")[2]), "password": password, "next": "/devices"}
        sent = urlencode(body, errors="surrogatepass").encode()
        code, _, html = person.ask("POST", "/login", sent, Content_Type=FORM)
        assert code in (200, 403)
        assert words in html
        assert 'name="next" value="/devices"' in html
        assert "relay_session" not in person.cookies
    assert person.log_in()[0] == 303


def test_the_cookie_is_for_the_server_alone(person: Person) -> None:
    """No script reads it, no foreign page has it sent along, and it ends by itself."""
    person.log_in()
    (cookie,) = [one for one in person.set if one.startswith("relay_session=")]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert any(re.fullmatch(r"max-age=\d+", one) for one in attributes)


def test_no_session_is_fixed_before_the_log_in(person: Person) -> None:
    """A session id that an attacker put into the browser is worth nothing after the log-in; each log-in makes a new one."""
    person.cookies["relay_session"] = "fixed-by-an-attacker"
    person.log_in()
    first = person.cookies["relay_session"]
    assert first != "fixed-by-an-attacker"
    assert person.page.code("GET", "/api/queue", Cookie="relay_session=fixed-by-an-attacker") == 401
    form = seal_in(person.ask("GET", "/")[2])
    body = urlencode({"form": form, "password": PASSWORD}).encode()
    assert person.ask("POST", "/login", body, Content_Type=FORM)[0] == 303
    assert person.cookies["relay_session"] != first
    assert person.page.code("GET", "/api/queue", Cookie=f"relay_session={first}") == 401, "the one before has ended"


@pytest.mark.parametrize(
    "next_",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: relay_session=y",
        "evil.example",
        "/login?next=/",
        "/logout",
        '"><script>alert(1)</script>',
    ],
)
def test_the_log_in_leads_to_own_pages_only(person: Person, next_: str) -> None:
    """Whatever `next` says, in the link or in the form."""
    _, _, html = person.ask("GET", "/login?" + urlencode({"next": next_}))
    assert 'name="next" value="/"' in html
    assert "<script>alert" not in html
    code, headers, _ = person.log_in(next_=next_)
    assert (code, headers["location"]) == (303, "/")
    assert "relay_session=y" not in re.split("[;,] *", headers.get("set-cookie", ""))
    _, headers, _ = person.ask("GET", "/login?" + urlencode({"next": next_}))
    assert headers["location"] == "/"


def test_the_guard_leads_to_the_log_in_by_own_paths_only(person: Person) -> None:
    """What was asked for becomes `next` only if it may; an order is not repeated after a log-in."""
    here = f"http://{person.page.place}"
    for path in ("//evil.example/", "/%5c%5cevil.example", "/%09/evil.example", "/%2f/evil.example"):
        code, headers, _ = person.ask("GET", path)
        assert code == 303
        wanted = parse_qs(urlsplit(headers["location"]).query).get("next", ["/"])[0]
        assert urlsplit(urljoin(here, wanted)).netloc == person.page.place
        assert not wanted.startswith("//") and "\\" not in wanted
    code, headers, _ = person.ask("POST", "/orders", b"action=retry&all=yes", Content_Type=FORM)
    assert (code, headers["location"]) == (303, "/login")


def test_no_foreign_page_logs_anybody_in_or_out(person: Person) -> None:
    """CSRF: neither from another origin nor without the seal, nor with the seal of a stranger's own form."""
    stranger = Person(person.page)
    theirs = seal_in(stranger.ask("GET", "/login")[2])
    mine = seal_in(person.ask("GET", "/login")[2])
    body = {"password": PASSWORD, "next": "/"}
    assert (
        person.ask(
            "POST", "/login", urlencode({**body, "form": mine}).encode(), Content_Type=FORM, Origin="http://evil.example"
        )[0]
        == 403
    )
    for form in (theirs, "", "x"):
        code, _, html = person.ask("POST", "/login", urlencode({**body, "form": form}).encode(), Content_Type=FORM)
        assert (code, "type the password again" in html) == (403, True)
    assert "relay_session" not in person.cookies
    person.log_in()
    html = person.ask("GET", "/")[2]
    order = {"action": "retry", "all": "yes", "back": "/"}
    for form, code in ((theirs, 403), (mine, 403), (seal_in(html), 303)):
        assert person.ask("POST", "/orders", urlencode({**order, "form": form}).encode(), Content_Type=FORM)[0] == code
    # a stranger on another port of this machine may set cookies: theirs fits their seal, but not this session
    person.cookies["relay_form"] = stranger.cookies["relay_form"]
    assert person.ask("POST", "/orders", urlencode({**order, "form": theirs}).encode(), Content_Type=FORM)[0] == 403
    for form in (theirs, "", mine):
        assert person.ask("POST", "/logout", urlencode({"form": form}).encode(), Content_Type=FORM)[0] == 403
    assert person.ask("GET", "/logout")[0] in (404, 405)
    assert person.ask("GET", "/api/queue")[0] == 200, "still logged in"


def test_the_log_in_page_cannot_be_framed_or_reached_by_another_name(person: Person) -> None:
    """Clickjacking and DNS rebinding: the same headers and the same look at Host as everywhere."""
    _, headers, html = person.ask("GET", "/login")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)
    for path in ("/login", "/static/page.css"):
        assert person.ask("GET", path, Host="evil.example")[0] == 400


def test_strangers_see_the_form_and_nothing_else(locked: Remembering) -> None:
    """Its style and script are open, what they tell is in the source; version, queue and devices are not told."""
    _, _, html = locked.ask("GET", "/login", Accept=HTML)
    assert not re.search(r"relay \d|/messages|/metrics|/devices", html)
    for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', html):
        assert locked.code("GET", path) == 200
    for path in (
        "/static/../api.py",
        "/static/%2e%2e/%2e%2e/api.py",
        "/static/x",
        "/static/",
        "/login/../messages",
        "/login/",
        "/loginx",
        "/static/../messages",
    ):
        assert locked.code("GET", path) in (401, 404, 307)
    assert locked.code("GET", "/messages/") == 401
    for method, path in (
        ("PUT", "/login"),
        ("DELETE", "/login"),
        ("POST", "/static/page.css"),
        ("OPTIONS", "/static/page.css"),
    ):
        assert locked.code(method, path) == 401


def test_a_long_form_is_cut_off(person: Person) -> None:
    """Anybody may send it, so it may not be long."""
    assert person.ask("POST", "/login", b"password=" + b"x" * 20_000, Content_Type=FORM)[0] == 413


def test_a_new_password_ends_sessions(tmp_path: Path) -> None:
    """After a reload with another password the old session is none any more, and the new password opens."""
    (tmp_path / "web.secret").write_text("first\n")
    with running(tmp_path, settings(address="127.0.0.1:0", password_file=str(tmp_path / "web.secret"))) as relay:
        person = Person(Remembering(relay))
        assert person.log_in("first")[0] == 303
        assert person.ask("GET", "/")[0] == 200
        (tmp_path / "web.secret").write_text("second\n")
        relay.reload()
        assert person.ask("GET", "/")[0] == 303
        assert person.log_in("first")[0] == 403
        assert person.log_in("second")[0] == 303
        assert person.ask("GET", "/")[0] == 200


def test_without_a_password_there_is_nothing_to_log_in_to(tmp_path: Path) -> None:
    """The form leads on, and no session begins."""
    with running(tmp_path, settings(address="127.0.0.1:0")) as relay:
        person = Person(Remembering(relay))
        assert person.ask("GET", "/login?next=/devices")[1]["location"] == "/devices"
        form = seal_in(person.ask("GET", "/devices")[2]) if 'name="form"' in person.ask("GET", "/devices")[2] else ""
        assert person.ask("POST", "/login", urlencode({"form": form, "password": ""}).encode(), Content_Type=FORM)[0] in (
            303,
            403,
        )
        assert "relay_session" not in person.cookies


# -- guessing --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("relay.control.guesses.PAUSE", 0.2)
    return 0.2


def scope_of(client: str, cookie: str = "") -> Any:
    headers = [(b"host", b"127.0.0.1"), (b"cookie", cookie.encode())]
    return {"type": "http", "method": "POST", "path": "/login", "headers": headers, "client": (client, 1)}


async def said(check: PasswordCheck, client: str, password: bytes, cookie: str = "") -> tuple[int, float]:
    """What a password on the log-in page is answered, and after how long."""
    began = time.monotonic()
    refusal = await check.refusal(scope_of(client, cookie), password)
    return (refusal.status_code if refusal else 200), time.monotonic() - began


async def test_form_and_basic_share_the_tries(pause: float) -> None:
    """Who has used up the tries on one way waits on the other; the right password is only slowed, never refused."""
    rules = AccessRules(password="right")
    check = PasswordCheck(rules)
    guard = Guard(fine, rules, check=check)
    for number in range(TRIES):
        if number % 2:
            assert (await said(check, "192.168.1.7", b"wrong"))[0] == 401
        else:
            assert await answer_of(guard, "192.168.1.7", authorization=basic("wrong")) == 401
    began = time.monotonic()
    assert await answer_of(guard, "192.168.1.7", authorization=basic("right")) == 200
    assert time.monotonic() - began >= pause * 0.9
    code, took = await said(check, "192.168.1.7", b"right")
    assert (code, took >= pause * 0.9) == (200, True)
    code, took = await said(check, "192.168.1.8", b"right")
    assert (code, took < pause) == (200, True)


async def test_a_session_never_waits_for_a_guesser(pause: float) -> None:
    """The owner at the same address goes on at once, however much is guessed; nor does their own browser's log-in wait."""
    rules = AccessRules(password="right")
    check = PasswordCheck(rules)
    guard = Guard(fine, rules, check=check)
    from starlette.datastructures import Headers

    session = check.begin_session(Headers({})).partition(";")[0]
    known = check.mark_of_known().partition(";")[0]
    for _ in range(TRIES):
        await said(check, "172.17.0.1", b"wrong")
    guessing = [asyncio.ensure_future(said(check, "172.17.0.1", b"wrong")) for _ in range(20)]
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await answer_of(guard, "172.17.0.1", cookie=session) == 200
    assert time.monotonic() - began < pause
    code, took = await said(check, "172.17.0.1", b"right", known)
    assert (code, took < pause) == (200, True)
    codes = [code for code, _ in await asyncio.gather(*guessing)]
    assert set(codes) == {401, 429}


def test_a_browser_is_known_by_this_password_only() -> None:
    """Who knew the one before has no tries of their own any more, and nobody without a name has."""
    from starlette.datastructures import Headers

    rules = AccessRules(password="old")
    check = PasswordCheck(rules)
    known = Headers({"cookie": check.mark_of_known().partition(";")[0]})
    assert check.known_browser(known)
    rules.become(AccessRules(password="new"))
    assert not check.known_browser(known)
    assert not check.known_browser(Headers({"cookie": "relay_known=."}))


@pytest.mark.parametrize(
    ("before", "now", "fits"),
    [
        (("", "a"), ("", "b"), True),
        (("session", "a"), ("session", "a"), True),
        (("session", "a"), ("session", "b"), False),
        (("", "a"), ("session", "a"), False),
        (("", ""), ("password", ""), False),
        (("", ""), ("proxy", ""), False),
        (("password", ""), ("proxy", ""), False),
    ],
)
def test_a_form_is_sealed_for_what_vouched_for_it(before: tuple[str, str], now: tuple[str, str], fits: bool) -> None:
    """A form that a stranger got is no order of who has logged in, in whichever way."""

    def sealed(vouched: str, session: str) -> str:
        headers = [(b"cookie", f"relay_session={session}".encode())] if session else []
        return page_maker._sealed(
            Request({"type": "http", "headers": headers, **({KNOWN: vouched} if vouched else {})}), "cookie"
        )

    assert (sealed(*before) == sealed(*now)) is fits


async def test_no_password_that_is_not_set_opens(pause: float) -> None:
    """With a proxy's header alone there is no password: nothing that is typed is right, and no session holds."""
    check = PasswordCheck(AccessRules(user_header="Remote-User"))
    from starlette.datastructures import Headers

    assert (await said(check, "192.168.1.7", b""))[0] == 401
    cookie = check.begin_session(Headers({})).partition(";")[0]
    assert not check.in_session(Headers({"cookie": cookie}))
