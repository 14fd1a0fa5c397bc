"""The page's port under strangers: each request has a deadline, each address few places, and the owner always gets in.

scripted clients ──HTTP──▶ relay.control.server.Server ──▶ Guard ──▶ a page of one word
"""

import asyncio
import base64
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from relay.control import server, tcp
from relay.control.access import AccessRules, Guard
from relay.control.server import MOST_CONNECTIONS, MOST_PER_CLIENT, MOST_PER_PROXY, Server

PASSWORD = base64.b64encode(b"me:right").decode()
HEAD = f"Host: 127.0.0.1\r\nAuthorization: Basic {PASSWORD}\r\n"
OWNER = f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode()


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Answers after the whole body; /large with more than any buffer holds, /file the same in blocks."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(400 if scope["path"] == "/file" else 0):
        await send({"type": "http.response.body", "body": b"x" * 50_000, "more_body": True})
    body = b"x" * 50_000_000 if scope["path"] == "/large" else b"yes"
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(rules: AccessRules) -> AsyncIterator[tuple[str, int]]:
    sock = tcp.listen("127.0.0.1:0")
    address = sock.getsockname()
    one = Server(Guard(page, rules), sock)
    task = asyncio.create_task(one.serve())
    yield address
    one.stop()
    await task


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, int]]:
    monkeypatch.setattr(server, "REQUEST", 1.0)
    monkeypatch.setattr(server, "ANSWER", 1.5)
    async with serving(AccessRules(password="right")) as address:
        yield address


class Client:
    """One connection from an address of our choice."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, place: tuple[str, int], source: str) -> "Client":
        return cls(*await asyncio.open_connection(*place, local_addr=(source, 0)))

    async def said(self, octets: bytes) -> bytes:
        """The first line of the answer; empty if the connection was cut."""
        try:
            self.writer.write(octets)
            async with asyncio.timeout(5):
                return await self.reader.readline()
        except OSError:
            return b""

    async def drip(self, octets: bytes, first: bytes) -> float:
        """Sends an octet every 50 ms until the connection is cut; how many seconds it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        with contextlib.suppress(OSError):
            self.writer.write(first)
            while not self.reader.at_eof() and loop.time() - began < 8:
                self.writer.write(octets)
                await self.writer.drain()
                await asyncio.sleep(0.05)
                if self.reader.exception():
                    break
        return loop.time() - began

    @property
    def cut(self) -> bool:
        return self.reader.at_eof() or self.reader.exception() is not None or self.writer.transport.is_closing()

    def close(self) -> None:
        self.writer.close()


