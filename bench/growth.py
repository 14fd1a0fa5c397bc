"""How the relay's cost grows: with the length of the queue, with open connections, with the size of a message.

    python -m bench.growth [--most-queued 100000] [--only queue|connections|size] [--work DIRECTORY] [--out FILE]

Prints a table for each, with the exponent of growth between neighbours: 0 is constant, 1 a straight line, 2 a square.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import processes
from bench.peers import Peer, Relay
from bench.running import Running, build, greeted
from bench.scenarios import Figures, figures

QUEUED = (1, 10, 100, 1_000, 10_000, 100_000)
HELD = (1, 10, 100, 1_000)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000)
PATIENCE = 1800  # seconds for 100,000 to be taken, and again to be sent
ACTIVE = 300  # messages that pass while connections are held


def queued(peer: Peer, work: Path, count: int) -> Figures:
    """`count` messages wait: what they cost to take, to keep, to list, to start with, and to drain."""
    with Running(peer, work, upstream=False) as running:
        cpu = processes.cpu_seconds(running.pid)
        run, sent = running.send(count, 4096, min(20, count), seconds=PATIENCE, per_connection=200)
        took = (max(one.accepted for one in sent) - min(one.start for one in sent)) / 1e9
        spent = processes.cpu_seconds(running.pid) - cpu
        began = time.monotonic()
        subprocess.run(peer.list_queue(running.place), cwd=peer.home, stdout=subprocess.DEVNULL, check=True)
        listed = time.monotonic() - began
        memory = processes.pss_mb(running.pid)
        running.stop()
        running.start()
        started = running.start_s
        running.sink.start()
        cpu, began_ns = processes.cpu_seconds(running.pid), time.monotonic_ns()
        subprocess.run(peer.retry_all(running.place), cwd=peer.home, stdout=subprocess.DEVNULL, check=True)
        arrived = running.await_arrival(run, count, PATIENCE)
        if len(arrived) != count or {one[1] for one in arrived} != set(range(count)):
            raise SystemExit(f"{count} were queued, {len(arrived)} arrived")
        return {
            "accept ms each": took * 1000 / count,
            "accept CPU ms each": spent * 1000 / count,
            "list s": listed,
            "PSS MB": memory,
            "start s": started,
            "drain ms each": (max(one[2] for one in arrived) - began_ns) / 1e6 / count,
            "drain CPU ms each": (processes.cpu_seconds(running.pid) - cpu) * 1000 / count,
            "PSS MB drained": processes.pss_mb(running.pid),
        }


def held(peer: Peer, work: Path, count: int) -> Figures:
    """`count` connections are open and silent while a device sends as usual."""
    with Running(peer, work) as running:
        running.warm_up()
        before = processes.pss_mb(running.pid)
        # One more message keeps the load, and with it its connections, open: its sender pauses after it.
        holder, *_ = running.load(1, 1000, 1, gap_ms=600_000, hold=count)
        try:
            greeted(running.port)
            time.sleep(1 + count / 500)
            memory = processes.pss_mb(running.pid)
            found = figures(running.deliver(ACTIVE, 4096, gap_ms=5), 4096)
            wakes, began = processes.wake_ups(running.pid), time.monotonic()
            time.sleep(4)
            woken = (processes.wake_ups(running.pid) - wakes) / (time.monotonic() - began)
        finally:
            holder.kill()
            holder.wait()
        return {
            "KB each": (memory - before) * 1024 / count,
            "accept p50 ms": found["accept_p50_ms"],
            "end to end p50 ms": found["e2e_p50_ms"],
            "CPU ms each": found["cpu_ms"],
            "idle wake-ups/s": woken,
        }


def sized(peer: Peer, work: Path, size: int) -> Figures:
    """Messages of `size` octets, one after the other."""
    count = max(3, min(100, 60_000_000 // size))
    with Running(peer, work) as running:
        running.warm_up()
        found = figures(running.deliver(count, size), size)
        return {
            "end to end p50 ms": found["e2e_p50_ms"],
            "CPU ms each": found["cpu_ms"],
            "CPU ms/MB": found["cpu_ms"] / (size / 1e6),
            "MB/s": found["e2e_mb_per_s"],
            "peak RSS MB": processes.peak_rss_mb(running.pid),
        }


KINDS: dict[str, tuple[str, Callable[[Peer, Path, int], Figures], tuple[int, ...]]] = {
    "queue": ("messages that wait", queued, QUEUED),
    "connections": ("open connections", held, HELD),
    "size": ("octets of a message", sized, SIZES),
}


def exponent(before: tuple[int, float], now: tuple[int, float]) -> str:
    """The slope between two points on paper with logarithmic scales; "" where it says nothing."""
    if min(before[1], now[1]) <= 0:
        return ""
    return f" ({math.log(now[1] / before[1]) / math.log(now[0] / before[0]):+.1f})"


def table(title: str, rows: dict[int, Figures]) -> str:
    names = list(next(iter(rows.values())))
    lines = [f"| {' | '.join([title, *names])} |", f"|{'---|' * (len(names) + 1)}"]
    last: tuple[int, Figures] | None = None
    for count, found in rows.items():
        cells = [f"{count:,}"]
        for name in names:
            value = found[name]
            shown = f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
            cells.append(shown + (exponent((last[0], last[1][name]), (count, value)) if last else ""))
        lines.append(f"| {' | '.join(cells)} |")
        last = (count, found)
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=list(KINDS), action="append")
    parser.add_argument("--most-queued", type=int, default=10_000, help="10,000 by default; 100,000 takes some minutes")
    parser.add_argument("--work", type=Path, help="a directory on the disk under test (default: a new one in /var/tmp)")
    parser.add_argument("--out", type=Path, default=Path("build/bench/growth.json"))
    options = parser.parse_args()
    build()
    work = options.work or Path(tempfile.mkdtemp(prefix="relay-bench-", dir="/var/tmp"))
    work.mkdir(parents=True, exist_ok=True)
    book: dict[str, dict[int, Figures]] = {}
    try:
        for kind in options.only or list(KINDS):
            title, measure, points = KINDS[kind]
            book[kind] = {}
            for point in points:
                if kind != "queue" or point <= options.most_queued:
                    book[kind][point] = measure(Relay(), work, point)
                    options.out.write_text(json.dumps(book, indent=1))
            print(f"\n{table(title, book[kind])}", flush=True)
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
