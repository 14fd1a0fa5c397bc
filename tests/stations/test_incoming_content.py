"""Large content while it comes in: into the spool as it comes, or into a file where the spool takes it only whole."""

import asyncio
import hashlib
import os
import re
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay.inbound.connection import READ_AHEAD
from relay.inbound.message_buffer import HEAD, IN_MEMORY, MemoryBudget, MessageBuffer
from relay.spool.contract import SpoolBroken, SpoolFull
from relay.spool.sqlite.streaming import SqliteStreaming
from tests.support.device import Device, untrusting
from tests.support.inbound import receiving
from tests.support.running import running

LINE = b"x" * 78 + b"\r\n"
LARGE = b"Subject: large\r\n\r\n" + LINE * 30_000  # 2.4 MB


def rows(tmp_path):
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        return db.execute("SELECT count(*) FROM content").fetchone()[0]


def in_files(tmp_path):
    folder = tmp_path / "spool.db-content"
    return sum(one.stat().st_size for one in folder.iterdir()) if folder.exists() else 0


@asynccontextmanager
async def half_of_it_came(tmp_path, monkeypatch):
    """The relay and a device that has sent its large content, but no end of it; what can be stored of it is."""
    async with receiving(tmp_path, monkeypatch, max_message=5_000_000) as relay:
        device = await relay.device()
        await begin(device)
        await device.say(LARGE)
        async with asyncio.timeout(10):
            while in_files(tmp_path) < 1_000_000:
                await asyncio.sleep(0.01)
        yield relay, device


async def begin(device):
    await device.dialog((b"MAIL FROM:<a@b.example>\r\n", "250"), (b"RCPT TO:<c@d.example>\r\n", "250"), (b"DATA\r\n", "354"))


@pytest.mark.parametrize("size", [10, IN_MEMORY, IN_MEMORY + 1, 1_000_000, 2_400_000])
@pytest.mark.parametrize("step", [50_000, 300_000])
async def test_without_a_place_in_the_spool_it_goes_to_a_file(tmp_path, size, step):
    """In memory up to a bound, above it in a file without a name: octet for octet, with size, digest and head."""
    content, octets = MessageBuffer(tmp_path, SimpleNamespace(arrive=lambda: None), MemoryBudget()), LARGE[:size]
    pieces = [octets[place : place + step] for place in range(0, size, step)]
    for number, piece in enumerate(pieces, 1):
        content.look(piece)
        if content.large:
            await content.write_large([piece], whole=number == len(pieces))
        else:
            content.write([piece])
    assert content.source is content
    assert b"".join(content) == octets == b"".join(content)
    assert (content.size, bytes(content.head)) == (size, octets[:HEAD])
    assert content.digest == hashlib.sha256(octets).hexdigest()
    assert list(tmp_path.iterdir()) == []
    content.close()


async def test_it_is_in_the_spool_before_its_end_has_come(tmp_path, monkeypatch):
    """The commit at the end of data needs one transaction more; what comes out is what went in, with its digest."""
    async with half_of_it_came(tmp_path, monkeypatch) as (relay, device):
        assert await relay.entries() == []
        assert (await device.ask(b".\r\n")).startswith("250")
        (entry,) = await relay.entries()
        assert b"".join(entry.content) == LARGE
        assert (entry.size, entry.digest) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())


async def test_what_does_not_come_to_its_end_leaves_nothing(tmp_path, monkeypatch):
    """The line is lost within the message: no entry, no content, and the next message is taken."""
    async with half_of_it_came(tmp_path, monkeypatch) as (relay, device):
        await device.close()
        async with asyncio.timeout(10):
            while in_files(tmp_path):
                await asyncio.sleep(0.01)
        other = await relay.device()
        assert (await other.submit(b"y\r\n")).startswith("250")
        assert len(await relay.entries()) == 1


async def test_a_message_that_turns_out_too_large_leaves_nothing(tmp_path, monkeypatch):
    """552 after its end; what was written of it goes, and the session goes on."""
    async with receiving(tmp_path, monkeypatch, max_message=2_000_000) as relay:
        device = await relay.device()
        assert (await device.submit(LARGE)).startswith("552")
        assert (await device.submit(b"y\r\n")).startswith("250")
        assert len(await relay.entries()) == 1
        assert (rows(tmp_path), in_files(tmp_path)) == (1, 0)


