"""What proves quickly that lines need nothing agrees with what looks at each of them, wherever the blocks are cut."""

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from relay.mail.body_scan import scan_body
from relay.mail.encoded_words import LINE_LIMIT
from relay.mail.line_ends import BareEnds, crlf, only_crlf
from relay.mail.mime import ContentType

NASTY = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n", b"a", b".", b"x" * 70, b"\0"]), max_size=30).map(
    b"".join
)
PLACES = st.lists(st.integers(0, 3000), max_size=8)
NEAR = st.integers(LINE_LIMIT - 3, LINE_LIMIT + 3)
LINES = st.lists(st.one_of(st.integers(0, 90), NEAR, NEAR.map(lambda size: size // 2)), max_size=12)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(borders)] + [b""]


@given(NASTY)
@example(b"\r\r\n\n")
def test_a_bare_line_end_is_never_overlooked(octets):
    """Taking CRLF out and looking at what is left says the same as looking at each CR and LF."""
    assert only_crlf(octets) == (not re.search(rb"\r(?!\n)|(?<!\r)\n", octets))
    assert (crlf(octets) is octets) == only_crlf(octets)
    assert only_crlf(crlf(octets))


@given(NASTY)
def test_every_line_end_becomes_crlf(octets):
    """`CR+ LF` is one line end, bare LF and bare CR are one each, the quick ways included."""
    slow = re.sub(rb"\r+\n|\r|\n", b"\r\n", octets)
    assert crlf(octets) == slow
    bare = octets.replace(b"\r", b"")
    assert crlf(bare) == bare.replace(b"\n", b"\r\n")


@given(NASTY, PLACES)
def test_bare_ends_are_found_however_blocks_are_cut(octets, places):
    """A CR and its LF in two blocks are no bare ones, a CR that nothing follows is one."""
    ends = BareEnds()
    for block in cut(octets, places):
        ends.feed(block)
    assert ends.lf == bool(re.search(rb"(?<!\r)\n", octets))
    assert ends.cr == bool(re.search(rb"\r(?!\n)(?!\Z)", octets))
    ends.close()
    assert ends.cr == bool(re.search(rb"\r(?!\n)", octets))
    assert bool(ends) == (not only_crlf(octets))


@given(LINES, st.integers(0, LINE_LIMIT + 3), PLACES)
def test_long_lines_are_found(sizes, rest, places):
    """Many lines at a time or one by one: the same is said of lines around the limit, of the last one too."""
    body = b"".join(b"x" * size + b"\r\n" for size in sizes) + b"y" * rest
    seen = scan_body((), ContentType(), cut(body, places))
    assert seen.parts[0].long_lines == any(size > LINE_LIMIT for size in (*sizes, rest))


@given(NASTY, PLACES)
def test_what_is_said_of_a_body_is_true(octets, places):
    """Bare ends, NUL and size do not depend on the blocks."""
    seen = scan_body((), ContentType(), cut(octets, places))
    assert seen.bare_ends == (not only_crlf(octets))
    assert seen.parts[0].bare_ends == seen.bare_ends
    assert (seen.nul, seen.size) == (b"\0" in octets, len(octets))
