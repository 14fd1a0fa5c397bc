"""The parts of a message as files."""

import base64
import binascii
import os
from dataclasses import astuple

import pytest

from relay.mail.decoders import decoder
from relay.mail.file_parts import FilePart, file_parts
from relay.mail.message import Message


def read(content: bytes, cut: int = 0) -> list[tuple[str, str, bool, str, bytes]]:
    """Each part as (kind, name, attached, charset, octets)."""
    blocks = [content[at : at + cut] for at in range(0, len(content), cut)] if cut else [content]
    found: list[list[object]] = []
    for event in file_parts(Message.parse(blocks)):
        if isinstance(event, FilePart):
            found.append([*astuple(event)[:4], b""])
        else:
            found[-1][-1] += event  # type: ignore[operator]
    return [tuple(one) for one in found]  # type: ignore[misc]


def names(head: bytes) -> list[str]:
    return [name for _, name, *_ in read(head + b"\r\n\r\nx\r\n")]


MIXED = (
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n--a\r\n"
    b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type: text/html; charset=utf-8"
    b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=E2=82=\r\n=AC</p> \r\nend\r\n--b--\r\n\r\n--a\r\n"
    b"Content-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n/9j/\r\n4AA=\r\n--a\r\n"
    b"Content-Type: text/csv\r\n\r\na;b\r\nc;d\r\n\r\n--a\r\n"
    b"Content-Type: text/plain; name=log.txt\r\n\r\n--a\r\n"
    b"Content-Type: text/plain\r\nContent-Disposition: Attachment\r\n\r\nnote\r\n--a--\r\nepilogue\r\n"
)
PARTS = [
    ("", "", False, "", b"plain"),
    ("text/html", "", False, "utf-8", "<p>€</p>\r\nend".encode()),
    ("image/jpeg", "", True, "", b"\xff\xd8\xff\xe0\x00"),
    ("text/csv", "", True, "", b"a;b\r\nc;d\r\n"),
    ("text/plain", "log.txt", True, "", b""),
    ("text/plain", "", True, "", b"note"),
]


@pytest.mark.parametrize("cut", [0, 1, 7, 64])
def test_each_part_is_a_file_or_a_text(cut):
    """With its octets decoded, however they come; text keeps its line ends; an empty one is one too."""
    assert read(MIXED, cut) == PARTS


def test_what_may_be_shown_with_the_message():
    """All that the sender did not mark as an attachment."""
    assert [one.inline for one in file_parts(Message.parse([MIXED])) if isinstance(one, FilePart)] == [True] * 5 + [False]


def test_a_message_that_is_one_file():
    """Many scanners send no multipart at all."""
    head = b"Content-Type: application/pdf; name=scan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert read(head + b"JVBERi0x\r\n") == [("application/pdf", "scan.pdf", True, "", b"%PDF-1")]


def test_an_attached_message_stays_whole():
    """Its own parts are no files, and its delimiters are kept; what follows it is found."""
    inner = (
        b"Subject: in\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nbody\r\n--i\r\nX: 1\r\n\r\nb\r\n--i--\r\n"
    )
    outer = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822; name=a.eml\r\n\r\n%b\r\n--o\r\n"
    )
    found = read(outer % inner + b"Content-Type: image/png\r\n\r\nP\r\n--o--\r\n")
    assert found == [("message/rfc822", "a.eml", True, "", inner), ("image/png", "", True, "", b"P")]
    assert read(b"Content-Type: message/rfc822\r\n\r\n" + inner) == [("message/rfc822", "", True, "", inner)]
    coded = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(inner) + b"\r\n"
    assert read(coded) == [("message/rfc822", "", True, "", inner)]


def test_signatures_are_no_files():
    """Nobody archives smime.p7s."""
    content = (
        b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\ntext\r\n--s\r\n"
        b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nAAAA\r\n--s--\r\n"
    )
    assert read(content) == [("", "", False, "", b"text")]


