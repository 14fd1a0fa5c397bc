"""What every test may use, and how Hypothesis behaves here."""

import gc
import os
import sqlite3
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings

from tests.support import preparing
from tests.support.order import to_prepare, turn
from tests.support.running import RelayProcess
from tests.support.world import Clock, Ids

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

# A machine that is busy with something else is not a bug: examples are bounded by number, not by time.
# Without the phase that explains a failure: before Python 3.12 it traces every line of every example.
settings.register_profile(
    "relay", deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink]
)
settings.load_profile("relay")


def pytest_report_header() -> str:
    return f"sqlite {sqlite3.sqlite_version}, {ssl.OPENSSL_VERSION}"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays to the end: no search for garbage goes through it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: turn(item.path))


_PREPARING: "list[subprocess.Popen[bytes]]" = []


def pytest_collection_finish(session: pytest.Session) -> None:
    """One of several workers begins what takes minutes; who runs a few tests by hand waits for what they want."""
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw0" and (what := to_prepare(item.path for item in session.items)):
        _PREPARING.append(preparing.begin(what))


def pytest_sessionfinish() -> None:
    for process in _PREPARING:
        preparing.end(process)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ids() -> Ids:
    return Ids()


@pytest.fixture
def start_relay(tmp_path: Path) -> Iterator[Callable[[Mapping[str, Any]], RelayProcess]]:
    """Starts real relays, each in a directory of its own; they are stopped after the test."""
    started: list[RelayProcess] = []

    def start(config: Mapping[str, Any]) -> RelayProcess:
        directory = tmp_path / f"relay{len(started) or ''}"
        directory.mkdir()
        started.append(RelayProcess(directory, config))
        return started[-1].start()

    yield start
    for relay in started:
        if relay.running:
            relay.stop()


@pytest.fixture(scope="session")
def postgres_server() -> "Iterator[PostgresServer]":
    """One server for all tests of this process, each with a spool of its own."""
    from tests.support.postgres import PostgresServer

    server = PostgresServer.start()
    yield server
    server.end()
