"""Lives of messages, by dice that always fall alike: who is called, what becomes of whom, what the trail says."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from relay.mail.address import Address, parse_address
from relay.mail.envelope import Envelope, Origin
from relay.mail.reply import Answer, Reply, Stage
from relay.mail.rewrite import Identity, Rewrite
from relay.outbound import trail
from relay.outbound.attempt import Attempt
from relay.outbound.chain import Judged, Pause
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Chosen
from relay.spool.entry import Claim, Entry, Recipient, Settlement, State
from relay.upstream.report import Conversation, Report
from relay.upstream.settings import DIRECT, Limits, MxHosts, SmtpServer, Upstream

LIVES = 36
ATTEMPTS = 4
NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
NAMES = ("a", "b", "c", DIRECT)
ME = Address("me", "example.jp")
REPLIES = [
    *[(250, "2.0.0 taken")] * 5,
    (221, "2.0.0 bye"),
    (300, "odd"),
    (354, "what"),
    (421, "4.3.2 shutting down"),
    (432, "4.7.12 a password transition is needed"),
    (450, "4.2.0 greylisted"),
    (450, "4.1.8 Sender address rejected: Domain not found"),
    (452, "4.5.3 too many recipients"),
    (454, "4.7.0 TLS not available"),
    (500, "5.5.1 unknown command"),
    (530, "5.7.0 Authentication required"),
    (535, "5.7.8 authentication failed"),
    (550, "5.1.1 no such user"),
    (550, "5.7.1 rejected due to listing in Spamhaus PBL"),
    (550, "5.7.60 SendAsDenied"),
    (550, "5.4.5 Daily user sending limit exceeded"),
    *[(552, "sorry, your domain isn't in my list of allowed senderhosts (#5.7.1)")] * 4,
    (552, "5.3.4 too big"),
    (553, "no"),
    (554, "5.7.1 spam"),
]


class _Life:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        dice = self.dice
        self.upstreams = {
            name: Upstream(
                name,
                MxHosts() if name == DIRECT else SmtpServer(f"mail.{name}.example"),
                identity=Identity(
                    dice.choice([None, *[parse_address(f"account@{name}.example")] * 3]), rewrite=dice.choice([*Rewrite])
                ),
                limits=Limits(message=dice.choice([None, None, 50_000, 200_000])),
            )
            for name in dice.sample(NAMES, 3)
        }
        paths = [f"u{number}@{dice.choice(['x', 'y'])}.example" for number in range(dice.choice([1, 2, 3, 7]))]
        sender = dice.choice([None, "nas@lan.example", "taro@a.example"])
        self.now = NOW
        size = dice.choice([100, 100, 100_000, 1_500_000])
        envelope = Envelope(parse_address(sender) if sender else None, tuple(map(parse_address, paths)))
        self.entry = Entry("q1234567890", NOW, Origin("192.168.0.7"), envelope, size, [b"x"], notice=not sender)
        via = dice.choice(["", "", "", "b"])
        self.rows = {path: Recipient(path, State.QUEUED, 0, NOW, via=via) for path in envelope.forward_paths}
        self.rules = [self._rule(number) for number in range(2)]
        self.warned = False
        self.refused: set[tuple[str, str]] = set()
        self.plan = RetrySchedule()
        self.notify = dice.choice([None, ME])

    def _rule(self, number: int) -> Chosen:
        dice, why = self.dice, f"rule {number}: dice"
        kind = dice.choice(["via"] * 6 + ["discard", "reject", "none"])
        if kind == "discard":
            return Chosen(number, discard=True, why=why)
        if kind == "reject":
            return Chosen(number, reject="not from here", why=why)
        if kind == "none":
            return Chosen(0, why=dice.choice(["", why]))
        return Chosen(number, tuple(dice.choices([*NAMES, "gone"], k=dice.choice([1, 2, 3]))), why=why)

    def attempt(self) -> Iterator[str]:
        due = tuple(each for each in self.rows.values() if each.state is State.QUEUED)
        claim = Claim(self.entry, due, 1, warned=self.warned)
        chosen = {each.address: self.dice.choice(self.rules) for each in due}
        trial = Attempt(
            claim,
            chosen,
            self.upstreams,
            refused_senders=frozenset(self.refused),
            sizes=self.dice.choice([None, {"a": 70_000, "c": 1_000_000}]),
            waited=timedelta(hours=self.dice.choice([0, 0, 200])),
            now=self.now,
        )
        pauses = {name: self._pause(name) for name in self.upstreams}
        while step := trial.next_step(lambda name, _: pauses[name]):
            to = ", ".join(str(each.address) for each in step.recipients)
            yield f"call {step.upstream.name}{' in its own name' if step.own_name else ''} for {to}"
            trial.record(Judged.of(step, self._report([each.address for each in step.recipients])), self.now, notes=("mended",))
            if self.dice.random() < 0.3:
                trial.advised(("Do this.", "And that."), step, self.now)
            if self.dice.random() < 0.1:
                trial.internal_error("internal error: Boom", hold=self.dice.random() < 0.5)
            yield from self._settled(trial.settle(self.plan, self.now, notify=self.notify))
        yield from self._settled(trial.settle(self.plan, self.now, notify=self.notify))
        yield f"over: {trial.over}, waits: {trial.waits}"

    def _pause(self, name: str) -> Pause | None:
        if self.dice.random() < 0.75:
            return None
        until = self.now + timedelta(minutes=self.dice.choice([-1, 0, 3, 400]))
        return Pause(until, f"{name} rests", divert=self.dice.random() < 0.7, failures=self.dice.choice([0, 1, 9]))

    def _report(self, paths: list[Address]) -> Report:
        dice = self.dice
        stage = dice.choice([*Stage, Stage.MAIL, Stage.MAIL, Stage.CONTENT])
        said = Answer(stage, Reply.of(*dice.choice(REPLIES)), lost=dice.random() < 0.2)
        answers = {}
        for path in paths:
            answers[path] = said if dice.random() < 0.7 else Answer(Stage.RCPT, Reply.of(*dice.choice(REPLIES)))
        if dice.random() < 0.1:
            answers.popitem()
        left = frozenset(path for path in paths[1:] if dice.random() < 0.05)
        notes = dice.choice([(), ("slow",), ("slow", "odd")])
        return Report(
            answers, Conversation("192.0.2.1:587", "TLSv1.3", dice.choice(["", "PLAIN"]), took=0.25, notes=notes), left
        )

    def _settled(self, settlement: Settlement) -> Iterator[str]:
        for row in settlement.outcomes:
            self.rows[row.address] = row
            words = f"{row.upstream}/{row.stage}/{row.code}/{row.status}/{row.said}"
            yield f"= {row.address} {row.state.value}, {row.attempts} x, due {row.due_at:%d %H:%M:%S.%f}: {words}"
        for line in settlement.trail:
            details = {name: value for name, value in line.details.items() if name not in ("said", "to")}
            yield f"  {line.at:%d %H:%M} {line.event}: {trail.words(line)} {json.dumps(details)}"
        for notice in settlement.notices:
            yield f"  {notice.kind.value} {notice.recipient.address} to {notice.notify} at {notice.made_at:%d %H:%M}"
        if settlement.sent or settlement.refused_sender or settlement.warned:
            yield f"  sent {settlement.sent!r}, refused {settlement.refused_sender}, warned {settlement.warned}"
        self.warned = self.warned or settlement.warned
        if settlement.refused_sender:
            self.refused.add(settlement.refused_sender)


def life(seed: int) -> str:
    """What happens to one message in up to four attempts."""
    one = _Life(seed)
    lines = [f"{one.entry.size} octets from {one.entry.envelope.reverse_path}, told: {one.notify}"]
    for _ in range(ATTEMPTS):
        if not any(row.state is State.QUEUED for row in one.rows.values()):
            break
        one.now += timedelta(minutes=one.dice.choice([1, 90, 300, 4000]))
        one.rows = {path: replace(row, due_at=one.now) for path, row in one.rows.items()}
        lines += [f"--- {one.now:%d %H:%M}", *one.attempt()]
    return "\n".join(lines) + "\n"
