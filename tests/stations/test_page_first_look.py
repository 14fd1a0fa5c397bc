"""What the overview says before anything was sent, whose time it shows, and that nobody's words become markup."""

import asyncio
import re
import urllib.request
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

from relay.daemon import Relay
from tests.stations.test_device_rules import ME, isp, queue_id, submit
from tests.support.inprocess import ended, relay_at_home
from tests.support.upstream import ScriptedUpstream

EVIL = '<img src=x onerror="alert(1)">'


async def look(relay: Relay, path: str, **headers: str) -> str:
    """The page's HTML."""
    assert relay.web_address
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    question = urllib.request.Request(f"http://{relay.web_address[0]}:{relay.web_address[1]}{path}", headers=named)

    def get() -> str:
        with urllib.request.urlopen(question, timeout=20) as answer:  # noqa: S310 - our own page
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def markup(html: str) -> list[str]:
    """Pictures, and attributes that run something: we have none."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend([tag] if tag == "img" else [name for name, _ in attrs if name.startswith("on")])

    Reader().feed(html)
    return found


async def test_before_the_first_message_it_says_what_to_type(tmp_path: Path) -> None:
    """Not that all is well; after the first delivery it does, and the first steps are gone."""
    async with ScriptedUpstream() as server:
        settings = {"upstreams": {"isp": isp(server.port)}, "web": {"address": "127.0.0.1:0"}}
        async with relay_at_home(tmp_path, settings) as relay:
            port = relay.inbound.bound[0][1]
            fresh = words(await look(relay, "/"))
            assert "No sent mail is on record yet." in fresh
            assert "All is well" not in fresh
            assert f"Server (address) 127.0.0.1 Copy Port {port} Copy" in fresh
            assert "No encryption and no login are needed." in fresh
            japanese = words(await look(relay, "/", Accept_Language="ja"))
            assert "送信の記録はまだありません。" in japanese
            assert "デバイスの設定" in japanese
            await ended(relay, queue_id(await submit(relay, ME)), "relayed")
            after = words(await look(relay, "/"))
            assert "All is well." in after
            assert "Server (address)" not in after


async def test_what_waits_unasked_is_not_well_either(tmp_path: Path) -> None:
    """A message that no upstream was asked about yet: nothing is known of the way out, but the device needs no words."""
    settings = {
        "upstreams": {"isp": isp(9)},
        "devices": {"nas": {"helo": "pve", "quiet": {"hours": "00:00-23:59"}}},
        "web": {"address": "127.0.0.1:0"},
    }
    async with relay_at_home(tmp_path, settings) as relay:
        queue_id(await submit(relay, ME))
        page = words(await look(relay, "/"))
        assert "All is well" not in page
        assert "Server (address)" not in page


async def test_all_times_of_a_page_are_the_viewers(tmp_path: Path) -> None:
    """By the zone in the cookie, that of the machine without one; the page says which; nonsense changes nothing."""
    async with ScriptedUpstream(script={"RCPT": "451 4.3.0 try later"}) as server:
        settings = {"upstreams": {"isp": isp(server.port)}, "retry": {"delays": ["1h"]}, "web": {"address": "127.0.0.1:0"}}
        async with relay_at_home(tmp_path, settings) as relay:
            name = queue_id(await submit(relay, ME))
            async with asyncio.timeout(20):
                while "next attempt at" not in (
                    page := await look(relay, f"/messages/{name}", Cookie="relay_zone=Asia%2FTokyo")
                ):
                    await asyncio.sleep(0.05)
            assert "Times are those of Asia/Tokyo (UTC+09:00)." in page
            assert re.search(r"next attempt at [\d-]{10} [\d:]{8} UTC\+09:00", page)
            stamps = re.findall(
                r'<time datetime="(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\dZ" title="(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d"', page
            )
            assert stamps
            hours = {(int(there[11:13]) - int(utc[11:13])) % 24 for utc, there in stamps}
            assert hours == {9}
            for cookie in ("", "relay_zone=..%2F..%2Fetc%2Fpasswd", "relay_zone=Nowhere"):
                assert "Times are those of the relay&#39;s machine (UTC" in await look(relay, "/", Cookie=cookie)


async def test_nobodys_words_become_markup(tmp_path: Path) -> None:
    """A device's name and HELO, addresses, subject, an upstream's reply: each shows as text, on every page."""
    async with ScriptedUpstream(script={"RCPT": f"550 5.1.1 {EVIL} no such user"}) as server:
        settings = {
            "upstreams": {"isp": isp(server.port)},
            "devices": {f"nas {EVIL}": {"helo": "*onerror*"}},
            "web": {"address": "127.0.0.1:0"},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            letter = f"From: <root@pve>\r\nSubject: {EVIL}\r\n\r\nx\r\n".encode()
            said = await submit(relay, "evil@far.example", helo=EVIL.replace(" ", "/"), content=letter)
            name = queue_id(said)
            await ended(relay, name, "failed")
            for path in (
                "/",
                "/messages",
                f"/messages/{name}",
                "/devices",
                "/devices/nas%20%3Cimg%20src%3Dx%20onerror%3D%22alert%281%29%22%3E",
            ):
                page = await look(relay, path)
                assert "onerror" in page, path
                assert markup(page) == [], path
