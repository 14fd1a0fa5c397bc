"""What is asked over HTTP is answered within one deadline, or counts as not answered.

relay.http_client ──POST──▶ a server that says what it was told to say, an octet now and then
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from relay.detached import apart
from relay.http_client import HttpAnswer, NoHttpAnswer, post
from relay.outbound import webhook
from relay.upstream.oauth.http import Denied, ask

Script = Callable[[socket.socket], None]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """A server that reads a request, plays the script on each connection, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    there, _ = listening.accept()
                    threading.Thread(target=play, args=(there,), daemon=True).start()

        def play(there: socket.socket) -> None:
            with there, contextlib.suppress(OSError):
                there.recv(65536)
                script(there)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)


def dripping(first: bytes, again: bytes) -> Script:
    def script(there: socket.socket) -> None:
        there.sendall(first)
        while True:
            there.sendall(again)
            time.sleep(0.1)

    return script


DRIPS = {
    "status": dripping(b"HTTP/1.1 ", b"2"),
    "header": dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "wait a little": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"{"),
    "chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "until closed": dripping(b"HTTP/1.0 200 OK\r\n\r\n", b" "),
    "a refusal's body": dripping(b"HTTP/1.1 400 Bad\r\nContent-Length: 500\r\n\r\n", b"{"),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_an_octet_now_and_then_renews_no_deadline(drip: str) -> None:
    """Wherever in its answer a server drips: after the deadline it counts as not answered, and the thread is free again."""
    with serving(DRIPS[drip]) as url:
        began = time.monotonic()
        if drip == "a refusal's body":
            assert post(url, b"x", {}, 1.0, 1000) == HttpAnswer(400, "Bad", b"")
        else:
            with pytest.raises(NoHttpAnswer, match="no whole answer within 1 seconds"):
                post(url, b"x", {}, 1.0, 1000)
        assert 0.9 < time.monotonic() - began < 2


def test_a_tls_handshake_that_drips_ends_too() -> None:
    """So does one that never answers the ClientHello."""
    with serving(dripping(b"\x16\x03\x03\x40\x00", b"\x00")) as url:
        began = time.monotonic()
        with pytest.raises(NoHttpAnswer):
            post(url.replace("http:", "https:"), b"x", {}, 1.0, 1000)
        assert time.monotonic() - began < 2


def test_no_more_than_asked_for_is_read() -> None:
    """A server that never ends is left in the middle of its answer."""

    def endless(there: socket.socket) -> None:
        there.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            there.sendall(b"x" * 65536)

    with serving(endless) as url:
        assert post(url, b"x", {}, 5.0, 1000) == HttpAnswer(200, "OK", b"x" * 1000)


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    """Its code is told; nobody is asked for the place that it names."""
    asked = []

    def elsewhere(there: socket.socket) -> None:
        asked.append(there)
        there.sendall(b"HTTP/1.1 307 Elsewhere\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")

    with serving(elsewhere) as url:
        assert post(url, b"x", {}, 5.0, 1000).code == 307
    assert len(asked) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/", "", "http://127.0.0.1:99999/", "http://[x/", "http://a\nb/"])
def test_what_cannot_be_asked_is_no_answer(url: str) -> None:
    """Neither a file nor a port that there is not; always the same exception."""
    with pytest.raises(NoHttpAnswer):
        post(url, b"x", {}, 1.0, 1000)


async def test_webhook_and_token_server_have_that_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that drips fails in words; a token server that drips has given no token for now."""
    monkeypatch.setattr(webhook, "TIMEOUT", 1.0)
    before = threading.active_count()
    with serving(DRIPS["body"]) as url:
        began = time.monotonic()
        with pytest.raises(webhook.WebhookFailed, match="cannot be reached"):
            await webhook.tell(url, {"title": "x"}, pauses=())
        answer = await apart(lambda: ask(url, {"grant_type": "refresh_token"}, 1.0))
        assert isinstance(answer, Denied) and answer.passing
        assert time.monotonic() - began < 4
        await asyncio.sleep(0.2)
    assert threading.active_count() - before < 5, "no thread of ours is left with the server"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/message?token=s3cret\n", "http://127.0.0.1:s3cret/", "http://127.0.0.1/s3cret x"]
)
def test_no_secret_of_a_url_is_told(url: str) -> None:
    """A webhook's address is a secret, and Python's own words would repeat it."""
    with pytest.raises(NoHttpAnswer) as told:
        post(url, b"x", {}, 1.0, 1000)
    assert "s3cret" not in str(told.value)
