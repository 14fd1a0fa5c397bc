"""Writes a body as planned: parts re-encoded where needed, delimiters repaired, all else as it came.

RFC 2045 s6, RFC 6152 (8BITMIME), RFC 5321 s4.5.3.1.6.  Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from relay.mail.body_plan import PartPlan, Recode, Terms, plan_body
from relay.mail.body_scan import scan_body
from relay.mail.encoders import Base64, Encoder, MendedQuotedPrintable, QuotedPrintable, Rewrap
from relay.mail.line_ends import crlf
from relay.mail.message import Field, Message
from relay.mail.mime import ContentType, ascii_boundary, content_type
from relay.mail.mime_walk import BETWEEN, Delimiter, PartHead, walk

_VERSION = re.compile(rb"[ \t]*\d{1,9}[ \t]*\.[ \t]*\d{1,9}.{0,200}")
_MIME = frozenset({"content-", "mime-ver"})
_ENCODERS: Mapping[Recode, type[Encoder]] = {
    Recode.QUOTED: QuotedPrintable,
    Recode.BASE64: Base64,
    Recode.RAW_BASE64: Base64,
    Recode.REWRAP: Rewrap,
    Recode.MEND_QUOTED: MendedQuotedPrintable,
}


@dataclass(frozen=True, slots=True)
class Body:
    """A body written by its plans.  Each iteration reads `source` again."""

    source: Iterable[bytes]
    top: ContentType
    plans: Mapping[int, PartPlan]
    base64: bool = False
    plain_between: bool = False
    signed: bool = False

    def __iter__(self) -> Iterator[bytes]:
        ended = True
        for block in _Writer(self).blocks():
            if block:
                yield block
                ended = block[-1:] == b"\n"
        if not ended:
            yield b"\r\n"


class _Writer:
    """One reading of the source, written as planned."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.encoder: Encoder | None = None
        self.number = 0
        self.attached = False  # whether the rest became an attachment
        self.recode = Recode.KEEP
        self._enter(BETWEEN if body.top.boundary else 0)

    def blocks(self) -> Iterator[bytes]:
        for event in walk(self.body.top, self.body.source, base64=self.body.base64, sealed=self.body.signed):
            if isinstance(event, PartHead):
                yield self._finished()
                yield self._head(event)
            elif isinstance(event, Delimiter) and event.spare and not self.attached:
                continue
            elif isinstance(event, Delimiter) and event.missing and event.sealed:
                yield self._finished()
                yield crlf(event.lead)
                self._enter(BETWEEN)
            elif isinstance(event, Delimiter):
                yield self._finished()
                yield crlf(event.lead) + b"--" + ascii_boundary(event.boundary) + (b"--\r\n" if event.closing else b"\r\n")
                self._enter(BETWEEN)
            else:
                yield self._octets(event.block)
        yield self._finished()

    def _enter(self, number: int) -> None:
        planned = self.body.plans.get(number)
        self.number = number
        self.recode = planned.recode if planned else Recode.KEEP
        if number == BETWEEN and self.body.plain_between:
            self.recode = Recode.QUOTED
        self.encoder = _ENCODERS[self.recode]() if self.recode in _ENCODERS else None

    def _finished(self) -> bytes:
        encoder, self.encoder = self.encoder, None
        return encoder.close() if encoder else b""

    def _head(self, event: PartHead) -> bytes:
        self._enter(event.number)
        planned = self.body.plans[event.number]
        self.attached = event.rest and planned.changed
        if planned.container:
            self._enter(BETWEEN)
        separator = event.separator or (b"\r\n" if planned.changed or event.unseparated else b"")
        return b"".join(field.raw for field in planned.fields) + separator

    def _octets(self, block: bytes) -> bytes:
        if self.recode is Recode.RAW_BASE64:
            octets = block
        else:
            octets = crlf(block)
            if b"\0" in octets:
                octets = octets.replace(b"\0", b"")
        return self.encoder.feed(octets) if self.encoder else octets


def seven_bit(content: Iterable[bytes]) -> Message:
    """The message with every part in a 7-bit encoding, for an upstream without 8BITMIME (RFC 6152 s3).

    It may be iterated again.  The decoded parts are unchanged.  A signature over 8-bit octets becomes invalid, since
    the message could not be sent otherwise.
    """
    message = Message.parse(content)
    said = mime_fields(message.fields)
    top = content_type(said)
    signed = any(field.name == "dkim-signature" for field in message.fields)
    seen = scan_body(said, top, message.body, sealed=signed)
    plans, _ = plan_body(seen, Terms(eight_bit_allowed=False, only_transport=True))
    between = seen.between.eight_bit or seen.between.long_lines
    body = Body(message.body, top, plans, base64=seen.base64, plain_between=between, signed=signed)
    fields = with_mime_fields(message.fields, plans[0].fields)
    return Message(fields, message.separator or b"\r\n", body)


def mime_fields(fields: Iterable[Field]) -> tuple[Field, ...]:
    """The fields that describe the body."""
    return tuple(field for field in fields if field.name.startswith("content-"))


def with_mime_fields(fields: tuple[Field, ...], mended: tuple[Field, ...]) -> tuple[Field, ...]:
    """The header with its MIME fields replaced by these, new ones last; with MIME-Version if it has any."""
    if not mended and _MIME.isdisjoint([field.name[:8] for field in fields]):
        return fields
    new: dict[str, list[Field]] = {}
    for field in mended:
        new.setdefault(field.name, []).append(field)
    kept: list[Field] = []
    for field in fields:
        if not field.name.startswith("content-"):
            kept.append(field)
        elif new.get(field.name):
            kept.append(new[field.name].pop(0))
    kept += [field for rest in new.values() for field in rest]
    needs = any(field.name in ("content-type", "content-transfer-encoding") for field in kept)
    versions = [field for field in kept if field.name == "mime-version"]
    if (needs and not versions) or any(not _VERSION.fullmatch(field.value) for field in versions):
        kept = [field for field in kept if field.name != "mime-version"]
        kept.append(Field.of("MIME-Version", "1.0"))
    return tuple(kept)
