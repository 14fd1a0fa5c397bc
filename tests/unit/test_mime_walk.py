"""Bodies part by part: where they are parted, what each is like, and what must be done to it."""

import hashlib
from collections.abc import Iterator
from email.message import EmailMessage
from itertools import product

import pytest

from relay.mail import line_ends
from relay.mail.body_scan import scan_body
from relay.mail.line_ends import crlf
from relay.mail.mime import read_content_type
from relay.mail.mime_walk import BETWEEN, Delimiter, Octets, PartHead, walk
from relay.mail.recode import seven_bit
from tests.support.letters import RIGHT, octets, read, repaired, text_of, without_trace

MIME = RIGHT + b"MIME-Version: 1.0\r\n"
TOP = read_content_type(b"multipart/mixed; boundary=b")
PIECES = (b"--b\r\n", b"--b--\r\n", b"X: y\r\n", b"\r\n", b"z\n", b"--b \t\r\r\n", b"--bb\r\n")


def mixed(
    *parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"=_x", fields: bytes = b"", close: bytes = b"--=_x--\r\n"
) -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return MIME + b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n' + fields + b"\r\n" + body + close


def leaves(content: bytes) -> list[EmailMessage]:
    return [part for part in read(repaired(content).message).walk() if not part.is_multipart()]  # type: ignore[misc]


def digests(content: bytes) -> list[str]:
    return [hashlib.sha256(part.get_payload(decode=True)).hexdigest() for part in leaves(content)]  # type: ignore[arg-type]


def told(body: bytes) -> list[object]:
    """The events, octets of one part put together."""
    events: list[object] = []
    for event in walk(TOP, [body]):
        last = events[-1] if events else None
        if isinstance(event, Octets) and isinstance(last, Octets) and last.number == event.number:
            events[-1] = Octets(event.number, last.block + event.block)
        else:
            events.append(event)
    return events


def written(events: list[object]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, PartHead):
            yield b"".join(field.raw for field in event.fields) + event.separator
        elif isinstance(event, Octets):
            yield event.block
        elif isinstance(event, Delimiter):
            yield event.lead + (b"" if event.missing else b"--" + event.boundary + (b"--" if event.closing else b"") + b"\r\n")


