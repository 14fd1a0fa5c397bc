"""Who a recorded session belongs to is gone from it, and every octet stays in its place."""

import base64
import re
import time

import pytest

from relay.recording.case import make_case
from relay.recording.masking import masked
from relay.recording.pseudonyms import Names
from relay.recording.tape import LARGEST, Tape, Who


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


SECRET = [b"taro", b"Yamada", b"yamada", b"hunter2", b"192.168.7.21", b"203.0.113.77", b"00:11:32:aa:bb:cc", b"taros-nas"]

SESSION = (
    b"EHLO taros-nas.yamada.co.jp\r\n"
    b"AUTH PLAIN " + b64(b"\0taro@yamada.co.jp\0hunter2-secret") + b"\r\n"
    b"AUTH LOGIN\r\n" + b64(b"taro@yamada.co.jp") + b"\r\n" + b64(b"hunter2-secret") + b"\r\n"
    b"AUTH LOGIN " + b64(b"taroyamada").rstrip(b"=") + b"\r\n" + b64(b"hunter2") + b"\r\n"
    b"AUTH CRAM-MD5\r\n" + b64(b"taro 0123456789abcdef") + b"\r\n"
    b"MAIL FROM: <Taro@Yamada.CO.JP> SIZE=100\r\n"
    b"RCPT TO:<hanako.yamada@gmail.com>\r\nRCPT TO:<taroyamada>\r\nDATA\r\n"
    b'From: "Taro Yamada" <taro@yamada.co.jp>\nTo: hanako.yamada@gmail.com\n'
    b"Message-ID: <20260101.taro@taros-nas.yamada.co.jp>\n"
    b"Subject: =?utf-8?B?" + b64(b"of taro@yamada.co.jp") + b"?=\n\n"
    b"http://taros-nas.yamada.co.jp:5000/ 192.168.7.21 203.0.113.77 00:11:32:aa:bb:cc hunter2-secret taro=40yamada.co.jp\n"
    + b64(b"Dear taro@yamada.co.jp, your disk at 192.168.7.21 is full. " * 3)[:76]
    + b"\n"
    + b64(b"Dear taro@yamada.co.jp, your disk at 192.168.7.21 is full. " * 3)[76:152]
    + b"\n.\r\nQUIT\r\n"
)


def test_nobody_can_be_recognised_and_nothing_moves() -> None:
    """No name, address or password is left, in the clear or in base64; length and line ends are as they were."""
    found = masked(SESSION, Names())
    assert len(found) == len(SESSION)
    assert [m.start() for m in re.finditer(rb"[\r\n]", found)] == [m.start() for m in re.finditer(rb"[\r\n]", SESSION)]
    readable = found + b"".join(
        base64.b64decode(blob + b"=" * (-len(blob) % 4))
        for blob in re.findall(rb"[A-Za-z0-9+/]{8,}", found)
        if len(blob) % 4 != 1
    )
    assert [secret for secret in SECRET if secret in readable] == []


def test_the_same_name_becomes_the_same_other_one() -> None:
    """From and To that are equal stay equal, in capitals where they were; different ones stay different."""
    names = Names()
    found = masked(b"MAIL FROM:<taro@yamada.co.jp>\r\nRCPT TO:<Taro@yamada.co.jp>\r\nRCPT TO:<jiro@yamada.co.jp>\r\n", names)
    one, two, three = (line.partition(b"<")[2].rstrip(b">") for line in found.split(b"\r\n")[:3])
    assert one.lower() == two.lower()
    assert two[:1].isupper()
    assert one != three
    assert one.endswith(b".example")


@pytest.mark.parametrize(
    "line",
    [
        b"EHLO nas",
        b"HELO localhost",
        b"MAIL FROM:<root@nas>",
        b"MAIL FROM:<root@localhost.localdomain>",
        b"MAIL FROM:<>",
        b"AUTH PLAIN",
        b"Date: Sun, 22 Nov 2026 12:34:56 +0900",
        b"plain text 1.2 and 12:34:56, a=b",
    ],
)
def test_what_is_nobodys_stays(line: bytes) -> None:
    """Names of roles and machines of every LAN are quirks, not people."""
    assert masked(line + b"\r\n", Names()) == line + b"\r\n"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (b"RCPT TO:<ilo-srv.@yamada.co.jp>", rb"RCPT TO:<[a-z]{3}-[a-z]{3}\.@[a-z]{4}\.example>|RCPT TO:<\S{8}@\S{12}>"),
        (b"MAIL FROM: <a_b+c@my_host.local>", rb"MAIL FROM: <[a-z]_[a-z]\+[a-z]@[a-z]{2}_[a-z]{4}\.local>"),
        (b'MAIL FROM:<"a b"@x.jp>', rb'MAIL FROM:<"[a-z] [a-z]"@[a-z]\.zz>'),
        (b"AUTH PLAIN not base64!", rb"AUTH PLAIN xxx xxxxxx!"),
        (b"HELO [192.168.7.21]", rb"HELO \[192\.168\.\d\.\d\d\]"),
    ],
)
def test_quirks_keep_their_shape(text: bytes, form: bytes) -> None:
    """Trailing dots, underscores, quotes, blanks and broken base64 are what a case is about."""
    found = masked(text + b"\r\n", Names()).rstrip()
    assert re.fullmatch(form, found), found
    assert len(found) == len(text)


