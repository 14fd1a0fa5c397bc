"""Patterns with stars."""

import time

import pytest

from relay.mail.glob import matching, pattern


@pytest.mark.parametrize(
    ("glob", "text", "fits"),
    [
        ("*FAIL*", "[nas] Backup fail: disk 2", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*a", "a", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "acb", False),
        ("a*bc*c", "abc", False),
        ("a*b*b*c", "abc", False),
        ("*@x.example", "me@x.example", True),
        ("*@x.example", "me@x.example.org", False),
        ("[1]", "1", False),
        ("[1]", "[1]", True),
        ("a?c", "aßc", True),
        ("*", "", True),
        ("**", "two\nlines", True),
        ("*?", "", False),
        ("a*?a", "aba", True),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_only_star_and_question_mark_are_wild(glob: str, text: str, fits: bool) -> None:
    """The whole text counts, the case does not."""
    assert bool(pattern(glob).fullmatch(text)) is fits


def test_the_first_that_fits_is_told() -> None:
    assert matching(("x", "a*", "*"), "abc") == "a*"
    assert matching((), "abc") is None


def test_many_stars_take_no_longer() -> None:
    """The time grows with the text, not with its power."""
    began = time.process_time()
    assert not pattern("*a*a*a*a*a*a*a*a*b").fullmatch("a" * 200_000)
    assert time.process_time() - began < 2
