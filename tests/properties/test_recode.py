"""Seven-bit encoding: decoded, a letter says the same as before."""

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.recode import seven_bit
from tests.properties.test_repair import CONTENT
from tests.support.letters import RIGHT, assert_sendable, octets, repaired, text_of, without_trace

LETTERS = st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029", exclude_categories=("Cs", "Cc"))
TEXT = st.text(LETTERS | st.just("\n"))


@settings(max_examples=200, deadline=None)
@given(CONTENT)
def test_any_repaired_letter_can_be_made_seven_bit(content):
    """All ASCII, still sendable; a letter that was ASCII already stays octet for octet."""
    letter = repaired(content).message
    sent = octets(seven_bit(letter))
    assert sent.isascii()
    assert_sendable(sent)
    if octets(letter).isascii():
        assert sent == octets(letter)


@settings(max_examples=150, deadline=None)
@given(TEXT, st.integers(0, 1200))
def test_text_says_the_same(text, width):
    """UTF-8 text of any line length reads the same after repair and after seven-bit encoding."""
    whole = text + "字" * width + "\n"
    header = RIGHT + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    letter = repaired(header + whole.encode()).message
    assert text_of(letter) == whole
    assert text_of(seven_bit(letter)) == whole


@pytest.mark.parametrize("before", range(4))
def test_an_endless_line_keeps_its_label(before):
    """Text without any line end is judged by whole characters, wherever the sample of it ends."""
    first = octets(repaired(b"\r\n\r\n" + b"y" * before + "あ".encode() * 14_000).message)
    assert b"charset=utf-8" in first
    again = repaired(first)
    assert without_trace(again.message) == first
    assert again.notes == ()


@pytest.mark.parametrize("letters", range(1, 5))
def test_base64_text_of_any_length_keeps_its_label(letters):
    """Text whose last character lies in a padded group is as right as any other: nothing is changed."""
    coded = b64encode(("\u3042" * letters + "x").encode()) + b"\r\n"
    mime = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    for right in (RIGHT + mime + coded, RIGHT + mime + b64encode(b"x" * letters + "\u3042".encode()) + b"\r\n"):
        assert without_trace(repaired(right).message) == right
