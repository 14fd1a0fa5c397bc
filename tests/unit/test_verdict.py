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
