"""A failed message found by search, looked at, and sent by another upstream, in real Chromium.

browser ──> relay run ──> isp (refuses far.example)
                     └──> gmail (takes it, when told to release there)
"""

import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.browser.conftest import PICTURES, Scene
from tests.browser.test_person import CONTRAST, submit
from tests.support.browser import Browser

HOSTILE = (
    "<html><head><title>owned</title><meta http-equiv=refresh content='0;url=URL/refresh'>"
    "<link rel=stylesheet href='URL/style'>"
    "<link rel=prefetch href='URL/prefetch'><base href='URL/'></head><body background='URL/background'>"
    "<p style='color:#036;background:url(URL/css)'>The page of a stranger</p><script>parent.document.title='owned';"
    "fetch('URL/fetch')</script><img src='URL/pixel.gif' onerror=\"top.document.title='owned'\">"
    "<iframe src='URL/frame'></iframe><form action='URL/form'><button autofocus>press</button></form>"
    "<a href='URL/link' target=_top ping='URL/ping'>press here</a>"
    "<video src='URL/video' poster='URL/poster'></video><object data='URL/object'></object><svg><use href='URL/use#x'/></svg>"
    "<img src='data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7' alt=own></body></html>"
)


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server of a stranger that waits to be asked for anything."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

    class Listening(ThreadingHTTPServer):
        daemon_threads = True

        def process_request(self, request: Any, client_address: Any) -> None:
            asked.append("a connection")
            super().process_request(request, client_address)

    with Listening(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join(10)


def send_html(scene: Scene, html: str) -> str:
    head = "From: taro@isp.example\r\nSubject: Offer\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    with smtplib.SMTP("127.0.0.1", scene.relay.port, timeout=20) as device:
        device.ehlo("nas")
        device.mail("taro@isp.example")
        device.rcpt("hanako@far.example")
        code, said = device.data((head + html + "\r\n").encode())
        assert code == 250, said
    return said.decode().rpartition(" ")[2]


def test_a_failed_message_is_found_read_and_sent(scene: Scene, browser: Browser) -> None:
    """A person searches by a word of the subject and by the server's words, reads the message, and sends all that match."""
    for number in (1, 2):
        submit(scene.relay, "hanako@far.example", f"Mains failed, room {number}")
    submit(scene.relay, "hanako@far.example", "Something else")
    scene.relay.wait_for("failed", 3)
    browser.open(f"{scene.page}/messages")
    browser.find("input[name=q]").send_keys("mains ups")
    browser.click(".search button", "Search")
    browser.shows("2 messages in all")
    browser.click("#search-more summary")
    browser.find("input[name=said]").send_keys("no such user")
    browser.click(".search button", "Search")
    browser.shows("2 messages in all")
    browser.picture(PICTURES / "search.png")
    browser.click("h3 a", "Mains failed, room 2")
    browser.click(".looks a", "Look at the message")
    browser.shows("hi", "pre")
    browser.shows("hanako@far.example", "dl")
    browser.click(".looks a", "Before and after")
    browser.shows("As it is sent")
    browser.shows("added", ".pairs")
    browser.open(f"{scene.page}/messages?q=mains+ups&said=no+such+user")
    browser.click(".all-matching select[name=action] option", "Release or send again")
    browser.click(".all-matching select[name=via] option", "gmail")
    browser.click(".all-matching button", "Count them first")
    browser.shows("2 messages", "dl")
    browser.click("button.main", "Release or send again: 2 messages")
    browser.shows("2 messages will be sent again.", ".done")
    taken = scene.second.wait_for(2)
    assert sorted(one.header("Subject") for one in taken) == ["Mains failed, room 1", "Mains failed, room 2"]


def test_the_html_of_a_stranger_runs_and_fetches_nothing(scene: Scene, browser: Browser) -> None:
    """In its frame, and opened without the frame: no script, no request, no other page; its own picture and style show."""
    with listening() as (url, asked):
        queue_id = send_html(scene, HOSTILE.replace("URL", url))
        scene.relay.wait_for("failed")
        browser.open(f"{scene.page}/messages/{queue_id}/content")
        browser.shows("The page of a stranger", "pre")
        with browser.inside("iframe"):
            browser.shows("The page of a stranger", "p")
        assert browser.title.startswith("Content: Offer")
        browser.picture(PICTURES / "content.png")
        browser.open(f"{scene.page}/messages/{queue_id}/html")
        browser.shows("The page of a stranger", "p")
        assert asked == [], "the page of a stranger fetched something"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_these_pages_can_be_read_on_a_phone(scene: Scene, scripted: Browser, dark: bool) -> None:
    """At 360 pixels nothing sticks out, and all text has enough contrast."""
    queue_id = submit(scene.relay, f"{'long' * 15}@far.example", "Word" * 60, helo="x" * 200)
    scene.relay.wait_for("failed")
    scripted.sized(360, 740, dark=dark)
    for path in (
        "/messages?said=x",
        "/messages/matching?action=remove",
        f"/messages/{queue_id}/content",
        f"/messages/{queue_id}/changes",
    ):
        scripted.open(scene.page + path)
        assert scripted.run("return document.documentElement.scrollWidth") <= 360, path
        assert scripted.run(CONTRAST) == [], path
