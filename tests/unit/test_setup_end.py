"""The end of set-up: what is written, what is left when it fails, and orders to stop while it is written."""

import asyncio
import itertools
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.control.server import Server
from relay.setup import flow as flows
from relay.setup import serve
from relay.setup.code import open_code
from relay.setup.files import keep
from relay.setup.flow import SetupFlow
from relay.setup.pages import SetupPages
from relay.setup.place import CannotSetUp, SetupBroken, find_place
from relay.spool.contract import SpoolBroken
from relay.upstream.oauth.token_store import StoreBroken
from tests.support.setting_up import Person

ACCOUNT = {
    "username": "taro@isp.example",
    "password": "hunter2",
    "host": "127.0.0.1",
    "port": "1",
    "tls": "none",
    "notices_to": "taro@isp.example",
}


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {"RELAY_SPOOL": f"sqlite:{tmp_path}/state/spool.db", "RELAY_WEB": "127.0.0.1:0", "RELAY_LISTEN": "127.0.0.1:0"}


def answered(environ: Mapping[str, str]) -> SetupFlow:
    """All that is asked for is answered; nothing is examined."""
    flow = SetupFlow(find_place(None, environ), lambda *_: pytest.fail("looked"), environ)
    flow.examine = lambda: None  # type: ignore[method-assign]
    assert flow.choose({"host": "127.0.0.1"}) == {}
    assert flow.answer({**ACCOUNT, "web_password": "correct horse"}) == ({}, [])
    return flow


class SlowDisk:
    """Writes when it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        monkeypatch.setattr(flows, "keep", self._keep)

    def _keep(self, target: Path, text: str, secrets: Mapping[str, str], check: Callable[[], None]) -> None:
        self.begun.set()
        assert self.go.wait(10)
        keep(target, text, secrets, check)


def files(folder: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in folder.iterdir()}


def test_secrets_are_as_they_were_where_nothing_is_configured(tmp_path: Path) -> None:
    """New ones are gone, old ones are back; where all went well the old ones stand beside."""
    for name, text in {"a.secret": "old", "c.secret": "same\n", "b.secret.before": "older", "b.secret": "old b"}.items():
        (tmp_path / name).write_text(text)
    before, target = files(tmp_path), tmp_path / "config.yaml"
    secrets = {"a.secret": "new", "b.secret": "new b", "c.secret": "same", "d.secret": "new d"}

    def refuse() -> None:
        assert (tmp_path / "d.secret").read_text() == "new d\n"
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        keep(target, "text", secrets, refuse)
    assert files(tmp_path) == before
    keep(target, "text", secrets)
    assert files(tmp_path) == {
        "config.yaml": "text",
        **{name: f"{secret}\n" for name, secret in secrets.items()},
        "a.secret.before": "old",
        "b.secret.before": "older",
        "b.secret.before1": "old b",
    }


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_a_place_that_takes_no_file_is_told_at_the_start(tmp_path: Path, environ: dict[str, str], kind: str) -> None:
    target = tmp_path / "state" / "config.yaml"
    target.parent.mkdir()
    if kind == "link":
        target.symlink_to("nowhere.yaml")
    elif kind == "folder":
        target.mkdir()
    else:
        os.mkfifo(target)
    with pytest.raises(CannotSetUp, match=f"{target}: the settings cannot be written there, since it is"):
        find_place(None, environ)


@pytest.mark.parametrize("error", [SpoolBroken("no psycopg"), StoreBroken("no tokens")])
def test_tokens_that_cannot_be_kept_are_told(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def finish() -> None:
        flow = answered(environ)

        def hand_over() -> None:
            raise error

        monkeypatch.setattr(flow, "_tokens_to_keep", lambda: hand_over)
        assert await flow.finish() == str(error)
        assert not flow.finished
        assert list(flow.place.state_dir.iterdir()) == []

    asyncio.run(finish())


def test_mistakes_of_the_whole_are_told_and_leave_no_secret(environ: dict[str, str]) -> None:
    """A variable that the file refers to has changed since."""

    async def finish() -> None:
        flow = answered(environ)
        environ["RELAY_LISTEN"] = "nowhere"
        assert "listen" in await flow.finish()
        assert list(flow.place.state_dir.iterdir()) == []

    asyncio.run(finish())


def test_what_is_being_written_is_left_alone(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the end of the hour, by whoever hangs up, and by a second click."""
    disk = SlowDisk(monkeypatch)

    async def finish() -> None:
        flow = answered(environ)
        first, second = (asyncio.create_task(flow.finish()) for _ in range(2))
        await asyncio.to_thread(disk.begun.wait, 10)
        first.cancel()
        flow.close()
        disk.go.set()
        assert await second == ""
        assert flow.finished
        found = files(flow.place.state_dir)
        assert (found["isp.secret"], found["web.secret"]) == ("hunter2\n", "correct horse\n")

    asyncio.run(finish())


