"""Debian's tools that break things for us, and other people's checkers; without them a test is skipped, in CI it fails."""

import importlib
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
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


def _no_checker(name: str) -> NoReturn:
    reason = f"{name} is not here: `make image-lint` brings it"
    if os.environ.get("REQUIRE_CHECKERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def checker(name: str) -> str:
    """The path of a program that requirements/image.txt brings."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return found or _no_checker(name)


def checking_module(name: str) -> ModuleType:
    """A module that requirements/image.txt brings."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _no_checker(name)
