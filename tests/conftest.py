"""What every test may use, and how Hypothesis behaves here."""

import sqlite3
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings

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
