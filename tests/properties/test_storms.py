"""Random nights: whatever arrives, whenever, and whatever people and upstreams do, every message has exactly one end."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import time, timedelta
from itertools import chain
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relay.mail.address import Address
from relay.mail.device import Device, Quiet, Storm
from relay.mail.reply import Answer
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolSettings
from relay.spool.entry import Action, Order, State
from relay.spool.sqlite.invariants import check_invariants
from tests.support.postgres import PostgresServer
from tests.support.postgres import check_invariants as check_postgres
from tests.support.spooled import quick_directory
from tests.support.storming import DEFERS, DOWN, NOBODY, REFUSES, TAKES, Night
from tests.support.world import Clock

BERLIN = ZoneInfo("Europe/Berlin")
SUBJECTS = ["Motion 1", "Motion 22", "Disk FAIL", "Backup done 3"]
ME, YOU = "me@isp.example", "you@isp.example"
ANSWERS = {"takes": TAKES, "defers": DEFERS, "refuses": REFUSES, "is down": DOWN}
PEOPLE = [(ME,), (ME, YOU), (ME, NOBODY), (NOBODY,)]

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
action = st.sampled_from([Action.HOLD, Action.RELEASE, Action.RETRY, Action.REMOVE])
event = st.one_of(
    st.just(("nothing",)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("jump"), st.sampled_from([-7200, -300, 300, 90_000])),
    st.tuples(st.just("order"), action, st.booleans(), st.integers(0, 30)),
    st.tuples(st.just("retry all")),
)
arrivals = st.tuples(st.just("arrive"), st.sampled_from(SUBJECTS), st.integers(0, 12), st.sampled_from(PEOPLE))
answers = st.tuples(st.just("upstream"), st.sampled_from([ME, ME, YOU]), st.sampled_from(sorted(ANSWERS)))
passes = st.tuples(st.just("pass"), st.sampled_from([1, 45, 400, 4000, 30_000]))
hour = st.tuples(answers, arrivals, answers, event, passes)


@dataclass
class Life:
    """One random night.  `says` are words of ANSWERS for each person: that mail is taken, then others, `morning` at last."""

    device: Device
    together: int
    hours: list[tuple[tuple, ...]]
    morning: str
    clock: Clock = field(default_factory=Clock, repr=False)
    says: dict[str, str] = field(default_factory=dict, repr=False)

    def answer(self, recipient: Address) -> Answer:
        return ANSWERS[self.says.get(str(recipient), "takes")]

    async def opened(self, url: str) -> Spool:
        return await open_spool(SpoolSettings(url, keep_free=0, keep_history=timedelta(days=4000)), now=self.clock)

    async def live(self, url: str) -> Counter[str]:
        """On a spool of its own; how many recipients had which end."""
        night = Night(await self.opened(url), self.clock, [self.device], answer=self.answer, zone=BERLIN)
        try:
            return await self.play(night, url)
        finally:
            await night.spool.close()

    async def play(self, night: Night, url: str) -> Counter[str]:
        recipients: dict[str, int] = {}
        for word, *how in chain.from_iterable(self.hours):
            if word == "arrive":
                for _ in range(how[1]):
                    recipients[await night.accept(how[0], to=how[2])] = len(how[2])
                await night.work(self.together)
            elif word == "pass":
                await night.until(self.clock() + timedelta(seconds=how[0]), self.together)
            elif word == "upstream":
                self.says[how[0]] = how[1]
            elif word == "jump":
                self.clock.jump(self.clock() + timedelta(seconds=how[0]))
            elif word == "restart":
                await night.spool.close()
                night.over(await self.opened(url))
            elif word == "retry all":
                await night.spool.order(Order(Action.RETRY, None, by_hand=False), self.clock())  # as a reload does
            elif word == "order" and (among := night.digests_made if how[1] else night.accepted):
                await self.order(night, how[0], among[how[2] % len(among)])
        self.says = dict.fromkeys((ME, YOU), self.morning)
        for queue_id in (*night.accepted, *night.digests_made):
            if (found := await night.spool.entry(queue_id)) and any(one.state is State.HELD for one in found.recipients):
                await night.spool.order(Order(Action.RELEASE, (queue_id,), by_hand=False), self.clock())
        await night.end(timedelta(days=9))  # one minute a day is not quiet, and it takes some to give up
        ends = Counter(await night.accounted_for())
        assert ends.total() == sum(recipients[queue_id] for queue_id in night.accepted)
        return ends

    async def order(self, night: Night, action: Action, queue_id: str) -> None:
        found = await night.spool.entry(queue_id)
        if action is Action.REMOVE:
            await night.remove(queue_id)
        elif await night.spool.order(Order(action, (queue_id,)), self.clock()) and action is Action.RELEASE and found:
            night.released += any(one.merged_into for one in found.recipients)


devices = st.builds(Device, st.just("cam"), helo=st.just(("cam",)), storm=st.one_of(st.none(), storm), quiet=quiet)
lives = st.builds(
    Life, devices, st.sampled_from([1, 7]), st.lists(hour, min_size=1, max_size=4), st.sampled_from(sorted(ANSWERS))
)


REMOVED_AFTER_ITS_END = Life(
    Device("cam", helo=("cam",), storm=Storm(None, 1)),
    1,
    [
        (("upstream", ME, "defers"), ("arrive", "Motion 1", 3, (ME,)), ("pass", 30_000)),
        (("order", Action.REMOVE, True, 0),),
    ],
    "defers",
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(life=REMOVED_AFTER_ITS_END)
@given(life=lives)
def test_every_message_has_exactly_one_end(life: Life) -> None:
    """Relayed, failed, expired or discarded by itself, or with its digest, and merged only if that was relayed.

    Over restarts, jumps, orders, and upstreams that defer, refuse and go away.
    """
    with quick_directory() as directory:
        asyncio.run(life.live(f"sqlite:{directory}/spool.db"))
        assert check_invariants(f"{directory}/spool.db") == []


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(life=lives)
def test_every_message_in_a_shared_queue_has_exactly_one_end(life: Life, postgres_server: PostgresServer) -> None:
    """The same in PostgreSQL."""
    url = postgres_server.database()
    asyncio.run(life.live(url))
    assert check_postgres(url) == []
