"""`relay doctor` as a person or a monitor calls it, and the check-up that the running relay keeps for its page."""

import asyncio
import contextlib
import json
import os
import pty
import re
import smtplib
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.doctor.child_process import Stumbled, aside, examined
from relay.doctor.daily import CheckUp
from relay.doctor.gather import World
from relay.doctor.subject import Subject
from relay.secret import Secret
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import Login
from tests.support.device import untrusting
from tests.support.dns import FakeDNS
from tests.support.doctor import Case
from tests.support.peers import free_port
from tests.support.running import ROOT, running
from tests.support.sending import on_server
from tests.support.upstream import ScriptedUpstream

KEYS = {"grade", "cause", "cure", "name", "about", "evidence", "publish", "link"}


async def doctor(config: Path, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `relay doctor`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "relay", "doctor", "--config", str(config), *words),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), errors.decode()


def written(folder: Path, port: int, dns: str, **more: Any) -> Path:
    """A configuration whose upstream is the test's server, by the test's DNS."""
    account = {"host": "127.0.0.1", "port": port, "tls": "none", "auth": "cram-md5", "username": "taro", "password": "secret"}
    config = {
        "hostname": "relay.example.jp",
        "listen": {"address": "127.0.0.1:0"},
        "upstreams": {"isp": {**account, "provider": "asahi-net", "sender": "taro@example.jp"}},
        "routes": [{"via": ["isp"]}],
        "spool": {"url": f"sqlite:{folder}/spool/spool.db", "keep_free": "1MB"},
        "dns": {"nameservers": [dns]},
        **more,
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))
    file.chmod(0o600)
    return file


@pytest.fixture
def zone(tmp_path: Path) -> Mapping[str, Any]:
    return Case(tmp_path).zone


async def test_json_has_the_promised_keys_and_healthy_is_0(tmp_path: Path, zone: Mapping[str, Any]) -> None:
    """`{"findings": [{"grade", "cause", "cure", ...}]}`; with nothing wrong the status is 0."""
    async with FakeDNS(zone) as dns, ScriptedUpstream(users={"taro": "secret"}) as server:
        status, out, errors = await doctor(written(tmp_path, server.port, dns.address), "--json")
    findings = json.loads(out)["findings"]
    assert [one for one in findings if one["grade"] == "problem"] == []
    assert (status, errors) == (0, "")
    assert all(set(one) == KEYS for one in findings)
    assert {one["grade"] for one in findings} <= {"ok", "warning"}
    assert [one["about"] for one in findings if one["name"] == "upstream"] == ["isp"]
    assert [auth[0] for auth in server.auths] == ["CRAM-MD5"]


async def test_a_problem_is_1_and_told_in_words(tmp_path: Path, zone: Mapping[str, Any]) -> None:
    """Cause, the server's words, cure and link; no colours where nobody looks; no secret anywhere."""
    async with FakeDNS(zone) as dns, ScriptedUpstream(users={"taro": "other"}) as server:
        status, out, errors = await doctor(written(tmp_path, server.port, dns.address))
    assert status == 1
    assert "problem  isp: The upstream does not accept the user name and password." in out
    assert "535 5.7.8 bad user name or password" in out
    assert "more: docs/findings.md#login" in out
    assert "1 problem" in out.splitlines()[-1]
    assert "\x1b" not in out + errors
    assert "secret" not in out + errors


async def test_on_a_terminal_it_shows_what_it_does_in_colour(tmp_path: Path, zone: Mapping[str, Any]) -> None:
    """While it looks, one line tells at what; the findings are in colour; and none of that with NO_COLOR or in a file."""
    async with FakeDNS(zone) as dns, ScriptedUpstream(users={"taro": "secret"}) as server:
        config = written(tmp_path, server.port, dns.address)
        seen = await on_a_terminal("doctor", "--config", str(config))
        plain = await on_a_terminal("doctor", "--config", str(config), NO_COLOR="1")
    assert f"isp: asking 127.0.0.1:{server.port} ..." in seen
    assert "\x1b[32mok\x1b[0m" in seen
    assert f"isp: asking 127.0.0.1:{server.port} ..." in plain
    assert "\x1b[32m" not in plain


