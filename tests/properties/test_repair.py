"""Repair: whatever comes in, something that may be sent comes out, and only once is anything changed."""

import email
import email.policy
import hashlib
from base64 import b64encode

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.letters import RIGHT, about, assert_sendable, octets, read, repaired, without_trace

NAMES = (
    b"From",
    b"To",
    b"Cc",
    b"Bcc",
    b"Subject",
    b"Date",
    b"Message-ID",
    b"Reply-To",
    b"Sender",
    b"X-A",
    b"References",
    b"Received",
)
MIME = (
    b"MIME-Version: 1.0",
    b"Content-Type: multipart/mixed; boundary=b",
    b"Content-Type: text/plain; charset=",
    b"Content-Type: x",
)
CODES = tuple(
    b"Content-Transfer-Encoding: " + code for code in (b"base64", b"8bit", b"binary", b"quoted-printable", b"7bit", b"\xff")
)
VALUES = (
    *(
        b"a@b.jp",
        b"<a@b.jp>",
        b"root",
        b"x <a@b",
        b",",
        b";",
        b'"',
        b"(",
        b")",
        b"<",
        b">",
        b"=?utf-8?B?44GC?=",
        b"x" * 1200,
        b"\x0b",
    ),
    *(
        b"\x83e\x83X",
        b"\xe3\x81\x82",
        b"\xff",
        b"\x1b$B",
        b"\x1b(B",
        b"\0",
        b" ",
        b"Sun, 22 Nov 2026 03:00:00 +0000",
        b"\xef\xbb\xbf",
    ),
)
ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\r\n\r\n", b"\r\n ", b"\r\n\t\r\n")
DELIMITERS = (b"--b", b"--b--", b"From root Sun Mar  3 09:15:00 2024", b"Content-Type: message/rfc822", b"text without a colon")
ATOMS = st.sampled_from([*(name + b": " for name in NAMES), *MIME, *CODES, *VALUES, *ENDS, *ENDS, *DELIMITERS])
CONTENT = st.one_of(st.lists(ATOMS, max_size=30).map(b"".join), st.binary(max_size=300))


@settings(max_examples=300, deadline=None)
@given(CONTENT)
def test_any_octets_become_a_sendable_letter(content):
    """CRLF only, no NUL, no long line, an ASCII header; one Date, one From, one Message-ID for Python's parser."""
    result = repaired(content)
    sent = octets(result.message)
    assert_sendable(sent)
    assert sent == octets(result.message)
    assert result.size == len(sent)
    assert result.eight_bit is not sent.isascii()
    letter = email.message_from_bytes(sent, policy=email.policy.compat32)
    for name in ("Date", "From", "Message-ID"):
        assert len(letter.get_all(name)) == 1, name
    assert letter.get_all("Bcc") is None


@settings(max_examples=300, deadline=None)
@given(CONTENT)
@example(b"DKIM-Signature:\n=?utf?q?!!!:\n\x00")
@example(b"DKIM-Signature: h=from\nFrom: \x1b$BFrom: NAS <nas@nas.example.test>\n\n")
@example(b"To:=?!?q?=00@?=\rTo:!")
def test_repair_is_done_once(content):
    """A repaired letter that comes again gets a Received field and nothing else."""
    once = octets(repaired(content).message)
    again = repaired(once)
    assert without_trace(again.message) == once
    assert again.notes == ()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), st.lists(st.sampled_from(VALUES), max_size=8).map(b"".join), st.binary(max_size=40))
def test_no_value_can_add_a_field(name, value, more):
    """However strange a value is, the names in the header are the device's and those that must be there."""
    raw = (value + more).replace(b"\r", b"").replace(b"\n", b"")
    fields = [field for field in RIGHT.splitlines(keepends=True) if not field.startswith(name + b":")]
    result = repaired(b"".join(fields) + name + b": x" + raw + b"\r\n\r\nbody\r\n")
    allowed = {field.partition(b":")[0].decode().lower() for field in fields} | {name.decode().lower()}
    allowed |= {"received", "date", "from", "message-id", "to", "x-original-date", "reply-to"}
    assert {field.name for field in result.message.fields} <= allowed


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from([b"base64", b"binary"]), st.sampled_from([b"\r\n", b"\n"]), st.booleans())
def test_attachments_keep_their_octets(data, code, end, one_line):
    """In base64 of any line length or raw, the digest of what is decoded stays the same."""
    coded = (
        b64encode(data)
        if one_line
        else b"".join(b64encode(data[place : place + 57]) + end for place in range(0, len(data), 57))
    )
    head = b"Content-Type: application/octet-stream" + end + b"Content-Transfer-Encoding: " + code + end + end
    body = head + (coded if code == b"base64" else data)
    delimiter = b"--=_boundary_that_no_data_has"
    content = RIGHT.replace(b"\r\n", end) + b"MIME-Version: 1.0" + end
    content += b'Content-Type: multipart/mixed; boundary="' + delimiter[2:] + b'"' + end + end
    content += delimiter + end + body + end + delimiter + b"--" + end
    if code == b"binary" and (data[-1:] == b"\r" or (not data.strip(b"\x00\r\n") or (data.isascii() and b"\0" not in data))):
        return  # without a NUL or an 8-bit octet it is text, whose line ends are mended
    parts = [part for part in read(repaired(content, about()).message).walk() if not part.is_multipart()]
    assert [hashlib.sha256(part.get_payload(decode=True)).hexdigest() for part in parts] == [hashlib.sha256(data).hexdigest()]
