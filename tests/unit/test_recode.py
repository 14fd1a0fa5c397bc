"""Bodies: what is re-encoded, and what is not."""

import email
import email.policy
import hashlib

import pytest

from relay.mail.recode import seven_bit
from tests.support.letters import RIGHT, assert_sendable, octets, read, repaired, text_of, without_trace

MIME = RIGHT + b"MIME-Version: 1.0\r\n"
JPEG = bytes(range(256)) * 40 + b"\n\r\n\r.\n"


def mixed(*parts, boundary=b"=_x", close=True):
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    end = b"--" + boundary + b"--\r\n" if close else b""
    return MIME + b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\npreamble\r\n' + body + end


def leaves(message):
    return [part for part in read(message).walk() if not part.is_multipart()]


def digests(message):
    return [hashlib.sha256(part.get_payload(decode=True)).hexdigest() for part in leaves(message)]


@pytest.mark.parametrize(
    "content",
    [
        mixed(
            b"Content-Type: text/plain\r\n\r\ntext",
            b"Content-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n/9j/\r\n",
        ),
        mixed(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe3\x81\x82"),
        MIME + b"Content-Type: text/plain; charset=ISO-2022-JP\r\n\r\n\x1b$B8N>c\x1b(B\r\n",
        mixed(b"\r\n", b"\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny"),
        mixed(b"\r\n--=_xy\r\n--=_x y"),
    ],
)
def test_right_bodies_stay(content):
    """Multiparts, ISO-2022-JP, 8-bit text that says so: octet for octet."""
    result = repaired(content)
    assert without_trace(result.message) == content
    assert result.notes == ()
    assert result.size == len(octets(result.message))


@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp"])
def test_undeclared_text_is_declared(charset):
    """Raw 8-bit text gets MIME-Version, charset and encoding, and reads as it was meant."""
    text = "バックアップ先のディスク容量が不足しています。\n至急確認①してください。\n".replace(
        "①", "①" if charset == "cp932" else ""
    )
    result = repaired(RIGHT + b"\r\n" + text.encode(charset))
    assert text_of(result.message) == text
    assert result.eight_bit
    assert text_of(seven_bit(result.message)) == text


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Type: text/plain; charset=us-ascii\r\n",
        b'Content-Type: text/plain; charset="ANSI_X3.4-1968"\r\n',
        b"Content-Type: text/plain; charset=\r\n",
        b"Content-Type: text/plain; charset=x-user-defined\r\n",
        b"Content-Type: text/plain; charset=iso-8859-1\r\n",
        b"Content-Type: text\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: binary\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8-bit\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: utf-8\r\n",
    ],
)
def test_lies_about_text_are_corrected(fields):
    """Charset and transfer encoding say what is so."""
    text = "本文です。ディスク異常\n"
    result = repaired(MIME + fields + b"\r\n" + text.encode())
    assert text_of(result.message) == text
    assert text_of(seven_bit(result.message)) == text


