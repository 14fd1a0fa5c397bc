"""What the doctor says of a notification URL, from what its service answered."""

import pytest

from relay.doctor.finding import Grade
from relay.doctor.push import PushFacts, UrlFacts, judge_push
from relay.secret import Secret
from relay.upstream.push.answers import answer_of
from relay.upstream.push.check_calls import Proof
from relay.upstream.push.frames import Outcome
from relay.upstream.settings import PushService, Upstream

URL = "ntfys://ntfy.example/topsecret"
PHONE = Upstream("phone", PushService((Secret(URL),)))


def judged(*urls):
    return judge_push(PushFacts(PHONE, urls))


@pytest.mark.parametrize(
    ("outcome", "grade", "name"),
    [
        (Outcome(False, status=401, said="token topsecret unknown"), Grade.PROBLEM, "push-url"),
        (Outcome(False, status=404), Grade.PROBLEM, "push-url"),
        (Outcome(False, status=400, blocked=True), Grade.PROBLEM, "push-url"),
        (Outcome(False, status=400, said="device is invalid"), Grade.PROBLEM, "push-url"),
        (Outcome(False, status=429), Grade.WARNING, "push-trouble"),
        (Outcome(False, status=500), Grade.WARNING, "push-trouble"),
        (Outcome(False, status=503), Grade.WARNING, "push-trouble"),
        (Outcome(False, fault="timed-out"), Grade.PROBLEM, "push-unreachable"),
        (Outcome(False, fault="tls-trust"), Grade.PROBLEM, "push-unreachable"),
        (Outcome(False, fault="no-host"), Grade.PROBLEM, "push-unreachable"),
        (Outcome(False, fault="internal", words=("Apprise cannot be loaded: x",)), Grade.PROBLEM, "push-process"),
    ],
)
def test_a_check_that_fails(outcome, grade, name):
    """The account's fault, the service's, the line's or ours: each its own finding, with a cure and without the secret."""
    [finding] = judged(UrlFacts(0, "ntfy", failed=answer_of(outcome, [URL])))
    assert (finding.grade, finding.name) == (grade, name)
    assert finding.cure
    assert "topsecret" not in str(finding)


def test_what_is_proved_is_said():
    """Each proof has its own sentence; only what has none says that there is no way to ask."""
    said = [judged(UrlFacts(0, "x", "192.0.2.1:443", "TLSv1.3", proved=proof))[0] for proof in Proof]
    assert {one.grade for one in said} == {Grade.OK}
    assert len({one.cause for one in said}) == len(Proof)
    assert ["no call by which" in one.cause for one in said] == [proof is Proof.NOTHING for proof in Proof]


def test_what_is_unclear_or_without_tls_is_a_warning():
    """Both are said, if both are so."""
    unclear = UrlFacts(0, "ntfy", "192.0.2.1:80", unclear=True, status=403)
    assert [one.name for one in judged(unclear)] == ["push-unclear", "push-clear"]
    assert [one.grade for one in judged(unclear)] == [Grade.WARNING] * 2
    secure = UrlFacts(1, "ntfy", "192.0.2.1:443", "TLSv1.3", unclear=True, status=403)
    assert [one.name for one in judged(secure)] == ["push-unclear"]
    for late in (0.0, 11.0):
        assert [one.name for one in judged(UrlFacts(0, "Syslog", examined=False, late=late))] == ["push-unexamined"]
