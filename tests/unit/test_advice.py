"""Advice: real words of upstreams, each with the row that must explain it (tests/corpus/advice.tsv)."""

import re
import time
from pathlib import Path

import pytest

from relay.mail.reply import Answer, Reply, Stage
from relay.outbound.advice import REFUSALS, advise, sentences
from relay.outbound.refusals import Deed
from relay.upstream.settings import Upstream

EVIDENCE = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parents[1] / "corpus" / "advice.tsv").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def answer(stage: str, words: str) -> Answer:
    code, text = re.fullmatch(r"(\d{3})[ -]?(.*)", words).groups()  # type: ignore[union-attr]
    return Answer(Stage(stage.rstrip("!")), Reply.of(int(code), text), lost=stage.endswith("!"))


@pytest.mark.parametrize(("name", "stage", "words", "who"), EVIDENCE, ids=[f"{row[0]}-{n}" for n, row in enumerate(EVIDENCE)])
def test_real_words_are_explained_by_their_row(name: str, stage: str, words: str, who: str) -> None:
    """What an upstream really said finds the row that was written for it, not a more general one."""
    assert advise(answer(stage, words)).name == name, who


def test_every_row_has_its_evidence() -> None:
    """No row is there without real words that it explains, and no name is given twice."""
    names = [row.name for row in REFUSALS]
    assert len(set(names)) == len(names)
    assert set(names) == {row[0] for row in EVIDENCE}
    assert len(names) >= 62


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row.name)
def test_rows_are_sentences_for_people(row) -> None:  # type: ignore[no-untyped-def]
    """Cause and remedy are whole sentences, short enough for a mail on a phone."""
    for words in (row.cause, row.remedy):
        assert words[0].isupper() or words.startswith("`")
        assert words.endswith(".") and len(words) < 300


def test_what_the_relay_does_is_said_for_every_row() -> None:
    """Each row's deed is a sentence; advice carries cause, deed and remedy in this order."""
    advice = advise(answer("rcpt", "550 5.1.1 no such user"))
    assert advice.sentences == (advice.cause, Deed.RECIPIENT.value, advice.remedy)
    more = "More: docs/advice.md#unknown-user"
    assert sentences(answer("rcpt", "550 5.1.1 no such user"), None) == (*advice.sentences, more)
    assert all(deed.value.endswith(".") for deed in Deed)


def test_port_25_is_known_from_the_settings() -> None:
    """Silence on a connection to port 25 is explained by outbound port 25 blocking even if the words do not name it."""
    silence = answer("connect!", "421 4.4.1 the connection timed out")
    assert advise(silence, Upstream("old", "mail.isp.example", port=25)).name == "port-25"
    assert advise(silence, Upstream("isp", "mail.isp.example", port=587)).name == "no-connection"
    unknown = answer("connect!", "451 4.4.3 the name a.b cannot be looked up: the resolver does not answer")
    assert advise(unknown, Upstream("old", "mail.isp.example", port=25)).name == "name"


def test_words_of_a_server_are_not_taken_for_silence() -> None:
    """A server that says something about certificates or refusal in its reply to RCPT did answer."""
    assert advise(answer("rcpt", "550 5.7.1 your certificate was refused")).name == "unknown-permanent"


def test_an_unknown_refusal_is_admitted() -> None:
    """Words that no row knows get an honest line that points to the upstream's own words."""
    advice = advise(answer("rcpt", "550 9.9.9 computer says no"))
    assert advice.name == "unknown-permanent" and "own words" in advice.remedy


def test_a_hostile_reply_costs_little() -> None:
    """However long and repetitive a reply is, all rows together look at it within a quarter of a second."""
    for text in ("message " * 9000, "exceed" * 9000, "ehlo " * 9000, "from " * 9000, "a" * 65_000, "null sender " * 5000):
        started = time.process_time()
        advise(Answer(Stage.RCPT, Reply(550, "", text)))
        assert time.process_time() - started < 0.25
