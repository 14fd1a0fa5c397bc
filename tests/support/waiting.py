"""Waiting for something that happens elsewhere: looked for often, given up after a bound, never slept for blindly."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = 30, complaint: Callable[[], str] | str = "it did not happen") -> T:
    """The first truthy thing that `look` returns; AssertionError with the complaint after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{complaint() if callable(complaint) else complaint} (waited {seconds} s)")
        time.sleep(0.03)
