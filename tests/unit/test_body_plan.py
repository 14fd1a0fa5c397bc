"""What each part must become before it can go, and no more: its type, charset, encoding and fields."""

import base64

import pytest

from relay.mail.message import Field
from relay.mail.recode import seven_bit
from tests.support.letters import RIGHT, assert_sendable, octets, read, repaired, text_of, without_trace
from tests.unit.test_mime_walk import MIME, leaves, mixed


def recoded(fields: bytes, body: bytes) -> tuple[str, str, bytes]:
    """Type, encoding and octets of a one-part message when it leaves."""
    message = read(repaired(MIME + fields + b"\r\n" + body).message)
    return str(message["Content-Type"] or ""), str(message["Content-Transfer-Encoding"] or ""), message.get_payload(decode=True)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "encoding", "body", "becomes", "cte"),
    [
        (b"text/plain", b"", b"x\r\n", "text/plain", ""),
        (b"text/plain", b"8bit", b"x\r\n", "text/plain", "8bit"),
        (b"text/plain", b"7-bit", b"x\r\n", "text/plain", "7bit"),
        (b"text/plain", b"binary", b"x\r\n", "text/plain", "7bit"),
        (b"text/plain", b"foo", b"x\r\n", "text/plain", "7bit"),
        (b"text/plain", b"x-uuencode", b"x\r\n", "text/plain", "x-uuencode"),
        (b"text/plain", b"7bit (as ever)", b"x\r\n", "text/plain", "7bit (as ever)"),
        (b"text/plain", b"QP", b"x\r\n", "text/plain", "quoted-printable"),
        (b"text/plain; charset=utf-8", b"7bit", b"\xc3\xa9\r\n", 'text/plain; charset="utf-8"', "8bit"),
        (b"text/plain; charset=utf-8", b"binary", b"\xc3\xa9\r\n", 'text/plain; charset="utf-8"', "8bit"),
        (b"text", b"base64", b"eA==\r\n", "text/plain", "base64"),
        (b"TEXT", b"base64", b"eA==\r\n", "text/plain", "base64"),
        (b"garbage", b"base64", b"eA==\r\n", "application/octet-stream", "base64"),
        (b"garbage", b"base64", b"5rip5bqm\r\n", "application/octet-stream", "base64"),
        (b"garbage", b"", b"x\r\n", "text/plain", ""),
        (b"garbage; charset=iso-8859-1", b"8bit", b"\xe9\r\n", 'text/plain; charset="iso-8859-1"', "8bit"),
        (b"garbage; charset=(?)", b"8bit", b"x\r\n", 'text/plain; charset="us-ascii"', "8bit"),
        (b"application/x", b"binary", b"x\r\n", "application/x", "7bit"),
        (b"application/x", b"binary", b"x\n", "application/x", "base64"),
        (b"application/x", b"binary", b"\xff\r\n", "application/x", "base64"),
        (b"application/x", b"8bit", b"\xff\r\n", "application/x", "8bit"),
        (b"application/x", b"", b"\xff\r\n", "application/x", "base64"),
        (b"application/x", b"8bit", b"a\0b\r\n", "application/x", "base64"),
        (b"application/x", b"7bit", b"x" * 999 + b"\r\n", "application/x", "base64"),
        (b"application/x", b"7bit", b"x" * 998 + b"\r\n", "application/x", "7bit"),
        (b"text/plain", b"7bit", b"x" * 999 + b"\r\n", "text/plain", "quoted-printable"),
        (b"text/plain", b"7bit", b"x" * 998 + b"\r\n", "text/plain", "7bit"),
        (b"text/plain, charset=utf-8", b"8bit", b"\xc3\xa9\r\n", 'text/plain; charset="utf-8"', "8bit"),
        (b"application/octet-stream", b"8bit", "温度\r\n".encode(), "application/octet-stream", "8bit"),
    ],
)
def test_a_part_says_what_it_is(kind: bytes, encoding: bytes, body: bytes, becomes: str, cte: str) -> None:
    """Type, charset and encoding are true when it leaves, and no octet of it is another."""
    fields = b"Content-Type: " + kind + b"\r\n" + (b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b"")
    said, way, payload = recoded(fields, body)
    assert (said, way) == (becomes, cte)
    if cte != "x-uuencode" and encoding != b"base64":
        assert payload == body
    elif encoding == b"base64":
        assert payload == base64.b64decode(body)


