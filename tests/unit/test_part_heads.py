"""Headers of parts that are torn, or run into what follows; and headers of messages that run into the text."""

import pytest

from relay.mail.address import Address
from relay.mail.mime import untorn
from tests.support.letters import RIGHT, about, octets, read, repaired, without_trace

DATA = b"cHVtcCAxIG9rCnB1bXAgMiBvawo="
MIXED = RIGHT + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"


def attached(head: bytes) -> list[tuple[str | None, bytes]]:
    """Name and octets of the parts of a letter with one part, whose header is `head`."""
    result = repaired(MIXED + b"\r\n--b\r\n" + head + DATA + b"\r\n--b--\r\n")
    assert repaired(octets(result.message)).notes == ()
    letter = read(result.message)
    return [(part.get_filename(), part.get_payload(decode=True)) for part in letter.walk() if not part.is_multipart()]


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Type: a/b; name="w 9.log"\r\nContent-Transfer-Encoding: base64\r\n',
        b'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\nfilename="w 9.log"\r\n',
        b'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment;file\r\nname="w 9.log"\r\n\r\n',
        b'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\nfilename="w 9.log"\r\n\r\n',
        b'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\r\n"w 9.log"\r\n\r\n',
        b'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="w\r\n 9.log"\r\n',
        b'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="w 9\r\n.log"\r\n\r\n',
        b'Content-Type: a/b; name="w 9.log"\r\nsomething else\r\nContent-Transfer-Encoding: base64\r\n\r\n',
    ],
)
def test_the_header_of_a_part_is_put_in_order(head):
    """The name and the octets arrive; the empty line stands where the data begin."""
    assert attached(head) == [("w 9.log", b"pump 1 ok\npump 2 ok\n")]


def test_a_part_without_text_needs_no_empty_line():
    """RFC 2046 s5.1.1 lets a part be nothing but its header; text without a header stands behind an empty line."""
    letter = MIXED + b"\r\n--b\r\nContent-Type: text/plain\r\n--b\r\n\r\nx\r\n--b--\r\n"
    assert without_trace(repaired(letter).message) == letter
    assert b"--b\r\n\r\nhello\r\n" in octets(repaired(MIXED + b"\r\n--b\r\nhello\r\n--b--\r\n").message)


def test_fields_of_the_next_part_make_no_field_of_text():
    """A line without an empty line before it is text, though the next part begins right behind it."""
    parts = b"--b\r\nContent-Type: text/plain\r\nhello\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n"
    assert b"text/plain\r\n\r\nhello\r\n--b\r\n" in octets(repaired(MIXED + b"\r\n" + parts).message)


def test_the_first_boundary_may_follow_the_header_at_once():
    """No field is made of it, nor of what stands behind it."""
    letter = read(repaired(MIXED + b"--b\r\nContent-Type: text/html\r\n\r\n<p>x\r\n--b--\r\n").message)
    assert [part.get_content_type() for part in letter.walk()] == ["multipart/mixed", "text/html"]


@pytest.mark.parametrize(
    "text", [b"rack2.power.example: outlet 4 is off", b"backup.sh: 3 files\r\nbye", b"/dev/sda: bad\r\nmore"]
)
def test_a_line_that_only_looks_like_a_field_is_text(text):
    """No header has such a name; unless an empty line follows it as it should."""
    message = repaired(RIGHT + text + b"\r\n").message
    assert octets(message).endswith(b"\r\n\r\n" + text + b"\r\n")
    letter = RIGHT + b"x.y: z\r\n\r\ntext\r\n"
    assert without_trace(repaired(letter).message) == letter


def test_base64_is_no_rest_of_a_field():
    """However a field ends, data behind it are data."""
    for line in (DATA, b"name=", b"AAAA=", b"AAAA=="):
        assert untorn(b"Content-Disposition: attachment;", line) == b""
        assert untorn(b"Content-Disposition: attachment; filename=", line) == b""
    assert untorn(b"Subject: a;", b"name=x") == b""


def test_what_a_device_gave_for_its_sender_is_kept():
    """In the header and in the notes, once."""
    result = repaired(RIGHT + b"\r\nx\r\n", about(Address("Front Door", "camera.local")))
    assert read(result.message)["X-Original-Sender"] == "Front Door@camera.local"
    assert any("Front Door@camera.local" in note for note in result.notes)
    again = repaired(octets(result.message), about(Address("Front Door", "camera.local")))
    assert again.notes == ()
    bare = repaired(b"Subject: x\r\n\r\nx\r\n", about(Address("root@localhost.(none)")))
    assert read(bare.message)["From"].addresses[0].username == "root"
