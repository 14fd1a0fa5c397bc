"""The fuzzer: `FUZZ_SECONDS=600 python -m tests.fuzz`, each half in a process of its own.

Letters go through repair, rewriting and seven-bit encoding, dialogues to the receiving half on a real socket.  Ends 1
at the first finding, which Hypothesis prints in its smallest form and keeps in .hypothesis/fuzz for the next run.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.fuzz.mutations import dialogs, letters
from tests.fuzz.oracles import Bench, hold_letter

ROUND = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=DirectoryBasedExampleDatabase(".hypothesis/fuzz"),
    phases=[Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
    print_blob=True,
)
KINDS = ("letters", "dialogs")


def rounds(kind: str, seconds: float) -> int:
    """Round after round with new seeds until the time is over; how many examples there were."""
    end = time.monotonic() + seconds
    tried = 0
    bench = Bench() if kind == "dialogs" else None

    def counted(hold: Callable[..., None], *what: object) -> None:
        nonlocal tried
        tried += 1
        hold(*what)

    while time.monotonic() < end:
        if bench:

            @ROUND
            @seed(secrets.randbits(64))
            @given(dialogs(), st.sampled_from([1 << 20, 1400, 17, 1]))
            def dialog_holds(said: bytes, at_a_time: int) -> None:
                counted(bench.hold_dialog, said, at_a_time)

            dialog_holds()
        else:

            @ROUND
            @seed(secrets.randbits(64))
            @given(letters())
            def letter_holds(content: bytes) -> None:
                counted(hold_letter, content)

            letter_holds()
    if bench:
        bench.close()
    return tried


def main() -> int:
    seconds = float(os.environ.get("FUZZ_SECONDS") or 600)
    if len(sys.argv) > 1:
        kind = sys.argv[1]
        print(f"{kind}: {rounds(kind, seconds)} examples in {seconds:.0f} s, nothing found", flush=True)
        return 0
    running = [subprocess.Popen([sys.executable, "-m", "tests.fuzz", kind]) for kind in KINDS]
    return max(process.wait() != 0 for process in running)


if __name__ == "__main__":
    sys.exit(main())
