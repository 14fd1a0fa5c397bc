"""What a relay keeps loaded while nobody looks at it, and that page, metrics and commands are there all the same.

nobody ──> listening sockets          somebody ──> the same sockets, and behind them a web server
"""

import asyncio
import http.client
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from relay import events
from relay.control import tcp, unix
from relay.control.on_demand_server import OnDemandServer
from relay.control.server import Server
from tests.support.loaded import loaded, telling
from tests.support.push_services import NEEDS_APPRISE, children
from tests.support.running import RelayProcess

WEB = {"uvicorn", "starlette", "jinja2", "markupsafe", "h11", "click", "anyio", "prometheus_client", "html"}
SELDOM = {
    *("dns", "publicsuffixlist", "psycopg", "psycopg_pool", "multiprocessing", "difflib"),
    *("urllib.request", "importlib.resources", "zipfile", "relay.control.i18n"),
    *("relay.control.timeline", "relay.other_user"),
    *("relay.upstream.mx", "relay.upstream.mx_tls", "relay.upstream.mx_order", "relay.upstream.dns"),
    *("relay.upstream.mta_sts", "relay.upstream.mta_sts_cache", "relay.upstream.dane", "relay.upstream.http_session"),
    *("relay.upstream.folder", "relay.upstream.file_writer", "relay.mail.file_parts", "relay.mail.readable_body"),
    *("apprise", "requests", "relay.upstream.push", "relay.upstream.graph", "relay.upstream.graph_api"),
    *("relay.control.server", "relay.control.pages", "relay.doctor.gather", "relay.doctor.judge", "relay.cli.init"),
}


ISP = {"host": "127.0.0.1", "port": 9, "sender": "a@isp.example"}


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    config = {"upstreams": {"isp": ISP}, "web": {"address": "127.0.0.1:0"}}
    one = telling(RelayProcess(tmp_path, config), tmp_path)
    try:
        yield one.start()
    finally:
        if one.running:
            one.stop()


def page(relay: RelayProcess) -> tuple[str, int]:
    host, _, port = relay.events("started")[-1]["web"].rpartition(":")
    return host, int(port)


