"""What a person is shown of a message, whatever is in it."""

import base64
import time

import pytest

from relay.mail.message import Field
from relay.mail.shown_message import MOST_FIELDS, MOST_PARTS, FieldPair, shown_html, shown_message, side_by_side, written

MIXED = (
    b"From: =?utf-8?B?5aSq6YOO?= <taro@isp.example>\r\nSubject: raw \xe5\x81\x9c\xe9\x9b\xbb\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=B\r\n\r\n"
    b"--B\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
    b"--B\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Gr\xc3\xbc\xc3\x9fe "
    b"<img src='cid:logo@x'> <img src=cid:none></p>\r\n"
    b"--B\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n"
    b'--B\r\nContent-Type: application/pdf; name="=?utf-8?B?5YGc6Zu7LnBkZg==?="\r\nContent-Disposition: attachment\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(b"x" * 3000).replace(b"\n", b"\r\n") + b"--B--\r\n"
)


def pieces(octets: bytes, size: int = 1000) -> list[bytes]:
    return [octets[place : place + size] for place in range(0, len(octets), size)]


def test_a_message_is_decoded() -> None:
    """Header fields, text, names and decoded sizes."""
    shown = shown_message(pieces(MIXED), len(MIXED))
    assert shown.fields[:2] == (("From", "太郎 <taro@isp.example>"), ("Subject", "raw 停電"))
    assert (shown.text, shown.html, shown.whole, shown.text_cut) == ("Grüße", True, True, False)
    assert [(one.name, one.kind, one.size) for one in shown.attachments] == [
        ("", "image/png", 3),
        ("停電.pdf", "application/pdf", 3000),
    ]


def test_html_gets_its_own_pictures_and_no_others() -> None:
    """A picture of the message is put where it is named; one that is not there stays away."""
    html = shown_html(pieces(MIXED))
    assert html is not None
    assert f"src='data:image/png;base64,{base64.b64encode(b'ABC').decode()}'" in html
    assert "src=cid:none" in html
    assert shown_html([b"Subject: x\r\n\r\ntext\r\n"]) is None


def a_page(html: bytes, kind: bytes = b"text/html") -> list[bytes]:
    return [b"Content-Type: " + kind + b"\r\n\r\n" + html]


@pytest.mark.parametrize(
    "html",
    [
        b"<meta http-equiv=refresh content='0;url=http://evil.example/'>",
        b"<MeTa\nhttp-equiv=refresh>",
        b"<me\x00ta http-equiv=refresh>",
        b"<meta/http-equiv=refresh>",
        b"<link rel=dns-prefetch href=//evil.example>",
        b"<base href=//evil.example/>",
        b"+ADw-meta http-equiv=refresh+AD4-",
        b"<a href=//evil.example ping=//evil.example>x</a>",
        b"<IFRAME src=//evil.example></iframe>",
        b"<script src=//evil.example></script>",
    ],
)
def test_a_page_leads_nowhere(html: bytes) -> None:
    """Tags that go elsewhere or look names up are none any more, in whatever charset they were hidden."""
    for kind in (b"text/html", b"text/html; charset=utf-8", b"text/html; charset=utf-7", b"text/html; charset=utf-16"):
        found = shown_html(a_page(html, kind)) or ""
        assert not any(tag in found.lower() for tag in ("<meta", "<link", "<base", "<a", "<iframe", "<script"))


def test_a_picture_that_is_named_for_ever_is_shown_for_a_while() -> None:
    """A page of a megabyte of names does not become terabytes."""
    head = b"Content-Type: multipart/related; boundary=B\r\n\r\n--B\r\nContent-Type: text/html\r\n\r\n"
    picture = b"\r\n--B\r\nContent-Type: image/png\r\nContent-ID: <a>\r\n\r\n" + b"x" * 4_000_000 + b"\r\n--B--\r\n"
    html = shown_html(pieces(head + b"<img src=cid:a>" * 60_000 + picture, 65_536)) or ""
    assert 4_000_000 < len(html) < 20_000_000


@pytest.mark.parametrize("kind", [b"image/svg+xml", b"text/html", b"application/javascript"])
def test_only_pictures_are_put_in(kind: bytes) -> None:
    """What could hold a script is not."""
    letter = (
        b"Content-Type: multipart/related; boundary=B\r\n\r\n--B\r\nContent-Type: text/html\r\n\r\n<img src=cid:a>"
        b"\r\n--B\r\nContent-Type: "
        + kind
        + b"\r\nContent-Disposition: attachment\r\nContent-ID: <a>\r\n\r\n<svg/>\r\n--B--\r\n"
    )
    assert "data:" not in (shown_html([letter]) or "")


HOSTILE = {
    "deep": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000)),
    "many": b"Content-Type: multipart/mixed; boundary=B\r\n\r\n" + b"--B\r\n\r\nx\r\n" * 50_000,
    "fields": b"a: b\r\n" * 40_000 + b"\r\nx",
    "words": b"Subject: " + b"=?utf-8?B?" * 20_000 + b"\r\n\r\nx",
    "raw": b"".join(b"X-%d: " % n + bytes(range(128, 256)) * 40 + b"\r\n" for n in range(60)) + b"\r\nx",
    "tags": b"Content-Type: text/html\r\n\r\n" + b"<" * 1_000_000,
    "cids": b"Content-Type: text/html\r\n\r\n" + b"cid:" * 250_000,
    "params": b"Content-Type: multipart/mixed; boundary=B" + b"; a=b" * 40_000 + b"\r\n\r\n--B\r\n\r\nx\r\n--B--\r\n",
    "line": b"Content-Type: text/plain\r\n\r\n" + b"x" * 3_000_000,
    "nothing": b"",
    "nul": b"\0" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_is_read_in_bounded_time(name: str) -> None:
    """Depth, parts, fields, words and tags without end: everything shown has a bound, and it takes no minute."""
    began = time.process_time()
    octets = HOSTILE[name]
    shown = shown_message(pieces(octets, 65_536), len(octets))
    html = shown_html(pieces(octets, 65_536))
    assert time.process_time() - began < 10
    assert len(shown.fields) <= MOST_FIELDS
    assert len(shown.attachments) <= MOST_PARTS
    assert len(shown.text) <= 150_000
    assert html is None or len(html) <= 1_200_000


def test_what_was_mended_stands_beside_what_it_was() -> None:
    """Equal fields are paired first, then those of one name; what is new and what is gone has no partner."""
    before = [Field(b"From: a\r\n"), Field(b"Received: 1\r\n"), Field(b"Received: 2\r\n"), Field(b"Bcc: x\r\n")]
    after = [Field(b"Received: 0\r\n"), Field(b"Received: 2\r\n"), Field(b"From: b\r\n"), Field(b"Date: now\r\n")]
    assert [(one.kind, one.before, one.after) for one in side_by_side(before, after)] == [
        ("changed", "Received: 1", "Received: 0"),
        ("same", "Received: 2", "Received: 2"),
        ("changed", "From: a", "From: b"),
        ("added", None, "Date: now"),
        ("removed", "Bcc: x", None),
    ]
    assert FieldPair("x", "x").kind == "same"


def test_octets_are_shown_as_they_are_written() -> None:
    """Raw octets and controls by their number; folds as lines."""
    assert written(b"Subject: \xff\x1b[31m\r\n\tx\r\n") == "Subject: \\xff\\x1b[31m\n\tx"
