"""The goals, and how far the relay is: `python -m bench.goals [results.json]` prints the table of docs/performance.md.

Medians of all rounds in the file; a ratio is ours to Postfix's, of the same run.  Ends with 1 if a goal is not reached, or
is open because it was not measured.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compare import calm, median

ENOUGH = 5
"""Rounds; a median of fewer is a first look."""

Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class Goal:
    scenario: str
    title: str
    figure: str
    against: str
    """The peer whose figure ours is divided by; "" for an absolute goal."""
    bound: float
    unit: str = "x"
    least: bool = False
    """Whether the bound is the least that is wanted; else it is the most."""

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound


def more(scenario: str, title: str, figure: str, bound: float, against: str = "postfix") -> Goal:
    return Goal(scenario, title, figure, against, bound, least=True)


def less(scenario: str, title: str, figure: str, bound: float, unit: str = "x") -> Goal:
    return Goal(scenario, title, figure, "postfix" if unit == "x" else "", bound, unit)


GOALS = (
    more("b", "end to end, 20 senders", "e2e_per_s", 4),
    more("b", "end to end, 20 senders, beside the tuned Postfix", "e2e_per_s", 3, "postfix-tuned"),
    less("a", "accept p50, single sender", "accept_p50_ms", 0.6),
    less("a", "end to end p50, single sender", "e2e_p50_ms", 0.3),
    more("d", "one session of 1,000 messages", "e2e_per_s", 5),
    more("c", "10 MB messages, MB/s", "e2e_mb_per_s", 2),
    less("c", "10 MB messages, peak RSS", "peak_rss_mb", 60, "MB"),
    more("s", "slow disk, 20 senders, end to end", "e2e_per_s", 3.5),
    more("e", "backlog of 10,000 drained", "drain_per_s", 3),
    less("b", "CPU per message, 20 senders", "cpu_ms", 0.2),
    less("f", "idle PSS", "pss_mb", 40, "MB"),
    less("f", "start to the 220", "start_s", 0.6, "s"),
    less("f", "wake-ups", "wake_ups_per_s", 1, "/s"),
    less("g", "fsyncs per message, alone", "syncs", 2, ""),
    less("g", "fsyncs per message, 20 senders", "many_syncs", 0.5, ""),
    less("g", "device octets per 4 KB message, alone", "device_kb", 40, "KB"),
    less("g", "device octets per 4 KB message, 20 senders", "many_device_kb", 12, "KB"),
)


def _shown(value: float, unit: str) -> str:
    number = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    return f"{number} {unit}".strip() if not math.isnan(value) else "not measured"


def row(goal: Goal, runs: Runs) -> tuple[list[str], bool]:
    """The cells of one goal, and whether it is reached."""

    def of(peer: str) -> Runs:
        return [run for run in runs if run["scenario"] == goal.scenario and run["peer"] == peer]

    ours = median(of("relay"), goal.figure)
    base = median(of(goal.against or "postfix"), goal.figure)
    value = ours / base if goal.against else ours
    reached = goal.reached(value)  # never with nan
    verdict = "open" if math.isnan(value) else "yes" if reached else "**no**"
    bound = f"{'>=' if goal.least else '<='} {goal.bound:g} {goal.unit}".strip()
    absolute = f"{_shown(ours, '')} / {_shown(base, '')}"
    count = len(of("relay"))
    rounds = f"{count} (few)" if 0 < count < ENOUGH else str(count)
    return [goal.title, bound, _shown(value, goal.unit), absolute, rounds, verdict], reached


def table(runs: Runs) -> tuple[str, bool]:
    """Markdown, and whether all goals are reached."""
    found = [row(goal, runs) for goal in GOALS]
    head = ["", "goal", "found", "relay / other", "rounds", "reached"]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *(cells for cells, _ in found))]
    return "\n".join(lines), all(reached for _, reached in found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.goals", description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=Path("build/bench/results.json"))
    parser.add_argument(
        "--calm", type=float, default=1000.0, metavar="PERCENT", help="leave rounds out in which others used more"
    )
    options = parser.parse_args()
    text, reached = table(calm(json.loads(options.file.read_text())["runs"], options.calm))
    print(text)
    if "(few)" in text:
        print(f"\n(few): fewer than {ENOUGH} rounds; a first look.  More: make bench ARGS='--rounds {ENOUGH} --add'")
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