def test_a_scan_becomes_zeros() -> None:
    """Base64 that is no text shows nothing of a picture, and has as many lines."""
    picture = base64.encodebytes(bytes(range(256)) * 4)
    found = masked(b"\n" + picture + b"\n", Names())
    assert set(found) <= set(b"A=\n")
    assert len(found) == len(picture) + 2


def test_a_case_is_bounded() -> None:
    """What is over the limit is not kept, and the case says so."""
    tape = Tape("192.168.0.2")
    tape.add(0.0, Who.RELAY, b"220 hi")
    tape.add(0.1, Who.DEVICE, b"x" * LARGEST)
    assert tape.cut
    assert any("end is missing" in sentence for sentence in make_case(tape).seen)


@pytest.mark.parametrize(
    "stream",
    [
        b" AUTH PLAIN %s\r\n" % b64(b"\0taro\0hunter2-secret"),
        b"EHLO nas\r\n\xff\xfd\x01AUTH PLAIN %s\r\n" % b64(b"\0taro\0hunter2-secret"),
        b"EHLO nas\rAUTH PLAIN %s\rQUIT\r" % b64(b"\0taro\0hunter2-secret"),
        b"AUTH=PLAIN %s\r\n" % b64(b"\0taro\0hunter2-secret"),
        b"AUTH %s\r\n" % b64(b"\0taro\0hunter2-secret"),
        b"AUTH PLAIN %s" % b64(b"\0taro\0hunter2-secret"),
        b"AUTH LOGIN\r\n\r\n%s\r\n" % b64(b"hunter2-secret"),
        b"AUTH LOGIN\r\n\r\n AUTH PLAIN %s\r\n" % b64(b"\0taro\0hunter2-secret"),
    ],
)
def test_a_login_is_seen_however_it_is_said(stream: bytes) -> None:
    """Behind blanks, telnet octets, a bare CR or an empty line, without its mechanism, or cut off: as the relay hears it."""
    found = masked(stream, Names())
    assert len(found) == len(stream)
    for form in (b64(b"\0taro\0hunter2-secret"), b64(b"hunter2-secret")):
        assert form.rstrip(b"=") not in found


def test_what_was_noticed_tells_nobodys_name_either() -> None:
    """A refused line is told by its verb: what is no command may be a password.  Repairs quote the header: masked."""
    tape = Tape("192.168.0.2")
    said = [(b"AUTH NTLM\r\n", b"504 no"), (b64(b"taro") + b"\r\n", b"500 no"), (b64(b"hunter2") + b"\r\n", b"500 no")]
    said += [(b"MAIL FROM:<taro@yamada.co.jp>\r\n", b"250 ok"), (b"DATA\r\n", b"354 go"), (b"x\r\n.\r\n", b"554 no")]
    for number, (octets, reply) in enumerate(said):
        tape.add(number, Who.DEVICE, octets)
        tape.add(number, Who.RELAY, reply)
    tape.repairs["removed To: no address can be read in it ('taro@yamada.co.jp;;')"] = None
    case = make_case(tape)
    everything = repr((case.sidecar, case.seen, case.octets)).encode()
    assert [one for one in (b64(b"hunter2").rstrip(b"="), b64(b"taro").rstrip(b"="), b"yamada") if one in everything] == []
    assert "AUTH was answered 504" in case.seen
    assert "a line that is no command was answered 500" in case.seen
    assert "the message was answered 554" in case.seen


@pytest.mark.parametrize("octets", [b"x" * 200_000, b"." * 200_000, b" " * 200_000, b"\r" * 200_000])
def test_a_long_line_is_masked_in_time(octets: bytes) -> None:
    """A scan in one line of base64, or anything else without an end, keeps nobody waiting (once: minutes)."""
    began = time.process_time()
    assert len(masked(octets, Names())) == len(octets)
    assert time.process_time() - began < 10