@pytest.mark.parametrize(
    ("share", "way"),
    [
        ("é" + "x" * 10, "quoted-printable"),
        ("温度", "base64"),
        ("温" + "x" * 6, "quoted-printable"),
        ("温" + "x" * 5, "base64"),
    ],
)
def test_text_is_coded_so_that_it_stays_short(share: str, way: str) -> None:
    """More than a third of foreign octets make base64 shorter than quoted-printable."""
    narrow = seven_bit(repaired(MIME + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + (share * 20).encode()).message)
    assert read(narrow)["Content-Transfer-Encoding"] == way
    assert text_of(narrow).rstrip("\n") == share * 20


@pytest.mark.parametrize(
    ("said", "part", "wide", "narrow"),
    [
        (b"", b"x", None, None),
        (b"7bit", b"x", "7bit", "7bit"),
        (b"8bit", b"x", "8bit", "8bit"),
        (b"base64", b"x", "7bit", "7bit"),
        (b"binary", b"x", "7bit", "7bit"),
        (b"8bit", b"\xc3\xa9", "8bit", "7bit"),
        (b"binary", b"\xc3\xa9", "8bit", "7bit"),
        (b"quoted-printable", b"\xc3\xa9", "8bit", "7bit"),
        (b"", b"\xc3\xa9", None, None),
    ],
)
def test_a_multipart_says_no_more_than_its_parts(said: bytes, part: bytes, wide: str | None, narrow: str | None) -> None:
    """It is 7bit or 8bit (RFC 2045 s6.4), and 7bit where all of it was made so."""
    fields = b"Content-Transfer-Encoding: " + said + b"\r\n" if said else b""
    whole = mixed(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + part, fields=fields)
    inner = whole.removeprefix(MIME).removesuffix(b"\r\n")
    for content, deep in ((whole, False), (mixed(inner, boundary=b"outer", close=b"--outer--\r\n"), True)):
        result = repaired(content)
        for message, way in ((result.message, wide), (seven_bit(result.message), narrow)):
            mail = read(message)
            assert (next(mail.iter_parts()) if deep else mail)["Content-Transfer-Encoding"] == way
        assert octets(seven_bit(result.message)).isascii()


def test_a_boundary_that_readers_disagree_about_is_quoted() -> None:
    """Once, and it is said; the parts are those that the device meant."""
    content = mixed(b"\r\none", b"\r\ntwo", boundary=b"a:b c", close=b"--a:b c--\r\n").replace(b'"a:b c"', b"a:b c")
    result = repaired(content)
    assert [part.get_content().strip() for part in leaves(content)] == ["one", "two"]
    assert result.notes.count("wrote the boundary in quotation marks") == 1
    assert b'boundary="a:b c"' in octets(result.message)