@pytest.mark.parametrize("first", PIECES)
def test_every_body_is_parted_alike_in_whatever_blocks(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No octet is lost or made, a part that was begun is ended, and blocks make no difference."""
    for others in product(PIECES, repeat=4):
        body = first + b"".join(others)
        whole = told(body)
        with monkeypatch.context() as small:
            small.setattr(line_ends, "BLOCK", 8)
            assert told(body) == whole
        assert crlf(b"".join(written(whole))).replace(b"--b \t", b"--b") == crlf(body).replace(b"--b \t", b"--b")
        marks = [event for event in whole if isinstance(event, Delimiter)]
        assert [mark.closing for mark in marks][-1:] in ([True], [])
        assert len([event for event in whole if isinstance(event, PartHead)]) == sum(not mark.closing for mark in marks)
        # what follows a closing boundary is no part any more
        closed = False
        for event in whole:
            assert not (closed and isinstance(event, PartHead))
            closed = closed or (isinstance(event, Delimiter) and event.closing)
            assert not (closed and isinstance(event, Octets) and event.number != BETWEEN)


def test_facts_of_each_part() -> None:
    """Size, over-long lines, octets of eight bits, NUL, line ends: as they will be when every line ends in CRLF.

    A NUL in an image is one of its octets; only in text it is to be removed.
    """
    body = b"--b\nX: y\n\nab\nc\n--b\nContent-Type: image/png\n\n\xff\0" + b"x" * 50 + b"\n--b--\nend\n"
    seen = scan_body((), TOP, [body])
    assert sorted(seen.parts) == [0, 1, 2]
    text, image = seen.parts[1], seen.parts[2]
    assert (text.size, text.long_lines, text.eight_bit, text.nul, text.bare_ends, text.sample) == (
        5,
        False,
        False,
        False,
        True,
        b"ab\r\nc",
    )
    assert (image.size, image.long_lines, image.eight_bit, image.nul, image.bare_ends, image.sample) == (
        51,
        False,
        True,
        True,
        False,
        b"",
    )
    assert (seen.size, seen.opened, seen.missing, seen.glued) == (len(body), True, 0, 0)
    assert (seen.eight_bit, seen.nul, seen.bare_ends, seen.ends_with_line) == (True, False, True, True)
    assert seen.parts[0].container and not text.container


@pytest.mark.parametrize(
    ("body", "bare"),
    [
        ([b"a\r\nb\r\n"], False),
        ([b"a\r", b"\nb"], False),
        ([b"a\r", b"", b"\nb"], False),
        ([b"a\r", b"b\n"], True),
        ([b"a\r\r\n"], True),
        ([b"a\n"], True),
        ([b"a\r"], True),
        ([b"a\n\r"], True),
        ([], False),
    ],
)
def test_line_ends_other_than_crlf_are_noticed(body: list[bytes], bare: bool) -> None:
    """Also between two blocks."""
    assert scan_body((), read_content_type(b"text/plain"), body).bare_ends is bare


@pytest.mark.parametrize(("end", "whole"), [(b"\r\n", True), (b"\n", True), (b"\r", True), (b"x", False)])
def test_a_body_that_ends_in_the_middle_of_a_line_is_ended(end: bytes, whole: bool) -> None:
    """With one line end, and only where there is none."""
    assert scan_body((), read_content_type(b"text/plain"), [b"text" + end, b""]).ends_with_line is whole
    result = repaired(MIME + b"\r\ntext" + end)
    assert text_of(result.message) == ("text\n" if whole else "textx\n")
    assert result.size == len(octets(result.message))


@pytest.mark.parametrize(
    ("boundary", "encoding", "parted"),
    [(b"1234567", b"7bit", False), (b"12345678", b"7bit", True), (b"123", b"base64", True)],
)
def test_a_boundary_at_the_end_of_a_line_counts_if_it_is_no_accident(boundary: bytes, encoding: bytes, parted: bool) -> None:
    """Firmware forgets the line end before it; a short one may be text, but not in base64."""
    part = (
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\nQUJD--" + boundary + b"\r\n\r\nsecond"
    )
    content = mixed(part, boundary=boundary, close=b"--" + boundary + b"--\r\n")
    assert len(leaves(content)) == (2 if parted else 1)
    assert any("put a boundary on a line of its own" in note for note in repaired(content).notes) is parted


@pytest.mark.parametrize("glued", [b"---1234567890", b"see --1234567890 there", b"--1234567890x"])
def test_what_only_looks_like_a_boundary_is_text(glued: bytes) -> None:
    """A dash more, words behind it, a longer name."""
    content = mixed(b"\r\n" + glued + b"\r\nmore", boundary=b"1234567890", close=b"--1234567890--\r\n")
    assert without_trace(repaired(content).message) == content


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n"])
def test_a_multipart_that_breaks_off_is_closed_on_a_line_of_its_own(end: bytes) -> None:
    """Also where the device stopped in the middle of a line."""
    once = octets(repaired(mixed(b"\r\nlast words", close=b"").removesuffix(b"\r\n") + end).message)
    assert once.endswith(b"\r\nlast words\r\n--=_x--\r\n")
    assert without_trace(repaired(once).message) == once


def test_nuls_before_the_first_boundary_hide_no_part() -> None:
    """They are removed; the next who looks would find the parts."""
    content = mixed(b"\r\none", b"\r\ntwo").replace(b"\r\n\r\n--=_x", b"\r\n\r\n\0\0--=_x", 1)
    assert [part.get_content().strip() for part in leaves(content)] == ["one", "two"]
    assert repaired(octets(repaired(content).message)).notes == ()


def test_a_name_longer_than_any_is_text_of_the_part() -> None:
    """Such a line could not be folded; the lines behind it are text too."""
    [part] = leaves(mixed(b"x" * 1_200 + b"Type: a\r\nContent-Disposition: attachment\r\n\r\nb\r\n"))
    assert part.get_content().replace("\r", "").startswith("x" * 1_200 + "Type: a\nContent-Disposition: attachment\n\nb\n")
    assert max(map(len, octets(repaired(mixed(b"x" * 1_200 + b"Type: a\r\n\r\nb")).message).split(b"\r\n"))) <= 998


def test_the_head_of_a_part_is_bounded() -> None:
    """64 KiB of it; what stands behind is text, and nothing is lost."""
    head = b"X-A: " + b"b" * 90 + b"\r\n"
    content = mixed(head * 1000 + b"\r\ntext")
    [part] = [
        event
        for event in walk(TOP, [content.partition(b"\r\n\r\n")[2].replace(b"--=_x", b"--b")])
        if isinstance(event, PartHead)
    ]
    assert 64 * 1024 <= sum(len(field.raw) for field in part.fields) <= 64 * 1024 + 2 * len(head)
    assert octets(repaired(content).message).count(head) == 1000


@pytest.mark.parametrize("depth", [3, 29, 30, 31, 40])
def test_parts_in_parts_in_parts(depth: int) -> None:
    """Each multipart is closed, up to thirty of them; what lies deeper is carried, not looked into."""
    inner = b"Content-Type: text/plain\r\n\r\ndeep"
    for level in range(depth - 1, -1, -1):
        mark = b"L%d" % level
        inner = b"Content-Type: multipart/mixed; boundary=" + mark + b"\r\n\r\n--" + mark + b"\r\n" + inner + b"\r\n"
    content = MIME + inner
    result = repaired(content)
    out = octets(result.message)
    assert [out.count(b"--L%d--" % level) for level in range(depth)] == [1] * min(depth, 30) + [0] * max(depth - 30, 0)
    assert b"deep" in out
    again = repaired(out)
    assert without_trace(again.message) == out


@pytest.mark.parametrize("encoding", [b"7bit", b"8bit", b""])
def test_a_message_in_a_message_is_looked_into(encoding: bytes) -> None:
    """Its text is labelled, and without 8BITMIME encoded; the outer head says only what holds for what is in it."""
    said = b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b""
    inner = b"Content-Type: message/rfc822\r\n" + said + b"\r\nSubject: inner\r\n\r\n" + "温度\r\n".encode()
    for content in (MIME + inner, mixed(b"Content-Type: text/plain\r\n\r\nouter", inner.removesuffix(b"\r\n"))):
        result = repaired(content)
        narrow = seven_bit(result.message)
        assert octets(narrow).isascii()
        for message in (result.message, narrow):
            texts = [part.get_content().strip() for part in read(message).walk() if part.get_content_maintype() == "text"]
            assert texts[-1] == "温度"
        assert not any(b"base64" in field.value for field in narrow.fields)
        assert read(narrow)["Content-Transfer-Encoding"] in (None, "7bit")


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_a_coded_message_is_not_looked_into(encoding: bytes) -> None:
    """RFC 2046 s5.2.1 forbids it, some do it: its octets are left alone."""
    inner = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\nU3ViamVjdDogeA0KDQo=\r\n"
    for content in (MIME + inner, mixed(inner.removesuffix(b"\r\n"))):
        assert without_trace(repaired(content).message) == content


@pytest.mark.parametrize(
    ("lines_", "found"),
    [
        ([b"--xyz", b"", b"text", b"--xyz--"], True),
        ([b"--xyz", b"", b"text", b"--xyz"], True),
        ([b"--xyz \t", b"", b"text", b"--xyz--"], True),
        ([b"before", b"--xyz", b"", b"text", b"--xyz--", b"after"], True),
        ([b"--", b"text", b"--"], False),
        ([b"-------", b"text", b"-------"], False),
        ([b"- - -", b"-- - -", b"-- - -"], False),
        ([b"--xyz", b"text"], False),
        ([b"--xyz", b"--abc"], False),
        ([b"x--xyz", b"x--xyz"], False),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_boundary_is_one_that_comes_again(lines_: list[bytes], found: bool, end: bytes) -> None:
    """Lines of dashes are none, and neither is what stands there once: without one it is text."""
    content = MIME + b"Content-Type: multipart/mixed\r\n\r\n" + end.join(lines_) + end
    result = repaired(content)
    assert read(result.message).get_content_type() == ("multipart/mixed" if found else "text/plain")
    if found:
        assert leaves(content)[0].get_content().strip() == "text"
        assert any("took the boundary from the body: Content-Type names none" in note for note in result.notes)
    else:
        assert text_of(result.message) == "\n".join(line.decode() for line in lines_) + "\n"


def test_a_boundary_is_looked_for_in_all_of_the_body() -> None:
    """Also across blocks, and where another was named."""
    filler = b"x" * 70 + b"\r\n"
    body = b"--xyz\r\n\r\n" + filler * 2000 + b"--xyz\r\n\r\nsecond\r\n--xyz--\r\n"
    content = MIME + b"Content-Type: multipart/mixed; boundary=other\r\n\r\n" + body
    assert len(leaves(content)) == 2
    assert any("names another" in note for note in repaired(content).notes)


def test_a_part_of_a_digest_that_names_no_type_is_a_message() -> None:
    """RFC 2046 s5.1.5: it is not labelled as text, and not encoded whole; the message in it is."""
    inner = b"From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    inner += b"Content-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9"
    sent = octets(repaired(mixed(b"\r\n" + inner, kind=b"digest")).message)
    assert b"\r\n" + inner in sent
    [part] = read(seven_bit([sent])).iter_parts()
    assert part.get_content_type() == "message/rfc822"
    assert part.get_content().get_content() == "caf\u00e9"


@pytest.mark.parametrize("named", [b"other", rb'"a\"b c\\d"'], ids=["taken from the body", "named"])
def test_a_boundary_with_quotation_marks_is_written_once(named: bytes) -> None:
    """Its escaped form is the right one."""
    body = b'--a"b c\\d\r\n\r\nfirst\r\n--a"b c\\d\r\n\r\nsecond\r\n--a"b c\\d--\r\n'
    content = MIME + b"Content-Type: multipart/mixed; boundary=" + named + b"\r\n\r\n" + body
    assert len(leaves(content)) == 2
    assert repaired(octets(repaired(content).message)).notes == ()


@pytest.mark.parametrize("rest", [b'"', b"From: x@y.example\r\nSubject: inner\r\n\r\nh\xe9llo", b"\r\ntext\r\n", b""])
@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_a_message_that_is_said_to_be_encoded_and_is_not(rest: bytes, encoding: bytes) -> None:
    """It is read as what it is, written so, and right from then on; for a 7-bit upstream, too."""
    fields = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n"
    first = repaired(MIME + fields + rest)
    assert repaired(octets(first.message)).notes == ()
    assert octets(seven_bit([octets(first.message)])).isascii()
