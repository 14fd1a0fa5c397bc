"""Whatever upstreams answer at whatever stage: the promises of an attempt hold.

Chains, rests, sizes and answers are random; in a life several attempts follow each other as the runner would make them.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.reply import POSTPONED, Answer, Fault, Reply, Stage
from relay.mail.rewrite import Identity, Rewrite
from relay.outbound.attempt import Attempt
from relay.outbound.chain import Judged, Pause
from relay.outbound.replies import Blame, Fate, judge
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Chosen
from relay.spool.entry import Claim, Entry, Recipient, State
from relay.upstream.report import Report
from relay.upstream.settings import Limits, SmtpServer, Upstream

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NAMES = ("a", "b", "c", "d", "gone")
PLAN = RetrySchedule()

replies = st.sampled_from(
    [
        (250, "2.0.0 taken"),
        (421, "4.3.2 shutting down"),
        (450, "4.2.0 greylisted"),
        (450, "4.1.8 Sender address rejected: Domain not found"),
        (550, "5.1.1 no such user"),
        (550, "5.7.1 rejected due to listing in Spamhaus PBL"),
        (552, "sorry, your domain isn't in my list of allowed senderhosts (#5.7.1)"),
        (552, "5.3.4 too big"),
        (553, "no"),
        (535, "5.7.8 authentication failed"),
        (554, "5.7.1 spam"),
        (550, "5.4.5 Daily user sending limit exceeded"),
        (354, "what"),
    ]
).map(lambda each: Reply.of(*each))
FAULTS = sorted(set(Fault) - {*POSTPONED, Fault.RESTS}, key=lambda each: each.value)
answers = st.builds(
    Answer,
    st.sampled_from(list(Stage)),
    replies,
    st.booleans(),
    st.one_of(st.none(), st.sampled_from(FAULTS)),  # what transports say that are no SMTP
    st.sampled_from([None, None, 60.0]),
)
chains = st.lists(st.sampled_from(NAMES), max_size=4).map(tuple)
routes = st.builds(lambda via: Chosen(1, via, why="rule 1"), chains)
identities = st.builds(Identity, st.sampled_from([None, Address("me", "x.example")]), rewrite=st.sampled_from(list(Rewrite)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_one_fate_for_each_recipient(data):
    """Exactly one fate; no upstream twice but in the own name; nothing after a 250; nobody after a lost final reply;
    failed only if everybody said so, and never by an answer from before MAIL."""
    upstreams = {
        name: Upstream(
            name,
            SmtpServer(name),
            identity=data.draw(identities),
            limits=Limits(message=data.draw(st.sampled_from([None, 50]))),
        )
        for name in NAMES[:-1]
    }
    paths = [Address(f"r{number}", "y.example") for number in range(data.draw(st.integers(1, 5)))]
    chosen = {path: data.draw(routes) for path in paths}
    sender = data.draw(st.sampled_from([None, Address("nas", "lan.example")]))
    entry = Entry("q1234567890", NOW, Origin("10.0.0.1"), Envelope(sender, tuple(paths)), 100, [b""])
    claim = Claim(entry, tuple(Recipient(path, State.QUEUED, data.draw(st.integers(0, 9)), NOW) for path in paths), 1)
    resting = data.draw(st.sets(st.sampled_from(NAMES)))
    age = timedelta(hours=data.draw(st.integers(-30, 200)))

    trial = Attempt(claim, chosen, upstreams, now=NOW)
    asked = {path: [] for path in paths}
    heard = {path: {} for path in paths}
    outcomes = []

    def pauses(name, recipient):
        return Pause(NOW + timedelta(minutes=1), "rests", divert=data.draw(st.booleans())) if name in resting else None

    while step := trial.next_step(pauses):
        assert step.upstream.name not in resting
        assert step.upstream.limits.message is None
        said = {}
        for recipient in step.recipients:
            path = recipient.address
            assert path not in {row.address for row in outcomes}, "asked again for a settled recipient"
            assert (step.upstream.name, step.own_name) not in asked[path]
            assert (step.upstream.name, True) not in asked[path]
            for before in heard[path].values():
                assert judge(before).fate is not Fate.RELAYED
                assert not (before.lost and before.stage is Stage.CONTENT)
            asked[path].append((step.upstream.name, step.own_name))
            if data.draw(st.integers(0, 20)):
                said[path] = heard[path][step.upstream.name] = data.draw(answers)
            else:
                heard[path][step.upstream.name] = Answer(Stage.CONTENT, Reply(451, "4.3.0", "?"), lost=True)
        trial.record(Judged.of(step, Report(said)), NOW)
        settlement = trial.settle(PLAN, NOW, age=age)
        outcomes += settlement.outcomes
        relayed = {path for path in paths if any(judge(a).fate is Fate.RELAYED for a in heard[path].values())}
        assert relayed <= {row.address for row in outcomes}, "a 250 is not settled before the next step"
    outcomes += trial.settle(PLAN, NOW, age=age).outcomes

    assert sorted(str(row.address) for row in outcomes) == sorted(map(str, paths))
    for before in claim.recipients:
        row = next(each for each in outcomes if each.address == before.address)
        said = heard[row.address]
        if any(judge(answer).fate is Fate.RELAYED for answer in said.values()):
            assert row.state is State.RELAYED
        else:
            assert row.state is not State.RELAYED
        if row.state is State.FAILED:
            small = {name for name, each in upstreams.items() if each.limits.message}
            assert set(chosen[row.address].via) == {name for name in chosen[row.address].via if name in said or name in small}
            assert all(judge(answer).fate is Fate.FAILED for answer in said.values())
            assert not any(answer.lost or answer.stage.before(Stage.MAIL) for answer in said.values())
        if row.state is State.QUEUED:
            assert row.due_at > NOW
            assert row.attempts in (before.attempts, before.attempts + 1)
            assert row.attempts == before.attempts + 1 or not said
        if row.state is State.EXPIRED:
            assert age >= PLAN.give_up_after


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_fate_over_a_whole_life(data):
    """Attempt after attempt, whatever happens between: taken at most once and never asked for again, one end for each.

    A lost final reply leaves the message with that upstream, whatever it says next, whatever people order and however the
    rules change, until it took the message or refused it for good, or `warn_after` is over since then; no one else sees it.
    """
    upstreams = {name: Upstream(name, SmtpServer(name), identity=data.draw(identities)) for name in NAMES[:-1]}
    paths = tuple(Address(f"r{number}", "y.example") for number in range(data.draw(st.integers(1, 3))))
    chains_of = routes.filter(lambda each: set(each.via) & set(upstreams))
    chosen = {path: data.draw(chains_of) for path in paths}
    sender = data.draw(st.sampled_from([None, Address("nas", "lan.example")]))
    entry = Entry("q1234567890", NOW, Origin("10.0.0.1"), Envelope(sender, paths), 100, [b""])
    rows = {path: Recipient(path, State.QUEUED, 0, NOW) for path in paths}
    taken, ends, maybe, refused = dict.fromkeys(paths, 0), dict.fromkeys(paths, 0), {}, frozenset()
    now, attempts = NOW, 0

    while due := [row for row in rows.values() if row.state is State.QUEUED]:
        now = max(now, min(row.due_at for row in due))
        attempts += 1
        healed = attempts > 12  # from now on everybody works and takes it
        if not healed and data.draw(st.integers(0, 3)) == 0:  # somebody orders all to be tried now, or held and released
            due = [replace(row, attempts=data.draw(st.sampled_from([0, row.attempts])), due_at=now) for row in due]
            now += timedelta(minutes=data.draw(st.sampled_from([0, 10, 100])))
        if not healed and data.draw(st.integers(0, 3)) == 0:  # the rules are others
            chosen = {path: data.draw(chains_of) for path in paths}
        known = upstreams
        if not healed and data.draw(st.integers(0, 5)) == 0:  # an upstream is not configured for a while
            known = {name: each for name, each in upstreams.items() if name != data.draw(st.sampled_from(NAMES))}
        claimed = tuple(row for row in due if row.due_at <= now)
        resting = set() if healed else data.draw(st.sets(st.sampled_from(NAMES), max_size=2))
        trial = Attempt(Claim(entry, claimed, attempts), chosen, known, refused_senders=refused, now=now)
        heard, asked, lost_now = {path: {} for path in paths}, {path: set() for path in paths}, set()

        def pauses(name, recipient, resting=resting, now=now):
            return Pause(now + timedelta(minutes=1), "rests", failures=1) if name in resting else None

        while step := trial.next_step(pauses):
            said, name = {}, step.upstream.name
            for path in (recipient.address for recipient in step.recipients):
                assert taken[path] == 0 and ends[path] == 0
                assert path not in lost_now, "asked somebody in the same attempt after a lost final reply"
                other = path in maybe and maybe[path][0] != name
                assert not other or now - maybe[path][1] >= PLAN.warn_after, "asked another after a lost final reply"
                said[path] = Answer(Stage.CONTENT, Reply(250, "2.0.0", "taken")) if healed else data.draw(answers)
                verdict = heard[path][name] = judge(said[path])
                asked[path].add(name)
                taken[path] += verdict.fate is Fate.RELAYED
                if verdict.blame is Blame.UNCERTAIN:
                    lost_now.add(path)
                    if path not in maybe or maybe[path][0] != name:
                        maybe[path] = (name, now)
                elif other or verdict.fate is not Fate.DEFERRED:
                    maybe.pop(path, None)
            trial.record(Judged.of(step, Report(said)), now)
            settlement = trial.settle(PLAN, now)
            refused |= {settlement.refused_sender} if settlement.refused_sender else set()
            rows, ends = _after(rows, ends, settlement)
        rows, ends = _after(rows, ends, trial.settle(PLAN, now))
        for path in (row.address for row in claimed):
            row = rows[path]
            if row.state is State.FAILED:
                failed = {name for name, verdict in heard[path].items() if verdict.fate is Fate.FAILED}
                assert failed == asked[path] >= set(chosen[path].via)
            if row.state is State.QUEUED:
                assert (row.maybe_at, row.maybe_since) == maybe.get(path, ("", None))

    assert set(ends.values()) == {1}
    for path, row in rows.items():
        assert (row.state is State.RELAYED) == (taken[path] == 1)
        assert taken[path] <= 1


def _after(rows, ends, settlement):
    """The rows as the spool would keep them, and how often each recipient has come to an end."""
    ends = {
        path: times + any(row.address == path and row.state.over for row in settlement.outcomes) for path, times in ends.items()
    }
    return rows | {row.address: row for row in settlement.outcomes}, ends
