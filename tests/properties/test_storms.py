"""Random nights: whatever arrives, whenever, and whatever people and upstreams do, every message has exactly one end."""

import asyncio
from datetime import time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.mail.device import Device, Quiet, Storm
from relay.outbound.storms import LONGEST
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Action, Order, State
from relay.spool.sqlite.invariants import check_invariants
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


class Life:
    """One random night on a spool of its own."""

    def __init__(self, device: Device, together: int, directory: str) -> None:
        self.device, self.together, self.clock = device, together, Clock()
        self.up = True
        self.url = f"sqlite:{directory}/spool.db"

    async def opened(self):
        return await open_spool(SpoolSettings(self.url, keep_free=0, keep_history=timedelta(days=4000)), now=self.clock)

    async def live(self, steps) -> dict[str, int]:
        night = Night(await self.opened(), self.clock, [self.device], up=lambda: self.up, zone=BERLIN)
        for word, *how in steps:
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
                night.over(await self.opened())
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
        await night.spool.close()
        assert check_invariants(self.url.removeprefix("sqlite:")) == []
        assert sum(ends.values()) == len(night.accepted)
        return ends


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(storm=st.one_of(st.none(), storm), quiet=quiet, steps=st.lists(step, max_size=14), together=st.sampled_from([1, 7]))
def test_every_message_has_exactly_one_end(storm, quiet, steps, together) -> None:
    """Relayed by itself, or merged into a digest that was relayed; over restarts, jumps, orders and an upstream that fails."""
    device = Device("cam", helo=("cam",), storm=storm, quiet=quiet)
    with quick_directory() as directory:
        asyncio.run(Life(device, together, directory).live(steps))