@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp"])
def test_encoded_text_without_a_charset_is_read(charset):
    """BusyBox makemime says `charset=` and sends base64: the octets behind it have the say."""
    import base64

    text = "容量が不足しています\n"
    body = base64.encodebytes(text.encode(charset)).replace(b"\n", b"\r\n")
    result = repaired(MIME + b"Content-Type: text/plain; charset=\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body)
    assert text_of(result.message) == text


def test_long_text_lines_are_wrapped_softly():
    """Quoted-printable carries lines of any length; no letter is lost."""
    text = "head\n" + "0123456789abcdef " * 9000 + "\ntail\n"
    result = repaired(RIGHT + b"\r\n" + text.encode())
    assert_sendable(octets(result.message))
    assert text_of(result.message) == text


def test_base64_in_one_line_is_wrapped():
    """The attachment decodes to the same octets."""
    import base64

    part = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(JPEG * 20)
    result = repaired(mixed(b"Content-Type: text/plain\r\n\r\nx", part))
    assert_sendable(octets(result.message))
    assert hashlib.sha256(JPEG * 20).hexdigest() in digests(result.message)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_binary_attachments_arrive_whole(end):
    """Octets sent raw, with NUL, bare CR and LF in them, go as base64 and decode to themselves."""
    part = b"Content-Type: image/jpeg\r\nContent-Transfer-Encoding: binary\r\n\r\n".replace(b"\r\n", end) + JPEG
    content = mixed(b"\r\ntext", b"@@").replace(b"\r\n", end).replace(b"@@", part)
    result = repaired(content)
    assert hashlib.sha256(JPEG).hexdigest() in digests(result.message)
    assert_sendable(octets(result.message))


@pytest.mark.parametrize("encoding", [b"8bit", b"binary"])
def test_without_8bitmime_every_part_is_seven_bit(encoding):
    """Parts, preamble and nested parts are re-encoded; attachments keep their digests."""
    inner = b"Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: text/html; charset=utf-8\r\n"
    inner += b"Content-Transfer-Encoding: 8bit\r\n\r\n<b>\xe8\xad\xa6\xe5\x91\x8a</b>\r\n--in--\r\n"
    attachment = (
        b"Content-Type: application/x\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n\xff\xfe line\r\nnext \x80"
    )
    content = mixed(inner, attachment).replace(b"preamble", b"\xe3\x81\x82 pre")
    result = repaired(content)
    sent = seven_bit(result.message)
    assert octets(sent).isascii()
    assert_sendable(octets(sent))
    assert hashlib.sha256(b"\xff\xfe line\r\nnext \x80").hexdigest() in digests(sent)
    assert any("警告" in part.get_content() for part in leaves(sent) if part.get_content_maintype() == "text")
    assert octets(sent) == octets(sent)


def test_seven_bit_leaves_what_is_seven_bit():
    """Nothing to do, nothing done."""
    content = mixed(b"Content-Type: text/plain\r\n\r\nx")
    assert octets(seven_bit([content])) == content


def test_a_multipart_left_open_is_closed():
    """Nested ones too, and every part is there."""
    content = mixed(b"Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\nplain", b"\r\nsecond", close=False)
    result = repaired(content)
    assert [part.get_content().strip() for part in leaves(result.message)] == ["plain", "second"]
    assert octets(result.message).endswith(b"--=_x--\r\n")
    assert not any(part.defects for part in read(result.message).walk())


@pytest.mark.parametrize("parameter", [b"", b'; boundary="abc"', b"; boundary="])
def test_the_boundary_is_taken_from_the_body(parameter):
    """Missing or another than the body's: the lines show it."""
    content = MIME + b"Content-Type: multipart/mixed" + parameter + b"\r\n\r\n--xyz\r\n\r\ntext\r\n--xyz--\r\n"
    assert [part.get_content().strip() for part in leaves(repaired(content).message)] == ["text"]


def test_a_multipart_without_parts_is_text():
    """What a reader would hide becomes readable."""
    result = repaired(MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\nAll volumes normal.\r\n")
    assert text_of(result.message) == "All volumes normal.\n"


def test_a_glued_boundary_gets_its_own_line():
    """Firmware that forgets the line end after base64."""
    part = b"Content-Transfer-Encoding: base64\r\nContent-Type: image/jpeg\r\n\r\n/9j/4AAQ--=_boundary1--"
    content = MIME + b'Content-Type: multipart/mixed; boundary="=_boundary1"\r\n\r\n--=_boundary1\r\n' + part + b"\r\n"
    assert [part.get_payload(decode=True) for part in leaves(repaired(content).message)] == [b"\xff\xd8\xff\xe0\x00\x10"]


@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp", "iso-2022-jp"])
def test_raw_attachment_names_are_encoded(charset):
    """RFC 2231 carries the name as it was meant."""
    name = "記録データ.csv"
    part = b'Content-Type: text/csv; name="%s"\r\nContent-Disposition: attachment; filename="%s"\r\n\r\na,b'
    raw = mixed(part.replace(b"%s", name.encode(charset)))
    result = repaired(raw)
    assert_sendable(octets(result.message))
    assert leaves(result.message)[0].get_filename() == name


def test_signed_parts_are_not_touched():
    """Inside multipart/signed even a doubtful label stays."""
    signed = b"Content-Type: text/plain\r\n\r\n\xe3\x81\x82"
    content = mixed(signed, b"Content-Type: application/pgp-signature\r\n\r\nx").replace(
        b"multipart/mixed", b"multipart/signed"
    )
    assert without_trace(repaired(content).message) == content


def test_nul_octets_go_from_text():
    """What stands on both sides of them stays."""
    assert text_of(repaired(RIGHT + b"\r\nvolt\0age\0\r\n").message) == "voltage\n"


@pytest.mark.parametrize(
    "said", [b"Content-Disposition: attachment; filename=x\r\n", b"Content-Type: application/zip\r\n", b""]
)
@pytest.mark.parametrize(
    "file", [b"PK\x03\x04\n\n\0\0ab\0\xff\x80", b"\0\1\2\3\x80\0" * 9, b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"MM\0*\0\0\0\x08"]
)
def test_a_file_keeps_its_nuls_whether_it_has_a_type_or_not(said: bytes, file: bytes) -> None:
    """Its octets tell that it is none of text; what is text beside it still loses them."""
    sent = leaves(repaired(mixed(b"\r\nvolt\0age", said + b"\r\n" + file)).message)
    assert [part.get_payload(decode=True) for part in sent] == [b"voltage", file]


@pytest.mark.parametrize("said", [b"", b"Content-Disposition: inline\r\n", b"Content-Type: text/plain\r\n"])
def test_nul_octets_go_from_text_without_a_type(said: bytes) -> None:
    sent = leaves(repaired(mixed(said + b"\r\nvolt\0age of phase\0 one is low")).message)
    assert sent[0].get_content().strip() == "voltage of phase one is low"


@pytest.mark.parametrize("kind", [b"application/pdf", b"text/plain"])
@pytest.mark.parametrize(("encoding", "coded"), [(b"base64", b"\0JVBE\0RjE=\0"), (b"quoted-printable", b"=\00025PD=46\0001")])
def test_nul_octets_go_from_what_is_encoded(kind, encoding, coded):
    """Also from a file: they are none of it, and no server takes them.  A file without encoding keeps its own."""
    coded_part = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + coded
    raw_part = b"Content-Type: image/jpeg\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff\0\n"
    for content in (MIME + coded_part, mixed(coded_part, raw_part)):
        message = repaired(content).message
        assert_sendable(octets(message))
        assert leaves(message)[0].get_payload(decode=True).rstrip() == b"%PDF1"
        assert all(part.get_payload(decode=True).rstrip(b"\r\n") == b"\xff\0" for part in leaves(message)[1:])


def test_a_body_is_never_held_whole():
    """Whatever its size, no more than a few blocks of it are in memory."""
    import tracemalloc

    line = b"A" * 76 + b"\r\n"

    class Big:
        def __iter__(self):
            yield MIME + b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\r\n"
            for _ in range(200):
                yield line * 800

    from relay.mail.policy import RepairPolicy
    from relay.mail.repair import repair
    from tests.support.letters import about

    tracemalloc.start()
    result = repair(Big(), about(), RepairPolicy())
    size = sum(len(block) for block in seven_bit(result.message))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 12_000_000
    assert peak < 3_000_000


def test_an_open_part_that_is_rewrapped_ends_with_its_line():
    """The closing boundary that we add stands on a line of its own, and no octets of a device can look like one."""
    part = b"Content-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\nUkVE\r\n-\x80-=_xxxxxxxx--\r\n.\r\n"
    once = octets(repaired(mixed(part, boundary=b"=_xxxxxxxx", close=False)).message)
    assert once.endswith(b"\r\n--=_xxxxxxxx--\r\n")
    again = repaired(once)
    assert without_trace(again.message) == once
    assert again.notes == ()


@pytest.mark.parametrize("end", [b"\r\n--in--\r\n--b--\r\n", b"\r\n--in--\r\n\r\n--b--", b""])
def test_more_parts_than_are_looked_into_arrive_whole(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first parts (a thousand; here twenty) are encoded each for itself; all that follows is attached, octet for octet."""
    monkeypatch.setattr("relay.mail.mime_walk.MOST_PARTS", 20)
    part = b"--in\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + "温度 %d".encode()
    many = [part % number for number in range(25)]
    head = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    inner = b"--b\r\nContent-Type: multipart/mixed; boundary=in\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    content = RIGHT + head + inner + b"\r\n".join(many) + end
    kept = repaired(content)
    assert octets(kept.message).endswith(b"\r\n") and content.rstrip() in octets(kept.message)
    assert kept.eight_bit
    narrow = octets(seven_bit(kept.message))
    assert narrow.isascii()
    assert_sendable(narrow)
    mail = email.message_from_bytes(narrow, policy=email.policy.default)
    assert not mail.defects
    [inside] = mail.iter_parts()
    *first, rest = inside.iter_parts()
    assert [part.get_content().strip() for part in first] == [f"温度 {number}" for number in range(19)]
    assert rest.get_content().rstrip() == (b"\r\n".join(many[19:])[len(b"--in\r\n") :] + end).rstrip()
    again = repaired(narrow)
    assert without_trace(again.message) == narrow
    assert again.notes == ()
