"""Runs `relay run`, and writes the names of all loaded modules into a file at each SIGUSR1.

python -m tests.support.loaded FILE python -m relay run ...        (the words after FILE are the command it stands for)
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what it imports would be told as loaded by the relay
    from tests.support.running import RelayProcess


def telling(relay: "RelayProcess", directory: Path) -> "RelayProcess":
    """This relay, not started yet, will tell what it has loaded."""
    relay.wrapper = [sys.executable, "-m", "tests.support.loaded", str(directory / "loaded")]
    return relay


def loaded(relay: "RelayProcess") -> set[str]:
    """The modules that it has now."""
    file = Path(relay.wrapper[-1])
    file.unlink(missing_ok=True)
    os.kill(relay.pid, signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline, relay.said()
        time.sleep(0.02)
    return set(file.read_text().split())


def main() -> int:
    place = Path(sys.argv[1])

    def tell(*_signal: object) -> None:
        place.with_suffix(".new").write_text("\n".join(list(sys.modules)))
        place.with_suffix(".new").rename(place)

    signal.signal(signal.SIGUSR1, tell)
    from relay.cli.main import main as relay

    return relay(sys.argv[sys.argv.index("relay") + 1 :])


if __name__ == "__main__":
    sys.exit(main())
