"""A truly full disk: the spool on a small tmpfs, filled up by others' data.

accept until 452  ->  somebody fills what is left  ->  settle what was sent: owed, nothing claimed
                  ->  room again                   ->  everything accepted is relayed, whole
"""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from relay.spool import open_spool
from relay.spool.contract import SpoolFull, SpoolSettings
from relay.spool.entry import Settlement, State
from relay.spool.sqlite.commit import ENOUGH_TO_SETTLE
from relay.spool.sqlite.invariants import check_invariants
from tests.support.faults import small_disk
from tests.support.spooled import after, an_entry, settled
from tests.support.world import Clock, Ids


@pytest.fixture
def disk(tmp_path):
    """A file system of 16 MB."""
    with small_disk(tmp_path / "disk", "16m") as place:
        yield place


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def fill(spool, clock, ids, octets: int) -> list[str]:
    """Accepts messages until the spool says that it is full."""
    accepted: list[str] = []
    while len(accepted) < 1_000:
        entry = an_entry(ids(clock()), clock(), content=os.urandom(octets))
        try:
            await spool.commit(entry)
        except SpoolFull:
            return accepted
        accepted.append(entry.queue_id)
    pytest.fail("the disk never got full")


def take_all_that_is_left(ballast: Path) -> None:
    """Somebody else's data: not an octet stays free."""
    with ballast.open("wb", buffering=0) as file:
        for block in (65_536, 1):
            try:
                while file.write(b"x" * block):
                    pass
            except OSError:
                continue


async def relay_all(spool, clock) -> list[str]:
    """Claims and settles until nothing is left; waits as the runner does."""
    relayed: list[str] = []
    async with asyncio.timeout(30):
        while (await spool.tally()).unfinished:
            claim = await spool.claim(clock())
            if claim is None:
                await spool.wait(clock())
                continue
            assert sum(map(len, claim.entry.content)) == claim.entry.size
            await spool.settle(claim, settled(claim.recipients, State.RELAYED))
            await spool.release(claim)
            relayed.append(claim.entry.queue_id)
    return relayed


@pytest.mark.parametrize("octets", [40_000, 700_000])
async def test_a_full_disk_loses_nothing(disk, clock, octets):
    """Accepted is accepted: after the disk has been full to the last octet every message is relayed whole."""
    spool = await open_spool(SpoolSettings(f"sqlite:{disk}/spool.db", keep_free=0), now=clock)
    accepted = await fill(spool, clock, Ids(), octets)
    assert accepted
    assert {s.entry.queue_id for s in await spool.entries()} == set(accepted)
    # room is made for one claim, then taken away while its message is being sent
    ballast = disk / "ballast"
    if (claim := await spool.claim(clock())) is None:
        subprocess.run(["mount", "-o", "remount,size=24m", disk], check=True)
        claim = await until_claimed(spool, clock)
    take_all_that_is_left(ballast)
    words = Settlement((after(claim.recipients[0], State.RELAYED, said="ok " * 2_000_000),))
    await spool.settle(claim, words)
    assert await spool.claim(clock()) is None
    assert (await spool.entry(claim.entry.queue_id)).recipients[0].state is State.QUEUED
    with pytest.raises(SpoolFull):
        await spool.commit(an_entry("x" * 14, clock(), content=b"x" * 6_000_000))
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=48m", disk], check=True)
    relayed = await relay_all(spool, clock)
    assert sorted([claim.entry.queue_id, *relayed]) == sorted(accepted)
    assert (await spool.entry(claim.entry.queue_id)).recipients == words.outcomes
    await spool.close()
    assert check_invariants(disk / "spool.db") == []


async def until_claimed(spool, clock):
    async with asyncio.timeout(20):
        while (claim := await spool.claim(clock())) is None:
            await spool.wait(clock())
    return claim


async def test_a_spool_that_is_full_by_its_reserve_empties_itself(disk, clock):
    """Below `keep_free` devices are told 452 while relaying goes on; what has gone makes room without any tidying."""
    spool = await open_spool(SpoolSettings(f"sqlite:{disk}/spool.db", keep_free=8_000_000), now=clock)
    ids = Ids()
    accepted = await fill(spool, clock, ids, 100_000)
    assert spool.room() < 100_000
    assert sorted(await relay_all(spool, clock)) == accepted
    assert spool.room() > 100_000
    again = await fill(spool, clock, ids, 100_000)
    assert len(again) > len(accepted) // 2
    await spool.close()
    assert check_invariants(disk / "spool.db") == []


async def test_nothing_is_claimed_that_could_not_be_remembered(disk, clock):
    """With less free than a settlement may need, messages wait; they go as soon as there is room."""
    spool = await open_spool(SpoolSettings(f"sqlite:{disk}/spool.db", keep_free=0), now=clock)
    await spool.commit(an_entry("a" * 14, clock()))
    take_all_that_is_left(disk / "ballast")
    await asyncio.sleep(1.1)  # what is free is asked of the file system once a second
    assert spool.room() < ENOUGH_TO_SETTLE
    assert await spool.claim(clock()) is None
    (disk / "ballast").unlink()
    assert (await until_claimed(spool, clock)).entry.queue_id == "a" * 14
    await spool.close()


async def test_a_full_spool_can_be_opened_again(disk, clock):
    """A restart with hardly anything free keeps every message, and relays them."""
    settings = SpoolSettings(f"sqlite:{disk}/spool.db", keep_free=3_000_000)
    spool = await open_spool(settings, now=clock)
    accepted = await fill(spool, clock, Ids(), 100_000)
    await spool.close()
    spool = await open_spool(settings, now=clock)
    assert sorted(await relay_all(spool, clock)) == accepted
    await spool.close()
    assert check_invariants(disk / "spool.db") == []


async def test_a_disk_that_gets_full_within_a_large_message_keeps_nothing_of_it(disk, clock):
    """Somebody else takes the room while it comes in: it is refused, its file goes, and what was accepted stays."""
    spool = await open_spool(SpoolSettings(f"sqlite:{disk}/spool.db", keep_free=0), now=clock)
    await spool.commit(an_entry("a" * 14, clock(), content=os.urandom(400_000)))
    arriving = spool.arrive()
    await arriving.add([os.urandom(500_000)])
    take_all_that_is_left(disk / "ballast")
    arriving._left = lambda: 10**9  # as it was told a moment ago
    with pytest.raises(SpoolFull, match="is full"):
        await arriving.add([os.urandom(3_000_000)])
    arriving.drop()
    (disk / "ballast").unlink()
    await spool.commit(an_entry("b" * 14, clock()))
    assert sorted(one.name for one in (disk / "spool.db-content").iterdir()) == ["1.eml"]
    assert await relay_all(spool, clock) == ["a" * 14, "b" * 14]
    await spool.close()
    assert check_invariants(disk / "spool.db") == []
