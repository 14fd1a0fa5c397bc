"""Doctor, test and sign-in from the page and its API, at a real relay.

program or browser ──HTTP──> relay run ──> sink, token server
"""

import html
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from relay.control import translated
from tests.stations.test_oauth_login import where_the_browser_ends
from tests.support.care import Forms, by_token, ended_consent, served
from tests.support.loaded import loaded, telling
from tests.support.oauth import Stub, provider
from tests.support.running import RelayProcess, running
from tests.support.sink import Sink, Taken, sink
from tests.support.waiting import eventually

PASSWORD = "correct horse"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Forms, Sink, Stub, RelayProcess]]:
    """`isp` takes mail; `m365` logs in by OAuth, and its consent has ended; one rule refuses."""
    with ExitStack() as stack:
        taking = stack.enter_context(sink(tmp_path / "sink"))
        stub = stack.enter_context(provider())
        graph = stack.enter_context(served(by_token(stub)))
        common = {"host": "127.0.0.1", "tls": "none"}
        oauth = {"provider": "microsoft", "client_id": "app", **stub.urls}
        config = {
            "upstreams": {
                "isp": {**common, "port": taking.port, "sender": "taro@isp.example"},
                "m365": {**common, "port": graph, "username": stub.user, "oauth": oauth},
            },
            "routes": [
                {"to": "*@spam.example", "reject": "not from here"},
                {"to": "*@office.example", "via": ["m365"]},
                {"via": ["isp"]},
            ],
            "recipients": {"aliases": {"me@home.example": "you@far.example"}},
            "notices": {"to": "admin@isp.example"},
            "retry": {"delays": ["1h"], "rest": ["1h"], "rest_login": "1h"},
            "web": {"address": "127.0.0.1:0", "password": PASSWORD},
            "dns": {"nameservers": ["127.0.0.1:9"]},
        }
        (tmp_path / "spool").mkdir()
        ended_consent(tmp_path / "spool", "m365", stub.user)
        relay = stack.enter_context(running(tmp_path, config))
        yield Forms(relay, PASSWORD), taking, stub, relay


World = tuple[Forms, Sink, Stub, RelayProcess]


def sent(taking: Sink) -> list[Taken]:
    """What came, without the relay's own word about the consent that has ended."""
    return [one for one in taking.taken() if one.reverse_path]


def examined(forms: Forms) -> dict[str, Any]:
    def ended() -> Any:
        found = forms.api("GET", "/api/doctor")[1]
        return None if found["running"] else found

    return dict(eventually(ended, 60))


def test_an_examination_is_one_whoever_asks_and_costs_the_relay_nothing(world: World) -> None:
    """Findings come while it runs, the worst first at its end; its process is gone then."""
    forms, taking, _, relay = world
    assert forms.api("GET", "/api/doctor")[1]["started_at"] is None
    code, first = forms.api("POST", "/api/doctor", {})
    assert (code, first["running"]) == (200, True)
    assert forms.api("POST", "/api/doctor", {})[1]["started_at"] == first["started_at"]
    assert forms.submit("/doctor")[0] == 303
    live = eventually(lambda: [one for one in [forms.api("GET", "/api/doctor")[1]] if one["running"] and one["findings"]], 60)
    assert live[0]["progress"]
    found = examined(forms)
    assert (found["trouble"], found["started_at"]) == ("", first["started_at"])
    grades = [one["grade"] for one in found["findings"]]
    assert grades == sorted(grades, key=["problem", "warning", "ok"].index)
    oauth = [one for one in found["findings"] if one["name"] == "login-oauth"]
    assert [one["about"] for one in oauth] == ["m365"]
    assert oauth[0]["cure"] and oauth[0]["link"]
    assert any(one["about"] == "isp" and one["grade"] == "ok" for one in found["findings"])
    assert sent(taking) == [], "nothing is sent by it"
    shown = forms.page("/doctor")
    assert "docs/findings.md#login-oauth" in shown
    assert not [line for line in _children(relay) if "whole" in line]
    japanese = Forms(relay, PASSWORD, "ja").page("/doctor")
    [told] = translated.finding("login-oauth", "ja")
    assert f"<p><bdi>m365</bdi>：{told.partition('`')[0]}" in japanese
    assert f'<bdi lang="en">{html.escape(oauth[0]["cause"].partition("`")[0])}' in japanese
    assert "</bdi>：" not in japanese.partition('<details id="fine"')[2], "it says what is amiss"


def _children(relay: RelayProcess) -> list[str]:
    tasks = Path(f"/proc/{relay.pid}/task").glob("*/children")
    pids = [pid for task in tasks for pid in task.read_text().split()]
    return [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]


