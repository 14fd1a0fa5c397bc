"""The octets of header fields: what goes, what is encoded, how long a line may be."""

import base64
import re
from dataclasses import replace

import pytest

from relay.mail.address import Address
from relay.mail.encoded_words import decode_words
from relay.mail.header_text import folded
from relay.mail.message import Field
from tests.support.letters import HOST, RIGHT, about, assert_sendable, octets, read, repaired, without_trace

LONG = 1200


def with_field(field: bytes) -> bytes:
    return RIGHT + field + b"\r\n\r\nx\r\n"


def values(content: bytes, name: str) -> list[bytes]:
    return [field.value for field in repaired(content).message.all(name)]


@pytest.mark.parametrize(
    ("field", "mended"),
    [
        (b"X-A: b\x07c\x00\x7f", b"X-A: bc\r\n"),
        (b"X-A: b\r\n \x07\x0b\r\n c", b"X-A: b\r\n c\r\n"),
        (b"X-A: b\r\n\t\x01", b"X-A: b\r\n"),
    ],
)
def test_no_control_octet_leaves_and_no_line_of_blanks(field: bytes, mended: bytes) -> None:
    """Where a continuation held nothing else it goes as well: some parsers would end the header there."""
    once = octets(repaired(with_field(field)).message)
    assert b"\r\n" + mended in once
    assert b"\r\n \r\n" not in once and b"\r\n\t\r\n" not in once
    assert without_trace(repaired(once).message) == once


def test_the_note_names_the_first_fields_only() -> None:
    """Eight names tell enough; each of them is said once, as it was written."""
    fields = b"".join(b"X-%d: \xe9\r\nX-%d: \xe9\r\n" % (number, number) for number in range(12))
    [note] = [note for note in repaired(RIGHT + fields + b"\r\nx\r\n").notes if "8-bit" in note and "header" not in note]
    assert re.findall(r"X-\d+", note) == [f"X-{number}" for number in range(8)]


def test_a_word_that_was_open_behind_escapes_is_closed_at_once() -> None:
    """Once the escape sequences are read, what is left is a word whose end was cut off; reading it again changes nothing."""
    once = octets(repaired(with_field(b"Comments: \x1b$B<+F0\x1b(B =?utf-8?q?Ger=C3=A4t\x1b(B")).message)
    assert decode_words(values(once, "comments")[0].decode()) == "自動Gerät"
    assert without_trace(repaired(once).message) == once


@pytest.mark.parametrize("name", ["In-Reply-To", "References", "Received", "Auto-Submitted", "Resent-Message-ID"])
def test_where_no_encoded_word_may_stand_foreign_octets_are_question_marks(name: str) -> None:
    """RFC 2047 s5: tokens, ids and dates have no other rescue."""
    content = with_field(name.encode() + b": <a\xe9\xe8b@c.example>")
    assert values(content, name.lower())[-1] == b"<a?b@c.example>"


def test_raw_text_beside_encoded_words_becomes_one_text() -> None:
    """What a device encoded itself is not encoded twice."""
    content = with_field("Comments: =?utf-8?B?5rip5bqm?= は高い: high".encode())
    [value] = values(content, "comments")
    assert value.isascii() and decode_words(value.decode()) == "温度 は高い: high"
    assert value.endswith(b" high")


def test_a_name_that_looks_like_a_word_keeps_its_label() -> None:
    """Only in the text behind the colon there are encoded-words."""
    field = b"=?us-ascii?q?=E6=B8=A9?=: =?us-ascii?q?=E6=B8=A9?=\r\n"
    mended = repaired(RIGHT + field + b"\r\nx\r\n").message.fields[-1]
    assert mended.raw == b"=?us-ascii?q?=E6=B8=A9?=: =?utf-8?q?=E6=B8=A9?=\r\n"


