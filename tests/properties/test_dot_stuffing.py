"""Dot-stuffing: what a server unstuffs is what was given, wherever the blocks are cut, and it ends in one place only."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from relay.upstream.dot_stuffing import gathered, stuffed

NASTY = st.lists(st.sampled_from([b".", b"..", b"\r\n", b"\r", b"\n", b"a", b"\r\n.\r\n", b"\n.\n", b"x" * 70])).map(b"".join)
PROPER = st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a.", b"text"])).map(
    lambda lines: b"".join(x + b"\r\n" for x in lines)
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(borders)] + [b""]


def unstuffed(wire: bytes) -> bytes:
    return re.sub(rb"(?:(?<=\r\n)|\A)\.", b"", wire)


@given(PROPER, st.lists(st.integers(0, 1000), max_size=8))
def test_the_server_gets_what_was_given(content, places):
    """For content with CRLF line ends, removing the stuffing gives back every octet."""
    assert unstuffed(b"".join(stuffed(cut(content, places)))) == content


@given(NASTY, st.lists(st.integers(0, 1000), max_size=8))
def test_there_is_no_end_but_the_end(content, places):
    """No octets, however cut, make a lone dot for any reader of line ends, and the last line is ended."""
    wire = b"".join(stuffed(cut(content, places)))
    assert not re.search(rb"(?:\A|[\r\n])\.(?:[\r\n]|\Z)", wire)
    assert wire == b"" or wire.endswith(b"\r\n")
    assert wire.count(b"\r\n") == wire.count(b"\r") == wire.count(b"\n")


@given(NASTY, st.lists(st.integers(0, 1000), max_size=8))
def test_borders_never_matter(content, places):
    """The result depends on the octets, not on the blocks that they come in."""
    assert b"".join(stuffed(cut(content, places))) == b"".join(stuffed([content]))


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 100))
def test_gathering_keeps_order_and_size(pieces, size):
    """Blocks are at least as large as asked but for the last, and nothing is lost."""
    source, blocks = iter(pieces), []
    while block := gathered(source, size):
        blocks.append(block)
    assert b"".join(blocks) == b"".join(pieces)
    assert all(len(block) >= size for block in blocks[:-1])
