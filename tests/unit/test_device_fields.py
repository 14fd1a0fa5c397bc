"""What a device's settings change in its message."""

import pytest

from relay.mail.device import Device
from relay.mail.device_fields import is_signed, with_device
from relay.mail.message import Message

PLAIN = b"From: root <root@pve>\r\nSubject: hello\r\n"


def message(head: bytes, body: bytes = b"x\r\n") -> Message:
    return Message.parse([head + b"\r\n" + body])


def dressed(
    head: bytes, device: Device, *, sealed: tuple[str, ...] = (), from_stays: bool = True, body: bytes = b"x\r\n"
) -> bytes:
    """The header section without its empty line.  What is done once is not done twice."""
    once, _ = with_device(message(head, body), device, frozenset(sealed), from_stays=from_stays)
    twice, _ = with_device(once, device, frozenset(sealed), from_stays=from_stays)
    assert twice.head == once.head
    assert b"".join(once.body) == body
    return once.head.removesuffix(b"\r\n")


@pytest.mark.parametrize(
    ("subject", "prefix", "after"),
    [
        (b"Subject: hello\r\n", "[nas] ", b"Subject: [nas] hello\r\n"),
        (b"Subject: hello\r\n", "NAS:", b"Subject: NAS:hello\r\n"),
        (b"subject:hello  world\r\n", "[nas] ", b"subject: [nas] hello  world\r\n"),
        (b"Subject: [NAS] hello\r\n", "[nas] ", b"Subject: [NAS] hello\r\n"),
        (b"Subject: Re: [nas] hello\r\n", "[nas] ", b"Subject: Re: [nas] hello\r\n"),
        (b"Subject: AW: Fwd:[nas] hello\r\n", "[nas] ", b"Subject: AW: Fwd:[nas] hello\r\n"),
        (b"Subject: Re: hello\r\n", "[nas] ", b"Subject: [nas] Re: hello\r\n"),
        (b"Subject: the [nas] again\r\n", "[nas] ", b"Subject: [nas] the [nas] again\r\n"),
        (b"", "[nas] ", b"Subject: [nas]\r\n"),
        (b"Subject:\r\n", "[nas] ", b"Subject: [nas]\r\n"),
        (b"Subject: =?utf-8?B?44GC?= x\r\n", "[nas] ", b"Subject: [nas] =?utf-8?B?44GC?= x\r\n"),
        # an encoded-word begins a word of its own, so the prefix becomes one, too
        (b"Subject: =?utf-8?B?44GC?=\r\n", "[nas]", b"Subject: =?utf-8?B?W25hc10=?= =?utf-8?B?44GC?=\r\n"),
        (b"Subject: hello\r\n", "[\u3042] ", b"Subject: =?utf-8?B?W+OBgl0=?= hello\r\n"),
        (b"Subject: =?utf-8?B?44GC?=\r\n", "[\u3042] ", b"Subject: =?utf-8?B?W+OBgl0g?= =?utf-8?B?44GC?=\r\n"),
        (b"Subject: =?utf-8?B?W+OBgl0=?= hello\r\n", "[\u3042] ", b"Subject: =?utf-8?B?W+OBgl0=?= hello\r\n"),
    ],
)
def test_the_subject_begins_with_the_prefix_once(subject: bytes, prefix: str, after: bytes) -> None:
    """Readable whatever the Subject is made of, not doubled, also not behind `Re:`."""
    assert dressed(b"From: a@b.example\r\n" + subject, Device("nas", subject_prefix=prefix)) == b"From: a@b.example\r\n" + after


def test_a_long_subject_stays_within_lines() -> None:
    """No line over 998 octets comes of a prefix."""
    head = dressed(b"From: a@b.example\r\nSubject: " + b"y" * 990 + b"\r\n", Device("nas", subject_prefix="[a]"))
    assert max(map(len, head.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    ("head", "body", "signed"),
    [
        (b"DKIM-Signature: v=1\r\n", b"", True),
        (b"Content-Type: multipart/signed; boundary=b\r\n", b"", True),
        (b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n", b"", True),
        (b"Content-Type: text/plain\r\n", b"hi\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n", True),
        (b"Content-Type: text/plain\r\n", b"-----BEGIN PGP MESSAGE-----\r\n", True),
        (b"Content-Type: text/plain\r\n", b"> -----BEGIN PGP SIGNED MESSAGE-----\r\n", False),
        (b"Content-Type: multipart/mixed; boundary=b\r\n", b"", False),
        (b"Subject: multipart/signed\r\n", b"", False),
    ],
)
def test_signed_mail_is_known(head: bytes, body: bytes, signed: bool) -> None:
    """And its Subject stays."""
    assert is_signed(message(head, body)) is signed
    head = b"From: a@b.example\r\nSubject: hello\r\n" + head
    assert (b"[nas]" in dressed(head, Device("nas", subject_prefix="[nas] "), body=body)) is not signed


@pytest.mark.parametrize(
    ("line", "name", "after"),
    [
        (b"From: root <root@pve>", "Printer", b"From: Printer <root@pve>"),
        (b"From: root@pve", "Printer, hallway", b'From: "Printer, hallway" <root@pve>'),
        (b"From: root@pve", 'the "big" one', b'From: "the \\"big\\" one" <root@pve>'),
        (b"From: root@pve", "\u30d7\u30ea\u30f3\u30bf", b"From: =?utf-8?B?44OX44Oq44Oz44K/?= <root@pve>"),
        (b"From: a@b.example, c@d.example", "Printer", b"From: a@b.example, c@d.example"),
    ],
)
def test_from_shows_the_name(line: bytes, name: str, after: bytes) -> None:
    """Written as RFC 5322 and RFC 2047 want it; two authors keep theirs."""
    assert dressed(line + b"\r\n", Device("nas", display=name)) == after + b"\r\n"


def test_a_from_that_must_stay_stays() -> None:
    """DKIM-signed, or resent by hand; if it was replaced all the same, the name may be, too."""
    device = Device("nas", display="Printer")
    for more, sealed in ((b"DKIM-Signature: v=1; h=from\r\n", ("from",)), (b"Resent-From: a@b.example\r\n", ())):
        assert dressed(PLAIN + more, device, sealed=sealed) == PLAIN + more
        assert b"From: Printer <root@pve>" in dressed(PLAIN + more, device, sealed=sealed, from_stays=False)


def test_fields_are_added_where_there_is_none() -> None:
    """Encoded; one that is there stays; none that a DKIM signature covers by its absence."""
    device = Device("nas", header=(("X-Location", "K\u00fcche"), ("X-Owner", "me"), ("Importance", "high")))
    head = dressed(PLAIN + b"x-owner: you\r\n", device, sealed=("importance",))
    assert head == PLAIN + b"x-owner: you\r\nX-Location: =?utf-8?B?S8O8Y2hl?=\r\n"


def test_who_sets_nothing_gets_the_same_octets() -> None:
    """The message itself, not a copy."""
    one = message(PLAIN)
    assert with_device(one, Device("nas"), frozenset(), from_stays=True) == (one, ())