@pytest.mark.parametrize(("trouble", "reply"), [(SpoolFull("no room"), "452 4.3.1"), (SpoolBroken("read-only"), "452 4.3.0")])
async def test_a_spool_that_fails_in_the_middle_is_told_at_the_end(tmp_path, monkeypatch, trouble, reply):
    """What follows is read and thrown away; the session goes on, and so does the next message."""

    async def failing(_self, _pieces, *, whole=False):
        raise trouble

    async with receiving(tmp_path, monkeypatch, max_message=5_000_000) as relay:
        device = await relay.device()
        with monkeypatch.context() as patched:
            patched.setattr(SqliteStreaming, "add", failing)
            assert (await device.submit(LARGE)).startswith(reply)
        assert (await device.submit(LARGE)).startswith("250")
        assert [b"".join(one.content) for one in await relay.entries()] == [LARGE]


async def test_what_comes_in_has_one_memory_for_all(tmp_path, monkeypatch):
    """However many send at once, what is over the budget is on the disk before more is read; nobody is refused."""
    highest = []

    class Watched(MemoryBudget):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "used":
                highest.append(value)

    senders, budget = 20, 1_000_000
    async with receiving(tmp_path, monkeypatch, max_message=5_000_000) as relay:
        memory = relay.inbound._state.memory = Watched(budget)
        devices = [await relay.device() for _ in range(senders)]
        for device in devices:
            await begin(device)
        await asyncio.gather(*(device.say(LARGE) for device in devices))
        replies = await asyncio.gather(*(device.ask(b".\r\n", 60) for device in devices))
        assert [reply[:3] for reply in replies] == ["250"] * senders
        assert max(highest) <= budget + senders * 2 * READ_AHEAD
        assert memory.used == 0
        for entry in await relay.entries():
            assert b"".join(entry.content) == LARGE


async def test_the_memory_is_given_back_whatever_happens(tmp_path, monkeypatch):
    """A line that is lost, a message that is too large, a spool that fails: nothing of it counts afterwards."""
    async with receiving(tmp_path, monkeypatch, max_message=2_000_000) as relay:
        memory = relay.inbound._state.memory
        lost, refused = await relay.device(), await relay.device()
        await begin(lost)
        await lost.say(LINE * 5000)
        assert (await refused.submit(LARGE)).startswith("552")
        async with asyncio.timeout(10):
            while memory.used < 300_000:
                await asyncio.sleep(0.01)
        await lost.close()
        async with asyncio.timeout(10):
            while memory.used:
                await asyncio.sleep(0.01)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("tls", [False, True])
def test_a_hundred_uploads_at_once_cost_little_memory(tmp_path, tls):
    """The real process stays small, with TLS too: half of what it would be without the budget."""
    line, block = b"x" * 78 + b"\r\n", 64_000
    context = untrusting()

    async def upload(port: int, number: int, everybody: asyncio.Barrier) -> str:
        device = await Device.connect(("127.0.0.1", port), source=f"127.0.0.{number % 10 + 2}")
        await device.reply(60)
        await device.ask(b"EHLO nas\r\n", 60)
        if tls:
            await device.ask(b"STARTTLS\r\n", 60)
            await device.start_tls(context)
        await begin(device)
        await everybody.wait()
        for _ in range(1_500_000 // block):
            await device.say(line * (block // len(line)))
        reply = await device.ask(b".\r\n", 120)
        await device.close()
        return reply

    async def uploads(port: int) -> list[str]:
        everybody = asyncio.Barrier(100)
        return await asyncio.gather(*(upload(port, number, everybody) for number in range(100)))

    nobody = {"host": "127.0.0.1", "port": 9, "tls": "none", "limits": {"connections": 1}}
    with running(tmp_path, {"upstreams": {"isp": nobody}}) as relay:
        replies = asyncio.run(uploads(relay.port))
        assert [reply[:3] for reply in replies] == ["250"] * 100
        status = Path(f"/proc/{relay.pid}/status").read_text()
        assert int(re.search(r"VmHWM:\s+(\d+)", status)[1]) < 120_000  # kB


def test_sessions_that_ended_keep_no_memory(tmp_path):
    """What noisy clients leave unread is given back at once: their sessions are in cycles, which are collected late."""

    def noise(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), 30) as client, suppress(OSError):
            client.sendall(os.urandom(200_000))
            while client.recv(1000):
                pass

    with (
        running(tmp_path, {"upstreams": {"isp": {"host": "127.0.0.1", "port": 9, "tls": "none"}}}) as relay,
        ThreadPoolExecutor(8) as clients,
    ):
        list(clients.map(noise, [relay.port] * 40))  # what is loaded once
        before = resident(relay.pid)
        list(clients.map(noise, [relay.port] * 600))
        assert resident(relay.pid) - before < 4_000


def resident(pid: int) -> int:
    """kB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