def test_a_stop_does_not_wait_for_an_examination(tmp_path: Path) -> None:
    """And leaves no process behind."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        isp = {"host": "127.0.0.1", "port": mute.getsockname()[1], "sender": "a@isp.example", "tls": "none"}
        with running(tmp_path, {"upstreams": {"isp": isp}, "web": {"address": "127.0.0.1:0"}}) as relay:
            forms = Forms(relay)
            forms.api("POST", "/api/doctor", {})
            eventually(lambda: [line for line in _children(relay) if "whole" in line], 20)
            pid = next(
                pid
                for task in Path(f"/proc/{relay.pid}/task").glob("*/children")
                for pid in task.read_text().split()
                if "whole" in Path(f"/proc/{pid}/cmdline").read_text()
            )
            begun = time.monotonic()
            relay.stop()
            assert time.monotonic() - begun < 8
            assert not Path(f"/proc/{pid}").exists()


def test_nothing_of_it_is_loaded_before_it_is_wanted(tmp_path: Path) -> None:
    """Neither the examination nor what follows a consent nor the editor."""
    one = telling(
        RelayProcess(tmp_path, {"upstreams": {"isp": {"host": "127.0.0.1", "port": 9, "sender": "a@isp.example"}}}), tmp_path
    )
    try:
        one.start()
        early = {"relay.daemon.care", "relay.doctor.on_demand", "relay.config.editor", "relay.config.editor_process"}
        early |= {"relay.config.hidden", "relay.upstream.oauth.logins", "relay.control.care"}
        assert not early & set(loaded(one))
    finally:
        one.stop()


def test_a_test_is_sent_and_followed_on_the_page_of_its_message(world: World) -> None:
    """By the routes with aliases, or by one upstream whatever the routes say; its trail is the page that comes next."""
    forms, taking, *_ = world
    assert 'value="admin@isp.example"' in forms.page("/test")
    code, headers, _ = forms.submit("/test", to="me@home.example", via="")
    assert code == 303
    eventually(lambda: len(sent(taking)) == 1)
    assert "A test from the relay" in forms.page(headers["location"])
    assert forms.api("POST", "/api/tests", {"to": "you@spam.example", "via": "isp"})[0] == 200
    eventually(lambda: len(sent(taking)) == 2)
    said = forms.api("POST", "/api/tests", {})[1]
    taken = eventually(lambda: [found for found in [sent(taking)] if len(found) == 3])[0]
    assert [one.forward_paths for one in taken] == [["you@far.example"], ["you@spam.example"], ["admin@isp.example"]]
    assert {one.header("Subject") for one in taken} == {"A test from the relay"}
    eventually(lambda: forms.api("GET", f"/api/queue/{said['id']}")[1]["recipients"][0]["state"] == "relayed")


@pytest.mark.parametrize(
    ("to", "via", "says"),
    [
        ("you@spam.example", "", "not from here"),
        ("root", "", "no domain"),
        ("a b@x@y", "isp", "to: "),
        ("a@x.example\r\nBcc: b@y.example", "isp", "to: "),
        ("<script>alert(1)</script>@x.example", "nobody", "no upstream is named"),
        ("a@" + "x" * 2000, "", "an address is needed"),
    ],
)
def test_a_test_that_cannot_be_sent_says_why(world: World, to: str, via: str, says: str) -> None:
    """On the page too, with what was typed still there, as text; nothing is stored."""
    forms, _, _, relay = world
    code, said = forms.api("POST", "/api/tests", {"to": to, "via": via})
    assert code == 409 and says in said["error"]
    code, _, html = forms.submit("/test", to=to, via=via)
    assert code == 400
    assert "<script>alert" not in html
    assert relay.events("accepted") == []


def test_tests_are_few(world: World) -> None:
    """A page is no way to send mail."""
    forms, *_ = world
    codes = [forms.api("POST", "/api/tests", {"to": "you@far.example"})[0] for _ in range(12)]
    assert codes == [200] * 10 + [429] * 2
    assert forms.submit("/test", to="you@far.example")[0] == 429


def sign_in(forms: Forms) -> dict[str, Any]:
    [one] = forms.api("GET", "/api/oauth")[1]["oauth"]
    return dict(one)


def test_an_ended_consent_is_renewed_by_a_code_and_waiting_mail_goes(world: World) -> None:
    """The page shows address and code, follows, and the running relay uses the new token at once."""
    forms, _, stub, relay = world
    relay.submit("taro@isp.example", "boss@office.example", b"Subject: scan\r\n\r\nx\r\n")
    relay.wait_for("deferred")
    assert "The consent has ended." in forms.page("/sign-in")
    stub.pending = ["authorization_pending"]
    code, headers, _ = forms.submit("/sign-in", upstream="m365", how="start")
    assert (code, headers["location"]) == (303, "/sign-in#account-m365")
    waiting = eventually(lambda: sign_in(forms)["login"]["code"], 20)
    assert waiting == "GTHDDWXPL"
    html = forms.page("/sign-in")
    assert 'href="https://login.microsoft.com/device"' in html and "GTHDDWXPL" in html
    asked = len(stub.forms)
    forms.api("POST", "/api/oauth", {"upstream": "m365"})  # the same login, not a second one
    eventually(lambda: sign_in(forms)["login"]["state"] == "granted", 30)
    assert [form for form in stub.forms[asked:] if "grant_type" not in form] == []
    eventually(lambda: [one for one in relay.events("relayed") if one.get("upstream") == "m365"], 30, relay.said)
    assert sign_in(forms)["warnings"] == []
    assert "in force" in forms.page("/sign-in")
    assert (relay.spool.parent / "oauth" / "m365.json").stat().st_mode & 0o777 == 0o600
    for token in (*stub.refresh_tokens, *stub.access_tokens, "device-1", "refresh-void-token", "access-void-token"):
        assert not any(token in text for text in (*forms.answers, *relay.lines)), token


def test_where_no_code_is_allowed_the_browser_s_address_is_pasted(world: World) -> None:
    """PKCE and state are the relay's; another login's address is refused in words, and a second try is needed."""
    forms, _, stub, relay = world
    stub.trouble = [(400, {"error": "invalid_grant", "error_description": "AADSTS53003: blocked <b>here</b>"})]
    forms.api("POST", "/api/oauth", {"upstream": "m365"})
    eventually(lambda: sign_in(forms)["login"]["state"] == "refused", 20)
    html = forms.page("/sign-in")
    assert "AADSTS53003" in html and "<b>here</b>" not in html
    forms.submit("/sign-in", upstream="m365", how="paste")
    login = sign_in(forms)["login"]
    assert (login["state"], login["paste"]) == ("waiting", True)
    forms.submit("/sign-in", upstream="m365", how="finish", pasted="http://localhost/?code=4/x&state=another")
    assert sign_in(forms)["login"]["state"] == "refused"
    assert forms.submit("/sign-in", upstream="m365", how="finish", pasted="http://localhost/?code=4/x")[0] == 409
    forms.submit("/sign-in", upstream="m365", how="paste")
    ended_at = where_the_browser_ends(sign_in(forms)["login"]["address"])
    forms.submit("/sign-in", upstream="m365", how="finish", pasted=ended_at)
    assert sign_in(forms)["login"]["state"] == "granted"
    kept = json.loads((relay.spool.parent / "oauth" / "m365.json").read_text())
    assert {kept["refresh_token"]} == stub.refresh_tokens
    assert not any(kept["refresh_token"] in text for text in (*forms.answers, *relay.lines))


def test_a_code_that_nobody_types_expires(world: World) -> None:
    """As the provider says it, and another one can be begun."""
    forms, _, stub, _ = world
    stub.pending = ["expired_token"]
    forms.api("POST", "/api/oauth", {"upstream": "m365"})
    eventually(lambda: sign_in(forms)["login"]["state"] in ("refused", "expired"), 30)
    assert "not typed in time" in sign_in(forms)["login"]["words"] or sign_in(forms)["login"]["state"] == "expired"
    forms.api("POST", "/api/oauth", {"upstream": "m365"})
    eventually(lambda: sign_in(forms)["login"]["state"] == "granted", 30)


def test_an_address_that_is_no_address_is_no_link(world: World) -> None:
    """A token server's words do not become a script."""
    forms, _, stub, _ = world
    evil = {
        "user_code": '"><script>alert(1)</script>',
        "device_code": "d",
        "verification_uri": "javascript:alert(1)",
        "interval": 60,
    }
    stub.trouble = [(200, evil)]
    forms.api("POST", "/api/oauth", {"upstream": "m365"})
    eventually(lambda: sign_in(forms)["login"]["state"] == "waiting", 20)
    html = forms.page("/sign-in")
    assert "javascript:alert(1)" in html
    assert not re.search(r"href=.?javascript", html) and "<script>alert" not in html


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/api/oauth", {"upstream": "isp"}, 404),
        ("/api/oauth", {"upstream": 5}, 400),
        ("/api/oauth", {"upstream": "m365", "paste": "yes"}, 400),
        ("/api/oauth", {"upstream": "m365", "pasted": "x"}, 409),
        ("/api/tests", {"to": 5}, 400),
        ("/api/tests", [], 400),
        ("/api/doctor", [], 400),
    ],
)
def test_nonsense_is_answered_in_words(world: World, path: str, body: object, code: int) -> None:
    """Never a 500."""
    found, said = world[0].api("POST", path, body)
    assert found == code and said["error"]


@pytest.mark.parametrize("path", ["/doctor", "/test", "/sign-in", "/settings"])
def test_a_foreign_page_orders_nothing(world: World, path: str) -> None:
    """Without the seal, with another's, from another origin, as a form sent to the API; without the password."""
    forms, *_ = world
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    body = b"to=you@far.example&upstream=m365&how=start&act=save&text=x&stamp=y"
    assert forms.ask("POST", path, body, **form)[0] == 403
    assert forms.ask("POST", path, body + b"&form=" + b"0" * 64, Cookie="relay_form=x", **form)[0] == 403
    assert forms.ask("POST", path, body, Origin="http://evil.example", **form)[0] == 403
    api = {"/test": "/api/tests", "/sign-in": "/api/oauth"}.get(path, f"/api{path}")
    assert forms.ask("POST", api, b"{}", **form)[0] == 415
    assert forms.ask("POST", api, b"{}", Content_Type="application/json", Origin="http://evil.example")[0] == 403
    assert Forms(world[3]).ask("GET", path)[0] == 401
    assert Forms(world[3]).ask("POST", api, b"{}", Content_Type="application/json")[0] == 401
    assert world[3].events("accepted") == [] and world[2].forms == []
