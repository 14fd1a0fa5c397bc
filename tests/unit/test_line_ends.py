"""Line ends, exhaustively: every short content of letters, CR and LF, in blocks of every size."""

import re
from itertools import product

import pytest

from relay.mail import line_ends
from relay.mail.line_ends import blocks, crlf, split

SHORT = [b"".join(octets) for length in range(8) for octets in product((b"a", b"\r", b"\n"), repeat=length)]
LINE_END = re.compile(rb"\r*\n|\r")
"""`CR+ LF` is one line end, and so is every bare LF and CR."""


def chopped(content: bytes, size: int) -> list[bytes]:
    return [content[place : place + size] for place in range(0, len(content), size)]


def test_every_line_end_becomes_crlf() -> None:
    """Nothing else changes, and what is right stays the very same octets."""
    for content in SHORT:
        assert crlf(content) == LINE_END.sub(b"\r\n", content)
        assert crlf(crlf(content)) == crlf(content)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 9, 30])
def test_a_run_of_returns_is_one_line_end_before_a_line_feed_and_many_without(count: int) -> None:
    """However many a device puts there: MIME::Lite and mailsend put several."""
    run = b"\r" * count
    assert crlf(b"a" + run + b"\nb") == b"a\r\nb"
    assert crlf(b"a" + run + b"b") == b"a" + b"\r\n" * count + b"b"
    assert split(b"a" + run + b"\nb") == [b"a" + run + b"\n", b"b"]
    assert split(b"a" + run + b"b") == [b"a\r", *[b"\r"] * (count - 1), b"b"]


def test_lines_are_those_that_crlf_makes() -> None:
    """Not an octet is lost, and each line becomes one line."""
    for content in SHORT:
        lines_of_it = split(content)
        assert b"".join(lines_of_it) == content
        assert [crlf(line) for line in lines_of_it] == re.findall(rb"[^\r\n]*\r\n|[^\r\n]+", crlf(content))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_blocks_split_no_line_end(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the blocks were, the same octets come out; a line is cut only where it is over-long, a line end nowhere."""
    monkeypatch.setattr(line_ends, "BLOCK", 3)
    for content in SHORT:
        out = list(blocks(chopped(content, size)))
        assert b"".join(out) == content
        assert b"" not in out
        assert b"".join(map(crlf, out)) == crlf(content)
        assert not any(re.search(rb"[\r\n]", block) for block in out[:-1] if block[-1:] not in (b"\r", b"\n"))


def test_a_run_of_crs_is_not_held_whole() -> None:
    """It is no line end, however long it is; all but its last CR are let go."""
    out = list(blocks([b"a", *[b"\r" * line_ends.BLOCK] * 20, b"\nb"]))
    assert b"".join(out) == b"a" + b"\r" * 20 * line_ends.BLOCK + b"\nb"
    assert max(map(len, out)) <= 2 * line_ends.BLOCK
    assert out[-1].endswith(b"\r\nb")


def test_an_over_long_line_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line without an end is not waited for: whatever comes is handed on once it is a block."""
    monkeypatch.setattr(line_ends, "BLOCK", 4)
    seen = []
    for block in blocks([b"aaaa", b"bb", b"bb", b"c\r", b"\nd"]):
        seen.append(block)
    assert seen == [b"aaaa", b"bbbb", b"c\r\n", b"d"]
    assert list(blocks([b"ab\n", b"cde", b"f\ng"])) == [b"ab\n", b"cdef\n", b"g"]
