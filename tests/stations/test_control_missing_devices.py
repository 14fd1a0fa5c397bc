"""Devices that should mail, and do not."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from relay.control.missing_devices import MissingDevices
from relay.mail.device import Device
from relay.mail.envelope import Origin
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Heard
from tests.support.running import running
from tests.support.spooled import an_entry
from tests.support.waiting import eventually
from tests.support.world import Clock

NAS = Device("nas", client=(ip_network("192.168.0.20"),), expect_every=timedelta(hours=26))


class World:
    """When the device last mailed, and what people were told."""

    def __init__(self, clock: Clock) -> None:
        self.mailed: datetime | None = None
        self.told: list[str] = []
        self.silence = MissingDevices(self.heard, lambda text, cause: self.told.append(text), clock)

    async def heard(self, since: datetime) -> list[Heard]:
        mail = Heard(Origin("192.168.0.20", "nas"), 1, self.mailed) if self.mailed else None
        return [mail] if mail and mail.last >= since else []


async def test_silence_is_told_once_and_its_end_once(clock: Clock) -> None:
    """Quiet for longer than expected: told, not told again, told when mail comes, and anew at the next silence."""
    world = World(clock)
    world.mailed = clock()
    for hours, told in ((25, 0), (2, 1), (30, 1)):
        clock.advance(hours=hours)
        await world.silence.look([NAS])
        assert len(world.told) == told
    assert "nas (192.168.0.20) has sent no mail since" in world.told[0]
    assert "every 26 h" in world.told[0]
    assert world.silence.lines()[0]["silent"] is True
    world.mailed = clock()
    await world.silence.look([NAS])
    assert "is back" in world.told[1]
    assert world.silence.lines()[0]["silent"] is False
    clock.advance(hours=27)
    await world.silence.look([NAS])
    assert len(world.told) == 3


async def test_who_never_mailed_has_its_time_from_the_start(clock: Clock) -> None:
    """A relay that was just set up does not cry at once."""
    world = World(clock)
    clock.advance(hours=25)
    await world.silence.look([NAS])
    assert world.told == []
    clock.advance(hours=2)
    await world.silence.look([NAS])
    assert "since the relay listens" in world.told[0]


async def test_who_is_expected_no_more_is_forgotten(clock: Clock) -> None:
    """After a reload without it a device is neither shown nor said to be back."""
    world = World(clock)
    clock.advance(hours=27)
    await world.silence.look([NAS])
    await world.silence.look([])
    assert world.silence.lines() == []
    world.mailed = clock()
    await world.silence.look([NAS])
    assert len(world.told) == 1


async def test_a_device_is_found_by_what_it_calls_itself(clock: Clock) -> None:
    """Known by HELO, and only as long as no device before it is known by the same mail."""
    world = World(clock)
    world.mailed = clock()
    clock.advance(hours=2)
    by_name = Device("box", helo=("na?",), expect_every=timedelta(hours=1))
    await world.silence.look([by_name])
    assert "box (HELO na?) has sent no mail since 2" in world.told[0]
    await world.silence.look([Device("first", client=NAS.client), by_name])
    assert world.silence.lines()[0]["since"] > world.mailed.isoformat()


@pytest.fixture
def pushes() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook that keeps what it is told."""
    taken: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", taken
        finally:
            server.shutdown()
            thread.join()


def test_a_quiet_device_is_pushed_to_people(tmp_path: Path, pushes: tuple[str, list[dict[str, Any]]]) -> None:
    """The running relay notices that a device's last mail is too old, tells the webhook, and shows it."""
    url, taken = pushes

    async def long_ago() -> None:
        spool = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/spool/spool.db", keep_free=0), now=lambda: datetime.now(UTC))
        await spool.commit(an_entry("longago00000000", datetime.now(UTC) - timedelta(hours=3), client="127.0.0.1"))
        await spool.close()

    (tmp_path / "spool").mkdir()
    asyncio.run(long_ago())
    upstream = {"host": "127.0.0.1", "port": 9, "tls": "none", "sender": "taro@isp.example"}
    config = {
        "upstreams": {"isp": upstream},
        "notices": {"webhook": url},
        "devices": {"nas": {"client": "127.0.0.1", "expect_every": "2h"}},
        "web": {"address": "127.0.0.1:0"},
    }
    with running(tmp_path, config) as relay:
        eventually(lambda: any("nas (127.0.0.1) has sent no mail" in json.dumps(one) for one in taken), 30, relay.said)
        assert "nas last sent mail 3 h ago, longer ago than expected." in relay.page("/")
