"""kill -9 at random moments: what was promised is there.

child: commit -> prints "accepted ID"; claim, settle -> prints "relayed ID"      x  kill -9
we:    open the same file; every ID accepted is there, every fate printed is the fate stored
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from relay.spool import open_spool
from relay.spool.contract import LeaseLost, Spool, SpoolSettings
from relay.spool.entry import State
from relay.spool.sqlite.invariants import check_invariants
from tests.chaos.ledger import FULL
from tests.chaos.spool_child import content_of, now
from tests.support.postgres import check_invariants as check_postgres

KILLS = 100 if FULL else 8
ROOT = Path(__file__).parents[2]


def live_and_die(url: str, delay: float) -> list[tuple[str, str]]:
    """Runs the child, kills it `delay` seconds after its first promise; all that it promised."""
    command = [sys.executable, "-m", "tests.chaos.spool_child", url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        first = child.stdout.readline()
        try:
            child.wait(delay)  # nobody reads meanwhile: a full pipe would stop the child, so delays are short
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        rest, errors = child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL, errors.decode()
    lines = (first + rest).decode().splitlines()
    return [(word, queue_id) for word, queue_id in (line.split() for line in lines)]


async def broken_promises(spool: Spool, promised: dict[str, str]) -> list[str]:
    """Ids that are missing, or whose stored fate is not the one that was promised."""
    stored = {one.entry.queue_id: one for one in await spool.entries(limit=1_000_000)}
    wrong = []
    for queue_id, word in promised.items():
        found = stored.get(queue_id)
        states = {recipient.state.value for recipient in found.recipients} if found else set()
        if not found or (word in State._value2member_map_ and states != {word}):
            wrong.append(f"{queue_id} was {word}, is {states or 'lost'}")
    return wrong


async def spoiled_contents(spool: Spool, queue_ids: list[str]) -> list[str]:
    spoiled = []
    for queue_id in queue_ids:
        stored = await spool.entry(queue_id)
        try:
            content = b"".join(stored.entry.content)
        except LeaseLost:
            if any(recipient.state is not State.RELAYED for recipient in stored.recipients):
                spoiled.append(queue_id)
        else:
            if content != content_of(queue_id, stored.entry.size):
                spoiled.append(queue_id)
    return spoiled


@pytest.mark.parametrize("backend", ["a file", "PostgreSQL"])
def test_nothing_promised_is_lost_by_kill_9(tmp_path, ledger, backend, request):
    """After each kill every accepted id is there with its octets, every settled fate stands, the file is sound."""
    server = request.getfixturevalue("postgres_server") if backend == "PostgreSQL" else None
    url = server.database() if server else f"sqlite:{tmp_path}/spool.db"
    dice = random.Random(os.environ.get("SPOOL_SEED", "5321"))
    kills = KILLS if not server else max(3, KILLS // 2)
    promised: dict[str, str] = {}
    words: Counter[str] = Counter()

    async def examine() -> int:
        spool = await open_spool(SpoolSettings(url, keep_free=0), now=now)
        assert await broken_promises(spool, promised) == []
        assert await spoiled_contents(spool, list(promised)[-150:]) == []
        kept = len(await spool.entries(limit=1_000_000))
        await spool.close()
        return kept

    kept = 0
    for _ in range(kills):
        for word, queue_id in live_and_die(url, dice.uniform(0, 0.35)):
            words[word] += 1
            if word != "attempted":
                promised[queue_id] = word
        kept = asyncio.run(examine())
        assert (check_postgres(url) if server else check_invariants(tmp_path / "spool.db")) == []
    assert words["accepted"] > kills
    assert words["relayed"] > 0
    ledger.enter(
        f"kill -9, the spool alone, in {backend}", times=kills, promised=words["accepted"], words=f"{kept} messages kept"
    )
