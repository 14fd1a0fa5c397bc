"""What takes minutes to install is begun when the tests begin, in a process of its own, not when the first test asks for it.

    python -m tests.support.preparing image layers

It is a matter of time alone: whoever comes earlier does the same under the same lock, and whatever fails here fails there.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.containers import built_image, why_not
from tests.support.overlay import LAYERS, PeerUnavailable, layer

ROOT = Path(__file__).parents[2]


def begin(what: Iterable[str]) -> "subprocess.Popen[bytes]":
    """Prepares in the background, behind whatever has to answer in time."""
    command = ["nice", sys.executable, "-m", "tests.support.preparing", *what]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Nothing that installs is left behind when the tests are over sooner."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def main(what: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is half done is removed on the way out
    # first what installs packages on the machine itself: a layer is made for the machine as it is
    if "image" in what and not why_not():
        with suppress(pytest.skip.Exception, AssertionError, subprocess.TimeoutExpired):
            built_image()
    if "layers" in what:
        for name in LAYERS:
            with suppress(PeerUnavailable):
                layer(name)


if __name__ == "__main__":
    main(sys.argv[1:])
