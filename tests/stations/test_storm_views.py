"""What people see of a storm and of quiet hours: page, command line, metrics; and that a digest's own failure is told.

camera -> relay run -> scripted upstream
"""

import asyncio
import json
import re
import smtplib
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.stations.test_control_api import DOCUMENT, promised
from tests.support.running import RelayProcess, running
from tests.support.shape import faults
from tests.support.upstream import ScriptedUpstream

OWNER = "me@far.example"
SECOND = timedelta(seconds=1)


@asynccontextmanager
async def relaying(tmp_path: Path, manners: dict[str, Any], **script: Any) -> AsyncIterator[tuple[RelayProcess, Any]]:
    async with ScriptedUpstream(script=script) as isp:
        upstreams = {"isp": {"host": "127.0.0.1", "port": isp.port, "tls": "none", "rewrite": "never"}}
        devices = {"camera": {"client": "127.0.0.1", **manners}}
        config = {"upstreams": upstreams, "devices": devices, "web": {"address": "127.0.0.1:0"}}
        starting = running(tmp_path, {**config, "notices": {"to": "boss@isp.example", "digest": "1s"}})
        relay = await asyncio.to_thread(starting.__enter__)
        try:
            yield relay, isp
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


def send(port: int, *subjects: str) -> list[str]:
    ids = []
    with smtplib.SMTP("127.0.0.1", port, "cam", timeout=20) as line:
        for subject in subjects:
            line.mail("cam@isp.example")
            line.rcpt(OWNER)
            code, said = line.data(f"From: cam@isp.example\r\nTo: {OWNER}\r\nSubject: {subject}\r\n\r\nframe\r\n")
            assert code == 250
            ids.append(said.decode().split()[-1])
    return ids


def got(relay: RelayProcess, path: str, language: str = "en") -> str:
    asked = urllib.request.Request(f"http://{relay.events('started')[-1]['web']}{path}", headers={"Accept-Language": language})
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - our own page
        return str(answer.read().decode())


def told(relay: RelayProcess, *words: str) -> str:
    done = relay.command("queue", *words)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def camera(relay: RelayProcess) -> Any:
    """What the API says of it, in the shape that it promises."""
    device = json.loads(got(relay, "/api/devices/known/camera"))
    promise = promised("/api/devices/known/{name}", "get", 200, "application/json")
    assert list(faults(DOCUMENT, promise, device)) == []
    return device


async def test_a_storm_is_shown_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """While it waits: how many wait for the digest and until when.  After it: merged, with a link to the digest."""
    async with relaying(tmp_path, {"storm": {"same_within": "20s", "per_hour": 30}}) as (relay, isp):
        ids = await asyncio.to_thread(send, relay.port, *(f"Motion {number}" for number in range(4)))
        await asyncio.to_thread(relay.wait_for, "postponed", 3)
        line = await asyncio.to_thread(told, relay, "show", ids[2])
        page = await asyncio.to_thread(got, relay, f"/messages/{ids[2]}")
        assert "waiting; one of 3 in a digest due by " in line and "number 2 in a digest due by" in line
        assert "waits for a digest of 3 messages so far" in page
        assert "ダイジェスト待ち" in await asyncio.to_thread(got, relay, f"/messages/{ids[2]}", "ja")
        assert "relay_postponed_recipients 3.0" in await asyncio.to_thread(got, relay, "/metrics")
        device = await asyncio.to_thread(camera, relay)
        (running,) = device["collecting"]
        due = relay.events("postponed")[-1]["due_at"]
        assert running["messages"] == 3 and datetime.fromisoformat(due) - datetime.fromisoformat(running["due_at"]) < SECOND
        assert (device["quiet_until"], device["quiet_waiting"], device["digests"]) == (None, 0, [])
        page = await asyncio.to_thread(got, relay, "/devices/camera")
        assert re.search(r'<a href="/messages/\w+">3 messages wait for a digest, due by \d\d:\d\d</a>', page)
        assert "3通がダイジェスト待ち" in await asyncio.to_thread(got, relay, "/devices/camera", "ja")
        await asyncio.to_thread(relay.wait_for, "merged", 3, seconds=40)
        assert len(await isp.arrived(2, timeout=30)) == 2
        listed = json.loads(await asyncio.to_thread(told, relay, "list", "--state", "merged", "--json"))["messages"]
        assert [one["id"] for one in listed] == ids[1:]
        digest = listed[0]["recipients"][0]["merged_into"]
        assert f"merged, into the digest {digest}" in await asyncio.to_thread(told, relay, "list", "--all")
        assert "a digest of 3 messages" in await asyncio.to_thread(told, relay, "show", digest)
        for path in (f"/messages/{ids[1]}", "/messages?state=merged"):
            assert f'<a href="/messages/{digest}">' in await asyncio.to_thread(got, relay, path)
        page = await asyncio.to_thread(got, relay, f"/messages/{digest}")
        assert "A digest of 3 messages of the device" in page and '<a href="/messages?state=merged">' in page
        device = await asyncio.to_thread(camera, relay)
        assert device["collecting"] == [] and datetime.fromisoformat(device["last_seen"])
        assert [(one["id"], one["messages"], one["state"]) for one in device["digests"]] == [(digest, 3, "relayed")]
        page = await asyncio.to_thread(got, relay, "/devices/camera")
        assert f'<a href="/messages/{digest}">' in page and "Digests" in page and "a digest, due by" not in page
        numbers = await asyncio.to_thread(got, relay, "/metrics")
        assert 'relay_recipients{state="merged"} 3.0' in numbers and 'relay_events_total{event="merged"} 3.0' in numbers
        await asyncio.to_thread(told, relay, "release", ids[3])
        assert b"Subject: Motion 3" in (await isp.arrived(3, timeout=30))[2].content


