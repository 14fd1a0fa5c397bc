"""The end of data and the dots: how octets are cut into blocks never matters, and nothing can be smuggled."""

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from relay.inbound.end_of_data import ContentDecoder, LineEnd

# what smuggling is made of, in every order
PIECES = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b".\r\n", b"\0", b"a", b"MAIL", b"x" * 70]), max_size=40
)
OCTETS = PIECES.map(b"".join)
LINE_ENDS = st.sampled_from(LineEnd)


def decode(line_end: LineEnd, blocks: list[bytes]) -> tuple[bytes, bool, bool, bytes]:
    """Content, ended, irregular, and everything behind the end."""
    decoder, content = ContentDecoder(line_end), b""
    for place, block in enumerate(blocks):
        content += decoder.feed(block)
        if decoder.ended:
            return content, True, decoder.irregular, decoder.rest + b"".join(blocks[place + 1 :])
    return content, False, False, b""


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges)]


def stuffed(content: bytes) -> bytes:
    """As RFC 5321 s4.5.2 tells a client to send it; the content ends in CRLF."""
    return re.sub(rb"(\A|\r\n)\.", rb"\1..", content) + b".\r\n"


@given(LINE_ENDS, OCTETS, st.lists(st.integers(0, 400), max_size=12))
@example(LineEnd.CRLF, b"a\r\n.\r\nQUIT\r\n", [2, 3, 4, 5])
@example(LineEnd.LF, b"a\n.\nQUIT\n", [1, 2, 3])
def test_chunking_never_matters(line_end: LineEnd, octets: bytes, places: list[int]) -> None:
    """Block by block, octet by octet or all at once: the same content, the same end, the same rest."""
    whole = decode(line_end, [octets])
    assert decode(line_end, cut(octets, places)) == whole
    assert decode(line_end, [octets[i : i + 1] for i in range(len(octets))]) == whole


@given(OCTETS)
@example(b"a\n.\r\nMAIL")
@example(b"a\r\n.\nMAIL")
@example(b"a\r.\rMAIL")
@example(b"a\r\n\0.\r\nMAIL")
@example(b"a\r\r\n.\r\r\nMAIL")
def test_a_crlf_client_ends_by_crlf_dot_crlf_and_nothing_else(octets: bytes) -> None:
    """The first CRLF.CRLF is the end (the reply to DATA counts as a line end); before it everything is content."""
    _, ended, irregular, rest = decode(LineEnd.CRLF, [octets])
    end = (b"\r\n" + octets).find(b"\r\n.\r\n")
    assert ended == (end >= 0)
    assert not irregular
    if ended:
        assert rest == octets[end + 3 :]


@given(OCTETS, st.lists(st.integers(0, 400), max_size=6))
def test_stuffing_is_undone(text: bytes, places: list[int]) -> None:
    """What a correct client stuffs arrives as it was, and what follows is left for the next command."""
    content = text + b"\r\n"
    got, ended, irregular, rest = decode(LineEnd.CRLF, cut(stuffed(content) + b"NOOP\r\n", places))
    assert (got, ended, irregular, rest) == (content, True, False, b"NOOP\r\n")


@given(st.lists(st.binary(max_size=8).map(lambda line: line.translate(None, b"\r\n")), max_size=12))
def test_lf_clients_are_unstuffed_on_lf(lines: list[bytes]) -> None:
    """A client without CR stuffs after LF and ends by LF.LF, which is marked as irregular."""
    content = b"".join(line + b"\n" for line in lines)
    wire = re.sub(rb"(\A|\n)\.", rb"\1..", content) + b".\n"
    assert decode(LineEnd.LF, [wire, b"QUIT\n"]) == (content, True, True, b"QUIT\n")


@given(OCTETS)
def test_a_stall_is_a_lone_dot_between_line_ends_at_the_very_end(octets: bytes) -> None:
    """`stalled` never means anything else, and taking it as the end drops just that dot line."""
    decoder = ContentDecoder(LineEnd.CRLF)
    content = decoder.feed(octets)
    dot_line = re.search(rb"(?:\A|\n)(\.\r?\n)\Z", octets)
    assert decoder.stalled == (not decoder.ended and dot_line is not None)
    if decoder.stalled:
        decoder.finish_stalled()
        assert decoder.ended
        assert decoder.irregular
        assert not content.endswith(b".")


@given(OCTETS, st.lists(st.integers(0, 400), max_size=6))
def test_oddities_are_noticed_however_they_are_cut(text: bytes, places: list[int]) -> None:
    """Bare LF, bare CR and NUL are told from CRLF also across blocks."""
    decoder = ContentDecoder(LineEnd.CRLF)
    content = b"".join(decoder.feed(block) for block in cut(text, places) if not decoder.ended)
    assert decoder.bare_lf == bool(re.search(rb"(?<!\r)\n", content))
    assert decoder.bare_cr == bool(re.search(rb"\r(?!\n|\Z)", content))
    assert decoder.nul == (b"\0" in content)
