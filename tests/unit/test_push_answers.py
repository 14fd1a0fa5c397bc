"""The HTTP status decides what becomes of a push message, and words decide nothing."""

import pytest

from relay.mail.reply import Fault, Stage
from relay.outbound.replies import Blame, Fate, judge
from relay.upstream.push.answers import answer, answer_of, notes
from relay.upstream.push.frames import Outcome

URLS = ["ntfy://ntfy.example/topsecret"]


def fate(outcome: Outcome) -> tuple[Fate, Blame, bool]:
    verdict = judge(answer_of(outcome, URLS))
    return verdict.fate, verdict.blame, verdict.rests


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, (Fate.FAILED, Blame.MESSAGE, False)) for status in (400, 406, 409, 413, 414, 415, 422, 431)),
        *((status, (Fate.DEFERRED, Blame.LOGIN, True)) for status in (301, 302, 308, 401, 403, 404, 407, 410)),
        *((status, (Fate.DEFERRED, Blame.RATE, False)) for status in (429,)),
        *((status, (Fate.DEFERRED, Blame.UPSTREAM, False)) for status in (408, 425, 500, 501, 599, 0)),
        *((status, (Fate.DEFERRED, Blame.UPSTREAM, True)) for status in (502, 503, 504, 522)),
    ],
)
@pytest.mark.parametrize("words", ["", "550 5.1.1 user unknown", "Unauthorized", "greylisted, try again", "quota exceeded"])
def test_the_status_decides(status: int, expected: tuple[Fate, Blame, bool], words: str) -> None:
    """4xx is the message's, 401 to 404 the account's, 429 and 5xx pass."""
    assert fate(Outcome(False, status=status, said=words)) == expected


def test_what_a_service_says_about_the_account_counts_whatever_the_number() -> None:
    """Pushover and Telegram answer 400 to a wrong user, Slack even 200."""
    for status in (200, 400):
        assert fate(Outcome(False, status=status, blocked=True)) == (Fate.DEFERRED, Blame.LOGIN, True)


@pytest.mark.parametrize("fault", [Fault.NO_HOST, Fault.DNS, Fault.REFUSED, Fault.UNREACHABLE, Fault.TIMED_OUT, Fault.HUNG_UP])
def test_nothing_went_out(fault: Fault) -> None:
    """No connection: it waits, and the service rests."""
    assert fate(Outcome(False, fault=fault.value)) == (Fate.DEFERRED, Blame.UPSTREAM, True)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault.value.startswith("tls")])
def test_no_tls(fault: Fault) -> None:
    """Likewise, with the advice on that fault."""
    assert fate(Outcome(False, fault=fault.value)) == (Fate.DEFERRED, Blame.UPSTREAM, True)


@pytest.mark.parametrize("fault", list(Fault))
def test_what_may_have_gone_out_is_uncertain(fault: Fault) -> None:
    """Whatever broke: no other upstream is asked."""
    verdict = judge(answer_of(Outcome(False, fault=fault.value, sent=True), URLS))
    assert (verdict.fate, verdict.blame, verdict.try_next) == (Fate.DEFERRED, Blame.UNCERTAIN, False)


def test_the_worst_of_several_counts() -> None:
    """One that may have it, then one to be tried again, then a refusal; taken only if all took it."""
    taken, refused = Outcome(True, status=200), Outcome(False, status=400)
    later, unsure = Outcome(False, status=503), Outcome(False, fault="timed-out", sent=True)
    account = Outcome(False, status=401)
    assert answer([taken, taken], URLS).reply.code == 250
    assert answer([taken, refused], URLS).fault is Fault.PUSH_REFUSED
    assert answer([refused, later, taken], URLS).fault is Fault.PUSH_TROUBLE
    assert answer([refused, account], URLS).fault is Fault.PUSH_ACCOUNT
    assert answer([unsure, later, refused], URLS).stage is Stage.CONTENT


def test_the_trail_says_what_each_of_several_answered() -> None:
    """The one that counts first."""
    outcomes = [Outcome(True, status=200, service="ntfy"), Outcome(False, status=503, service="Gotify")]
    assert answer(outcomes, URLS).reply.text == "Gotify: HTTP 503; ntfy took it (HTTP 200)"
    assert answer(outcomes[:1] * 2, URLS).reply.text == "ntfy took it (HTTP 200); ntfy took it (HTTP 200)"


def test_the_words_are_kept_without_secrets() -> None:
    """Status, the service's words, the library's line."""
    words = ("Failed to post to topic topsecret",)
    outcome = Outcome(False, status=403, said="forbidden: topsecret", words=words, service="ntfy")
    assert answer_of(outcome, URLS).reply.text == "ntfy: HTTP 403, forbidden: ***; Failed to post to topic ***"
    assert answer_of(Outcome(False, status=429, retry_after=7.5), URLS).retry_after == 7.5


def test_what_was_left_out_is_noted() -> None:
    """Each thing once."""
    outcomes = [Outcome(True, service="Gotify", left=2, others=1, cut=500), Outcome(True, service="ntfy", others=1)]
    assert notes(outcomes, 1) == (
        "1 of the URLs had taken it before, and did not get it again",
        "the text was cut to 500 characters for Gotify",
        "2 pictures were left out for Gotify",
        "an attachment was left out: no picture",
    )
