"""The running relay after a lost answer of an upstream that speaks no SMTP: nobody else is asked until `retry.warn_after`.

device ──> relay ──> Microsoft Graph, a push service, or a folder ──> (never before the time) the ISP
"""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from relay.cli.demo_graph import GraphCloud, GraphTrouble, graph_cloud
from relay.daemon import Relay
from relay.upstream import file_writer
from tests.stations.test_graph_relay import settings as by_graph
from tests.support.inprocess import ended, relay_at_home, send, told
from tests.support.push_services import NEEDS_APPRISE, Ntfy, serving
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)

NAS = "nas@company.example"
PART = b"--x\r\nContent-Type: image/png; name=%b.png\r\nContent-Disposition: attachment\r\n\r\noctets of %b\r\n"
LETTER = (
    b"From: nas@company.example\r\nTo: taro@example.jp\r\nSubject: hi\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + PART % (b"a", b"a") + PART % (b"b", b"b") + b"--x--\r\n"
)


class First(Protocol):
    """The upstream that is asked first, and what is to go wrong there."""

    settings: dict[str, Any]

    def lose(self) -> None:
        """Its next answer is lost after it got everything."""

    def fail(self) -> None:
        """From now on it is in trouble, and says so for certain."""

    def mend(self) -> None:
        """It takes everything again."""

    def taken(self) -> int:
        """How many messages it has."""


class Graph:
    def __init__(self, cloud: GraphCloud) -> None:
        self.settings = by_graph(cloud, timeout="1s", save_to_sent=True)["upstreams"]["m365"]
        self._cloud = cloud

    def lose(self) -> None:
        self._cloud.trouble.append(GraphTrouble("/sendMail", 0))

    def fail(self) -> None:
        self._cloud.trouble += [GraphTrouble("/sendMail", 503, "ErrorServerBusy")] * 100

    def mend(self) -> None:
        self._cloud.trouble.clear()

    def taken(self) -> int:
        return len(self._cloud.box)


class Phone:
    def __init__(self, ntfy: Ntfy, urls: Path) -> None:
        urls.write_text(f"ntfy://127.0.0.1:{ntfy.port}/topic\n")
        urls.chmod(0o600)
        self.settings = {"push_file": str(urls), "timeout": "1s"}
        self._ntfy = ntfy

    def lose(self) -> None:
        self._ntfy.hang = True

    def fail(self) -> None:
        self._ntfy.hang = False
        self._ntfy.refuse(503, times=100)

    def mend(self) -> None:
        self._ntfy.fail.clear()

    def taken(self) -> int:
        return len(self._ntfy.pushed)


class Scans:
    """The disk fails between the names of two files; then the share is not mounted for a while."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.settings, self._folder, self._patch = {"folder": str(folder)}, folder, patch

    def lose(self) -> None:
        real, names = os.link, list[object]()

        def once(*args: Any, **how: Any) -> None:
            names.append(args[1])
            if len(names) > 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(*args, **how)

        self._patch.setattr(file_writer, "RENAMES", file_writer.RENAMES[1:2])
        self._patch.setattr(file_writer.os, "link", once)

    def fail(self) -> None:
        self._patch.undo()
        self._folder.rename(self._folder.with_name("away"))

    def mend(self) -> None:
        self._folder.with_name("away").rename(self._folder)

    def taken(self) -> int:
        return int({each.name for each in self._folder.iterdir()} == {"a.png", "b.png"})


@asynccontextmanager
async def first(kind: str, tmp_path: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[First]:
    if kind == "graph":
        async with graph_cloud(NAS) as cloud:
            yield Graph(cloud)
    elif kind == "push":
        with serving(Ntfy()) as ntfy:
            yield Phone(ntfy, tmp_path / "urls")
    else:
        yield Scans(tmp_path / "scans", patch)


KINDS = pytest.mark.parametrize("kind", ["graph", pytest.param("push", marks=NEEDS_APPRISE), "folder"])


def settings(one: First, isp: ScriptedUpstream, warn_after: str) -> dict[str, Any]:
    return {
        "upstreams": {"first": one.settings, "isp": {"host": "127.0.0.1", "port": isp.port, "tls": "none", "rewrite": "never"}},
        "routes": [{"via": ["first", "isp"]}],
        "retry": {"delays": ["1s"], "rest": ["1s"], "rest_login": "1s", "warn_after": warn_after},
    }


async def row_of(relay: Relay, queue_id: str) -> dict[str, Any]:
    [row] = (await told(relay, queue_id))["recipients"]
    return dict(row)


async def lost(relay: Relay, one: First) -> str:
    """A message whose answer is lost; its queue id, once the relay has written down where it may be."""
    one.lose()
    queue_id = await send(relay, NAS, "taro@example.jp", LETTER)

    async def known() -> bool:
        return (await row_of(relay, queue_id))["maybe_at"] == "first"

    await until(known)
    return queue_id


async def tried_again(relay: Relay, queue_id: str) -> None:
    """It was tried once more, and still waits for the first alone."""
    before = (await row_of(relay, queue_id))["attempts"]

    async def more() -> bool:
        return bool((await row_of(relay, queue_id))["attempts"] > before)

    await until(more)
    row = await row_of(relay, queue_id)
    assert (row["state"], row["maybe_at"]) == ("queued", "first")


@KINDS
async def test_whatever_comes_next_nobody_else_is_asked(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certain refusal, a retry by hand, a reload, hold and release, a restart: in the end the first one takes it, once."""
    async with ScriptedUpstream() as isp, first(kind, tmp_path, monkeypatch) as one:
        given = settings(one, isp, "1h")
        async with relay_at_home(tmp_path, given) as relay:
            queue_id = await lost(relay, one)
            one.fail()
            await tried_again(relay, queue_id)
            await relay.desk.order("retry", [queue_id])
            await tried_again(relay, queue_id)
            await relay.reload()
            await tried_again(relay, queue_id)
            await relay.desk.order("hold", [queue_id])
            await relay.desk.order("release", [queue_id])
            await tried_again(relay, queue_id)
        async with relay_at_home(tmp_path, given) as relay:
            await tried_again(relay, queue_id)
            one.mend()
            story = await ended(relay, queue_id, "relayed")
        assert [row["upstream"] for row in story["recipients"]] == ["first"]
        assert one.taken() == 1
        assert isp.connections == []


@KINDS
async def test_after_long_enough_another_one_is_asked(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the trail says that the first may have it."""
    async with ScriptedUpstream() as isp, first(kind, tmp_path, monkeypatch) as one:
        async with relay_at_home(tmp_path, settings(one, isp, "5s")) as relay:
            queue_id = await lost(relay, one)
            one.fail()
            await tried_again(relay, queue_id)
            assert not any(
                "RCPT TO:<taro@example.jp>" in each.commands for each in isp.connections
            )  # but a notice of the delay
            story = await ended(relay, queue_id, "relayed")
        assert [row["upstream"] for row in story["recipients"]] == ["isp"]
        [line] = [line for line in story["trail"] if line["event"] == "warned" and "maybe_at" in line]
        assert (line["maybe_at"], line["to"], line["upstream"]) == ("first", ["taro@example.jp"], "isp")
