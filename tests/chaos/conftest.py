"""The ledger of what was broken, and its table at the end of the run."""

from typing import Any

import pytest

from tests.chaos.ledger import FULL, Ledger

_LEDGER = Ledger()


@pytest.fixture
def ledger() -> Ledger:
    return _LEDGER


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _LEDGER.rows:
        terminalreporter.section("nothing lost" if FULL else "nothing lost (short form; `make chaos` for the long one)")
        for line in _LEDGER.lines():
            terminalreporter.write_line(line)