@pytest.mark.parametrize("octet", [b"\xe9", b"\x01", b"\x0b", b"\x7f"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_boundary_of_foreign_octets_is_spelled_in_ascii_everywhere(octet: bytes, deep: bool) -> None:
    """In the field and on every line, and it is the same text that is parted there."""
    boundary = b"b" + octet + b"d"
    content = mixed(b"\r\none", b"\r\ntwo", boundary=boundary, close=b"--" + boundary + b"--\r\n")
    content = mixed(content.removeprefix(MIME)) if deep else content
    assert [part.get_content().strip() for part in leaves(content)] == ["one", "two"]
    message = repaired(content).message
    assert not any(part.defects for part in read(message).walk())
    assert octets(message).isascii() and octet not in octets(message)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("Content-Description: 温度", b"Content-Description: =?utf-8?B?5rip5bqm?="),
        ("Content-Description: \x07x", b"Content-Description: x"),
        ("Content-Transfer-Encoding: 7bit\xe9", b"Content-Transfer-Encoding: 7bit"),
        ("Content-ID: <a@b>", b"Content-ID: <a@b>"),
        ("Content-Description: " + "word " * 300, b"Content-Description: word word"),
    ],
)
def test_the_fields_of_a_part_can_be_sent(field: str, sent: bytes) -> None:
    """In ASCII, without control octets, in lines that any server takes; those that were fine are left alone."""
    out = octets(repaired(mixed(b"Content-Type: text/plain\r\n" + field.encode() + b"\r\n\r\nx")).message)
    assert b"\r\n" + sent in out
    assert_sendable(out)
    assert max(map(len, out.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("kind", [b"multipart/mixed; boundary=in", b"message/rfc822"])
def test_the_fields_of_what_holds_parts_can_be_sent_too(kind: bytes) -> None:
    """And what is in it is as it was."""
    inner = b"--in\r\n\r\ntext\r\n--in--" if b"in" in kind.partition(b"=")[2] else b"Subject: x\r\n\r\ntext"
    fields = b"Content-Type: " + kind + b"\r\nContent-Description: " + "温度".encode() + b"\r\n\r\n"
    result = repaired(mixed(fields + inner))
    assert_sendable(octets(result.message))
    [part] = read(result.message).iter_parts()
    assert part["Content-Description"] == "温度"
    assert any("Content-Description" in note for note in result.notes)
    assert octets(result.message).count(b"\r\n\r\ntext\r\n") == 1


def test_a_field_of_many_short_lines_is_left_alone() -> None:
    """It is longer than a line may be, but none of its lines is."""
    many = b";\r\n\t".join(b"parameter%d=value" % number for number in range(80))
    content = mixed(b"Content-Type: application/x;\r\n\t" + many + b"\r\n\r\nx")
    result = repaired(content)
    assert without_trace(result.message) == content and result.notes == ()


SIGNED = b"DKIM-Signature: v=1; a=rsa-sha256; d=nas.example.test; h=from:to; bh=x; b=y\r\n"


@pytest.mark.parametrize("way", [b"base64", b"binary", b"8bit"])
@pytest.mark.parametrize("signed", [True, False])
def test_what_is_signed_keeps_its_fields_as_long_as_it_can_go(way: bytes, signed: bool) -> None:
    """Under DKIM, and within multipart/signed; without 8BITMIME it must be changed all the same."""
    text = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "温度".encode()
    fields = b"Content-Transfer-Encoding: " + way + b"\r\n"
    inner = mixed(text, boundary=b"in", fields=fields, close=b"--in--\r\n").removeprefix(MIME)
    content = SIGNED + MIME + inner if signed else mixed(inner.removesuffix(b"\r\n"), kind=b"signed")
    result = repaired(content)
    assert without_trace(result.message) == content
    narrow = seven_bit(result.message)
    assert octets(narrow).isascii()
    parts = [part for part in read(narrow).walk() if part["Content-Type"].params.get("boundary") == "in"]
    assert [part["Content-Transfer-Encoding"] for part in parts] == ["7bit"]
    assert [part.get_content().strip() for part in read(narrow).walk() if not part.is_multipart()] == ["温度"]


def test_seven_bits_change_nothing_but_the_encoding() -> None:
    """What repair left as it was, or was not allowed to mend, stays so on this way too."""
    for said in (b"text/plain; charset=(none)", b"text/plain, charset=x", b"garbage"):
        content = mixed(b"Content-Type: " + said + b"\r\n\r\nplain")
        assert octets(seven_bit([content])) == content


@pytest.mark.parametrize("place", ["preamble", "epilogue"])
@pytest.mark.parametrize("words", ["温度", "x" * 1200])
def test_what_stands_between_parts_cannot_stop_a_message(place: str, words: str) -> None:
    """Nobody reads it, but a server may refuse it: it is written so that it can go, and the parts are as they were."""
    text = words.encode() + b"\r\n"
    content = mixed(b"\r\none", close=b"--=_x--\r\n" + (text if place == "epilogue" else b""))
    content = content.replace(b"\r\n\r\n--=_x", b"\r\n\r\n" + text + b"--=_x", 1) if place == "preamble" else content
    assert words.encode() in content
    narrow = octets(seven_bit(repaired(content).message))
    assert narrow.isascii()
    assert_sendable(narrow)
    assert [part.get_content().strip() for part in leaves(content)] == ["one"]


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        (b"1.0", b"1.0"),
        (b"1.0 (made by x)", b"1.0 (made by x)"),
        (b" 1 . 0", b"1 . 0"),
        (b"one", b"1.0"),
        (b"", b"1.0"),
        (None, b"1.0"),
    ],
)
def test_a_message_with_mime_fields_says_so(version: bytes | None, sent: bytes) -> None:
    """Once, in a form that is known; a message without any needs none."""
    said = b"MIME-Version: " + version + b"\r\n" if version is not None else b""
    result = repaired(RIGHT + said + b"Content-Type: text/plain\r\n\r\nx\r\n")
    assert [field.value for field in result.message.all("mime-version")] == [sent]
    assert any("added MIME-Version" in note for note in result.notes) is (version is None)
    assert not repaired(RIGHT + b"Content-Description: x\r\n\r\nx\r\n").message.all("mime-version")


def test_a_message_that_ended_with_its_header_has_an_end_in_seven_bits_too() -> None:
    """The empty line is there, and its fields are as they were."""
    message = seven_bit([b"Subject: x\r\n"])
    assert octets(message) == b"Subject: x\r\n\r\n"
    assert Field(b"Subject: x\r\n") in message.fields
