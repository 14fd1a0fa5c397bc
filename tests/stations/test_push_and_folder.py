"""What holds for every upstream, shown for those that are a phone or a folder: limits, rest, holding, the doctor, notices.

device ──> relay ──> ntfy on loopback, or a folder ──> the ISP
"""

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relay.cli.demo_graph import graph_cloud
from relay.daemon import Relay
from relay.doctor import gather as gathering
from relay.doctor.finding import Finding
from relay.doctor.gather import World, gather
from relay.doctor.judge import judge
from relay.doctor.subject import Subject
from relay.secret import Secret
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import Folder, PushService, Upstream
from tests.stations.test_graph_relay import settings as by_graph
from tests.stations.test_push_services import gone
from tests.support import faults
from tests.support.inprocess import ended, relay_at_home, send, told
from tests.support.push_services import NEEDS_APPRISE, Ntfy, serving
from tests.support.running import RelayProcess
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import until

pytestmark = NEEDS_APPRISE

NAS, ME, TOPIC = "nas@isp.example", "me@isp.example", "camera-alarms-x7"


def letter(subject: str, size: int = 0) -> bytes:
    return f"From: {NAS}\r\nTo: {ME}\r\nSubject: {subject}\r\n\r\nhello\r\n".encode() + b"%s\r\n" % (b"x" * 70) * (size // 72)


@dataclass
class Kind:
    """An upstream that is no SMTP server: its settings, trouble in it, and what it has taken."""

    name: str
    settings: dict[str, Any]
    ntfy: Ntfy
    folder: Path

    def fail(self) -> None:
        if self.name == "phone":
            self.ntfy.refuse(503, times=1000)
        else:
            self.folder.rename(self.folder.with_name("away"))

    def mend(self) -> None:
        if self.name == "phone":
            self.ntfy.fail.clear()
        else:
            self.folder.with_name("away").rename(self.folder)

    def taken(self) -> list[str]:
        """The subjects."""
        if self.name == "phone":
            return [one.title for one in self.ntfy.pushed]
        return sorted(one.stem for one in self.folder.glob("[!.]*")) if self.folder.exists() else []


@pytest.fixture(params=["phone", "scans"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    folder = tmp_path / "saved"
    folder.mkdir()
    with serving(Ntfy()) as ntfy:
        phone = {"push": f"ntfy://127.0.0.1:{ntfy.port}/{TOPIC}", "timeout": "5s"}
        yield Kind(request.param, phone if request.param == "phone" else {"folder": str(folder)}, ntfy, folder)


def settings(kind: Kind, isp: ScriptedUpstream | None = None, **more: Any) -> dict[str, Any]:
    """The kind first, then the ISP, if there is one."""
    ups = {kind.name: {**kind.settings, **more}}
    if isp:
        ups["isp"] = {"host": "127.0.0.1", "port": isp.port, "tls": "none", "rewrite": "never"}
    return {"upstreams": ups, "routes": [{"via": list(ups)}], "retry": {"delays": ["1s"], "rest": ["2s"], "rest_login": "2s"}}


async def by(relay: Relay, subject: str, size: int = 0) -> str:
    """Which upstream took it."""
    story = await ended(relay, await send(relay, NAS, ME, letter(subject, size)), "relayed", "failed")
    return str(story["recipients"][0]["upstream"])


async def line_of(relay: Relay, kind: Kind) -> dict[str, Any]:
    assert relay._services is not None
    [line] = [one for one in (await relay._services.status())["upstreams"] if one["name"] == kind.name]
    return dict(line)


async def test_limits_lead_to_the_next(tmp_path: Path, kind: Kind) -> None:
    """`message` and `per_day`: what is over them goes by the next upstream."""
    limits = {"limits": {"message": "20KB", "per_day": 1}}
    async with ScriptedUpstream() as isp, relay_at_home(tmp_path, settings(kind, isp, **limits)) as relay:
        assert await by(relay, "large", 50_000) == "isp"
        assert await by(relay, "first") == kind.name
        assert await by(relay, "second") == "isp"
        line = await line_of(relay, kind)
        assert (line["sent_today"], line["per_day"]) == (1, 1)
    assert kind.taken() == ["first"]


async def test_trouble_rests_and_what_waits_goes_after_it(tmp_path: Path, kind: Kind) -> None:
    """The first one finds the trouble, the second is not tried there meanwhile; both go once it is mended."""
    kind.fail()
    async with relay_at_home(tmp_path, settings(kind)) as relay:
        first = await send(relay, NAS, ME, letter("first"))
        line = await until(lambda: line_of(relay, kind), lambda line: line["resting_until"])
        assert line["failures"] == 1
        assert line["why"]
        tries = kind.ntfy.requests
        second = await send(relay, NAS, ME, letter("second"))
        await until(lambda: told(relay, second), lambda story: "is paused until" in json.dumps(story["trail"]))
        assert kind.ntfy.requests == tries
        kind.mend()
        for queue_id in (first, second):
            story = await ended(relay, queue_id, "relayed")
            assert TOPIC not in json.dumps(story)
        assert (await line_of(relay, kind))["resting_until"] is None
    assert sorted(kind.taken()) == ["first", "second"]


async def test_a_message_that_stopped_the_relay_twice_is_held_and_can_be_released(tmp_path: Path) -> None:
    """Dead twice with it in hand: nothing went out, it waits for a person, and goes once to each kind when it is released."""
    folder = tmp_path / "saved"
    folder.mkdir()
    with serving(Ntfy()) as ntfy:
        async with graph_cloud("nas@company.example") as cloud:
            ups = {"phone": {"push": f"ntfy://127.0.0.1:{ntfy.port}/{TOPIC}"}, "scans": {"folder": str(folder)}}
            ups |= by_graph(cloud)["upstreams"]
            routes = [{"to": f"{name}@*", "via": [name]} for name in ups]
            relay = RelayProcess(tmp_path, {"upstreams": ups, "routes": routes})
            relay.module = "tests.support.deadly"
            try:
                queue_id = await asyncio.to_thread(killed_twice, relay, *ups)
                assert (ntfy.requests, list(folder.iterdir()), cloud.box) == (0, [], [])
                released = await asyncio.to_thread(relay.command, "queue", "release", queue_id)
                assert released.returncode == 0
                await asyncio.to_thread(relay.wait_for, "relayed", 3)
            finally:
                if relay.running:
                    await asyncio.to_thread(relay.stop)
            assert [one.title for one in ntfy.pushed] == ["first"]
            assert [one.name for one in folder.iterdir()] == ["first.txt"]
            assert len(cloud.box) == 1
            assert {one["said"] for one in relay.events("held")} == {"it stopped the relay twice"}


def killed_twice(relay: RelayProcess, *names: str) -> str:
    """A message that kills it, for a recipient at each upstream; its queue id, once it is held."""
    relay.start()
    content = letter("first").replace(b"Subject:", b"X-Deadly: memory\r\nSubject:")
    queue_id = relay.submit(NAS, [f"{name}@isp.example" for name in names], content)
    assert relay.death() == -signal.SIGKILL
    relay.start()
    assert relay.death() == -signal.SIGKILL
    relay.module = "relay"
    relay.start()
    relay.wait_for("held")
    return queue_id


async def test_a_full_disk_keeps_the_mail_until_there_is_room(tmp_path: Path) -> None:
    """The disk fills with scans: what fits is saved whole, what does not waits with its advice, and goes by itself."""
    with faults.small_disk(tmp_path / "saved", "4m") as disk, serving(Ntfy()) as ntfy:
        kind = Kind("scans", {"folder": str(disk / "{date}")}, ntfy, disk)
        async with relay_at_home(tmp_path, settings(kind)) as relay:
            ids = [await send(relay, NAS, ME, letter(f"scan {number}", 1_500_000)) for number in range(3)]
            await until(lambda: line_of(relay, kind), lambda line: line["sent_today"] == 2 and line["resting_until"])
            stories = [await told(relay, queue_id) for queue_id in ids]
            states = [story["recipients"][0]["state"] for story in stories]
            assert sorted(states) == ["queued", "relayed", "relayed"]
            left = ids[states.index("queued")]
            waits = await until(lambda: told(relay, left), lambda story: story["recipients"][0]["said"])
            assert (waits["recipients"][0]["code"], waits["recipients"][0]["fault"]) == (451, "folder-full")
            assert "Make room" in json.dumps(waits["trail"])
            saved = list(disk.rglob("*.txt"))
            assert len(saved) == 2
            assert not list(disk.rglob(".*"))
            saved[0].unlink()
            await ended(relay, left, "relayed")
        assert len(list(disk.rglob("*.txt"))) == 2
        assert {one.stat().st_size > 1_400_000 for one in disk.rglob("*.txt")} == {True}


async def test_the_phone_fails_and_its_notice_goes_by_mail(tmp_path: Path) -> None:
    """`notices: {via: [phone, isp]}`: a failure is told on the phone; while that is in trouble, by mail, and once."""
    script = {"RCPT": ["550 5.1.1 no such user"] * 2}
    with serving(Ntfy()) as ntfy:
        kind = Kind("phone", {"push": f"ntfy://127.0.0.1:{ntfy.port}/{TOPIC}", "timeout": "5s"}, ntfy, tmp_path)
        async with ScriptedUpstream(script=script) as isp:
            given = settings(kind, isp) | {"routes": [{"via": ["isp"]}]}
            given["notices"] = {"to": "admin@isp.example", "via": ["phone", "isp"], "digest": "1s"}
            async with relay_at_home(tmp_path, given) as relay:
                await ended(relay, await send(relay, "root@nas.local", "nobody@far.example", letter("backup 1")), "failed")
                await until(lambda: ntfy.pushed)
                ntfy.refuse(503, times=1000)
                await ended(relay, await send(relay, "root@nas.local", "nobody@far.example", letter("backup 2")), "failed")
                async with asyncio.timeout(20), isp.changed:
                    await isp.changed.wait_for(lambda: any(b"backup 2" in one.content for one in isp.messages))
    assert [one.title for one in ntfy.pushed] == ["Not delivered: backup 1 (to nobody@far.example)"]
    assert all(one.forward_paths == ["admin@isp.example"] for one in isp.messages)
    assert any(b"backup 2" in one.content for one in isp.messages)  # that the phone fails may have been told before


def subject(tmp_path: Path, *upstreams: Upstream) -> Subject:
    (tmp_path / "spool").mkdir(exist_ok=True)
    return Subject(
        hostname="relay.example.jp",
        upstreams={one.name: one for one in upstreams},
        listeners=(),
        routes=(),
        spool=SpoolSettings(url=f"sqlite:{tmp_path}/spool/spool.db", keep_free=1_000_000, max_message=1_000_000),
        state_dir=tmp_path / "spool",
        notices_to=None,
        source="config.yaml",
    )


async def examined(about: Subject, whole: float) -> tuple[dict[str, list[str]], list[Finding]]:
    """The names of what is said of each upstream, and all of it."""
    heard: list[str] = []
    root = about.state_dir / "root"
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    world = World(now=lambda: datetime.now(UTC), root=root, patience=5.0, whole=whole)
    facts = await gather(about, world, heard.append)
    findings = judge(facts, about)
    assert TOPIC not in f"{heard} {findings}"
    return {name: [one.name for one in findings if one.about == name] for name in about.upstreams}, findings


async def test_the_doctor_examines_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side, each for itself, and within its time whatever hangs; nothing is sent, and no file is left."""
    (tmp_path / "saved").mkdir()
    with serving(Ntfy()) as ntfy:
        url = f"ntfy://127.0.0.1:{ntfy.port}/{TOPIC}"
        ups = (
            Upstream("phone", PushService((Secret(url),))),
            Upstream("scans", Folder(str(tmp_path / "saved" / "{device}"))),
            Upstream("share", Folder(str(tmp_path / "none"))),
        )
        names, _ = await examined(subject(tmp_path, *ups), 12.0)
        assert names == {"phone": ["push-clear"], "scans": ["folder"], "share": ["folder-missing"]}
        assert (ntfy.requests, list((tmp_path / "saved").iterdir())) == (0, [])
        assert ntfy.looks == [f"/{TOPIC}/auth"]
        ntfy.hang, hang = True, threading.Event()
        monkeypatch.setattr(gathering, "folder_facts", lambda *_: hang.wait(20))
        names, findings = await examined(subject(tmp_path, *ups[:2]), 0.5)
        hang.set()
        assert names == {"phone": ["push-unexamined"], "scans": ["folder-io"]}
        assert "no answer within 0.5 seconds" in str(findings)
        assert "0.46 seconds were over" in str(findings)
    await gone()