def get(relay: RelayProcess, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*page(relay), timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def idle(relay: RelayProcess) -> set[str]:
    return {name for name in loaded(relay) if name in SELDOM or name.partition(".")[0] in WEB | SELDOM}


def test_nobody_looks_and_nothing_is_loaded(relay: RelayProcess) -> None:
    """Health checks, port checks and a reload wake no web server; the first look does, and loads no more than it needs."""
    for _ in range(2):
        assert relay.command("health").returncode == 0
    socket.create_connection(page(relay)).close()
    relay.reload()
    assert relay.command("health").returncode == 0
    assert idle(relay) == set()
    assert get(relay, "/healthz")[0] == 200
    assert {"uvicorn", "jinja2"} <= loaded(relay)
    assert not {name for name in loaded(relay) if name.startswith("prometheus_client")}


@NEEDS_APPRISE
def test_what_is_no_smtp_is_loaded_when_it_is_used(tmp_path: Path) -> None:
    """Upstreams that are a mailbox, a phone and a folder: until a message is due there, no code of theirs, no process."""
    graph = {
        "provider": "outlook",
        "api": "graph",
        "username": "nas@company.example",
        "oauth": {"client_id": "c", "tenant": "t"},
    }
    upstreams = {"isp": ISP, "m365": graph, "phone": {"push": "ntfy://127.0.0.1:9/x"}, "scans": {"folder": str(tmp_path)}}
    relay = telling(RelayProcess(tmp_path, {"upstreams": upstreams, "routes": [{"via": list(upstreams)}]}), tmp_path)
    try:
        relay.start()
        used = loaded(relay) & SELDOM
        assert children(relay.pid) == []
    finally:
        if relay.running:
            relay.stop()
    # the URLs of the settings were looked at by a process, which has ended
    assert used == {"relay.upstream.push"}


def test_many_may_come_first_together(relay: RelayProcess) -> None:
    """Pages, metrics, health and commands at once: each gets its answer."""
    paths = ["/", "/metrics", "/healthz", "/readyz", "/messages", "/api/relay"] * 2
    with ThreadPoolExecutor(len(paths) + 2) as people:
        listing = people.submit(relay.command, "queue", "list", "--json")
        health = people.submit(relay.command, "health")
        answers = list(people.map(lambda path: get(relay, path), paths))
        assert [code for code, _ in answers] == [200] * len(paths)
        assert (listing.result().returncode, health.result().returncode) == (0, 0)
    assert b"relay_ready 1.0" in answers[1][1]
    assert b"</html>" in answers[0][1]
    relay.reload()
    assert get(relay, "/")[0] == 200
    assert relay.command("health").returncode == 0


def test_a_command_may_come_first(relay: RelayProcess) -> None:
    """The list and an order by hand have a server loaded on the socket; health goes on."""
    assert relay.queue() == []
    assert relay.command("queue", "retry", "--all").returncode == 0
    assert relay.command("health").returncode == 0


def test_who_says_nothing_keeps_nobody_out(relay: RelayProcess) -> None:
    """A silent first guest may speak later; others are served meanwhile, and the stop does not wait for either."""
    with socket.create_connection(page(relay), timeout=20) as silent:
        assert get(relay, "/")[0] == 200
        silent.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert silent.recv(4096).startswith(b"HTTP/1.1 200")
        assert relay.stop(10) == 0


@pytest.mark.parametrize("somebody", [False, True])
def test_the_stop_comes_first(relay: RelayProcess, somebody: bool) -> None:
    """Nobody ever looked, or a guest had just come in: the relay ends at once."""
    guests = [socket.create_connection(page(relay))] if somebody else []
    time.sleep(0.2)
    assert relay.stop(10) == 0
    assert relay.events("broken") == []
    for guest in guests:
        guest.close()


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def asked(path: str, *, place: Path | None = None, port: int = 0) -> bytes:
    """All that is answered; b"" if the line is closed without a word."""
    way = asyncio.open_unix_connection(place) if place else asyncio.open_connection("127.0.0.1", port)
    reader, writer = await way
    writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("trouble", [ImportError("half of an update"), OSError(24, "half of an update")])
async def test_a_server_that_cannot_be_loaded_costs_its_guest_only(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    """Half an update, a full memory: it is told, mail goes on, and the next guest has another try."""
    noted: list[str] = []
    monkeypatch.setattr(events, "note", lambda event, text="", **_fields: noted.append(f"{event} {text}"))
    tries = []

    def load(sock: socket.socket) -> Server:
        tries.append(sock)
        if len(tries) == 1:
            raise trouble
        return Server(Starlette(routes=[Route("/", hello)]), sock)

    sock = tcp.listen("127.0.0.1:0")
    porter = OnDemandServer(sock, load)
    task = asyncio.create_task(porter.serve())
    port = sock.getsockname()[1]
    assert await asked("/", port=port) == b""
    assert "half of an update" in noted[0]
    assert (await asked("/", port=port)).endswith(b"hello")
    porter.stop()
    async with asyncio.timeout(5):
        await task
    sock.close()
    assert len(tries) == 2


async def test_what_cannot_be_told_at_the_door_is_told_by_the_server(tmp_path: Path) -> None:
    """While the spool cannot be read the server has the words for it; before and after it the door answers."""
    broken = False

    async def standing() -> dict[str, Any]:
        if broken:
            raise OSError("the disk is gone")
        return {"name": "ж"}

    sock = unix.listen(tmp_path / "sock")
    porter = OnDemandServer(sock, lambda sock: Server(Starlette(routes=[Route("/api/relay", hello)]), sock), standing)
    task = asyncio.create_task(porter.serve())
    for _ in range(2):
        assert (await asked("/api/relay", place=tmp_path / "sock")).endswith('{"name":"ж"}'.encode())
    broken = True
    assert (await asked("/api/relay", place=tmp_path / "sock")).endswith(b"hello")
    porter.stop()
    async with asyncio.timeout(5):
        await task
    sock.close()


async def test_a_porter_that_was_stopped_before_its_turn(tmp_path: Path) -> None:
    """It does not begin."""
    sock = unix.listen(tmp_path / "sock")
    porter = OnDemandServer(sock, lambda _: pytest.fail("nobody came"))
    porter.stop()
    async with asyncio.timeout(5):
        await porter.serve()
    sock.close()
