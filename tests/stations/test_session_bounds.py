"""What one client can cost the others: time, room, lines of the log."""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from relay.inbound.admission import ClientLimits, ListenTls, header_facts
from relay.inbound.connection import Connection
from relay.inbound.dialect import mail_argument, rcpt_argument
from relay.mail.address import BadAddress
from relay.spool.sqlite.streaming import SqliteStreaming
from tests.support.inbound import HERE, receiving

NOT_QUADRATIC = 2.0  # seconds of processor time; what grew with the square took 8 and more


def cost_of(work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize("read", [mail_argument, rcpt_argument])
def test_a_long_command_costs_nothing(read):
    """A path of thousands of brackets is refused before it is looked at in detail."""

    def work():
        with pytest.raises(BadAddress, match="longer than"):
            read("FROM:<" + ">" * 60_000 + "!")

    assert cost_of(work) < NOT_QUADRATIC


@pytest.mark.parametrize("run", [b"\r" * 64_000 + b"\n", b"\n" + b"\r" * 64_000, b"\r" * 64_000 + b"x", b"a\r" * 32_000])
def test_a_header_of_carriage_returns_costs_nothing(run):
    """Runs of CR are looked at once, wherever they stand."""
    assert cost_of(lambda: header_facts(b"Subject: x" + run + b"Message-ID: <a@b.c>\r\n\r\n", "relay.test")) < NOT_QUADRATIC


async def test_who_is_refused_again_and_again_is_sent_away(tmp_path, monkeypatch):
    """Refused recipients without end: the session is cut, so that the log stays readable."""
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(recipients=10)) as relay:
        device = await relay.device()
        await device.dialog((b"MAIL FROM:<a@b.example>\r\n", "250"))
        said = [await device.ask(b"RCPT TO:<>\r\n") for _ in range(30)]
        assert [reply[:3] for reply in said] == ["501"] * 30
        assert (await device.ask(b"RCPT TO:<>\r\n")).startswith("501")
        assert (await device.reply()).startswith("421 4.7.0")
        assert len(relay.events("refused")) == 32


async def test_the_same_recipient_a_thousand_times_is_one(tmp_path, monkeypatch):
    """A device that repeats itself neither meets a limit nor grows the message's story."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        await device.dialog((b"MAIL FROM: a@b.example\r\n", "250"))
        for _ in range(1000):
            await device.dialog((b"RCPT TO: me@example.jp\r\n", "250"))
        await device.dialog((b"DATA\r\n", "354"), (b"x\r\n.\r\n", "250"))
        (entry,) = await relay.entries()
        assert [str(path) for path in entry.envelope.forward_paths] == ["me@example.jp"]
        assert len(entry.origin.quirks) < 10


async def test_the_reserve_is_kept_while_content_comes_in(tmp_path, monkeypatch):
    """What the spool could not keep in the end is not collected on its disk: 452, and the file stays small."""
    room, written = 3_000_000, []

    class Watched(SqliteStreaming):
        async def add(self, pieces, *, whole=False):
            written.append(sum(map(len, pieces)))
            await super().add(pieces, whole=whole)

    monkeypatch.setattr("relay.spool.sqlite.commit.SqliteStreaming", Watched)
    async with receiving(tmp_path, monkeypatch, max_message=20_000_000, limits=ClientLimits(share=100)) as relay:
        monkeypatch.setattr(relay.spool, "room", lambda: room - sum(written))
        device = await relay.device()
        await device.dialog((b"MAIL FROM:<a@b.example>\r\n", "250"), (b"RCPT TO:<c@d.example>\r\n", "250"))
        await device.dialog((b"DATA\r\n", "354"))
        await device.say((b"x" * 78 + b"\r\n") * 100_000)
        assert (await device.ask(b".\r\n")).startswith("452 4.3.1")
        assert 0 < sum(written) <= room
        assert await relay.entries() == []
        with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
            async with asyncio.timeout(20):  # the writer removes what was written of it, after the reply
                while db.execute("SELECT count(*) FROM content").fetchone() != (0,):
                    await asyncio.sleep(0.05)


async def test_the_open_doors_are_told_as_they_are(tmp_path, monkeypatch):
    """After a reload that changes the order of the listeners each port still has its own TLS mode."""
    plain, tls = HERE, replace(HERE, host="127.0.0.2", tls=ListenTls.STARTTLS)
    async with receiving(tmp_path, monkeypatch, plain, tls) as relay:
        before = relay.inbound.listening()
        assert [(one["host"], one["tls"]) for one in before] == [("127.0.0.1", "off"), ("127.0.0.2", "starttls")]
        await relay.reload(tls, plain)
        assert relay.inbound.listening() == before


async def test_octets_that_come_with_the_end_of_the_silence_count():
    """Both are found in one turn of the loop: the message goes on, it is not cut off at its lone dot."""
    connection = Connection(idle=60)
    loop = asyncio.get_running_loop()
    block = asyncio.create_task(connection.next_block(0.05))
    await asyncio.sleep(0)
    loop.call_later(0.04, connection.data_received, b"more of it\r\n")
    time.sleep(0.1)
    assert await block == b"more of it\r\n"
    connection.connection_lost(None)