def test_multiparts_without_end_and_too_deep_lose_nothing():
    """What is nested deeper than is read is one file; a part that the end cuts off is there."""
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=d%d.\r\n\r\n--d%d.\r\n" % (level, level) for level in range(40))
    octets = b"".join(octets for *_, octets in read(deep + b"\r\nbottom\r\n"))
    assert b"bottom" in octets
    assert (
        read(b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: image/png\r\n\r\nhalf")[0][-1] == b"half"
    )


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'Content-Disposition: attachment; filename="a b.pdf"', "a b.pdf"),
        (b"Content-Disposition: attachment; filename*=utf-8''%E6%97%A5%E6%9C%AC.pdf; filename=x.pdf", "日本.pdf"),
        (b"Content-Disposition: attachment; filename*0*=shift_jis'ja'%93%FA; filename*1*=%96%7B; filename*2=.pdf", "日本.pdf"),
        (b'Content-Disposition: attachment; filename="=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=.pdf"', "日本.pdf"),
        (b'Content-Type: application/pdf; name="=?utf-8?Q?caf=C3=A9?=.pdf"', "café.pdf"),
        ('Content-Disposition: attachment; filename="Übersicht.pdf"'.encode(), "Übersicht.pdf"),
        ('Content-Disposition: attachment; filename="日本語のスキャン.pdf"'.encode("shift_jis"), "日本語のスキャン.pdf"),
        (b"Content-Disposition: attachment; filename*=no-such-charset''a%20b.pdf", "a b.pdf"),
        (b"Content-Disposition: attachment; filename*=%41.pdf", "A.pdf"),
        (b"Content-Disposition: attachment; filename*1=late.pdf", ""),
        (b"Content-Disposition: attachment", ""),
        (b"Content-Disposition: attachment; filename=", ""),
    ],
)
def test_the_name_that_the_sender_gave(head, name):
    """RFC 2231 in one piece and several, encoded-words, raw octets in whatever charset."""
    assert names(head) == [name]


@pytest.mark.parametrize(
    ("encoding", "coded", "octets"),
    [
        ("base64", b"QUJD*RA==\r\nRUZH\r\n", b"ABCDEFG"),
        ("base64", b"QUI=QUI=\r\nQQ", b"ABABA"),
        ("base64", b"QUJDR", b"ABC"),
        ("base64", b"====", b""),
        ("quoted-printable", b"a=3D=\r\nb \t\r\nc=ZZ=", b"a=b\r\nc=ZZ"),
        ("quoted-printable", b"x" * 70_000 + b"=3D", b"x" * 70_000 + b"="),
        *[
            ("quoted-printable", b"x" * 65_533 + b"y" * end + b"=3D=3Dz", b"x" * 65_533 + b"y" * end + b"==z")
            for end in range(6)
        ],
        ("x-uuencode", b"junk\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\njunk\r\n", b"abc"),
        ("8bit", b"\xff\r\n", b"\xff\r\n"),
    ],
)
@pytest.mark.parametrize("cut", [1, 3, 65_536])
def test_damage_costs_no_more_than_itself(encoding, coded, octets, cut):
    """Whatever way the octets are cut into blocks."""
    undo = decoder(encoding)
    assert b"".join(undo.feed(coded[at : at + cut]) for at in range(0, len(coded), cut)) + undo.close() == octets


@pytest.mark.parametrize("more", [b"", b"x"])
@pytest.mark.parametrize("cut", [1, 7, 65_536])
def test_uuencoded_lines_with_a_check_character(more, cut):
    """Some encoders add one to each line; what stands outside of `begin` and `end` does not count."""
    octets = os.urandom(200)
    lines = [binascii.b2a_uu(octets[at : at + 45]).rstrip(b"\n") + more for at in range(0, 200, 45)]
    coded = b"\r\n".join([b"before", b"begin 644 a.pdf", *lines, b"`", b"end", b"after", b""])
    undo = decoder("x-uuencode")
    assert b"".join(undo.feed(coded[at : at + cut]) for at in range(0, len(coded), cut)) + undo.close() == octets
