"""What people see of devices: lists, the page of one, and the lines to copy for those without a name."""

import asyncio
import json
import re
import urllib.request
from html import unescape
from pathlib import Path
from typing import Any

import yaml

from relay import config
from relay.control.views import list_view
from relay.daemon import Relay
from tests.stations.test_device_rules import ME, isp, queue_id, submit
from tests.support.inprocess import ended, relay_at_home
from tests.support.upstream import ScriptedUpstream

RAW = b"From: root@pve\r\nSubject: \x83o\x83b\x83N\x83A\x83b\x83v\r\n\r\nno date,\nno id\r\n"


async def asked(relay: Relay, path: str, language: str = "en") -> str:
    assert relay.web_address
    url = f"http://{relay.web_address[0]}:{relay.web_address[1]}{path}"

    def get() -> str:
        question = urllib.request.Request(url, headers={"Accept-Language": language})
        with urllib.request.urlopen(question, timeout=20) as answer:  # noqa: S310 - our own page
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


async def told(relay: Relay, path: str) -> Any:
    return json.loads(await asked(relay, path))


def words(html: str) -> str:
    """As people read it, but with each time as it is kept."""
    html = re.sub(r'<time datetime="([^"]*)".*?</time>', r"\1", html)
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def facts(html: str) -> dict[str, str]:
    return {words(term): words(said) for term, said in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html, re.DOTALL)}


def rows(html: str, title: str) -> list[list[str]]:
    """The table below this heading, without its own."""
    found = re.search(rf"<h2[^>]*>{title}</h2>(.*?)</table>", html, re.DOTALL)
    assert found, f"{title}: {html}"
    return [[words(cell) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row)] for row in found[1].split("<tr>")[2:]]


async def test_devices_are_shown_by_their_names(tmp_path: Path) -> None:
    """On the page and in lists; with what was mended for each; and a line for each client that no device is known by."""
    async with ScriptedUpstream() as server:
        settings = {
            "upstreams": {"isp": isp(server.port)},
            "devices": {"Drucker & Co": {"helo": "BRN*", "expect_every": "26h"}, "unheard/2": {"client": "10.9.9.9"}},
            "web": {"address": "127.0.0.1:0"},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            for source, helo in (
                ("", "BRN1"),
                ("", "BRN1"),
                ("127.0.0.7", "ups.lan"),
                ("127.0.0.8", "ups.lan"),
                ("127.0.0.9", "on"),
            ):
                await ended(relay, queue_id(await submit(relay, ME, source=source, helo=helo, content=RAW)), "relayed")
            lines = list_view(await relay._spool.listed(None, 10))
            assert [one["device"] for one in lines] == ["Drucker & Co", "Drucker & Co", "", "", ""]
            known = await told(relay, "/api/devices/known")
            printer, unheard = known["known"]
            assert (printer["name"], printer["known_by"], printer["messages"]) == ("Drucker & Co", "HELO BRN*", 2)
            assert (unheard["messages"], unheard["last"], unheard["silent"]) == (0, None, False)
            assert [one["client"] for one in known["unknown"]] == ["127.0.0.9", "127.0.0.8", "127.0.0.7"]

            one = await told(relay, "/api/devices/known/Drucker%20%26%20Co")
            assert {"what": "added Date", "messages": 2} in [{**row, "what": row["what"][:10]} for row in one["repairs"]]
            html = await asked(relay, "/devices/Drucker%20%26%20Co")
            assert facts(html) == {
                "Known by": "HELO BRN*",
                "Device": "127.0.0.1 (BRN1)",
                "Last mail": f"{one['last']} · expected every 26 h",
                "Last seen": one["last_seen"],
                "Messages": "2",
            }
            for title, key in (("Tolerated quirks", "quirks"), ("What was repaired", "repairs")):
                assert rows(html, title) == [[row["what"], str(row["messages"])] for row in one[key]] != []

            assert facts(await asked(relay, "/devices/unheard/2")) == {
                "Known by": "10.9.9.9",
                "Last mail": "–",
                "Last seen": "–",
                "Messages": "0",
            }
            html = await asked(relay, "/devices")
            assert '<a href="/devices/Drucker%20%26%20Co">' in html
            assert "127.0.0.9" in html
            assert '<a href="/devices/Drucker%20%26%20Co">Drucker &amp; Co</a>' in await asked(relay, "/")

            suggested = yaml.safe_load("devices:\n" + "\n".join(one["suggestion"] for one in known["unknown"]))["devices"]
            assert {name: one["client"] for name, one in suggested.items()} == {
                "device-127-0-0-9": "127.0.0.9",
                "ups": "127.0.0.8",
                "ups-127-0-0-7": "127.0.0.7",
            }
            file = tmp_path / "suggested.yaml"
            file.write_text(json.dumps({"upstreams": settings["upstreams"], "devices": {**settings["devices"], **suggested}}))
            assert config.load(file, {}).mistakes == ()


async def test_a_device_that_is_none_has_no_page(tmp_path: Path) -> None:
    """404, and nothing else happens."""
    async with ScriptedUpstream() as server:
        settings = {"upstreams": {"isp": isp(server.port)}, "web": {"address": "127.0.0.1:0"}}
        async with relay_at_home(tmp_path, settings) as relay:
            for path in ("/devices/nobody", "/api/devices/known/nobody", "/devices/%00", "/devices/a%2Fb"):
                try:
                    await asked(relay, path)
                    raise AssertionError(path)
                except urllib.error.HTTPError as error:
                    assert error.code == 404
            assert "no device" in await asked(relay, "/devices")
