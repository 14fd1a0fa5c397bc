"""A DKIM signature over a message: what is hashed, and the field that says so.  RFC 6376, RFC 8301, RFC 8463.  Pure.

The octets are read once, block by block.  Hashed is what goes over the wire: bare line ends count as the CRLF that they are
sent as, and dots that SMTP adds do not count.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from relay.mail.charset import decode
from relay.mail.line_ends import on_the_wire
from relay.mail.mailboxes import each_mailbox
from relay.mail.message import Field, fields_of

OVERSIGNED = (
    *("From", "Reply-To", "Subject", "Date", "To", "Cc", "Message-ID"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
)
"""Signed once more than they are there: nobody can add a second one (RFC 6376 s8.15)."""

SIGNED = (
    *("Sender", "In-Reply-To", "References", "Auto-Submitted"),
    *("List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
    *("Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID"),
)
"""Signed where they are there: mailing lists may add their own (RFC 6376 s5.4.1)."""

_BLANKS = re.compile(rb"[ \t]+")
_SPACES = re.compile(rb"  +")
_DOMAIN_TAG = re.compile(rb"(?:\A|;)d=([^;]*)")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_AT_ONCE = 16_384  # empty lines that are hashed at a time
_WIDTH = 72


@dataclass(frozen=True, slots=True)
class Signable:
    """The header fields of a message as they are sent, and the hash of its body."""

    fields: tuple[Field, ...]
    body_hash: bytes

    @property
    def authors(self) -> frozenset[str]:
        """The domains in From, with A-labels, in lower case."""
        boxes = (box for field in self.fields if field.name == "from" for box in each_mailbox(decode(field.value, "cp1252")))
        return frozenset(box.address.domain.lower() for box in boxes if box.address)

    @property
    def signers(self) -> frozenset[str]:
        """The domains (d=) that have signed it already."""
        values = (re.sub(rb"\s+", b"", field.value) for field in self.fields if field.name == "dkim-signature")
        return frozenset(tag[1].decode("ascii", "replace").lower() for value in values for tag in _DOMAIN_TAG.finditer(value))


@dataclass(frozen=True, slots=True)
class SigningTerms:
    """Who signs, with which key: `selector` names it in the DNS, `algorithm` is rsa-sha256 or ed25519-sha256."""

    domain: str
    selector: str
    algorithm: str
    signed_at: datetime


def signable(content: Iterable[bytes]) -> Signable:
    """Reads the message once; the body is hashed while it is read."""
    head, body = bytearray(), BodyHash()
    end = -1
    for block in on_the_wire(content):
        if end >= 0:
            body.feed(block)
            continue
        searched = max(0, len(head) - 3)
        head += block
        end = head.find(b"\r\n\r\n", searched)
        if end >= 0:
            body.feed(bytes(head[end + 4 :]))
    section = bytes(head if end < 0 else head[: end + 2])
    return Signable(fields_of(_LINE.findall(section)), body.close())


def signature(of: Signable, terms: SigningTerms, sign: Callable[[bytes], bytes]) -> bytes:
    """The DKIM-Signature field.  `sign` makes the signature over a SHA-256 digest."""
    named = _named(of.fields)
    lines = [
        f"DKIM-Signature: v=1; a={terms.algorithm}; c=relaxed/relaxed; d={terms.domain};",
        f" s={terms.selector}; t={int(terms.signed_at.timestamp())};",
        *_folded([name for name, _ in named]),
        f" bh={b64encode(of.body_hash).decode()};",
        " b=",
    ]
    unsigned = "\r\n".join(lines).encode("ascii")
    digest = hashlib.sha256()
    for _, field in named:
        digest.update(relaxed(field) + b"\r\n" if field else b"")
    digest.update(relaxed(Field(unsigned)))
    made = b64encode(sign(digest.digest()))
    pieces = [made[place : place + _WIDTH] for place in range(0, len(made), _WIDTH)]
    return unsigned + b"\r\n ".join(pieces) + b"\r\n"


def relaxed(field: Field) -> bytes:
    """A field in relaxed form, without its line end (RFC 6376 s3.4.2)."""
    value = field.raw.partition(b":")[2].replace(b"\r\n", b"")
    return field.name.encode("ascii") + b":" + _BLANKS.sub(b" ", value).strip(b" ")


def _named(fields: Iterable[Field]) -> list[tuple[str, Field | None]]:
    """What stands in h=, in order: of several fields of one name the last one first (RFC 6376 s5.4.2).  None: not there."""
    there: dict[str, list[Field]] = {}
    for field in fields:
        there.setdefault(field.name, []).append(field)
    found: list[tuple[str, Field | None]] = []
    for name in (*OVERSIGNED, *SIGNED):
        found += [(name, field) for field in reversed(there.get(name.lower(), []))]
        if name in OVERSIGNED:
            found.append((name, None))
    return found


def _folded(names: list[str]) -> list[str]:
    """The tag h=, in lines that begin with a blank and break after a colon."""
    lines = [" h="]
    for place, name in enumerate(names, 1):
        piece = name + (":" if place < len(names) else ";")
        if len(lines[-1]) + len(piece) > _WIDTH:
            lines.append(" ")
        lines[-1] += piece
    return lines


class BodyHash:
    """SHA-256 of a body in relaxed form (RFC 6376 s3.4.4), whatever the block borders.

    All line ends must be CRLF, and none may be cut.  Held back are only a blank at the end of a block and the number of empty
    lines: what comes next decides on them.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._held = b""
        self._lines = 0
        self._empty = True

    def feed(self, block: bytes) -> None:
        octets = self._held + block
        if b"\t" in octets:
            octets = octets.replace(b"\t", b" ")
        if b"  " in octets:
            octets = _SPACES.sub(b" ", octets)
        octets = octets.replace(b" \r\n", b"\r\n")
        text = octets.rstrip(b" \r\n")
        ends = octets[len(text) :]
        if text:
            self._write_lines()
            self._hash.update(text)
            self._empty = False
        self._lines += ends.count(b"\n")
        self._held = b" " if ends.endswith(b" ") else b""

    def close(self) -> bytes:
        """The digest.  Empty lines at the end do not count; a body that has others ends in CRLF."""
        if not self._empty:
            self._hash.update(b"\r\n")
        return self._hash.digest()

    def _write_lines(self) -> None:
        while self._lines:
            some = min(self._lines, _AT_ONCE)
            self._hash.update(b"\r\n" * some)
            self._lines -= some
