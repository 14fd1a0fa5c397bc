"""Large content while it comes in: into the spool as it comes, or into a file where the spool takes it only whole."""

import asyncio
import hashlib
import sqlite3
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace

import pytest

from relay.inbound.content import HEAD, IN_MEMORY, IncomingContent
from relay.spool.arriving import Arriving
from relay.spool.contract import SpoolBroken, SpoolFull
from tests.support.inbound import receiving

LINE = b"x" * 78 + b"\r\n"
LARGE = b"Subject: large\r\n\r\n" + LINE * 30_000  # 2.4 MB


def rows(tmp_path):
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        return db.execute("SELECT count(*) FROM content").fetchone()[0]


@asynccontextmanager
async def half_of_it_came(tmp_path, monkeypatch):
    """The relay and a device that has sent its large content, but no end of it; what can be stored of it is."""
    async with receiving(tmp_path, monkeypatch, max_message=5_000_000) as relay:
        device = await relay.device()
        await begin(device)
        await device.say(LARGE)
        async with asyncio.timeout(10):
            while rows(tmp_path) < 16:
                await asyncio.sleep(0.01)
        yield relay, device


async def begin(device):
    await device.dialog((b"MAIL FROM:<a@b.example>\r\n", "250"), (b"RCPT TO:<c@d.example>\r\n", "250"), (b"DATA\r\n", "354"))


@pytest.mark.parametrize("size", [10, IN_MEMORY, IN_MEMORY + 1, 1_000_000, 2_400_000])
@pytest.mark.parametrize("step", [50_000, 300_000])
async def test_without_a_place_in_the_spool_it_goes_to_a_file(tmp_path, size, step):
    """In memory up to a bound, above it in a file without a name: octet for octet, with size, digest and head."""
    content, octets = IncomingContent(tmp_path, SimpleNamespace(arrive=lambda: None)), LARGE[:size]
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
            while rows(tmp_path):
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
        assert rows(tmp_path) == 1


@pytest.mark.parametrize(("trouble", "reply"), [(SpoolFull("no room"), "452 4.3.1"), (SpoolBroken("read-only"), "452 4.3.0")])
async def test_a_spool_that_fails_in_the_middle_is_told_at_the_end(tmp_path, monkeypatch, trouble, reply):
    """What follows is read and thrown away; the session goes on, and so does the next message."""

    async def failing(_self, _pieces, *, whole=False):
        raise trouble

    async with receiving(tmp_path, monkeypatch, max_message=5_000_000) as relay:
        device = await relay.device()
        with monkeypatch.context() as patched:
            patched.setattr(Arriving, "add", failing)
            assert (await device.submit(LARGE)).startswith(reply)
        assert (await device.submit(LARGE)).startswith("250")
        assert [b"".join(one.content) for one in await relay.entries()] == [LARGE]
