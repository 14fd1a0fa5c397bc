"""What a signature says and covers (RFC 6376): judged by dkimpy, and by examples of the RFC."""

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.mail.dkim import OVERSIGNED, BodyHash, Signable, SigningTerms, relaxed, signable, signature
from relay.mail.message import Field
from relay.outbound.dkim_keys import ready, sign
from tests.support.dkim import key_for, published, verdicts

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
KEY = key_for("own.example")
HEAD = b"From: NAS <nas@own.example>\r\nTo: b@far.example\r\nSubject: ok\r\nDate: Sun, 22 Nov 2026 03:00:00 +0000\r\n"


def digest(*blocks: bytes) -> bytes:
    body = BodyHash()
    for block in blocks:
        body.feed(block)
    return body.close()


def signed(message: bytes, domain: str = "own.example") -> bytes:
    terms = SigningTerms(domain, "relay", ready(KEY).algorithm, NOW)
    return signature(signable([message]), terms, lambda octets: sign(Path(KEY.key_file), octets)) + message


def holds(message: bytes) -> bool:
    return verdicts(message, published(KEY)) == {("own.example", "relay"): True}


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 s3.4.5
        (b"", b""),
        (b"\r\n", b""),
        (b" \t\r\n\r\n", b""),
        (b"x", b"x\r\n"),
        (b"x\r\n \r\n\t\r\ny ", b"x\r\n\r\n\r\ny\r\n"),
        (b"\r\n\r\nx\r\n", b"\r\n\r\nx\r\n"),
    ],
)
def test_a_body_in_relaxed_form(body: bytes, canonical: bytes) -> None:
    """Blanks at the end of a line and empty lines at the end of all do not count; a run of blanks is one."""
    assert digest(body) == hashlib.sha256(canonical).digest()


def test_the_hash_of_an_empty_body_is_that_of_the_standard() -> None:
    """RFC 6376 s3.4.4."""
    assert base64.b64encode(digest()) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_millions_of_empty_lines_take_no_memory() -> None:
    """They are counted until something follows."""
    body = BodyHash()
    for _ in range(200):
        body.feed(b"\r\n" * 10_000)
    assert len(body._held) == 0
    body.feed(b"x")
    assert body.close() == hashlib.sha256(b"\r\n" * 2_000_000 + b"x\r\n").digest()


def test_a_field_in_relaxed_form() -> None:
    """RFC 6376 s3.4.5."""
    assert relaxed(Field(b"A: X\r\n")) == b"a:X"
    assert relaxed(Field(b"B : Y\t\r\n\tZ  \r\n")) == b"b:Y Z"


def test_nothing_that_counts_can_be_changed_or_added() -> None:
    """A changed or second From, Subject, To, Reply-To, Content-Type or body breaks it; a Received does not."""
    whole = signed(HEAD + b"\r\nhello\r\n")
    assert holds(whole)
    assert holds(b"Received: from x by y; Sun, 22 Nov 2026 03:00:01 +0000\r\n" + whole)
    assert not holds(whole.replace(b"Subject: ok", b"Subject: no"))
    assert not holds(whole.replace(b"hello", b"hullo"))
    for name in OVERSIGNED:
        assert not holds(f"{name}: x@evil.example\r\n".encode() + whole), name
        assert not holds(whole.replace(b"\r\n\r\n", f"\r\n{name}: x@evil.example\r\n\r\n".encode(), 1)), name


def test_a_list_may_add_its_own_fields() -> None:
    """What is not there is not signed, if others may rightly add it."""
    whole = signed(HEAD + b"\r\nhello\r\n")
    assert holds(b"List-Id: <list.example>\r\nSender: owner@list.example\r\n" + whole)
    assert not holds(signed(b"List-Id: <own.example>\r\n" + HEAD + b"\r\nx\r\n").replace(b"<own.example>\r\n", b"<evil>\r\n"))


def test_fields_that_stand_there_twice_are_signed_from_below() -> None:
    """RFC 6376 s5.4.2: the last one first."""
    message = HEAD + b"References: <1@x>\r\nReferences: <2@x>\r\nTo: c@far.example\r\n\r\nx\r\n"
    whole = signed(message)
    assert holds(whole)
    assert not holds(whole.replace(b"To: c@far.example\r\n", b""))


def test_a_line_of_the_signature_has_at_most_78_characters() -> None:
    """RFC 5322 s2.1.1; with a long domain the one that holds it may be longer."""
    field = signed(HEAD + b"\r\nx\r\n").partition(b"\r\nFrom:")[0]
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert b"t=%d;" % NOW.timestamp() in field


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        (b"nas@own.example", {"own.example"}),
        (b"NAS <nas@OWN.Example>", {"own.example"}),
        (b"a@own.example, b@second.example", {"own.example", "second.example"}),
        ("NAS <nas@b\u00fccher.example>".encode(), {"xn--bcher-kva.example"}),
        (b'"x@evil.example" <nas@own.example>', {"own.example"}),
        (b"nobody", set()),
        (b"root@nas", {"nas"}),
    ],
)
def test_whose_mail_it_is(value: bytes, domains: set[str]) -> None:
    """The domains of the authors; an address in a display name is no author."""
    assert signable([b"From: " + value + b"\r\n\r\nx"]).authors == domains


@pytest.mark.parametrize(
    ("value", "signers"),
    [
        (b"v=1; a=rsa-sha256; d=own.example; s=x; b=y", {"own.example"}),
        (b"v=1; d= OWN.\r\n example ;s=x", {"own.example"}),
        (b"v=1; bh=d=evil; s=x", set()),
        (b"d=own.example", {"own.example"}),
    ],
)
def test_who_has_signed_already(value: bytes, signers: set[str]) -> None:
    """d= of each signature, folded or not."""
    assert signable([b"DKIM-Signature: " + value + b"\r\nFrom: a@own.example\r\n\r\nx"]).signers == signers


@pytest.mark.parametrize("cut", range(1, 8))
def test_the_header_may_come_in_pieces(cut: int) -> None:
    """Wherever a block ends, header and body are told apart at the first empty line."""
    message = HEAD + b"\r\n\r\nx\r\n\r\ny"
    pieces = [message[place : place + cut] for place in range(0, len(message), cut)]
    assert signable(pieces) == signable([message])
    assert signable([HEAD]) == Signable(signable([message]).fields, digest())
