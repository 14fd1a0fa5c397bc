"""The check-up in a process of its own: a look a day would else keep a tenth of the relay's memory for ever.

relay ── Subject, pickled ──▶ python -m relay.doctor.child_process ── findings as JSON ──▶ relay
"""

import asyncio
import json
import os
import pickle
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.detached import environment
from relay.doctor.subject import Subject

if TYPE_CHECKING:
    from relay.doctor.gather import World

PATIENCE = 60.0
"""Seconds; a check-up bounds its questions itself, this is for a machine that stands still."""

_SOURCE = Path(__file__).parents[2]


class Stumbled(Exception):
    """The process gave no findings; the text is its last word."""


async def aside(subject: Subject, patience: float = PATIENCE) -> list[dict[str, Any]]:
    """Every finding of the cheap examination, in the keys of `relay doctor --json`.  Raises Stumbled, OSError, TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "relay.doctor.child_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment("PG", "RELAY_TEST_", PYTHONPATH=str(_SOURCE)),  # libpq's settings: the tokens may be in PostgreSQL
        start_new_session=True,  # Ctrl-C in a terminal is for the relay, which then ends this
    )
    try:
        async with asyncio.timeout(patience):
            said, complaint = await process.communicate(pickle.dumps(subject))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Stumbled(_last_word(complaint) or f"ended with {process.returncode}")
    findings: list[dict[str, Any]] = json.loads(said)
    return findings


def _last_word(complaint: bytes) -> str:
    return next(reversed(complaint.decode("utf-8", "replace").strip().splitlines()), "")


def main() -> None:
    """The other end: reads a Subject, writes the findings, ends without waiting for a resolver that hangs."""
    findings, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed is no finding
    subject: Subject = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from the relay itself
    from relay.doctor.gather import World
    from relay.spool import open_safe
    from relay.upstream.oauth.session_tokens import Tokens

    tokens = Tokens(subject.state_dir, lambda: datetime.now(UTC), safe=open_safe(subject.spool))
    findings.write(json.dumps(asyncio.run(examined(subject, World(consents=tokens.standings)))))
    findings.flush()
    os._exit(0)


async def examined(subject: Subject, world: "World") -> list[dict[str, Any]]:
    """What `aside` gives, found in this process."""
    from relay.doctor.gather import gather_cheaply
    from relay.doctor.judge import judge

    return [one.as_json() for one in judge(await gather_cheaply(subject, world), subject)]


if __name__ == "__main__":
    main()
