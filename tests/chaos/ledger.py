"""What the chaos tests found, one row each; printed as one table at the end of the run.

`make chaos` sets RELAY_CHAOS=full: the same tests, more of everything.
"""

import os
from dataclasses import dataclass

FULL = os.environ.get("RELAY_CHAOS") == "full"


@dataclass(frozen=True)
class Row:
    """One thing that was broken, how often, how much had been promised by then, and what came of it."""

    broken: str
    times: int
    promised: int
    lost: int
    doubled: int
    words: str = ""


class Ledger:
    def __init__(self) -> None:
        self.rows: list[Row] = []

    def enter(
        self, broken: str, *, times: int = 1, promised: int = 0, lost: int = 0, doubled: int = 0, words: str = ""
    ) -> None:
        self.rows.append(Row(broken, times, promised, lost, doubled, words))

    def lines(self) -> list[str]:
        """The table; the columns are as wide as what is in them."""
        head = ("what was broken", "times", "promised", "lost", "twice", "what was seen")
        cells = [head, *((r.broken, f"{r.times}", f"{r.promised}", f"{r.lost}", f"{r.doubled}", r.words) for r in self.rows)]
        sums = [sum(column) for column in zip(*((r.times, r.promised, r.lost, r.doubled) for r in self.rows), strict=True)]
        cells.append(("in all", *map(str, sums), ""))
        widths = [max(len(row[column]) for row in cells) for column in range(5)]
        return ["  ".join([row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in range(1, 5)), row[5]]) for row in cells]
