"""What the relay would cost on a Raspberry Pi with a memory card: an estimate, from counts and from slow disks.

    python -m bench.pi --rating MIPS        `7zr b -mmt1` of this machine, the line "Tot:", last column; without load

Runs the relay on disks that take 5 to 100 ms more for each flush, then reckons with the ratio of the two processors.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from bench.peers import Relay
from bench.running import Running, build
from bench.scenarios import FAULTS, Figures, Setting, figures, slow_disk, wear

DELAYS = (5.0, 15.0, 50.0, 100.0)
BOARDS = {"Pi Zero 2 W": 838, "Pi 3 B": 977, "Pi 4 B": 1769, "Pi 5": 3196}
"""7-zip, one thread, MIPS: sbc-bench, Sorted-Results.md (results 3E85, 4hOP, 3OBF, Au3jaA), at the clock they are sold with."""
CARD_TB = 10.0
"""What an ordinary 32 GB card takes before it fails: 300 erasures of each cell, an assumption on the safe side."""
AMPLIFICATION = 8.0
"""Octets that the card erases for each octet it is sent, in small writes: an assumption."""
DAY = 1000
"""Messages a day for the life of a card."""


def measure(work: Path, scale: float) -> dict[str, Figures]:
    setting = Setting(work, scale=scale)
    with Running(Relay(), work) as running:
        running.warm_up()
        alone = figures(running.deliver(setting.messages(200), 4096, gap_ms=25), 4096)
        many = figures(running.deliver(setting.messages(3000), 4096, 20), 4096)
    found = {"alone": alone, "many": many, "wear": wear(Relay(), setting)}
    for delay in DELAYS:
        found[f"{delay:.0f} ms"] = slow_disk(Relay(), setting, delay)
    faults = sum(part.get(fault, 0) for part in found.values() for fault in FAULTS)
    if faults:
        raise SystemExit(f"{faults} messages were lost, doubled or altered")
    return found


def disks(found: dict[str, Figures]) -> str:
    rows = ["| flush | accept p50, alone | end to end p50, alone | 20 senders, messages a minute | flushes a message |"]
    rows.append("|---|---|---|---|---|")
    for delay in DELAYS:
        one = found[f"{delay:.0f} ms"]
        rows.append(
            f"| {delay:.0f} ms | {one['alone_accept_p50_ms']:.0f} ms | {one['alone_e2e_p50_ms']:.0f} ms"
            f" | {one['e2e_per_s'] * 60:,.0f} | {one['flushes']:.2f} |"
        )
    return "\n".join(rows)


def boards(found: dict[str, Figures], rating: float) -> str:
    """The time of the processor grows by the ratio; the card's is what it is; of both together the slower one limits."""
    rows = ["| board | CPU ms a message | flush | accept p50, alone | end to end p50 | 20 senders, messages a minute |"]
    rows.append("|---|---|---|---|---|---|")
    for board, mips in BOARDS.items():
        slower = rating / mips
        for delay in (DELAYS[0], DELAYS[-1]):
            disk = found[f"{delay:.0f} ms"]
            accept = found["alone"]["accept_p50_ms"] * slower + delay
            whole = found["alone"]["e2e_p50_ms"] * slower + delay
            # Counting flushes for each message errs on the safe side: a slower processor leaves more messages to one flush.
            cpu = found["many"]["cpu_ms"] * slower
            rate = min(1000 / cpu, disk["e2e_per_s"]) * 60
            rows.append(f"| {board} | {cpu:.1f} | {delay:.0f} ms | {accept:.0f} ms | {whole:.0f} ms | {rate:,.0f} |")
    return "\n".join(rows)


def life(found: dict[str, Figures]) -> str:
    lines = []
    for name, prefix in (("alone", ""), ("20 senders", "many_")):
        kilobytes = found["wear"].get(f"{prefix}device_kb", found["wear"][f"{prefix}written_kb"])
        years = CARD_TB * 1e9 / (kilobytes * 1.024 * DAY * AMPLIFICATION) / 365
        lines.append(
            f"{name}: {kilobytes:.1f} KB a message, {kilobytes * 1000 / 1024:.0f} MB for 1,000; {DAY} a day: {years:,.0f} years"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pi", description=__doc__.partition("\n")[0])
    parser.add_argument("--rating", type=float, required=True, help="7-zip's MIPS of one thread of this machine")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--work", type=Path, help="a directory on the disk under test (default: a new one in /var/tmp)")
    parser.add_argument("--out", type=Path, default=Path("build/bench/pi.json"))
    options = parser.parse_args()
    build()
    work = options.work or Path(tempfile.mkdtemp(prefix="relay-bench-", dir="/var/tmp"))
    work.mkdir(parents=True, exist_ok=True)
    try:
        found = measure(work, options.scale)
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
    options.out.write_text(json.dumps({"rating": options.rating, **found}, indent=1))
    print(f"\n{disks(found)}\n\n{boards(found, options.rating)}\n\n{life(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
