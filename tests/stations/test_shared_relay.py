"""Real relays with their spool in PostgreSQL, through real sockets: as compose.pair.yaml has them, large mail, a move.

device ──> relay run ──> PostgreSQL ──> relay run (the same, or another one) ──> sink
"""

import asyncio
import hashlib
import json
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from tests.support.postgres import PostgresServer, check_invariants
from tests.support.running import ROOT, RelayProcess, running
from tests.support.sink import Sink, sink
from tests.support.spooled import an_entry
from tests.support.waiting import eventually

LARGE = 49_900_000 if os.environ.get("RELAY_CHAOS") == "full" else 20_000_000
MOST_MORE = 12_000_000  # octets above what the relay has when it only waits
LISTED = """
import atexit, pathlib, sys
atexit.register(lambda: pathlib.Path({file!r}).write_text("\\n".join(sys.modules)))
"""


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Sink]:
    with sink(tmp_path / "sink") as upstream:
        yield upstream


def now() -> datetime:
    return datetime.now(UTC)


def to(upstream: Sink) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": "nas@isp.example"}


def submit(relay: RelayProcess, body: bytes) -> str:
    """The queue id."""
    with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=100) as device:
        device.mail("nas@isp.example")
        device.rcpt("me@far.example")
        code, said = device.data(b"From: <nas@isp.example>\r\nSubject: scan\r\n\r\n" + body)
    assert code == 250, said
    return said.decode().split()[-1]


def waiting(url: str) -> int:
    return int(PostgresServer.ask(url, "SELECT count(*) FROM message WHERE over_at IS NULL")[0][0])


def memory(relay: RelayProcess, what: str) -> int:
    """Octets; VmRSS is now, VmHWM the most so far."""
    status = Path(f"/proc/{relay.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(what))) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory is read from /proc")
