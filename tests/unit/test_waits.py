"""For how long a greylisting server wants us to wait."""

from datetime import timedelta

import pytest

from relay.mail.reply import Answer, Reply, Stage
from relay.outbound.replies import judge
from relay.outbound.replies.waits import wait_said
from relay.outbound.retry import RetrySchedule

M, S = timedelta(minutes=1), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("Graylisted, retry in 300 seconds", 300 * S),
        ("<a@5min.example>: Recipient address rejected: Greylisted for 5 minutes", 5 * M),
        ("<a@host.example>: Recipient address rejected: host.example greylisted for 60 seconds by ZEROSPAM", M),
        ("Please retry in 5 minutes, spam protection by greylisting", 5 * M),
        ("Greylisted by SPF policy, retry in 5 min", 5 * M),
        ("first contact, come again in 300 s (greylist)", 300 * S),
        ("Greylisting in action, please come back in 00:04:59", 4 * M + 59 * S),
        ("greylisted: 4 minutes and 30 seconds left", 270 * S),
        ("Greylisted, try again in 1h 5m", 65 * M),
        ("greylisting: 300-second delay", 300 * S),
        ("Greylisted 3 minutes ago, come back in 2 minutes", 2 * M),
        ("Greylisting: bitte in 5 Minuten erneut", 5 * M),
        ("Liste grise, réessayez dans 10 minutes", 10 * M),
        ("灰名单，请 300 秒后重试", 300 * S),
        ("Greylisted, see http://postgrey.schweikert.ch/help/300s/host.example.html", None),
        ("Greylisting in effect, please come back later", None),
        ("Greylisted; your IP 192.0.2.7 has sent 5 messages to 3 hosts", None),
        ("Greylisted since 3 minutes ago", None),
        ("Greylisted at 2026-11-30 03:15:00, please try again later", None),
        ("Mon, 30 Nov 2026 03:15:00 +0000 greylisted, come back later", None),
        ("Greylisted until 03:15:00 UTC", None),
        ("Greylisted, try again 03:15:00 UTC", None),
        ("Greylisted at 03:15:00, try again in 5 minutes", 5 * M),
        ("greylisted, retry in 0 seconds", None),
        ("greylisted, retry in 99999 hours", None),
        ("greylisted (queue id 4F5m)", None),
        ("greylist 4.7.1 m", None),
    ],
)
def test_the_wait_in_the_words(said, wait):
    """A number and a unit, wherever they stand; what is repeated of ours, or is past, is none."""
    assert wait_said(said) == wait
    assert judge(Answer(Stage.RCPT, Reply(451, "4.7.1", said))).wait == wait


def test_only_greylisting_waits_by_its_words():
    """Other replies have numbers of other meanings."""
    for said in ("452 4.3.1 mailbox full, try again in 5 minutes", "421 4.7.0 too many connections in 60 seconds"):
        code, status, text = said.split(" ", 2)
        assert judge(Answer(Stage.RCPT, Reply(int(code), status, text))).wait is None


def test_a_long_reply_takes_no_long_time():
    """Every expression is linear."""
    for piece in ("5 m", "5 minutes and ", "00:", "5 ", "m " * 9):
        wait_said(piece * 2000)


def test_the_schedule_believes_it_for_a_while():
    """A little longer than it was said; a server that goes on naming a short time is called at growing intervals after all."""
    schedule = RetrySchedule()
    for attempts, said, least, most in (
        (1, 300 * S, 315 * S, 347 * S),
        (1, 5 * S, 20 * S, 22 * S),
        (3, 60 * S, 75 * S, 83 * S),
        (4, 60 * S, 30 * M, 33 * M),
        (4, 120 * M, 120 * M, 133 * M),
    ):
        assert least <= schedule.next(attempts, M, "q", said) <= most
    assert schedule.next(9, timedelta(days=6), "q", 300 * S) is None, "it is given up when its time is over"
