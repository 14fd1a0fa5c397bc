"""Replies as octets come: split, glued, endless, or none at all."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from relay.upstream.connect import Endpoint, Failed, alternating, places, reach
from relay.upstream.smtp_wire import SmtpWire, WireLost


@asynccontextmanager
async def line_to(*sends: bytes, pause: float = 0.0, hang_up: bool = False):
    """A Line to a server that sends these blocks, `pause` seconds apart."""
    serving = []

    async def serve(_reader, writer):
        serving.append((asyncio.current_task(), writer.transport))
        try:
            for block in sends:
                writer.write(block)
                await writer.drain()
                await asyncio.sleep(pause)
            if hang_up:
                writer.close()
            await asyncio.Event().wait()
        except (asyncio.CancelledError, ConnectionError):
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    line = SmtpWire(transport)
    try:
        yield line
    finally:
        line.close()
        server.close()
        for task, _ in serving:
            task.cancel()
        await asyncio.gather(*(task for task, _ in serving), return_exceptions=True)


@pytest.mark.parametrize("pause", [0.0, 0.01])
@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((b"250 ok\r\n",), "250 ok"),
        ((b"2", b"50", b" o", b"k\r", b"\n"), "250 ok"),
        ((b"250-first\r\n250", b"-second\r", b"\n250 third\r\n"), "250 first second third"),
        ((b"250\r\n",), "250"),
        ((b"250-\r\n", b"250\r\n"), "250"),
        ((b"550 5.1.1 no\n",), "550 5.1.1 no"),
        ((b"250 caf\xe9\r\n",), "250 caf\ufffd"),
    ],
)
async def test_a_reply_is_read_however_it_is_cut(blocks, expected, pause):
    """Packet borders, bare LF and odd octets do not matter."""
    async with line_to(*blocks, pause=pause) as line:
        assert str(await line.reply(2)) == expected


async def test_replies_that_come_together_are_read_in_order():
    """Pipelined replies in one packet are handed out one by one."""
    async with line_to(b"250 one\r\n550-two\r\n550 more\r\n354 three\r\n") as line:
        assert [str(await line.reply(2)) for _ in range(3)] == ["250 one", "550 two more", "354 three"]


@pytest.mark.parametrize(
    "noise",
    [
        b"HTTP/1.1 400 Bad\r\n",
        b"\x15\x03\x01\x00\x02\x02\n",
        b"25x ok\r\n",
        b"199 no\r\n",
        b"600 no\r\n",
        b"\r\n",
        b"250-a\r\nnonsense\r\n",
    ],
)
async def test_what_is_no_reply_is_lost(noise):
    """Anything but three digits of SMTP ends the line, and is shown."""
    async with line_to(noise) as line:
        with pytest.raises(WireLost, match="no SMTP reply"):
            await line.reply(2)
        assert not line.alive


@pytest.mark.parametrize("flood", [b"250-more\r\n" * 20_000, b"2" * 100_000])
async def test_a_reply_without_end_is_bounded(flood):
    """A server that never finishes its reply cannot fill our memory."""
    async with line_to(flood) as line:
        with pytest.raises(WireLost):
            await line.reply(2)


async def test_a_drip_does_not_renew_the_patience():
    """An octet now and then is no reply."""
    async with line_to(*[b"2"] * 100, pause=0.02) as line:
        with pytest.raises(WireLost, match="no reply"):
            await line.reply(0.15)


async def test_half_a_reply_and_the_end():
    """A reply cut off by the end of the connection is none."""
    async with line_to(b"250-first\r\n250 sec", hang_up=True) as line:
        with pytest.raises(WireLost, match="closed the connection"):
            await line.reply(2)


async def test_a_reply_before_the_end_is_read():
    """What was said whole before hanging up counts."""
    async with line_to(b"421 4.3.2 bye\r\n", hang_up=True) as line:
        assert str(await line.reply(2)) == "421 4.3.2 bye"


async def test_the_first_address_that_answers_wins(unused_tcp_port):
    """An address that refuses is followed by the next one at once."""
    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        dead, good = Endpoint(2, "127.0.0.9", unused_tcp_port), Endpoint(2, "127.0.0.1", unused_tcp_port)
        sock, reached = await reach([dead, good], 2)
        sock.close()
    assert reached == good


async def test_every_address_is_named_when_none_answers(unused_tcp_port):
    """The failure lists what each address said."""
    candidates = [Endpoint(2, host, unused_tcp_port) for host in ("127.0.0.8", "127.0.0.9")]
    with pytest.raises(Failed) as failed:
        await reach(candidates, 2)
    text = failed.value.answer.reply.text
    assert text.count("connection refused") == 2
    assert "127.0.0.8" in text
    assert "127.0.0.9" in text


async def test_hosts_are_looked_up_by_the_system():
    """localhost is known without any DNS."""
    assert "127.0.0.1" in {place.host for place in await places("localhost", 25, 2)}


def test_families_take_turns():
    """The resolver's first family goes first, then they alternate (RFC 8305 s4)."""
    six, four = [Endpoint(10, f"::{n}", 25) for n in (1, 2, 3)], [Endpoint(2, "192.0.2.1", 25)]
    assert alternating([*six, *four]) == [six[0], four[0], six[1], six[2]]
    assert str(six[0]) == "[::1]:25"
    assert alternating([]) == []
