"""What list, `queue show` and page say of a message: its subject, whose words these are, and when it is really tried again."""

import asyncio
import smtplib
import time
import urllib.request
from datetime import datetime
from pathlib import Path

from tests.support.peers import free_port
from tests.support.running import running
from tests.support.upstream import ScriptedUpstream

OUR_WORDS, THEIR_WORDS = "What the relay found", "What the server said"
REST = 12  # seconds of rest_login; the delay alone would be one


def _send(port: int, to: str, subject: str, body: str = "hello") -> str:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
        device.ehlo("nas")
        device.mail("nas@example.jp")
        device.rcpt(to)
        code, words = device.data(f"Subject: {subject}\r\n\r\n{body}\r\n")
    assert code == 250
    return words.decode().split()[-1]


def _page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


async def test_whose_words_which_message_and_when(tmp_path: Path) -> None:
    """A size that was known, a refused login, a rest: each is told as what it is, with advice, by its subject."""
    logins: list[float] = []
    page = free_port()
    async with ScriptedUpstream(users={"taro": "other"}, script={"AUTH": lambda _: logins.append(time.time())}) as isp:
        server = {"host": "127.0.0.1", "port": isp.port, "tls": "none", "rewrite": "never"}
        config = {
            "upstreams": {
                "small": {**server, "limits": {"message": "2kB"}},
                "isp": {**server, "auth": "plain", "username": "taro", "password": "secret"},
            },
            "routes": [{"to": "*@small.example", "via": ["small"]}, {"via": ["isp"]}],
            "retry": {"delays": ["1s"], "rest": ["1s"], "rest_login": f"{REST}s"},
            "web": {"address": f"127.0.0.1:{page}"},
        }
        starting = running(tmp_path, config)
        relay = await asyncio.to_thread(starting.__enter__)
        try:
            refused = await asyncio.to_thread(_send, relay.port, "x@isp.example", "Backup done")
            await asyncio.to_thread(relay.wait_for, "deferred")
            first = await asyncio.to_thread(relay.show, refused)
            due = datetime.fromisoformat(first["recipients"][0]["due_at"]).timestamp()
            assert first["recipients"][0]["quoted"] and due - logins[0] > REST - 1, "the rest is counted in"
            rests = await asyncio.to_thread(_send, relay.port, "y@isp.example", "Paper jam")
            async with asyncio.timeout(20):
                while not (shown := (await asyncio.to_thread(relay.show, rests))["recipients"][0])["said"]:
                    await asyncio.sleep(0.05)
            assert (shown["quoted"], shown["fault"]) == (False, "rests")

            large = await asyncio.to_thread(
                _send, relay.port, "x@small.example", "Scan of the hall", "x" * 70 + "\r\n" + "y" * 3000
            )
            await asyncio.to_thread(relay.wait_for, "failed")
            story = await asyncio.to_thread(relay.show, large)
            (row,) = story["recipients"]
            assert (row["state"], row["quoted"], row["fault"]) == ("failed", False, "too-big")
            assert any(line["event"] == "advised" and "Make the scan smaller" in line["text"] for line in story["trail"])

            listed = (await asyncio.to_thread(relay.command, "queue", "list", "--all")).stdout
            pages = await asyncio.to_thread(_page, page, "/messages?state=all")
            for queue_id, subject, words in (
                (large, "Scan of the hall", OUR_WORDS),
                (refused, "Backup done", THEIR_WORDS),
                (rests, "Paper jam", OUR_WORDS),
            ):
                assert f'"{subject}"' in listed and subject in pages
                assert subject in (await asyncio.to_thread(relay.command, "queue", "show", queue_id)).stdout
                html = await asyncio.to_thread(_page, page, f"/messages/{queue_id}")
                assert subject in html
                assert [each in html for each in (OUR_WORDS, THEIR_WORDS)] == [words is OUR_WORDS, words is THEIR_WORDS]

            async with asyncio.timeout(REST + 20):
                while len(logins) < 2:
                    await asyncio.sleep(0.05)
            assert -0.5 < logins[1] - due < 4
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
