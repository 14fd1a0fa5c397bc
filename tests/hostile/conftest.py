"""The table of what was played, at the end of the run."""

from typing import Any

TABLE: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TABLE:
        terminalreporter.section("hostile neighbours (short form; `make hostile` for the long one)")
        for line in TABLE:
            terminalreporter.write_line(line)
