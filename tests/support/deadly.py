"""`relay run` with a bug in it: a message that says so kills it, wherever it is prepared.  For tests of what comes after.

    python -m tests.support.deadly run --config FILE

`X-Deadly: hang` holds the interpreter lock for ever, as a pathological expression does; `spin` occupies a thread of Python
for ever; `memory` ends the process as the kernel does when there is no memory left; `notice` hangs where a failure is told.
"""

import os
import re
import signal
import sys
from typing import Any

import relay.outbound.prepare as station
from relay.cli.main import main
from relay.outbound import notice_content

_SAID = re.compile(rb"^X-Deadly: (\w+)", re.MULTILINE)
_repair, _fields_of = station.repair, notice_content.fields_of


def hang() -> None:
    re.match(r"(a|aa)+$", "a" * 200 + "b")


def deadly(content: Any, *rest: Any) -> Any:
    said = _SAID.search(b"".join(content)[:1000])
    match said[1] if said else b"":
        case b"hang":
            hang()
        case b"memory":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"spin":
            while True:
                pass
    return _repair(content, *rest)


def deadly_to_tell(stored: Any) -> Any:
    if b"X-Deadly: notice" in b"".join(stored.entry.content):
        hang()
    return _fields_of(stored)


station.repair = deadly
notice_content.fields_of = deadly_to_tell

if __name__ == "__main__":
    sys.exit(main())