@pytest.mark.parametrize(("text", "relabelled"), [("温", False), ("温度", True), ("温度が", True), ("éü", False)])
@pytest.mark.parametrize("encoding", ["B", "Q"])
def test_one_letter_is_no_proof_of_a_false_label(text: str, relabelled: bool, encoding: str) -> None:
    """Two of three octets each under the name of ISO-8859-1 are; a signed field is left alone."""
    coded = base64.b64encode(text.encode()).decode() if encoding == "B" else "".join(f"={octet:02X}" for octet in text.encode())
    said = f"=?ISO-8859-1?{encoding}?{coded}?="
    content = RIGHT.replace(b"Subject: ok", b"Subject: " + said.encode()) + b"\r\nx\r\n"
    assert values(content, "subject") == [said.replace("ISO-8859-1", "utf-8").encode() if relabelled else said.encode()]
    signed = b"DKIM-Signature: v=1; h=from:subject; b=y\r\n" + content
    assert values(signed, "subject") == [said.encode()]


def test_letters_in_several_words_count_together() -> None:
    """A subject of two encoded-words with a letter of UTF-8 each is as sure as one with two."""
    said = b"=?iso-8859-1?B?5rip?= =?iso-8859-1?B?5bqm?="
    content = RIGHT.replace(b"Subject: ok", b"Subject: " + said) + b"\r\nx\r\n"
    assert values(content, "subject") == [said.replace(b"iso-8859-1", b"utf-8")]


def longest(field: Field) -> int:
    return max(map(len, field.raw.split(b"\r\n")))


@pytest.mark.parametrize("length", [990, 998, 999, 1000])
def test_a_line_of_998_octets_may_go(length: int) -> None:
    """One more must be folded (RFC 5322 s2.1.1), wherever in the field it stands."""
    for head in (b"X-A: ", b"X-A: b\r\n "):
        field = Field(head + b"c" * (length - len(head.rpartition(b"\n")[2])) + b"\r\n")
        assert (folded(field) is field) is (length <= 998)
        assert longest(folded(field)) <= 998


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        (b"X-A: " + b"word " * 300, b"word"),
        (b"To: " + b",".join(b"user%d@b.example" % number for number in range(99)), b"@b.example"),
        (b"To: " + b",".join(b'"user, %d" <a@b.example>' % number for number in range(60)), b'"user, '),
        (b"Disposition-Notification-To: " + b",".join(b"user%d@b.example" % number for number in range(99)), b"@b.example"),
        (b"References: " + b"".join(b"<id%d@nas.example>" % number for number in range(80)), b"@nas.example>"),
        (b"Content-Type: text/plain;" + b";".join(b"parameter%d=value" % number for number in range(80)), b"=value"),
    ],
)
def test_a_long_field_is_folded_where_its_grammar_lets_it(field: bytes, kept: bytes) -> None:
    """At blanks, or where one may stand: nothing is lost, and unfolded it is the same but for blanks."""
    done = folded(Field(field + b"\r\n"))
    assert longest(done) <= 998
    assert done.raw.count(kept) == field.count(kept)
    assert re.sub(rb"\s", b"", done.raw) == re.sub(rb"\s", b"", field)
    assert all(line.strip() for line in done.raw.split(b"\r\n")[:-1])


