"""A relay with a page, a provider that refuses one recipient, another one that does not, and a week of mail behind it."""

import asyncio
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.browser import Browser, chromium
from tests.support.running import RelayProcess, running
from tests.support.sink import Sink, sink
from tests.support.upstream import ScriptedUpstream
from tests.support.week import a_week

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"


@dataclass
class Scene:
    relay: RelayProcess
    page: str
    """Where the page is."""
    second: Sink
    """The upstream that takes everything but mail to nobody@."""


@contextmanager
def _strict() -> Iterator[int]:
    """A provider in a thread of its own; it takes nothing for far.example."""
    up, over = threading.Event(), asyncio.Event()
    refuse = {"RCPT": lambda said: "550 5.1.1 <nobody>: no such user here" if re.search("far.example|script", said) else None}
    server = ScriptedUpstream(script=refuse)
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with server:
            up.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(10)
    try:
        yield server.port
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(10)


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: each test starts from a copy."""
    folder = tmp_path_factory.mktemp("week") / "spool"
    a_week(folder)
    return folder


@pytest.fixture
def scene(tmp_path: Path, week: Path) -> Iterator[Scene]:
    """`strict` refuses the domain far.example; `second` takes it, but no rule leads there."""
    with _strict() as strict, sink(tmp_path / "second") as second:

        def upstream(port: int) -> dict[str, object]:
            return {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "taro@isp.example"}

        config = {
            "hostname": "relay.home.example",
            "upstreams": {"isp": {**upstream(strict), "limits": {"per_day": 500}}, "gmail": upstream(second.port)},
            "routes": [{"via": ["isp"]}],
            "devices": {"nas": {"helo": "nas"}},
            "web": {"address": "127.0.0.1:0"},
            "retry": {"delays": ["1h"], "rest": ["1h"]},
        }
        shutil.copytree(week, tmp_path / "spool")
        with running(tmp_path, config) as relay:
            yield Scene(relay, f"http://{relay.events('started')[-1]['web']}", second)


@pytest.fixture(params=[True, False], ids=["javascript", "no-javascript"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """The same person with and without JavaScript."""
    with chromium(javascript=request.param) as one:
        one.sized(1280, 900)
        yield one


@pytest.fixture
def scripted() -> Iterator[Browser]:
    with chromium() as one:
        one.sized(1280, 900)
        yield one
