"""python -m tests.simulation --seeds 1000 [--first 1] [--workers 2]: plays worlds; exit 1 if a promise was broken."""

import argparse
import os
import sys
from collections import Counter
from multiprocessing import Pool
from time import perf_counter


def main(words: list[str]) -> int:
    from tests.simulation.shrink import shrunk, told

    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shrink", type=float, default=60.0, help="seconds for each failure")
    parser.add_argument("--covered", action="store_true", help="print what was seen, and how often")
    asked = parser.parse_args(words)
    begun, days, failures, seen = perf_counter(), 0.0, [], Counter[str]()
    with Pool(asked.workers, maxtasksperchild=20) as pool:
        for played in pool.imap_unordered(_played, range(asked.first, asked.first + asked.seeds)):
            days += played.days
            seen.update(played.seen)
            if played.broken:
                failures.append(played)
                print(f"seed {played.plan.seed} breaks {', '.join(sorted(played.kinds))}: {played.broken[0]}", flush=True)
    minutes = (perf_counter() - begun) / 60
    for played in failures[:5]:
        print(told(shrunk(played, asked.shrink)))
    if asked.covered:
        print("\n".join(f"{times:6d} {what}" for what, times in sorted(seen.items())))
    years = days / 365
    print(f"{asked.seeds} worlds, {years:.1f} household-years in {minutes:.1f} min: {years / minutes:.2f} years per minute")
    print(f"{len(failures)} broke a promise: {', '.join(str(one.plan.seed) for one in failures) or 'none'}")
    return 1 if failures else 0


def _played(seed: int):  # type: ignore[no-untyped-def]
    from tests.simulation.plan import plan
    from tests.simulation.play import play

    return play(plan(seed))


def steady(module: str) -> None:
    """The order within sets is part of a world: always the same in a process of our own."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        words = [sys.executable, "-W", "ignore", "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, words, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606


if __name__ == "__main__":
    steady("tests.simulation")
    sys.exit(main(sys.argv[1:]))
