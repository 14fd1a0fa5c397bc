"""Our relay beside other relays on the same machine, in rounds that take turns; a table with ratios, and JSON.

    python -m bench.compare --scenario b --rounds 3 --scale 0.2        (what `make bench` calls)

Ends with 1 if a message was lost, altered, refused or came twice.
"""

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.peers import PEERS
from bench.running import build
from bench.scenarios import FAULTS, SCENARIOS, Setting

BASE = "postfix"


def calm(runs: list[dict[str, Any]], most: float) -> list[dict[str, Any]]:
    """The rounds during which other programs used no more than `most` per cent of a processor."""
    return [run for run in runs if run.get("foreign_pct", 0.0) <= most]


def median(runs: list[dict[str, Any]], figure: str) -> float:
    found = [float(run[figure]) for run in runs if figure in run]
    return statistics.median(found) if found else float("nan")


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"


def table(key: str, runs: list[dict[str, Any]]) -> str:
    """Medians in Markdown, with the ratio to Postfix in brackets where it is among them."""
    scenario = SCENARIOS[key]
    by_peer: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_peer.setdefault(run["peer"], []).append(run)
    rounds = max(len(own) for own in by_peer.values())
    rows = [["peer", *scenario.columns.values(), "lost / twice / altered / refused"]]
    for peer, own in by_peer.items():
        row = [peer]
        for figure in scenario.columns:
            value, base = median(own, figure), median(by_peer.get(BASE, []), figure)
            ratio = f" ({value / base:.2f} x)" if peer != BASE and base > 0 else ""
            row.append(_number(value) + ratio)
        rows.append([*row, " / ".join(str(sum(int(run.get(fault, 0)) for run in own)) for fault in FAULTS)])
    rows.insert(1, ["---"] * len(rows[0]))
    beside = f"; in brackets the ratio to {BASE}" if BASE in by_peer and len(by_peer) > 1 else ""
    head = f"### {key}: {scenario.title}\n\nMedian of {rounds} round(s){beside}."
    return head + "\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.partition("\n")[0])
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="repeatable; default: all")
    parser.add_argument("--peer", action="append", choices=list(PEERS), help="repeatable; default: all that can run here")
    parser.add_argument("--rounds", type=int, default=3, help="how often the peers take turns (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="times so many messages (0.1: a quick look)")
    parser.add_argument("--plain", action="store_true", help="an upstream without STARTTLS and AUTH")
    parser.add_argument(
        "--calm", type=float, default=1000.0, metavar="PERCENT", help="leave rounds out in which others used more"
    )
    parser.add_argument("--work", type=Path, help="a directory on the disk under test (default: a new one in /var/tmp)")
    parser.add_argument("--out", type=Path, help="the JSON file (default build/bench/results.json); --add: keep what is in it")
    parser.add_argument("--add", action="store_true", help="add rounds to those in the JSON file")
    return parser.parse_args()


def _peers(wanted: list[str] | None) -> list[str]:
    names = []
    for name in wanted or list(PEERS):
        why = PEERS[name].missing()
        if not why:
            names.append(name)
        elif wanted:
            raise SystemExit(f"{name}: {why}")
        else:
            print(f"left out: {name}: {why}")
    return names


def main() -> int:
    options = _arguments()
    build()
    names = _peers(options.peer)
    out: Path = options.out or Path("build/bench/results.json")
    book: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.platform()}, {os.cpu_count()} processors",
        "upstream": "plain" if options.plain else "STARTTLS and AUTH PLAIN",
        "versions": {name: PEERS[name].version() for name in names},
        "promises": {name: PEERS[name].promise for name in names},
        "runs": [],
    }
    if options.add and out.exists():
        book["runs"] = json.loads(out.read_text())["runs"]
    work = options.work or Path(tempfile.mkdtemp(prefix="relay-bench-", dir="/var/tmp"))
    work.mkdir(parents=True, exist_ok=True)
    work.chmod(0o755)  # a peer's processes may be another user's
    setting = Setting(work, not options.plain, options.scale)
    try:
        for key in options.scenario or list(SCENARIOS):
            for number in range(options.rounds):
                for name in names:
                    began = time.monotonic()
                    found = SCENARIOS[key].measure(PEERS[name], setting)
                    book["runs"].append({"scenario": key, "peer": name, "scale": options.scale, **found})
                    shown = ", ".join(
                        f"{figure} {_number(found[figure])}" for figure in SCENARIOS[key].columns if figure in found
                    )
                    print(f"{key} round {number + 1} {name:14} {time.monotonic() - began:5.1f} s  {shown}", flush=True)
                    out.write_text(json.dumps(book, indent=1))
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
    print(f"\n{book['machine']}; upstream: {book['upstream']}; results: {out}")
    for name, version in book["versions"].items():
        print(f"{name}: {version}; its 250 means: {PEERS[name].promise}")
    for key in SCENARIOS:
        if runs := calm([run for run in book["runs"] if run["scenario"] == key], options.calm):
            print(f"\n{table(key, runs)}", end="")
    return int(any(run.get(fault, 0) for run in book["runs"] for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
