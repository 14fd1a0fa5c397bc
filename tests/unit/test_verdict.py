"""What answers mean: the table, row by row, with the words that real servers use."""

from pathlib import Path

import pytest

from relay.mail.reply import Answer, Reply, Stage
from relay.outbound.verdict import Blame, Fate, judge

_TABLE = Path(__file__).parent.parent / "corpus" / "replies.tsv"
ROWS = [line.split("\t") for line in _TABLE.read_text("utf-8").splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}-{row[2]}" for row in ROWS])
def test_each_real_reply_has_its_verdict(row):
    """The reply, said at its stage, gives the fate, the next step and the blame that the table tells."""
    _, _, stage, said, fate, then, own_name, blame = row
    code, _, text = said.partition(said[3])
    verdict = judge(Answer(Stage(stage), Reply.of(int(code), text)))
    assert (verdict.fate.value, verdict.try_next, verdict.own_name, verdict.blame.value) == (
        fate,
        then == "next",
        own_name == "own",
        blame,
    )


def test_the_table_knows_every_collected_pattern():
    """All 62 patterns of the collection have evidence here."""
    assert {row[0] for row in ROWS} >= {f"E{number}" for number in range(1, 63)}


CLASSES = {
    number: (kind, hold == "hold")
    for number, kind, hold in (
        line.split("\t") for line in (_TABLE.parent / "classes.tsv").read_text("utf-8").splitlines() if line[0] != "#"
    )
}
ABOUT_THE_LETTER = {"E35", "E36", "E37", "E38", "E39", "E40", "E59"}
"""A person has to act here too, but on this very message: it fails, is kept, and its sender is told why."""


@pytest.mark.parametrize("row", [row for row in ROWS if row[0] in CLASSES], ids=lambda row: f"{row[0]}-{row[2]}")
def test_verdicts_agree_with_what_can_be_done(row):
    """What passes is deferred; what another upstream may take is tried there; what a person must set right never bounces."""
    kind, hold = CLASSES[row[0]]
    said = row[3]
    verdict = judge(Answer(Stage(row[2]), Reply.of(int(said[:3]), said[4:])))
    if kind == "temporary":
        assert verdict.fate is Fate.DEFERRED
    elif kind == "other-upstream":
        assert verdict.try_next
    elif hold and row[0] not in ABOUT_THE_LETTER:
        assert verdict.fate is Fate.DEFERRED and verdict.try_next
    else:
        assert verdict.fate is Fate.FAILED
    assert len(CLASSES) == 62


@pytest.mark.parametrize("stage", list(Stage))
def test_a_lost_line_never_fails_mail(stage):
    """A line lost before the content lets the next upstream try; lost after it, nobody may."""
    verdict = judge(Answer(stage, Reply(421, "4.4.2", "the connection was lost"), lost=True))
    assert verdict.fate is Fate.DEFERRED
    assert verdict.try_next is (stage is not Stage.CONTENT)
    assert (verdict.blame is Blame.UNCERTAIN) is (stage is Stage.CONTENT)


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.TLS, Stage.HELLO, Stage.AUTH])
@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_nothing_said_before_mail_fails_mail(stage, row):
    """Before MAIL nothing was said about any message, whatever the words."""
    said = row[3]
    verdict = judge(Answer(stage, Reply.of(int(said[:3]), said[4:])))
    assert verdict.fate is Fate.DEFERRED


def test_what_a_person_must_mend_is_urgent():
    """Login, sender right, reputation and quota call a person; greylisting and an unknown user do not."""
    wrong_password = judge(Answer(Stage.AUTH, Reply.of(535, "5.7.8 authentication failed")))
    greylisted = judge(Answer(Stage.RCPT, Reply.of(450, "4.2.0 greylisted")))
    unknown = judge(Answer(Stage.RCPT, Reply.of(550, "5.1.1 no such user")))
    assert wrong_password.urgent and not greylisted.urgent and not unknown.urgent


def test_only_troubles_of_everybody_rest_an_upstream():
    """A refused sender or recipient does not send an upstream to rest; a login, a listing or a quota does."""
    resting = {blame for blame in Blame if blame.rests}
    assert resting == {Blame.LINE, Blame.LOGIN, Blame.REPUTATION, Blame.QUOTA}


@pytest.mark.parametrize(
    ("stage", "said", "rests"),
    [
        ("content", "554 5.7.1 Message contains a URL listed in the Spamhaus DBL", False),
        ("content", "550 5.7.1 SPF/DMARC authentication failed", False),
        ("content", "554 5.7.1 Your IP 192.0.2.4 is on the SORBS blacklist", False),
        ("content", "550 5.3.2 not now", False),
        ("content", "550 5.4.5 Daily user sending limit exceeded", True),
        ("content", "535 5.7.8 authentication required", True),
        ("mail", "554 Your IP address is blacklisted", True),
        ("rcpt", "550 Rejected: 192.0.2.4 listed at bl.spamcop.net", True),
        ("mail", "550 5.7.1 SPF authentication failed for this domain", False),
        ("connect", "554 5.7.1 no mail from you", True),
    ],
)
def test_what_is_said_of_one_letter_rests_nobody(stage, said, rests):
    """After the content only a quota and a login concern the next message too; before it, what is said of our address."""
    assert judge(Answer(Stage(stage), Reply.of(int(said[:3]), said[4:]))).rests is rests


