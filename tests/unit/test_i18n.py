"""The page's words."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.control.i18n import Texts, language_of
from relay.control.texts import TEXTS, access, care, content, messages, search, setup

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
TEMPLATES = sorted((Path(__file__).parents[2] / "relay" / "control" / "templates").glob("*.html"))


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en-US;q=0.8", "ja"),
        ("en-GB,en;q=0.9,ja;q=0.8", "en"),
        ("de,ja;q=0.5,en;q=0.3", "ja"),
        ("fr", "en"),
        ("ja;q=0", "en"),
        ("ja;q=nonsense, en", "en"),
        ("*", "en"),
    ],
)
def test_the_browser_says_what_its_person_reads(accept: str, language: str) -> None:
    """The language with the highest weight that we have; English otherwise."""
    assert language_of(accept) == language


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_both_languages_take_the_same_values(key: str) -> None:
    """No text of one language asks for something that the other is not given, and none is empty."""
    english, japanese = TEXTS[key]
    assert english
    assert japanese
    singular, _, plural = english.partition("|")
    fields = {tuple(sorted(set(re.findall(r"\{(\w+)\}", one)))) for one in (singular, plural or singular, japanese)}
    assert len(fields) == 1


def test_no_key_stands_twice() -> None:
    """Else the overview says what the words of another page are: a refused password was once told as a refused consent."""
    parts = (access, care, content, messages, search, setup)
    assert sum(len(part.TEXTS) for part in parts) == len(TEXTS)
    assert Texts("en")("login_refused", name="isp", until="10:20") == "isp refused the login and is paused until 10:20."


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_templates_use_known_words_only(template: Path) -> None:
    """A text that a template asks for by name exists."""
    asked = set(re.findall(r"""\bt\(["'](\w+)["']""", template.read_text(encoding="utf-8")))
    assert asked <= set(TEXTS)


def test_one_and_many() -> None:
    """English tells one from many; Japanese need not."""
    assert Texts("en")("some_wait", n=1) == "1 message waits."
    assert Texts("en")("some_wait", n=2) == "2 messages wait."
    assert Texts("ja")("some_wait", n=1) == "1通が待機中です。"


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=90), "90 min ago"),
        (timedelta(hours=26), "26 h ago"),
        (timedelta(days=3), "3 days ago"),
        (-timedelta(minutes=4), "in 4 min"),
    ],
)
def test_time_in_words(before: timedelta, words: str) -> None:
    """Near things in small units, so that `26 h ago` is not `1 day ago`."""
    assert Texts("en").ago(NOW - before, NOW) == words


def test_a_span_in_words() -> None:
    """`expect_every: 26h` is said as it was written."""
    assert Texts("ja").span(timedelta(hours=26)) == "26時間"
