"""The list of messages over HTTP: search, pages by key, orders for all that match, on the page and by the API.

device ──SMTP──> relay run ──> upstream that refuses far.example          program ──HTTP──> relay run
"""

import http.client
import json
import re
import smtplib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.stations.test_control_access import Page
from tests.support.peers import free_port
from tests.support.running import RelayProcess, running

SCRIPT = "<script>document.title='owned'</script>"
MESSAGES = 120


def config() -> dict[str, Any]:
    isp = {"host": "127.0.0.1", "port": free_port(), "tls": "none", "sender": "a@isp.example"}
    return {
        "upstreams": {"isp": isp, "other": {**isp, "port": free_port()}},
        "routes": [{"via": ["isp"]}],
        "retry": {"delays": ["1h"], "rest": ["1h"]},
        "web": {"address": "127.0.0.1:0"},
        "devices": {"Cellar NAS": {"helo": "nas"}},
        "limits": {"messages_per_minute": 100_000},
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A hundred and twenty messages that wait, every tenth to anna."""
    with running(tmp_path_factory.mktemp("search"), config()) as relay:
        fill(relay)
        yield Page(relay)


def fill(relay: RelayProcess) -> None:
    for number in range(MESSAGES):
        to = "anna@far.example" if number % 10 == 0 else f"b{number}@far.example"
        send(relay, to, f"Report {number:03}", "nas" if number % 2 else "cam")
    send(relay, "c@far.example", SCRIPT, SCRIPT.replace(" ", ""))
    relay.wait_for("deferred", 1)


def send(relay: RelayProcess, to: str, subject: str, helo: str) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as device:
        device.ehlo(helo)
        device.sendmail("a@isp.example", [to], f"Subject: {subject}\r\n\r\nhi\r\n")


def rows(html: str) -> list[str]:
    return re.findall(r'data-key="(\w+)"', html)


def subjects(html: str) -> list[str]:
    return re.findall(r"<bdi>(Report \d+)</bdi>", html)


def link(html: str, rel: str) -> str:
    found = re.search(rf'<a rel="{rel}" href="([^"]+)"', html)
    return found[1].replace("&amp;", "&") if found else ""


def test_pages_lead_through_all_of_it_and_back(page: Page) -> None:
    """Each message once, newest first, by keys and not by numbers; the way back shows the same pages."""
    seen, there = [], ["/messages"]
    html = page.ask("GET", there[0])[2]
    while True:
        seen += rows(html)
        if not (older := link(html, "next")):
            break
        assert "older_than=" in older
        assert "skip" not in older
        there.append(older)
        html = page.ask("GET", older)[2]
    assert len(seen) == len(set(seen)) == MESSAGES + 1
    assert len(there) == 3
    back = []
    while newer := link(html, "prev"):
        html = page.ask("GET", newer)[2]
        back.append(rows(html)[0])
    assert back[-1] == seen[0]
    assert "50 messages on this page" in html


def test_a_search_is_kept_on_the_next_page(page: Page) -> None:
    """By subject and device; what is shown stands in the form, and in the link to the next page."""
    html = page.ask("GET", "/messages?subject=report&device=cellar+nas")[2]
    assert len(rows(html)) == 50
    assert 'name="subject" value="report"' in html
    older = link(html, "next")
    assert "subject=report&device=cellar+nas&older_than=" in older
    assert len(rows(page.ask("GET", older)[2])) == 10
    found = page.ask("GET", "/messages?q=anna")[2]
    assert len(rows(found)) == 12
    assert "12 messages in all" in found
    assert subjects(page.ask("GET", "/messages?q=007")[2]) == ["Report 007"]
    assert "No message matches this search." in page.ask("GET", "/messages?q=nothing-like-it")[2]


def test_what_is_no_search_is_said(page: Page) -> None:
    """A day that is none is told at its field, and nothing is hidden."""
    html = page.ask("GET", "/messages?until=yesterday")[2]
    assert 'aria-invalid="true"' in html
    assert "This cannot be searched for" in html
    assert len(rows(html)) == 50
    assert page.code("GET", "/messages?state=lost") == 200
    assert page.code("GET", "/messages?older_than=x&newer_than=9-9-9") == 200


@pytest.mark.parametrize(
    "name", ["q", "address", "subject", "device", "said", "since", "until", "state", "older_than", "action"]
)
def test_a_search_is_no_way_in(page: Page, name: str) -> None:
    """What is searched for, what a subject and what HELO says is shown as text, wherever it is shown again."""
    for path in ("/messages", "/messages/matching"):
        for said in ('"><script>alert(1)</script>', "' OR 1=1 --", "%00", "{{ 7*7 }}", "\r\nSet-Cookie: x=y"):
            code, headers, html = page.ask("GET", f"{path}?{urlencode({name: said, 'action': 'hold'} | {name: said})}")
            assert code in (200, 400)
            assert "<script>alert" not in html
            assert "<script>document" not in html
            assert "49" not in re.findall(r'value="([^"]*)"', html)
            assert "x=y" not in headers.get("set-cookie", "")
    html = page.ask("GET", "/messages?q=script")[2]
    assert "&lt;script&gt;" in html


def seal(page: Page) -> tuple[str, str]:
    cookie = page.ask("GET", "/messages")[1]["set-cookie"].partition(";")[0]
    html = page.ask("GET", "/messages", Cookie=cookie)[2]
    return cookie, re.findall(r'name="form" value="(\w+)"', html)[0]


def test_all_that_match_are_ordered_after_a_count(tmp_path: Any) -> None:
    """The count is asked first; the order then is for those that match at that moment, and for no others."""
    with running(tmp_path, config()) as relay:
        fill(relay)
        page = Page(relay)
        asked = page.ask("GET", "/messages/matching?address=anna&action=hold")[2]
        assert asked.count("12 messages") >= 2
        cookie, token = seal(page)
        send(relay, "anna@far.example", "meanwhile", "cam")
        form = {"Content_Type": "application/x-www-form-urlencoded", "Cookie": cookie}
        body = urlencode({"action": "hold", "address": "anna", "form": token}).encode()
        assert page.code("POST", "/orders/matching", body, **{**form, "Cookie": ""}) == 403
        assert page.code("POST", "/orders/matching", body.replace(token.encode(), b"0" * 64), **form) == 403
        assert len(relay.queue("--state", "held")) == 0
        code, headers, _ = page.ask("POST", "/orders/matching", body, **form)
        assert (code, headers["location"]) == (303, "/messages?address=anna&done=hold&n=13")
        assert "13 messages are held." in page.ask("GET", headers["location"])[2]
        held = relay.queue("--state", "held")
        assert {one["recipients"][0]["address"] for one in held} == {"anna@far.example"}
        assert len(held) == 13

        waits = page.ask("GET", "/messages/matching?q=report&action=release&via=other")[2]
        assert "120 messages" in waits, "with an upstream a release is for what waits, too"
        kept = page.ask("GET", "/messages/matching?q=report&action=release")[2]
        assert "<strong>12 messages</strong>" in kept
        gone = urlencode({"action": "remove", "q": "report", "state": "held", "form": token}).encode()
        _, headers, _ = page.ask("POST", "/orders/matching", gone, **form)
        assert headers["location"] == "/messages?q=report&state=held&done=remove&n=12"
        assert len(relay.queue("--state", "held")) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"action": "explode", "q": "x"},
        {"action": "hold", "state": "lost"},
        {"action": "hold", "since": "never"},
        {"action": "release", "via": "nobody"},
        {"action": "hold", "via": "isp"},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(page: Page, body: dict[str, str]) -> None:
    """Nothing is done, and the page says so; by the API, too."""
    cookie, token = seal(page)
    form = {"Content_Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    assert page.code("POST", "/orders/matching", urlencode({**body, "form": token}).encode(), **form) == 400
    search = {name: value for name, value in body.items() if name not in ("action", "via")}
    order = {"action": body["action"], "via": body.get("via"), "search": search}
    assert api(page, "POST", "/api/orders", order)[0] == 400


def api(page: Page, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(page.place, timeout=30)
    try:
        octets = None if body is None else json.dumps(body).encode()
        connection.request(method, path, octets, {"Content-Type": "application/json"} if octets else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_api_searches_and_orders(page: Page) -> None:
    """The same search, the same count, page by page; an order for what matches."""
    code, found = api(page, "GET", "/api/search?address=anna&limit=5&count=yes")
    assert (code, len(found["messages"]), found["count"], found["newer"]) == (200, 5, 12, None)
    seen = [one["subject"] for one in found["messages"]]
    while found["older"]:
        found = api(page, "GET", f"/api/search?address=anna&limit=5&older_than={found['older']}")[1]
        seen += [one["subject"] for one in found["messages"]]
    assert seen == [f"Report {number:03}" for number in range(110, -10, -10)]
    back = api(page, "GET", f"/api/search?address=anna&limit=5&newer_than={found['newer']}")[1]
    assert [one["subject"] for one in back["messages"]] == seen[5:10]
    both = api(page, "GET", f"/api/search?address=anna&limit=5&newer_than={found['newer']}&older_than={back['older']}")[1]
    assert [one["subject"] for one in both["messages"]] == seen[10:]
    code, done = api(page, "POST", "/api/orders", {"action": "hold", "search": {"subject": "report 119", "state": ["queued"]}})
    assert (code, done) == (200, {"applied": 1, "unknown": [], "more": False})
    code, done = api(page, "POST", "/api/orders", {"action": "release", "search": {"state": "held"}})
    assert done["applied"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "/api/search?state=lost",
        "/api/search?since=never",
        "/api/search?limit=501",
        "/api/search?limit=x",
        "/api/search?older_than=1",
    ],
)
def test_the_api_says_what_it_does_not_understand(page: Page, path: str) -> None:
    """With words, and the status for it."""
    code, said = api(page, "GET", path)
    assert code == 400
    assert said["error"]


@pytest.mark.parametrize(
    "order",
    [{"search": []}, {"search": {"q": 1}}, {"search": {"x": "y"}}, {"search": {}, "ids": []}, {"search": {"state": "lost"}}],
)
def test_an_order_by_search_is_looked_at(page: Page, order: dict[str, object]) -> None:
    """A search is an object of texts, and stands alone."""
    assert api(page, "POST", "/api/orders", {"action": "hold", **order})[0] == 400


def test_counts_say_what_they_count(page: Page) -> None:
    """Recipients by state on the list; messages on the overview, and its links lead to just those."""
    home = page.ask("GET", "/")[2]
    waiting = re.search(r'messages waiting</dt><dd><a href="/messages\?state=queued&amp;state=held">(\d+)</a>', home)
    assert waiting
    listed = page.ask("GET", "/messages?state=queued&state=held")[2]
    assert "Recipients by state:" in listed
    count = api(page, "GET", "/api/search?state=queued&state=held&count=yes&limit=1")[1]["count"]
    assert int(waiting[1]) == count == MESSAGES + 1