async def on_a_terminal(*words: str, **environment: str) -> str:
    """All that `relay` writes to a terminal."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "relay",
        *words,
        cwd=ROOT,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "NO_COLOR": "", **environment},
    )
    os.close(theirs)
    seen = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: the other side has closed
            while block := os.read(ours, 4096):
                seen.extend(block)

    await asyncio.wait_for(asyncio.gather(asyncio.to_thread(read), process.wait()), 60)
    os.close(ours)
    return seen.decode()


async def test_only_the_named_upstream_is_asked(tmp_path: Path, zone: Mapping[str, Any]) -> None:
    """`relay doctor NAME` leaves the others alone; a name that is not there is wrong usage."""
    async with FakeDNS(zone) as dns, ScriptedUpstream(users={"taro": "secret"}) as server:
        config = written(tmp_path, server.port, dns.address)
        raw = json.loads(config.read_text())
        raw["upstreams"]["other"] = {**raw["upstreams"]["isp"], "port": 9}
        raw["routes"] = [{"via": ["isp", "other"]}]
        config.write_text(json.dumps(raw))
        assert (await doctor(config, "isp", "--json"))[0] == 0
        assert (await doctor(config, "--json"))[0] == 1
        status, _, errors = await doctor(config, "nobody")
    assert status == 2
    assert "no upstream is named nobody; there are: isp, other" in errors


async def test_a_mistake_in_the_configuration_is_2(tmp_path: Path) -> None:
    """As everywhere, all mistakes with their places; for programs as findings."""
    config = tmp_path / "config.yaml"
    config.write_text("upstreams:\n  isp: {hst: x}\n")
    status, out, errors = await doctor(config)
    assert (status, out) == (2, "")
    assert f"{config}:2:" in errors
    status, out, _ = await doctor(config, "--json")
    findings = json.loads(out)["findings"]
    assert status == 2
    assert {one["name"] for one in findings} == {"configuration"}
    assert any("hst" in one["evidence"][0] for one in findings)


async def test_beside_the_running_relay_its_port_is_its_own(tmp_path: Path, zone: Mapping[str, Any]) -> None:
    """The listener is taken, by the relay: no finding.  How long its certificate is good is told; of one that cannot be used
    that, and that the relay goes on with the old one, as it does."""
    ports = [free_port(), free_port()]
    issued = trustme.CA().issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=40, hours=1))
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    async with FakeDNS(zone) as dns, ScriptedUpstream(users={"taro": "secret"}) as server:
        config = json.loads(written(tmp_path, server.port, dns.address).read_text())
        own, named = ({"address": f"127.0.0.1:{port}"} for port in ports)
        config["listen"] = [own, {**named, "tls_cert": "cert.pem", "tls_key": "key.pem"}]
        with running(tmp_path, config) as relay:
            status, out, _ = await doctor(relay.config_file)
            assert status == 0
            assert re.findall(r"ok +(\S+): the relay listens there", out) == [f"127.0.0.1:{port}" for port in ports]
            found = dict(re.findall(r"ok +(\S+): certificate until \d{4}-\d\d-\d\d \((\d+) days\)", out))
            assert found.keys() == {f"127.0.0.1:{port}" for port in ports}
            assert found[f"127.0.0.1:{ports[1]}"] == "40" and int(found[f"127.0.0.1:{ports[0]}"]) > 3000
            (tmp_path / "key.pem").write_text("half of a k")
            status, out, _ = await doctor(relay.config_file, "--json")
            [bad] = [one for one in json.loads(out)["findings"] if one["grade"] == "problem"]
            assert (status, bad["name"], bad["about"]) == (1, "certificate-unusable", f"127.0.0.1:{ports[1]}")
            relay.reload()
            with smtplib.SMTP("127.0.0.1", ports[1], timeout=20) as device:
                assert device.starttls(context=untrusting())[0] == 220


async def test_the_check_up_keeps_what_needs_a_person(tmp_path: Path, zone: dict[str, Any]) -> None:
    """It asks the DNS and looks at this machine, troubles no upstream, and shows problems before warnings."""
    (tmp_path / "case").mkdir()
    case = Case(tmp_path / "case")
    zone["example.jp"]["TXT"] = ['"v=spf1 mx -all"']
    zone["_dmarc.example.jp"]["TXT"] = ['"v=DMARC1; p=?"']
    async with FakeDNS(zone) as dns, ScriptedUpstream() as server:
        spool = SpoolSettings(f"sqlite:{tmp_path}/spool.db", keep_free=0, max_message=1000)
        upstreams = {"isp": case.upstream}
        subject = Subject("relay.test", upstreams, spool=spool, state_dir=tmp_path, nameservers=(dns.address,), running=True)
        check_up = CheckUp(lambda: subject, partial(examined, world=World(root=case.root)), first=timedelta())
        assert check_up.findings() == []
        task = asyncio.create_task(check_up.run())
        await asyncio.wait_for(check_up.done.wait(), 10)
        task.cancel()
        assert server.connections == []
    found = check_up.findings()
    assert [(one["name"], one["grade"]) for one in found] == [("spf-fail", "problem"), ("dmarc-broken", "warning")]
    assert all(set(one) == KEYS for one in found)


async def test_the_check_up_comes_again(tmp_path: Path) -> None:
    """What is mended is gone at the next look; the subject is asked for afresh."""
    asked: list[int] = []

    def subject() -> Subject:
        asked.append(1)
        alien = tmp_path / "spool.db"
        alien.write_bytes(b"%PDF" * 40) if len(asked) == 1 else alien.unlink(missing_ok=True)
        return Subject(
            "relay.test", {}, spool=SpoolSettings(f"sqlite:{alien}", keep_free=0, max_message=1000), state_dir=tmp_path
        )

    (tmp_path / "root").mkdir()
    check_up = CheckUp(
        subject, partial(examined, world=World(root=tmp_path / "root")), first=timedelta(), every=timedelta(milliseconds=50)
    )
    task = asyncio.create_task(check_up.run())
    await asyncio.wait_for(check_up.done.wait(), 10)
    assert [one["name"] for one in check_up.findings()] == ["spool-alien"]
    async with asyncio.timeout(10):
        while check_up.findings():
            await asyncio.sleep(0.02)
    task.cancel()
    assert len(asked) >= 2


async def test_a_doctor_that_stumbles_does_not_take_the_relay_along() -> None:
    """A mistake in the check-up is a warning in its own place."""
    world = World(now=lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    check_up = CheckUp(lambda: Subject("relay.test", {}), partial(examined, world=world))
    await check_up.examine()
    [one] = check_up.findings()
    assert (one["name"], one["grade"]) == ("check-up", "warning")
    assert "ZeroDivisionError" in one["cause"]


async def test_the_check_up_takes_no_memory_of_the_relay(tmp_path: Path, zone: dict[str, Any]) -> None:
    """The relay's own examination is made by a process that is gone afterwards, and finds what is found within it."""
    (tmp_path / "case").mkdir()
    case = Case(tmp_path / "case")
    zone["example.jp"]["TXT"] = ['"v=spf1 mx -all"']
    async with FakeDNS(zone) as dns, ScriptedUpstream() as server:
        spool = SpoolSettings(f"sqlite:{tmp_path}/spool.db", keep_free=0, max_message=1000)
        upstreams = {"isp": on_server(case.upstream, login=Login(username="taro", password=Secret("se-cret")))}
        subject = Subject("relay.test", upstreams, spool=spool, state_dir=tmp_path, nameservers=(dns.address,), running=True)
        found = await aside(subject)
        assert server.connections == []
        assert [one for one in found if one["name"] == "spf-fail"]
        assert {one["name"] for one in await examined(subject, World())} == {one["name"] for one in found}
    assert all(set(one) == KEYS for one in found)
    assert "se-cret" not in json.dumps(found)
    assert not [child for child in children() if "relay.doctor.child_process" in child]


async def test_a_check_up_aside_that_dies_or_hangs_is_told_of(tmp_path: Path) -> None:
    """Its last word is the cause; one that takes too long is ended, and so is one that nobody waits for any more."""
    broken = Subject("relay.test", {"isp": None}, state_dir=tmp_path)  # type: ignore[dict-item]
    with pytest.raises(Stumbled, match="NoneType"):
        await aside(broken)
    with pytest.raises(TimeoutError):
        await aside(Subject("relay.test", {}, state_dir=tmp_path), patience=0.01)
    task = asyncio.create_task(aside(Subject("relay.test", {}, state_dir=tmp_path)))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [child for child in children() if "relay.doctor.child_process" in child]


def children() -> list[str]:
    """Command lines of the processes that this one has started."""
    pids = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
