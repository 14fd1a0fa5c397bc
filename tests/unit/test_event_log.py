"""The log tells the same story as the trail: each step once, with its details, and each fate once."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from relay import events
from relay.mail.reply import Answer, Reply, Stage
from relay.outbound import event_log
from relay.outbound.chain import Judged
from relay.outbound.retry import RetrySchedule
from relay.upstream.report import Conversation, Report
from tests.unit.test_attempt import LATER, OK, attempt, awake, claim

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SPOKEN = Conversation("192.0.2.1:587", "TLSv1.3", "PLAIN", took=0.2)


@pytest.fixture
def log(monkeypatch):
    """What is logged, as (event, fields); every field can be written as JSON."""
    lines = []

    class Log:
        def info(self, event, **fields):
            json.dumps(fields)
            lines.append((event, fields))

        warning = error = info

    monkeypatch.setattr(events, "_log", Log())
    return lines


def test_a_refused_attempt_and_the_one_that_took_it_are_both_told(log):
    """Repairs, rule, each upstream with address, TLS, mechanism, stage, code and words, the advice, then the fate."""
    due = claim("x@y.example")
    trial = attempt(due, "a", "b")
    for answer in (LATER, OK):
        step = trial.next_step(awake)
        trial.record(Judged.of(step, Report({due.recipients[0].address: answer}, SPOKEN)), NOW, notes=("Date added",))
        if answer is LATER:
            trial.advised(("Wait.",), step, NOW)
        event_log.settled(due, trial.settle(RetrySchedule(), NOW + timedelta(seconds=1)))
    assert [event for event, _ in log] == ["repaired", "routed", "tried", "advised", "tried", "relayed"]
    assert {fields["queue_id"] for _, fields in log} == {due.entry.queue_id}
    refused, advised, taken, fate = (fields for _, fields in log[2:])
    expected = {"upstream": "a", "peer": "192.0.2.1:587", "tls": "TLSv1.3", "mechanism": "PLAIN", "stage": "rcpt", "code": 450}
    assert expected.items() <= refused.items() and refused["said"] == "greylisted"
    assert log[1][1]["rule"] == 1 and advised["text"] == "Wait."
    assert {"upstream": "b", "peer": "192.0.2.1:587", "code": 250, "stage": "content"}.items() <= taken.items()
    assert fate["recipient"] == "x@y.example"


def test_each_fate_is_counted_once(log):
    """However much is told of the way, one recipient relayed is one `relayed` by that upstream."""
    before = events.counts["relayed", "a"]
    due = claim("x@y.example", "z@y.example")
    trial = attempt(due, "a")
    step = trial.next_step(awake)
    unknown = Answer(Stage.RCPT, Reply(550, "5.1.1", "no such user"))
    answers = dict(zip([each.address for each in due.recipients], (OK, unknown), strict=True))
    trial.record(Judged.of(step, Report(answers, SPOKEN)), NOW)
    assert trial.next_step(awake) is None
    event_log.settled(due, trial.settle(RetrySchedule(), NOW))
    assert events.counts["relayed", "a"] == before + 1
    assert sorted(event for event, _ in log) == ["failed", "relayed", "routed", "tried", "tried"]
