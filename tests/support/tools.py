"""Debian's tools that break things for us; where they are missing the test is skipped, in CI it fails."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    reason = f"{what} is not installed"
    if os.environ.get("REQUIRE_PEERS"):
        pytest.fail(f"{reason}, and REQUIRE_PEERS forbids to skip")
    pytest.skip(reason)


def strace() -> None:
    """Returns if processes can be traced."""
    if not shutil.which("strace"):
        missing("strace")


def faketime() -> Path:
    """The library that shifts a process's clock."""
    for place in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return place
    missing("libfaketime")


def chromium() -> tuple[str, str]:
    """The browser and its driver."""
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if not driver or not program:
        missing("Chromium (packages chromium and chromium-driver)")
    return str(driver), str(program)


def promtool() -> str:
    """Prometheus's checker of rules."""
    found = shutil.which("promtool")
    if not found:
        missing("promtool (package prometheus)")
    return str(found)
