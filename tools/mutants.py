"""Changes the code in small ways and counts whether a test notices: `make mutants`, for all or for a sample of SAMPLE.

What is changed and by which tests it is judged stands in pyproject.toml, [tool.mutmut].  The sample is always the same one
for the same SEED: who wrote tests for what one sample showed must measure with another.  An interrupted run is gone on with;
when code or tests have changed since, all is made anew.  Ends with 1 if less than 85 % were noticed; `mutmut show NAME` tells
what a name in mutants/survivors.txt stands for.
"""

import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

WANTED = 0.85
SEED = "6"
MADE = Path("mutants")
MADE_OF = MADE / "made-of"
TEXTS = (".py", ".tsv", ".txt", ".eml")
MUTMUT = str(Path(sys.executable).parent / "mutmut")
SMALL = "relay.mail.trace*"
"""Some must be named when the mutants are made: few and quick ones."""

NOTICED = {1: "by a failing test", 3: "by a failing test", 24: "by its time", 36: "by its time", -24: "by its time"}
NOTICED |= {152: "by its time", 255: "by its time", -9: "by its time", -11: "by a crash"}


def main() -> int:
    """`SAMPLE`, `SEED` and `WORKERS` come from the environment; without SAMPLE all are tried, which takes an hour or two."""
    sample, workers = int(os.environ.get("SAMPLE") or 0), os.environ.get("WORKERS", "1")
    if not MADE_OF.exists() or MADE_OF.read_text() != made_of():
        shutil.rmtree(MADE, ignore_errors=True)
        subprocess.run([MUTMUT, "run", "--max-children", workers, SMALL], check=True)  # noqa: S603 - our own words
        MADE_OF.write_text(made_of())
    known = results()
    dice = random.Random(int(os.environ.get("SEED") or SEED))  # noqa: S311 - a sample is no secret
    chosen = sorted(dice.sample(sorted(known), min(sample, len(known))) if sample else known)
    left = [name for name in chosen if known[name] is None]
    if left:
        subprocess.run([MUTMUT, "run", "--max-children", workers, *left], check=True)  # noqa: S603
    wanted = set(chosen)
    return report({name: code for name, code in results().items() if name in wanted})


def made_of() -> str:
    """Code, tests and configuration in one word, which changes with them."""
    files = sorted(file for place in ("relay", "tests") for file in Path(place).rglob("*") if file.suffix in TEXTS)
    return hashlib.sha256(b"".join(file.read_bytes() for file in (*files, Path("pyproject.toml")))).hexdigest()


def results() -> dict[str, int | None]:
    """Each mutant's name and what its tests ended with: 0 nobody noticed, None not tried yet."""
    found: dict[str, int | None] = {}
    for file in MADE.rglob("*.meta"):
        found |= json.loads(file.read_text())["exit_code_by_key"]
    return found


def report(tried: dict[str, int | None]) -> int:
    """Prints the figures; 1 if they are not good enough."""
    count = Counter(NOTICED.get(code, "not at all") for code in tried.values() if code is not None)
    total = count.total()
    noticed = total - count["not at all"]
    (MADE / "survivors.txt").write_text("".join(f"{name}\n" for name in survivors(tried)))
    low, high = interval(noticed, total)
    print(f"{total} mutants tried, {noticed} noticed ({', '.join(f'{number} {how}' for how, number in count.most_common())})")
    print(f"{100 * noticed / max(total, 1):.1f} % (95 % confidence: {100 * low:.1f} to {100 * high:.1f} %)")
    return 0 if total and noticed >= WANTED * total else 1


def survivors(tried: dict[str, int | None]) -> Iterable[str]:
    return sorted(name for name, code in tried.items() if code is not None and code not in NOTICED)


def interval(noticed: int, total: int) -> tuple[float, float]:
    """Wilson's score interval of 95 %."""
    if not total:
        return 0.0, 1.0
    z, share = 1.96, noticed / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (middle - spread) / (1 + z * z / total), (middle + spread) / (1 + z * z / total)


if __name__ == "__main__":
    sys.exit(main())