def test_all_that_is_asked_after_the_end_is_answered_by_one_page(environ: dict[str, str], sock: socket.socket) -> None:
    """A browser keeps connections to us for its next request.  The end is told in the loop's thread, which would sleep on."""
    told, place = list[int](), "{}:{}".format(*sock.getsockname())

    def play(code: str) -> None:
        person, other = Person(place), Person(place)
        assert "By which provider" in person.send("/code", code=code)
        other.look()
        person.look("/try")
        seal = re.findall(r'name="form" value="(\w+)"', person.page)[0]
        for one, action in ((person, "/finish"), (person, "/finish"), (person, "/server"), (person, "/test"), (other, "/code")):
            one.ask("POST", action, f"form={seal}")
            assert (one.code, "Saved. The relay is starting" in one.text) == (200, True), action
            assert one.headers["connection"] == "close"
        for one, path in itertools.product((person, other), ("/", "/account", "/try", "/finish", "/nowhere")):
            assert "Saved. The relay is starting" in one.look(path), path
            assert '<meta http-equiv="refresh" content="5; url=/">' in one.page
            assert 'name="form"' not in one.page
        assert "127.0.0.1" in person.text
        assert [person.ask("GET", path) for path in ("/healthz", "/static/page.css")] == [200, 200]

    async def served() -> None:
        flow = answered(environ)
        code = open_code(flow.place.state_dir, "x:1", datetime.now(UTC))
        pages = SetupPages(flow, code, lambda: told.append(threading.get_ident()))
        server = Server(pages.application(frozenset()), sock)
        serving = asyncio.create_task(server.serve())
        try:
            await asyncio.to_thread(play, code.text)
        finally:
            server.stop()
            await serving

    asyncio.run(served())
    assert told == [threading.get_ident()]


class QuietServer:
    """Serves nobody until it is stopped; `lasts`: or it ends at once."""

    lasts = True

    def __init__(self, _: object, sock: socket.socket) -> None:
        self._over, self._sock = asyncio.Event(), sock

    async def serve(self) -> None:
        with self._sock:
            if self.lasts:
                await self._over.wait()

    def stop(self) -> None:
        self._over.set()


@pytest.fixture
def sock() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
def test_an_order_to_stop_waits_for_the_disk_and_starts_no_relay(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, sock: socket.socket, order: signal.Signals
) -> None:
    disk = SlowDisk(monkeypatch)
    monkeypatch.setattr(serve, "Server", QuietServer)
    before = signal.getsignal(order)

    async def stopped() -> SetupFlow:
        flow = answered(environ)
        code = open_code(flow.place.state_dir, "x:1", datetime.now(UTC))
        serving = asyncio.create_task(serve._served(flow, code, sock))
        writing = asyncio.create_task(flow.finish())
        await asyncio.to_thread(disk.begun.wait, 10)
        os.kill(os.getpid(), order)
        assert not (await asyncio.wait({serving}, timeout=0.2))[0], "it ended before all was written"
        disk.go.set()
        assert await serving is False
        assert await writing == ""
        return flow

    with sock:
        flow = asyncio.run(stopped())
    assert files(flow.place.state_dir).keys() == {"config.yaml", "isp.secret", "web.secret"}
    assert signal.getsignal(order) == before


def test_a_page_that_ends_by_itself_is_a_fault(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, sock: socket.socket
) -> None:
    monkeypatch.setattr(serve, "Server", QuietServer)
    monkeypatch.setattr(QuietServer, "lasts", False)
    monkeypatch.setattr("relay.setup.serve.tcp.listen", lambda _: sock)
    place = find_place(None, environ)
    with pytest.raises(SetupBroken, match="ended by itself"):
        serve.set_up(place, lambda *_: pytest.fail("looked"), environ)
    assert sock.fileno() == -1


def test_the_end_of_the_hour_waits_for_what_is_being_written(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    disk, ended = SlowDisk(monkeypatch), list[str]()

    class Pages:
        def end(self) -> None:
            ended.append("pages")

    async def finish() -> None:
        flow = answered(environ)
        code = open_code(flow.place.state_dir, "x:1", datetime.now(UTC))
        writing = asyncio.create_task(flow.finish())
        await asyncio.to_thread(disk.begun.wait, 10)
        serve._end(flow, Pages(), code)  # type: ignore[arg-type]
        disk.go.set()
        assert await writing == ""
        await asyncio.sleep(0)
        serve._end(flow, Pages(), code)  # type: ignore[arg-type]
        assert (ended, code.file.exists()) == ([], True)

    asyncio.run(finish())