def test_a_large_message_passes_through_little_memory(tmp_path: Path, postgres_server: PostgresServer, behind: Sink) -> None:
    """20 MB (RELAY_CHAOS=full: nearly 50) go into the database and out of it unaltered, and the relay never holds them."""
    line = b"0123456789abcdef" * 4 + b"\r\n"
    body = line * (LARGE // len(line))
    shared = {"url": postgres_server.database(), "keep_free": "1MB", "state_dir": str(tmp_path / "state")}
    with running(tmp_path, {"upstreams": {"isp": to(behind)}, "spool": shared}) as relay:
        submit(relay, b"a small one first\r\n")
        behind.wait_for(1)
        before = memory(relay, "VmRSS")
        submit(relay, body)
        taken = behind.wait_for(2, seconds=60)[1]
        most = memory(relay, "VmHWM")
    arrived = taken.octets.partition(b"\r\n\r\n")[2]
    assert hashlib.sha256(arrived).hexdigest() == hashlib.sha256(body).hexdigest()
    print(f"{before / 1e6:.1f} MB before, {most / 1e6:.1f} MB at the highest")
    assert most - before < MOST_MORE


def test_a_relay_with_its_spool_in_a_file_never_loads_it(tmp_path: Path, behind: Sink) -> None:
    """From its start over a message that is relayed to its end: sys.modules has nothing of PostgreSQL."""
    listed = tmp_path / "modules"
    (tmp_path / "sitecustomize.py").write_text(LISTED.format(file=str(listed)))
    with running(tmp_path, {"upstreams": {"isp": to(behind)}}, {"PYTHONPATH": str(tmp_path)}) as relay:
        submit(relay, b"hello\r\n")
        relay.wait_for("relayed")
        assert len(relay.queue("--all")) == 1
    loaded = listed.read_text().split()
    assert "relay.spool.sqlite.sqlite_spool" in loaded
    assert [name for name in loaded if "psycopg" in name or "postgres" in name or "libpq" in name] == []


def test_the_pair_of_the_compose_file(tmp_path: Path, postgres_server: PostgresServer, behind: Sink) -> None:
    """Its configuration word for word but for places: a password over TCP, one queue, the fallback, the other takes over."""
    text = yaml.safe_load((ROOT / "compose.pair.yaml").read_text(encoding="utf-8"))["configs"]["relay"]["content"]
    admitted = postgres_server.data / "pg_hba.conf"
    as_before = admitted.read_text()
    owner = postgres_server.url("public")
    postgres_server.make_role()
    PostgresServer.ask(owner, "ALTER ROLE relay PASSWORD 'tr0ub4dor'")
    PostgresServer.ask(owner, "CREATE DATABASE relay OWNER relay")
    admitted.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    PostgresServer.ask(owner, "SELECT pg_reload_conf()")
    (tmp_path / "database").write_text("tr0ub4dor\n")
    (tmp_path / "password").write_text("secret\n")
    relays = []
    try:
        with ExitStack() as stack:
            for name in ("relay-a", "relay-b"):
                home = tmp_path / name
                home.mkdir()
                theirs = text.replace("/run/secrets", str(tmp_path)).replace("/var/lib/relay", str(home))
                config = yaml.safe_load(theirs.replace("@database/", f"@127.0.0.1:{postgres_server.port}/"))
                config["spool"] |= {"name": name, "keep_free": "1MB", "lease": "5s"}  # the name is else the container's
                config["upstreams"] = {"account": to(behind)}
                config["listen"] = [{"address": "127.0.0.1:0", "networks": ["private"]}]
                relays.append(RelayProcess(home, config).start())
                stack.callback(lambda one=relays[-1]: one.running and one.stop())
            one, two = relays
            ids = [submit(relay, b"hello\r\n") for relay in (one, two) for _ in range(3)]
            behind.wait_for(6)
            seen = [{line["id"] for line in relay.queue("--all")} for relay in relays]
            assert seen == [set(ids)] * 2
            health = json.loads(one.command("health", "--json").stdout)
            assert health["healthy"], health
            one.kill9()
            ids.append(submit(two, b"and now?\r\n"))
            behind.wait_for(7)
            postgres_server.stop()
            ids.append(submit(two, b"the database is away\r\n"))
            sent = two.command("send", "--to", "b@far.example", "--wait", "1")
            assert (sent.returncode, "cannot be seen now" in sent.stderr) == (1, True), sent.stderr
            ids.append(sent.stdout.split()[-1])
            postgres_server.go_on()
            taken = behind.wait_for(9, 60)
        assert sorted(one.header("Message-ID")[1:].partition("@")[0] for one in taken) == sorted(ids)
        for relay in relays:
            assert "tr0ub4dor" not in "\n".join(relay.lines)
    finally:
        if postgres_server.gone():
            postgres_server.go_on()
        admitted.write_text(as_before)
        PostgresServer.ask(owner, "SELECT pg_reload_conf()")
        PostgresServer.ask(owner, "DROP DATABASE relay WITH (FORCE)")
        PostgresServer.ask(owner, "ALTER ROLE relay PASSWORD NULL")


def test_a_move_that_is_killed_goes_on(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """`relay spool move` three times killed in the middle, then let be: each message is in the target, once, unaltered."""
    source, target = f"sqlite:{tmp_path}/spool.db", postgres_server.database()
    ids = [f"m{number:013d}" for number in range(400)]

    async def fill() -> None:
        spool = await open_spool(SpoolSettings(source, keep_free=0), now=now)
        await asyncio.gather(*(spool.commit(an_entry(one, now(), content=one.encode() * 1000)) for one in ids))
        await spool.close()

    asyncio.run(fill())
    command = [sys.executable, "-m", "relay", "spool", "move", source, target, "--config", str(tmp_path / "none.yaml")]
    for killed in (1, 2, 3):
        mover = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: moved(target) >= killed * 60, 60)  # noqa: B023
        finally:
            mover.kill()
            mover.wait(10)
    assert moved(target) < len(ids)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

    async def found() -> tuple[dict[str, bytes], int]:
        there = await open_spool(SpoolSettings(target), now=now)
        here = await open_spool(SpoolSettings(source), now=now)
        try:
            stored = [await there.entry(one.entry.queue_id) for one in await there.entries()]
            content = {one.entry.queue_id: b"".join(one.entry.content) for one in stored if one}
            return content, len(await here.entries())
        finally:
            await there.close()
            await here.close()

    assert asyncio.run(found()) == ({one: one.encode() * 1000 for one in ids}, 0)
    assert waiting(target) == len(ids)
    assert check_invariants(target) == []


def moved(url: str) -> int:
    there = PostgresServer.ask(url, "SELECT to_regclass('message') IS NOT NULL")[0][0]
    return waiting(url) if there else 0
