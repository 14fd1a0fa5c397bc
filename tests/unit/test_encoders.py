"""Transfer encodings as streams: the same octets, whatever the blocks, in lines that keep to 76."""

import base64
import quopri
import re
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest

from relay.mail.encoders import Base64, Encoder, MendedQuotedPrintable, QuotedPrintable, Rewrap
from relay.mail.line_ends import BLOCK
from tests.support.letters import RIGHT, repaired, text_of

OCTETS = bytes(range(256)) * 3
SIZES = [1, 2, 3, 56, 57, 58, 75, 76, 77, 113, 114, 500, 2000]
LINES = ["short", "", "a line of 温度 that goes on " * 9, "x" * 300, "=" * 80, "ends with a blank ", "\ttab", "." * 77, "終"]


def coded(encoder: Encoder, blocks: Iterable[bytes]) -> bytes:
    return b"".join(map(encoder.feed, blocks)) + encoder.close()


def chopped(octets: bytes, size: int) -> list[bytes]:
    return [octets[place : place + size] for place in range(0, len(octets), size)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [1, 56, 57, 58, 114, len(OCTETS)])
def test_base64_is_what_everybody_writes(size: int, length: int) -> None:
    """Full lines of 76 but for the last one, which has no line end; no octet waits for ever."""
    octets = OCTETS[:length]
    lines = coded(Base64(), chopped(octets, size)).split(b"\r\n")
    assert lines == base64.encodebytes(octets).rstrip().split(b"\n")


@pytest.mark.parametrize("size", SIZES)
def test_long_base64_is_wrapped_and_nothing_else(size: int) -> None:
    """The same characters in full lines; what is no base64 is left out, for in a new line it could be a boundary."""
    whole = base64.b64encode(OCTETS)
    dirty = whole[:100] + b"\r\n--=_x!\xff \t" + whole[100:]
    lines = coded(Rewrap(), chopped(dirty, size)).split(b"\r\n")
    assert b"".join(lines) == whole.replace(b"--", b"")[:100] + b"=x" + whole[100:]
    assert {len(line) for line in lines[:-1]} == {76} and 0 < len(lines[-1]) <= 76


@pytest.mark.parametrize("encoder", [Base64, Rewrap, QuotedPrintable, MendedQuotedPrintable])
def test_of_nothing_comes_nothing(encoder: Callable[[], Encoder]) -> None:
    """An empty part stays empty."""
    assert coded(encoder(), []) == b""


@pytest.mark.parametrize("end", ["\r\n", ""])
def test_quoted_printable_says_the_same(end: str) -> None:
    """Text of any lines: at most 76 characters of ASCII each, and decoded it is the text."""
    text = "\r\n".join(LINES) + end
    for blocks in ([text.encode()], text.encode().splitlines(keepends=True)):
        out = coded(QuotedPrintable(), blocks)
        assert out.isascii() and max(map(len, out.split(b"\r\n"))) <= 76
        assert not any(line.endswith((b" ", b"\t")) for line in out.split(b"\r\n"))
        assert quopri.decodestring(out.replace(b"\r\n", b"\n")) == text.replace("\r\n", "\n").encode()


@pytest.mark.parametrize("encoder", [QuotedPrintable, MendedQuotedPrintable])
def test_a_line_in_several_blocks_stays_one_line(encoder: Callable[[], Encoder]) -> None:
    """Between two pieces of a line stands a soft line end, which no reader sees; after a line end stands none."""
    out = coded(encoder(), [b"one and", b" the same", b" line\r\n", b"the next\r\n"])
    assert out == b"one and=\r\n the same=\r\n line\r\nthe next\r\n"


def test_quoted_printable_with_raw_octets_is_mended() -> None:
    """What is coded stays coded, raw octets become codes, long lines are cut between codes."""
    said = b"caf=E9 \xe9=3D " * 30 + b"\r\nshort=\r\n line\r\n"
    out = coded(MendedQuotedPrintable(), [said])
    assert out.isascii() and max(map(len, out.split(b"\r\n"))) <= 76
    assert out.endswith(b"\r\nshort=\r\n line\r\n")
    assert quopri.decodestring(out.replace(b"\r\n", b"\n")) == b"caf\xe9 \xe9= " * 30 + b"\nshort line\n"


def test_long_lines_of_quoted_printable_are_cut_to_76() -> None:
    """Whatever they are made of; a code is never cut in two, an equals sign that is none is a character like others."""
    for said in (b"=E3=81=82" * 40, b"x=E9" * 60, b"=" * 200, b"x=" * 100, b"=4=4E" * 50):
        for lead in range(4):
            line = b"x" * lead + said
            pieces = coded(MendedQuotedPrintable(), [line + b"\r\n"]).split(b"\r\n")
            assert max(map(len, pieces)) <= 76
            assert b"".join(piece.removesuffix(b"=") for piece in pieces[:-2]) + pieces[-2] == line
            assert not any(
                re.search(rb"=[0-9A-F]?=\Z", piece) and re.match(rb"[0-9A-F]", after) for piece, after in pairwise(pieces)
            )


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_code_may_come_in_two_blocks(cut: int) -> None:
    """An over-long line comes in pieces, and where one ends in the middle of `=E9` it is still that letter."""
    line = b"x=E9\xe9y=3D\r\n"
    out = coded(MendedQuotedPrintable(), [line[:cut], line[cut:]])
    assert quopri.decodestring(out.replace(b"\r\n", b"\n")) == b"x\xe9\xe9y=\n"


def test_a_soft_line_end_between_two_blocks_stays_one() -> None:
    """A text of many blocks has each of its lines on, and no equals sign that nobody wrote, wherever a block ends."""
    text = b"".join(b"%d " % number + b"x" * 60 + b"=\r\n" for number in range(3000)) + b"\xe9nd\r\n"
    fields = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    sent = repaired(RIGHT + fields + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + text).message
    assert len(text) > 3 * BLOCK
    assert text_of(sent) == text.replace(b"=\r\n", b"").decode("iso-8859-1").replace("\r\n", "\n")


def test_an_unfinished_code_at_the_end_is_kept() -> None:
    """Not an octet is lost where the part ends in the middle of a code."""
    for said in (b"x=E", b"x=", b"="):
        assert coded(MendedQuotedPrintable(), [said]).replace(b"=\r\n", b"") == said


@pytest.mark.parametrize("length", [75, 76, 77])
def test_a_line_of_76_is_not_cut(length: int) -> None:
    """RFC 2045 s6.7: 76 characters may stand in a line."""
    out = coded(MendedQuotedPrintable(), [b"x" * length + b"\r\n"])
    assert out.count(b"\r\n") == (2 if length > 76 else 1)