@pytest.mark.parametrize(
    ("first", "octets"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (b"", b"\r\n"),
        (f"POST / HTTP/1.1\r\n{HEAD}Content-Length: 100000\r\n\r\n".encode(), b"x"),
        (f"POST / HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode(), b"1\r\nx\r\n"),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (OWNER + b"GET / HTTP/1.1\r\nX: ", b"x"),
    ],
    ids=["header", "headers", "blank lines", "body", "chunks", "body after a refusal", "second request"],
)
async def test_an_octet_now_and_then_renews_no_deadline(place: tuple[str, int], first: bytes, octets: bytes) -> None:
    """A request, header and body, has one deadline for the whole of it."""
    client = await Client.connect(place, "127.0.0.2")
    assert await client.drip(octets, first) < 3
    client.close()


async def test_an_answer_that_nobody_takes_is_given_up(place: tuple[str, int]) -> None:
    """Who asks for much and reads nothing keeps neither the place nor the memory."""
    client = await Client.connect(place, "127.0.0.2")
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.writer.write(OWNER.replace(b"GET / ", b"GET /large "))
    await asyncio.sleep(2.5)
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await client.reader.readexactly(50_000_000)
    client.close()


async def test_a_file_may_take_longer_over_a_slow_line(place: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes it at a fair pace has it whole, however long that takes."""
    monkeypatch.setattr(server, "EARNED", 0.3)
    began = asyncio.get_running_loop().time()
    client = await Client.connect(place, "127.0.0.2")
    client.writer.write(OWNER.replace(b"GET / ", b"GET /file "))
    await client.reader.readuntil(b"\r\n\r\n")
    taken = 0
    while block := await client.reader.read(100_000):
        taken += len(block)
        await asyncio.sleep(0.02)
    assert taken > 20_000_000
    assert asyncio.get_running_loop().time() - began > 2 * server.ANSWER
    client.close()


async def test_a_slow_request_within_the_deadline_is_answered(place: tuple[str, int]) -> None:
    """A second request has a deadline of its own, which begins with its first octet."""
    client = await Client.connect(place, "127.0.0.2")
    for _ in range(3):
        client.writer.write(OWNER[:20])
        await asyncio.sleep(0.6)
        assert b"200" in await client.said(OWNER[20:])
        while await client.reader.readline() not in (b"\r\n", b""):
            pass
        assert await client.reader.read(100)
    client.close()


Crowd = Callable[[int], str]


@pytest.mark.parametrize("source", ["127.0.0.99", "127.0.1.1"], ids=["elsewhere", "same address"])
async def test_the_owner_gets_in_whoever_fills_the_places(place: tuple[str, int], source: str) -> None:
    """Strangers of five addresses hold every place and go on coming: the password's owner is answered each time."""
    crowd: list[Client] = []
    for number in range(100):
        crowd.append(await Client.connect(place, f"127.0.1.{number % 5 + 1}"))
        if number % 5 == 0:
            owner = await Client.connect(place, source)
            assert b"200" in await owner.said(OWNER)
            owner.close()
    await asyncio.sleep(0.1)
    standing = [one for one in crowd if not one.cut]
    assert len(standing) <= MOST_CONNECTIONS
    for number in range(5):
        assert sum(one.writer.get_extra_info("sockname")[0].endswith(f".{number + 1}") for one in standing) <= MOST_PER_CLIENT
    for one in crowd:
        one.close()


async def test_a_connection_with_the_password_outlives_strangers(place: tuple[str, int]) -> None:
    """A page that is open keeps its connection while strangers at the same address fill the places over and over."""
    owner = await Client.connect(place, "127.0.1.1")
    assert b"200" in await owner.said(OWNER)
    crowd = [await Client.connect(place, "127.0.1.1") for _ in range(3 * MOST_PER_CLIENT)]
    await asyncio.sleep(0.05)
    assert not owner.cut
    assert sum(not one.cut for one in crowd) == MOST_PER_CLIENT - 1
    for one in (owner, *crowd):
        one.close()


async def test_people_behind_a_proxy_have_more_places() -> None:
    """Home Assistant opens six for each of them, from one address; strangers there have no more than elsewhere."""
    ask = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nRemote-User: hana\r\n\r\n"
    rules = AccessRules(password="right", user_header="Remote-User", proxies=(ipaddress.ip_network("127.0.0.3"),))
    async with serving(rules) as place:
        crowd = [await Client.connect(place, "127.0.0.3") for _ in range(MOST_PER_CLIENT)]
        assert b"200" in await crowd[0].said(ask)
        crowd += [await Client.connect(place, "127.0.0.3") for _ in range(MOST_PER_PROXY)]
        await asyncio.sleep(0.05)
        assert sum(not one.cut for one in crowd) == MOST_PER_PROXY
        assert not crowd[0].cut
        for one in crowd:
            one.close()


async def test_on_the_unix_socket_nobody_is_hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may open it may stop the relay as well; a pager that waits for a key is no stranger."""
    monkeypatch.setattr(server, "REQUEST", 0.2)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    sock = tcp.listen("127.0.0.1:0")
    one = Server(page, sock)
    task = asyncio.create_task(one.serve(ours))
    reader, writer = await asyncio.open_connection(sock=theirs)
    writer.write(OWNER[:10])
    await asyncio.sleep(0.6)
    writer.write(OWNER[10:])
    assert b"200" in await reader.readline()
    writer.close()
    one.stop()
    await task