@pytest.fixture
def midday(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone in which it is about noon, so that no hour of the test is another day's."""
    monkeypatch.setenv("TZ", f"TEST{datetime.now(UTC).hour - 12:+d}")  # POSIX: what is added to local time to get UTC
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("midday")
async def test_quiet_hours_are_shown(tmp_path: Path) -> None:
    """On the page, in the list and by `explain`; what must not wait goes at once."""
    now = datetime.now(UTC).astimezone()
    hours = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    until = f"{now + timedelta(hours=2):%H:%M}"
    async with relaying(tmp_path, {"quiet": {"hours": hours, "except": ["*FAIL*"]}}) as (relay, isp):
        ids = await asyncio.to_thread(send, relay.port, "Backup done", "Disk FAIL")
        await asyncio.to_thread(relay.wait_for, "postponed")
        assert b"Subject: Disk FAIL" in (await isp.arrived(1, timeout=30))[0].content
        assert f"waiting; quiet until {until}" in await asyncio.to_thread(told, relay, "list")
        assert f"quiet until {until} (device camera)" in await asyncio.to_thread(told, relay, "show", ids[0])
        assert f"quiet hours of the device, until {until}" in await asyncio.to_thread(got, relay, f"/messages/{ids[0]}")
        assert "1 recipient waits on purpose, for the end of quiet hours or for a digest." in await asyncio.to_thread(
            got, relay, "/"
        )
        device = await asyncio.to_thread(camera, relay)
        assert f"{datetime.fromisoformat(device['quiet_until']).astimezone():%H:%M}" == until and device["quiet_waiting"] == 1
        page = await asyncio.to_thread(got, relay, "/devices/camera")
        assert f"quiet hours until {until}" in page and "1 message waits for the end of quiet hours" in page
        page = await asyncio.to_thread(got, relay, "/devices/camera", "ja")
        assert f"静音時間中（{until}まで）" in page and "1通が静音時間の終了待ち" in page
        done = relay.command("explain", "--client", "127.0.0.1", "--from", "cam@isp.example", "--to", OWNER)
        assert f"quiet now, until {until}" in done.stdout, done.stdout + done.stderr
        await asyncio.to_thread(told, relay, "retry", ids[0])
        assert b"Subject: Backup done" in (await isp.arrived(2, timeout=30))[1].content


async def test_a_digest_that_fails_is_told_like_any_message(tmp_path: Path) -> None:
    """The upstream refuses it for good: the person in charge gets a notice that names it."""
    seen = []

    def refuse_the_second(argument: str) -> str | None:
        seen.append(argument)
        return "550 5.1.1 no such user" if OWNER in argument and len(seen) > 1 else None

    async with relaying(tmp_path, {"storm": {"same_within": "1s"}}, RCPT=refuse_the_second) as (relay, isp):
        ids = await asyncio.to_thread(send, relay.port, *(f"Motion {number}" for number in range(3)))
        await asyncio.to_thread(relay.wait_for, "failed")
        mails = await isp.arrived(2, timeout=30)
        assert mails[1].reverse_path == ""
        assert b"2 more: Motion 2" in mails[1].content
        assert b"a digest of this relay, of 2 messages of the device" in b" ".join(mails[1].content.split())
        shown = await asyncio.to_thread(told, relay, "show", ids[1])
        digest = shown.partition("failed, with the digest ")[2].split()[0]
        assert f"{OWNER}: its digest {digest} was refused for good" in shown
        assert f'<a href="/messages/{digest}">' in await asyncio.to_thread(got, relay, f"/messages/{ids[1]}")
        assert '<a href="/messages?state=failed">' in await asyncio.to_thread(got, relay, f"/messages/{digest}")
        await asyncio.to_thread(told, relay, "release", ids[1])
        await asyncio.to_thread(relay.wait_for, "failed", 2)  # by itself, and refused as well
