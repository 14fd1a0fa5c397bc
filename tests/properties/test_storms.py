"""Random nights: whatever arrives, whenever, and whatever people and upstreams do, every message has exactly one end."""

import asyncio
from dataclasses import dataclass, field
from datetime import time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.mail.device import Device, Quiet, Storm
from relay.outbound.storms import LONGEST
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolSettings
from relay.spool.entry import Action, Order, State
from relay.spool.sqlite.invariants import check_invariants
from tests.support.postgres import PostgresServer
from tests.support.postgres import check_invariants as check_postgres
from tests.support.spooled import quick_directory
from tests.support.storming import Night
from tests.support.world import Clock

BERLIN = ZoneInfo("Europe/Berlin")
SUBJECTS = ["Motion 1", "Motion 22", "Disk FAIL", "Backup done 3"]

storm = st.builds(
    Storm,
    st.one_of(st.none(), st.sampled_from([timedelta(seconds=30), timedelta(minutes=10), timedelta(hours=1)])),
    st.one_of(st.none(), st.integers(1, 5)),
).filter(lambda rule: rule.same_within or rule.per_hour)
quiet = st.sampled_from(
    [
        None,
        Quiet(((time(22), time(7)),), ("*FAIL*",)),
        Quiet(((time(3), time(4)), (time(4), time(5)))),
        Quiet(((time(0), time(23, 59)),), ("*done*",)),
    ]
)
step = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from(SUBJECTS), st.integers(1, 12)),
    st.tuples(st.just("pass"), st.sampled_from([1, 45, 400, 4000, 30_000])),
    st.tuples(st.just("upstream"), st.booleans()),
    st.tuples(st.just("restart")),
    st.tuples(st.just("jump"), st.sampled_from([-7200, -300, 300, 90_000])),
    st.tuples(st.just("order"), st.sampled_from([Action.HOLD, Action.RELEASE, Action.RETRY]), st.integers(0, 30)),
    st.tuples(st.just("retry all")),
)


@dataclass
class Life:
    """One random night."""

    device: Device
    together: int
    steps: list[tuple]
    clock: Clock = field(default_factory=Clock, repr=False)
    up: bool = True

    async def opened(self, url: str) -> Spool:
        return await open_spool(SpoolSettings(url, keep_free=0, keep_history=timedelta(days=4000)), now=self.clock)

    async def live(self, url: str) -> None:
        """On a spool of its own."""
        night = Night(await self.opened(url), self.clock, [self.device], up=lambda: self.up, zone=BERLIN)
        try:
            await self.play(night, url)
        finally:
            await night.spool.close()

    async def play(self, night: Night, url: str) -> None:
        for word, *how in self.steps:
            if word == "arrive":
                for _ in range(how[1]):
                    await night.accept(how[0])
                await night.work(self.together)
            elif word == "pass":
                await night.until(self.clock() + timedelta(seconds=how[0]), self.together)
            elif word == "upstream":
                self.up = how[0]
            elif word == "jump":
                self.clock.jump(self.clock() + timedelta(seconds=how[0]))
            elif word == "restart":
                await night.spool.close()
                night.over(await self.opened(url))
            elif word == "retry all":
                await night.spool.order(Order(Action.RETRY, None, by_hand=False), self.clock())  # as a reload does
            elif night.accepted:
                meant = night.accepted[how[1] % len(night.accepted)]
                merged = any(one.state is State.MERGED for one in (await night.stored(meant)).recipients)
                if not (merged and how[0] is Action.RELEASE):  # its second life is another test's
                    await night.spool.order(Order(how[0], (meant,)), self.clock())
        self.up = True
        await night.spool.order(Order(Action.RELEASE, None), self.clock())
        await night.end(timedelta(days=2) + 2 * LONGEST)
        ends = await night.accounted_for()
        assert sum(ends.values()) == len(night.accepted)


devices = st.builds(Device, st.just("cam"), helo=st.just(("cam",)), storm=st.one_of(st.none(), storm), quiet=quiet)
lives = st.builds(Life, devices, st.sampled_from([1, 7]), st.lists(step, max_size=14))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(life=lives)
def test_every_message_has_exactly_one_end(life: Life) -> None:
    """Relayed by itself, or merged into a digest that was relayed; over restarts, jumps, orders and an upstream that fails."""
    with quick_directory() as directory:
        asyncio.run(life.live(f"sqlite:{directory}/spool.db"))
        assert check_invariants(f"{directory}/spool.db") == []


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(life=lives)
def test_every_message_in_a_shared_queue_has_exactly_one_end(life: Life, postgres_server: PostgresServer) -> None:
    """The same in PostgreSQL."""
    url = postgres_server.database()
    asyncio.run(life.live(url))
    assert check_postgres(url) == []
