"""Two relays with one queue: what a device repeats becomes one digest, whoever decides."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.mail.device import Device, Storm
from relay.spool import open_spool
from relay.spool.contract import LeaseLost, SpoolSettings
from relay.spool.entry import State
from relay.spool.storms import Weighed
from tests.support.postgres import check_invariants
from tests.support.spooled import an_entry
from tests.support.storming import Night
from tests.support.world import Clock

CAM = Device("cam", helo=("cam",), storm=Storm(timedelta(minutes=10), 30))


@pytest.fixture
async def nights(postgres_server, tmp_path):
    """Two relays, each with a spool of its own on the same database."""
    clock, url = Clock(), postgres_server.database()
    spools = [
        await open_spool(SpoolSettings(url, keep_free=0, name=name), now=clock, home=tmp_path / name) for name in ("one", "two")
    ]
    first = Night(spools[0], clock, [CAM])
    yield first, replace(first, spool=spools[1])
    for spool in spools:
        await spool.close()
    assert check_invariants(url) == []


async def all_of(*nights):
    await asyncio.gather(*(night.work(5) for night in nights))


async def test_two_relays_make_one_digest(nights):
    """Both take mail of one storm, both find the digest due; the first went once, and all others are in one digest."""
    one, two = nights
    for number in range(30):
        await (one, two)[number % 2].accept(f"Motion {number}")
    await all_of(one, two)
    assert len(one.sent) == 1
    for _ in range(6):
        one.clock.advance(minutes=2.2)  # the second time it is a minute late: everybody comes at once
        await all_of(one, two)
    assert [entry.merges for _, entry, _ in one.sent] == [0, 29]
    assert await one.accounted_for() == {"relayed": 1, "merged": 29}


async def test_messages_in_another_relays_hands_are_merged_too(nights):
    """The other one holds them at that moment; it finds nothing left to send."""
    one, two = nights
    for number in range(8):
        await one.accept(f"Motion {number}")
    await all_of(one)
    one.clock.advance(minutes=12)
    claims = [claim for claim in [await two.spool.claim(two.clock()) for _ in range(3)] if claim]
    assert claims
    await one.work(5)
    await asyncio.gather(*map(two.carry, claims))
    for _ in range(3):
        await all_of(one, two)
    assert [entry.merges for _, entry, _ in one.sent] == [0, 7]
    assert await one.accounted_for() == {"relayed": 1, "merged": 7}


async def test_a_lease_that_another_relay_took_over_decides_nothing(nights):
    one, two = nights
    await one.spool.commit(an_entry("a" * 14, one.clock()))
    claim = await one.spool.claim(one.clock())
    (message,) = [lease.message for lease in one.spool._leases._held.values()]
    await two.spool._run(lambda db: db.execute("UPDATE message SET owner = NULL, lease = NULL, leased_until = NULL"))
    other = await two.spool.claim(two.clock())
    assert message and other.entry.queue_id == "a" * 14
    with pytest.raises(LeaseLost):
        await one.spool.weigh(claim, "cam", lambda memory, storm: Weighed("stale", "-"))
    seen = []
    await two.spool.weigh(other, "cam", lambda memory, storm: seen.append(memory) or Weighed(memory, "-"))
    assert seen == [""]
    assert (await two.spool.entry("a" * 14)).recipients[0].state is State.QUEUED