def test_a_long_signature_is_folded_anywhere() -> None:
    """Blanks do not count in it (RFC 6376 s3.5), and it may not be encoded."""
    for more, shown in ((b"", b""), (b"\xff", b"?")):
        signature = folded(Field(b"DKIM-Signature: v=1;b=" + b"Ab1/" * (LONG // 4) + more + b"\r\n"))
        assert longest(signature) <= 90
        assert re.sub(rb"\s", b"", signature.raw) == b"DKIM-Signature:v=1;b=" + b"Ab1/" * (LONG // 4) + shown
        assert signature.raw.startswith(b"DKIM-Signature: v=1;b=Ab1/")


def test_a_word_that_is_too_long_leaves_a_field_of_tokens() -> None:
    """An id of a thousand octets nobody can keep; the others stay, a blank between them."""
    field = b"References: <a@b.example> <" + b"x" * LONG + b"@b.example> <c@d.example>\r\n"
    assert folded(Field(field)).raw == b"References: <a@b.example> <c@d.example>\r\n"


def test_a_parameter_that_is_too_long_leaves_its_field() -> None:
    """The type stays; if even that is too long it is text."""
    field = b"Content-Type: text/html;x=" + b"y" * LONG + b";charset=utf-8\r\n"
    assert folded(Field(field)).raw == b"Content-Type: text/html; charset=utf-8\r\n"
    assert folded(Field(b"Content-Type: " + b"y" * LONG + b"\r\n")).raw == b"Content-Type: text/plain\r\n"


def test_a_long_word_becomes_encoded_words() -> None:
    """No letter of it is lost, in whatever letters it was."""
    for word in ("A1" * LONG, "é" * LONG):
        done = folded(Field(f"X-Serial: {word}\r\n".encode()))
        assert longest(done) <= 80
        assert decode_words(done.value.decode()) == word
    assert decode_words(folded(Field(b"X-Serial: \xff" + b"a" * LONG + b"\r\n")).value.decode()) == "\ufffd" + "a" * LONG


@pytest.mark.parametrize("utf8", [False, True])
def test_an_address_in_utf_8_goes_only_where_it_may(utf8: bool) -> None:
    """With SMTPUTF8 it stays as it is, in whichever address field; other raw text is encoded all the same."""
    fields = (
        "To: 装置 <装置@example.jp>, b@example.jp\r\nCc: 太郎@example.jp\r\nSender: nas@nas.example.test\r\nComments: 温度\r\n"
    )
    content = RIGHT.replace(b"To: admin@example.jp\r\n", fields.encode()) + b"\r\nx\r\n"
    result = repaired(content, about(utf8=utf8))
    assert result.utf8 is utf8
    assert [field.value for field in result.message.all("comments")] == [b"=?utf-8?B?5rip5bqm?="]
    cc = [field.value.decode() for field in result.message.all("cc")]
    assert cc == ["太郎@example.jp" if utf8 else "=?utf-8?B?5aSq6YOOQGV4YW1wbGUuanA=?= :;"]
    assert ("<装置@example.jp>".encode() in octets(result.message)) is utf8
    if not utf8:
        assert_sendable(octets(result.message))
        assert [box.addr_spec for box in read(result.message)["To"].addresses] == ["b@example.jp"]


def test_a_host_name_of_ours_is_fit_for_a_field() -> None:
    """Whatever was configured: letters, digits, dots and hyphens, none at its ends; or a name that can be nobody's."""
    content = RIGHT.replace(b"Message-ID: <1@nas.example.test>\r\n", b"") + b"\r\nx\r\n"
    for hostname, host in ((HOST, HOST), ("-a..b_c.example.", "a.bc.example"), ("é", "relay.invalid"), ("", "relay.invalid")):
        message = repaired(content, replace(about(), hostname=hostname)).message
        assert message.get("message-id").value.endswith(b"@" + host.encode() + b">")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "author"),
    [
        (Address("root"), f"root@{HOST}"),
        (Address("root", "[192.168.0.9]"), f"root@{HOST}"),
        (Address("nas", "nas.example.test"), "nas@nas.example.test"),
        (Address("é", "nas.example.test"), f"device@{HOST}"),
        (None, f"device@{HOST}"),
    ],
)
def test_who_wrote_it_is_told_by_the_envelope(path: Address | None, author: str) -> None:
    """Where the header does not say; a name without a domain is one of ours."""
    content = RIGHT.replace(b"From: NAS Status <nas@nas.example.test>\r\n", b"") + b"\r\nx\r\n"
    assert [box.addr_spec for box in read(repaired(content, about(path)).message)["From"].addresses] == [author]


def test_a_boundary_outlives_the_junk_behind_it() -> None:
    """What no line can hold goes; the boundary before it stays, else the parts could not be told apart."""
    kind = b'multipart/mixed; boundary="=-p"' + b"x" * LONG
    once = octets(repaired(RIGHT + b"Content-Type: " + kind + b"\r\n\r\n--=-p\r\n\r\nyes\r\n--=-p--\r\n").message)
    assert read(repaired(once).message).get_payload(0).get_payload() == "yes"
    assert without_trace(repaired(once).message) == once


def test_a_long_name_with_a_parameter_inside_leaves_as_one() -> None:
    """A semicolon inside quotation marks parts nothing."""
    said = b'application/pdf; name="' + b"x" * LONG + b'; filename=\\"a.pdf\\""; x=y'
    once = octets(repaired(RIGHT + b"Content-Type: " + said + b"\r\n\r\nyes\r\n").message)
    assert b"\r\nContent-Type: application/pdf; x=y\r\n" in once
    assert without_trace(repaired(once).message) == once
