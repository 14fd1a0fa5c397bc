"""Runs `relay run` and counts what it does; at each SIGUSR1 the counts go to $BENCH_COUNTS, as one JSON object.

python -m bench.counted python -m relay run --config FILE        (the words after it are the command that it stands for)
"""

import json
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

counts = {"calls": 0, "statements": 0, "commits": 0}
_connect = sqlite3.connect


def _profile(_frame: object, event: str, _argument: object) -> None:
    if event in ("call", "c_call"):
        counts["calls"] += 1


def _statement(text: str) -> None:
    counts["statements"] += 1
    counts["commits"] += text == "COMMIT"


def _traced(*words: Any, **more: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = _connect(*words, **more)
    connection.set_trace_callback(_statement)
    return connection


def _tell(*_signal: object) -> None:
    sys.setprofile(None)
    found = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    now = {**counts, "written": int(found["wchar"]), "modules": len(sys.modules)}
    place = Path(os.environ["BENCH_COUNTS"])
    place.with_suffix(".new").write_text(json.dumps(now))
    place.with_suffix(".new").rename(place)
    sys.setprofile(_profile)


def main() -> int:
    from relay.cli.main import main as relay

    sqlite3.connect = _traced  # type: ignore[assignment]
    signal.signal(signal.SIGUSR1, _tell)
    threading.setprofile(_profile)
    sys.setprofile(_profile)
    return relay(sys.argv[sys.argv.index("relay") + 1 :])


if __name__ == "__main__":
    sys.exit(main())
