"""The spool against a dict: whatever is done in whatever order, both tell the same story."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from relay.spool import open_spool
from relay.spool.contract import LeaseLost, SpoolSettings
from relay.spool.entry import Action, Claim, Entry, NoticeKind, Order, Recipient, Settlement, State
from relay.spool.sqlite.invariants import check_invariants
from tests.support.postgres import PostgresServer
from tests.support.postgres import check_invariants as check_postgres
from tests.support.spooled import a_notice, after, an_entry, quick_directory
from tests.support.world import Clock, Ids

KEEP = timedelta(days=1)
CONTENTS = [b"", b"short", (b"x" * 70_000,), (b"y" * 300_000, b"z" * 1_000)]
APPLIES = {
    Action.RETRY: {State.QUEUED},
    Action.HOLD: {State.QUEUED},
    Action.RELEASE: {State.HELD, State.FAILED, State.EXPIRED},
    Action.REMOVE: set(State),
}


@dataclass
class Kept:
    """What the model knows of one message."""

    entry: Entry
    recipients: dict[str, Recipient]
    number: int
    lease: int = 0
    over_at: object = None
    attention: bool = False

    @property
    def unfinished(self) -> bool:
        return any(not r.state.over for r in self.recipients.values())

    def due(self) -> list[Recipient]:
        return [r for r in self.recipients.values() if r.state is State.QUEUED]


class SpoolMachine(RuleBasedStateMachine):
    """Every rule does one verb on the spool and on the model, and compares what both answer."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.directory = quick_directory()
        self.url = self.place()
        self.clock, self.ids = Clock(), Ids()
        self.loop = asyncio.new_event_loop()
        self.model: dict[str, Kept] = {}
        self.sent: dict[str, int] = {}
        self.notices: list[tuple[str, NoticeKind]] = []
        self.count = 0
        self.open()

    def place(self) -> str:
        """Where the spool is."""
        return f"sqlite:{self.directory.name}/spool.db"

    def wrong(self) -> list[str]:
        """What is wrong with it."""
        return check_invariants(Path(self.url.removeprefix("sqlite:")))

    def open(self) -> None:
        settings = SpoolSettings(self.url, keep_free=0, keep_history=KEEP)
        self.spool = self.run(open_spool(settings, now=self.clock))

    def run(self, work):
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.spool.close())
        wrong = self.wrong()
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.directory.cleanup()
        assert wrong == []

    @rule(content=st.sampled_from(CONTENTS), to=st.integers(1, 3), ago=st.integers(0, 5))
    def commit(self, content, to, ago):
        """A message arrives."""
        now = self.clock() - timedelta(minutes=ago)
        entry = an_entry(self.ids(now), now, content=content, to=[f"r{n}@x.jp" for n in range(to)])
        self.run(self.spool.commit(entry))
        rows = {a.key: Recipient(a, State.QUEUED, 0, now) for a in entry.envelope.forward_paths}
        self.count += 1
        self.model[entry.queue_id] = Kept(entry, rows, self.count)

    @rule(target=claims)
    def claim(self):
        """The model and the spool agree which message is next."""
        now = self.clock()
        ready = [
            (min(r.due_at for r in kept.due()), kept.entry.accepted_at, kept.number, kept)
            for kept in self.model.values()
            if not kept.lease and kept.due()
        ]
        claim = self.run(self.spool.claim(now))
        expected = min(ready, key=lambda one: one[:3], default=None)
        if expected is None or expected[0] > now:
            assert claim is None
            assert self.run(self.spool.next_due()) == (expected and expected[0])
            return multiple()
        kept = expected[3]
        assert claim.entry == kept.entry
        assert list(claim.recipients) == [r for r in kept.due() if r.due_at <= now]
        assert b"".join(claim.entry.content) == b"".join(kept.entry.content)
        kept.lease = claim.lease
        return claim

    @rule(claim=claims, data=st.data())
    def settle(self, claim: Claim, data):
        """Some of the claimed recipients get a fate."""
        kept = self.model.get(claim.entry.queue_id)
        open_ones = [r for r in claim.recipients if kept and kept.recipients[r.address.key].state in (State.QUEUED, State.HELD)]
        chosen = data.draw(st.lists(st.sampled_from(open_ones), unique=True)) if open_ones else []
        later = self.clock() + timedelta(minutes=data.draw(st.integers(0, 90)))
        outcomes = tuple(after(r, data.draw(st.sampled_from(State)), due_at=later) for r in chosen)
        told = tuple(a_notice(claim.entry.queue_id, o, self.clock()) for o in outcomes if o.state is State.FAILED)
        sent, attention = data.draw(st.sampled_from(["", "isp"])), data.draw(st.booleans())
        settlement = Settlement(outcomes, notices=told, sent=sent, attention=attention)
        if kept is None or kept.lease != claim.lease:
            with pytest.raises(LeaseLost):
                self.run(self.spool.settle(claim, settlement))
            return
        self.run(self.spool.settle(claim, settlement))
        for outcome in outcomes:
            before = kept.recipients[outcome.address.key]
            stays_held = before.state is State.HELD and outcome.state is State.QUEUED
            via = outcome.via if before.via == outcome.via else before.via
            state = State.HELD if stays_held else outcome.state
            kept.recipients[outcome.address.key] = replace(outcome, state=state, via=via)
        self.sent["isp"] = self.sent.get("isp", 0) + (settlement.sent == "isp")
        kept.attention = kept.attention or attention
        self.notices += [(n.queue_id, n.kind) for n in told]
        self.sum_up(kept)

    def sum_up(self, kept: Kept) -> None:
        if kept.unfinished:
            kept.over_at = None
        elif kept.over_at is None:
            kept.over_at = self.clock()

    @rule(claim=consumes(claims))
    def release(self, claim: Claim):
        """An attempt ends."""
        self.run(self.spool.release(claim))
        kept = self.model.get(claim.entry.queue_id)
        if kept and kept.lease == claim.lease:
            kept.lease = 0

    @rule(action=st.sampled_from(Action), all_of_them=st.booleans(), via=st.sampled_from(["", "gmail"]), data=st.data())
    def order(self, action, all_of_them, via, data):
        """The operator steps in."""
        if action is Action.REMOVE:
            all_of_them = False  # else there is soon nothing left to look at
        ids = None if all_of_them else tuple(data.draw(st.lists(st.sampled_from([*self.model, "unknown00"]), max_size=2)))
        now = self.clock()
        states = {*APPLIES.get(action, ())}
        if action is Action.RELEASE and via and ids is not None:
            states.add(State.QUEUED)  # what waits may go by another upstream
        if action is Action.RELEASE and ids is not None:
            states.add(State.MERGED)  # one by one, never all of a storm
        applied = self.run(self.spool.order(Order(action, ids, via), now))
        hit = [
            kept
            for queue_id, kept in list(self.model.items())
            if (ids is None or queue_id in ids) and self.fits(action, states, kept)
        ]
        assert applied == len(hit)
        for kept in hit:
            if action is Action.REMOVE:
                del self.model[kept.entry.queue_id]
                continue
            kept.attention = kept.attention and action not in (Action.RELEASE, Action.ACKNOWLEDGE)
            if action is Action.ACKNOWLEDGE:
                continue
            for key, r in kept.recipients.items():
                if r.state not in states:
                    continue
                if action is Action.HOLD:
                    kept.recipients[key] = replace(r, state=State.HELD)
                else:
                    order = via if action is Action.RELEASE else r.via
                    attempts = 0 if action is Action.RETRY else r.attempts  # by hand: the shortest delay again
                    kept.recipients[key] = replace(r, state=State.QUEUED, due_at=now, via=order, attempts=attempts)
            self.sum_up(kept)

    @staticmethod
    def fits(action: Action, states: set[State], kept: Kept) -> bool:
        """Whether the order is for this message."""
        if action is Action.ACKNOWLEDGE:
            return kept.attention
        return any(r.state in states for r in kept.recipients.values())

    @rule()
    def tell(self):
        """A notice goes out and strikes off the oldest pending one."""
        pending = self.run(self.spool.pending_notices())
        assert [(n.queue_id, n.kind) for n in pending] == self.notices
        self.run(self.spool.notify(None, tuple(n.number for n in pending[:1])))
        del self.notices[:1]

    @rule(minutes=st.sampled_from([1, 30, 700]))
    def time_passes(self, minutes):
        """The clock moves on."""
        self.clock.advance(minutes=minutes)

    @rule()
    def tidy(self):
        """What is over long enough and told goes."""
        self.run(self.spool.tidy(self.clock()))
        untold = {queue_id for queue_id, _ in self.notices}
        for queue_id, kept in list(self.model.items()):
            old = kept.over_at is not None and kept.over_at < self.clock() - KEEP
            if old and not kept.lease and queue_id not in untold and not kept.attention:
                del self.model[queue_id]

    @rule()
    def restart(self):
        """The relay is stopped and started: leases are gone, all else stays."""
        self.run(self.spool.close())
        assert self.wrong() == []
        self.open()
        for kept in self.model.values():
            kept.lease = 0

    @invariant()
    def both_tell_the_same(self):
        """Every message, every recipient, every count."""
        stored = self.run(self.spool.entries(limit=10_000))
        expected = sorted(self.model.values(), key=lambda k: (k.entry.accepted_at, k.number))
        assert [(s.entry, s.recipients) for s in stored] == [(k.entry, tuple(k.recipients.values())) for k in expected]
        tally = self.run(self.spool.tally())
        assert tally.unfinished == sum(k.unfinished for k in expected)
        assert tally.attention == sum(k.attention for k in expected)
        assert sum(tally.states.values()) == sum(len(k.recipients) for k in expected)


SpoolMachine.TestCase.settings = settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # to explain, each line would be traced: minutes
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
test_the_spool_keeps_what_a_dict_would_keep = pytest.mark.timeout(300)(SpoolMachine.TestCase)


class PostgresMachine(SpoolMachine):
    """The same on a server."""

    server: ClassVar[PostgresServer]

    def place(self) -> str:
        return self.server.database()

    def wrong(self) -> list[str]:
        return check_postgres(self.url)


PostgresMachine.TestCase.settings = settings(SpoolMachine.TestCase.settings, max_examples=5)


@pytest.mark.timeout(300)
class TestOnPostgres(PostgresMachine.TestCase):  # type: ignore[name-defined, misc]
    """The keeping of a spool in PostgreSQL."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        PostgresMachine.server = postgres_server
