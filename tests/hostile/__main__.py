"""`make hostile`: every kind of attack, one after another and then all at once, at a running relay; prints a table.

    python -m tests.hostile [--seconds 10] [--clients 100] [--only WORD] [--json FILE]

Ends 1 if the relay died, was not healthy, needed more than 150 MB, kept the NAS waiting for more than 10 s or lost its mail.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.hostile.playing import everything_relayed, play, smuggled, together
from tests.hostile.plays import PLAYS, Scale
from tests.hostile.scene import Row, as_json, nobody_reads, scene, table


def main() -> int:
    asked = argparse.ArgumentParser(prog="hostile")
    asked.add_argument("--seconds", type=float, default=10.0)
    asked.add_argument("--clients", type=int, default=100)
    asked.add_argument("--only", default="")
    asked.add_argument("--json", type=Path)
    given = asked.parse_args()
    scale, rows = Scale(5, long=True), []
    chosen = [one for one in PLAYS if given.only in one.kind]
    with tempfile.TemporaryDirectory(prefix="hostile-") as directory, scene(Path(directory)) as at:
        for one in chosen:
            rows.append(play(at, one.kind, [one] * one.clients, given.seconds, scale))
            print(table(rows[-1:])[1], flush=True)
        if len(chosen) > 1:
            rows.append(together(at, chosen, given.clients, 3 * given.seconds, scale))
        served, tried, provoked = nobody_reads(Path(directory) / "unread", at.upstream)
        words = "" if served == tried else "blocked by its log"
        rows.append(Row("a log that nobody reads", provoked, 0, 0, served, tried, 0.0, served == tried, words))
        missing = everything_relayed(at, 120)
        two = smuggled(at)
    print("", *table(rows), "", sep="\n")
    if given.json:
        given.json.write_text(as_json(rows))
    complaints = [f"{row.kind}: not good" for row in rows if not row.good] + [missing] * bool(missing)
    complaints += [f"{two} messages were smuggled"] * bool(two)
    print(*(complaints or ["all survived, and the NAS was served"]), sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