@pytest.mark.parametrize(
    ("stage", "said", "fate", "blame"),
    [
        ("connect", "521 no mail here", Fate.DEFERRED, Blame.LINE),
        ("mail", "521 5.3.2 host does not accept mail", Fate.DEFERRED, Blame.LINE),
        ("mail", "521 host does not accept mail", Fate.DEFERRED, Blame.LINE),
        ("rcpt", "521 host does not accept mail", Fate.DEFERRED, Blame.LINE),
        ("content", "521 we do not like this", Fate.FAILED, Blame.MESSAGE),
        ("mail", "522 what", Fate.FAILED, Blame.MESSAGE),
        ("content", "503 bad sequence of commands", Fate.DEFERRED, Blame.PROTOCOL),
        ("mail", "552 5.3.4 no", Fate.FAILED, Blame.SIZE),
        ("rcpt", "552 5.2.3 no", Fate.FAILED, Blame.SIZE),
        ("mail", "552 message too large", Fate.FAILED, Blame.SIZE),
        ("rcpt", "550 5.7.1 no", Fate.DEFERRED, Blame.ACCESS),
        ("mail", "550 5.7.1 no", Fate.DEFERRED, Blame.ACCESS),
        ("content", "550 5.7.1 no", Fate.FAILED, Blame.MESSAGE),
        ("rcpt", "550 no", Fate.FAILED, Blame.RECIPIENT),
        ("mail", "550 no", Fate.FAILED, Blame.MESSAGE),
        ("content", "550 no", Fate.FAILED, Blame.MESSAGE),
        ("content", "550 5.1.1 no", Fate.FAILED, Blame.RECIPIENT),
        ("content", "550 5.2.1 no", Fate.FAILED, Blame.RECIPIENT),
        ("content", "550 5.3.0 no", Fate.FAILED, Blame.MESSAGE),
        ("mail", "553 no", Fate.DEFERRED, Blame.SENDER),
        ("rcpt", "553 no", Fate.FAILED, Blame.RECIPIENT),
        ("mail", "553 5.6.7 no", Fate.FAILED, Blame.MESSAGE),
        ("mail", "553 relaying denied", Fate.DEFERRED, Blame.ACCESS),
        ("mail", "550 5.1.8 no", Fate.DEFERRED, Blame.SENDER),
        ("mail", "450 4.1.8 no", Fate.DEFERRED, Blame.SENDER),
        ("content", "530 no", Fate.DEFERRED, Blame.LOGIN),
        ("rcpt", "450 no", Fate.DEFERRED, Blame.BUSY),
        ("rcpt", "421 spamhaus lists you", Fate.DEFERRED, Blame.BUSY),
        ("rcpt", "451 spamhaus lists you", Fate.DEFERRED, Blame.REPUTATION),
        ("content", "452 daily limit reached", Fate.DEFERRED, Blame.QUOTA),
        ("content", "451 SPF check failed", Fate.DEFERRED, Blame.ACCESS),
        ("mail", "454 must be authenticated", Fate.DEFERRED, Blame.LOGIN),
        ("content", "699 what", Fate.DEFERRED, Blame.PROTOCOL),
        ("mail", "250 ok", Fate.DEFERRED, Blame.UNCERTAIN),
        ("content", "354 go on", Fate.DEFERRED, Blame.UNCERTAIN),
        ("content", "299 taken", Fate.RELAYED, Blame.NOBODY),
        ("content", "300 more", Fate.DEFERRED, Blame.UNCERTAIN),
        ("auth", "454 daily limit reached", Fate.DEFERRED, Blame.QUOTA),
        ("auth", "454 temporary trouble", Fate.DEFERRED, Blame.LINE),
        ("auth", "454 authentication failed", Fate.DEFERRED, Blame.LOGIN),
        ("auth", "550 whatever", Fate.DEFERRED, Blame.LOGIN),
        ("hello", "550 authentication failed", Fate.DEFERRED, Blame.LINE),
        ("connect", "554 your ip is blocked", Fate.DEFERRED, Blame.REPUTATION),
    ],
)
def test_the_number_counts_where_the_words_say_nothing(stage, said, fate, blame):
    """The same number means another thing at another stage; where nobody is named it is the letter's, or the recipient's."""
    verdict = judge(Answer(Stage(stage), Reply.of(int(said[:3]), said[4:])))
    assert (verdict.fate, verdict.blame) == (fate, blame)
    assert verdict.try_next is (fate is not Fate.RELAYED and blame is not Blame.UNCERTAIN)
    assert verdict.own_name is (blame is Blame.SENDER)


@pytest.mark.parametrize("stage", list(Stage))
def test_a_line_that_breaks_rests_an_upstream_only_before_mail(stage):
    """After that it may be this message's doing, and others must not wait for it."""
    verdict = judge(Answer(stage, Reply(421, "4.4.2", "the connection was lost"), lost=True))
    assert verdict.rests is (stage in (Stage.CONNECT, Stage.TLS, Stage.HELLO, Stage.AUTH))
