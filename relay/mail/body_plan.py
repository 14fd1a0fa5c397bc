"""Decides from the facts what must be done to each part.  RFC 6409 s8.4, RFC 2045 s6, RFC 2046 s4.1.2.  Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from relay.mail.body_scan import BodyScan, ScannedPart, is_identity
from relay.mail.charset import decode
from relay.mail.charset_labels import holds_text, label_for
from relay.mail.charset_names import is_name
from relay.mail.encoded_words import LINE_LIMIT, decode_words, encode_text, fold
from relay.mail.header_text import folded
from relay.mail.message import Field, first, replaced
from relay.mail.mime import (
    ascii_boundary,
    is_misread,
    quoted,
    transfer_encoding,
    with_ascii_names,
    with_ascii_params,
    with_param,
    with_plain_type,
    with_quotes,
)
from relay.mail.mime_walk import MOST_PARTS


class Recode(Enum):
    """How a part's octets are encoded again."""

    KEEP = "keep"
    QUOTED = "quoted-printable"
    BASE64 = "base64"
    RAW_BASE64 = "base64 of the octets as they came"
    REWRAP = "base64 in shorter lines"
    MEND_QUOTED = "quoted-printable made right"


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The part's new fields, whether they differ from the old ones, and the new encoding."""

    fields: tuple[Field, ...]
    changed: bool
    recode: Recode = Recode.KEEP
    eight_bit: bool = False
    container: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """Whether 8-bit octets may be sent, the charset of raw text, and whether a signature covers everything.

    `raw` is the raw text of the header.  `fallback` has the charsets to guess from.  `only_transport`: labels stay.
    """

    eight_bit_allowed: bool = True
    charset: str = "utf-8"
    raw: tuple[bytes, ...] = ()
    fallback: tuple[str, ...] = ()
    signed: bool = False
    only_transport: bool = False


CODED = ("base64", "quoted-printable")
_HALF_KINDS = {
    **dict.fromkeys((b"pdf", b"zip"), b"application/"),
    **dict.fromkeys((b"png", b"jpeg", b"gif", b"bmp", b"tiff"), b"image/"),
    **dict.fromkeys((b"plain", b"html", b"csv"), b"text/"),
}
_HALF_KINDS = {half: kind + half for half, kind in _HALF_KINDS.items()} | {b"jpg": b"image/jpeg", b"text": b"text/plain"}
"""Content types of which only one half was written."""

_NAMED = re.compile(rb"name\*?[ \t]*=", re.IGNORECASE)
_REST_FIELDS = (
    Field(b"Content-Type: application/octet-stream\r\n"),
    Field(b'Content-Disposition: attachment; filename="more-parts.txt"\r\n'),
    Field(b"Content-Transfer-Encoding: base64\r\n"),
)


def plan_body(seen: BodyScan, terms: Terms) -> tuple[Mapping[int, PartPlan], tuple[str, ...]]:
    """A plan for every part, and the notes."""
    notes: dict[str, None] = {}
    plans = {number: _plan_part(part, seen, terms, notes) for number, part in seen.parts.items()}
    return plans, tuple(notes)


def _plan_part(part: ScannedPart, seen: BodyScan, terms: Terms, notes: dict[str, None]) -> PartPlan:
    if part.container:
        return _plan_container(part, seen, terms, notes)
    if part.rest:
        return _plan_rest(part, terms, notes)
    text = holds_text(part)
    recode = _recode(part, terms, text=text)
    still_eight_bit = part.eight_bit and recode is Recode.KEEP
    fields = part.fields
    sealed = (part.sealed or terms.signed) and recode is Recode.KEEP
    if not sealed:
        if not terms.only_transport:
            fields = _with_charset(part, fields, terms, notes, text=text)
        fields = _with_encoding(part, fields, recode, notes, still_eight_bit=still_eight_bit)
    fields = _with_sendable_fields(part, fields, terms, notes)
    _note_recode(recode, part, terms, notes)
    return PartPlan(fields, fields != part.fields, recode, still_eight_bit)


def _recode(part: ScannedPart, terms: Terms, *, text: bool) -> Recode:
    """How the octets must be encoded again, if they cannot be sent as they are."""
    too_long = part.long_lines
    unsendable = too_long or (part.eight_bit and not terms.eight_bit_allowed)
    sealed = part.sealed or terms.signed
    if part.wide:
        return Recode.RAW_BASE64
    if part.encoding == "base64":
        return Recode.REWRAP if too_long or (part.eight_bit and (unsendable or not sealed)) else Recode.KEEP
    if part.encoding == "quoted-printable":
        return Recode.MEND_QUOTED if too_long or (part.eight_bit and (unsendable or not sealed)) else Recode.KEEP
    if not text:
        lost = part.bare_ends or (part.eight_bit and part.encoding != "8bit")  # in binary data line ends must not change
        return Recode.RAW_BASE64 if unsendable or part.nul or (lost and not sealed and _is_data(part)) else Recode.KEEP
    if not unsendable:
        return Recode.KEEP
    foreign = sum(octet > 127 for octet in part.sample[:4096])
    return Recode.BASE64 if foreign * 3 > len(part.sample[:4096]) else Recode.QUOTED


def _is_data(part: ScannedPart) -> bool:
    """Whether it is a file without a transfer encoding, and no message or multipart."""
    return is_identity(part.encoding) and not part.kind.kind.startswith(("message/", "multipart/"))


def _with_charset(
    part: ScannedPart, fields: tuple[Field, ...], terms: Terms, notes: dict[str, None], *, text: bool
) -> tuple[Field, ...]:
    """Text must name its charset (RFC 2046 s4.1.2): a missing, unknown or false label is replaced by a guess.

    A Content-Type that cannot be read becomes text/plain, or application/octet-stream for encoded octets.
    """
    fields = _with_plain_type(fields, notes)
    old = first(fields, "content-type")
    value = old.value if old else b""
    if old and not part.kind.kind:
        written, _, params = value.partition(b";")
        text = text and (part.encoding != "base64" or written.lower().startswith(b"text"))
        kind = _HALF_KINDS.get(written.strip(b" \t/.").lower(), b"text/plain" if text else b"application/octet-stream")
        notes[f"made Content-Type {kind.decode()}: {_shown(written if _NAMED.search(params) else value)} is none"] = None
        text = kind.startswith(b"text/")
        kept = _NAMED.search(params) or (text and is_name(part.kind.charset))
        value = kind + b"; " + params.strip() if kept else kind
    elif not old and not text:
        value = b"application/octet-stream"
        notes["named a part application/octet-stream: the device named no type, and it is no text"] = None
    label = label_for(part, terms.charset, terms.raw, terms.fallback) if text else ""
    if label and label.lower() != part.kind.charset.lower():  # no other fits better
        note = f"named the charset {label}: " + (
            f"the device said {part.kind.charset}" if part.kind.charset else "the device named none"
        )
        notes[note] = None
        value = with_param(value or b"text/plain", "charset", label)
    elif text and not old and part.number == 0 and part.long_lines:
        value = b"text/plain; charset=us-ascii"
    if not value or (old and value == old.value):
        return fields
    return _set(fields, "Content-Type", value)


def _with_plain_type(fields: tuple[Field, ...], notes: dict[str, None]) -> tuple[Field, ...]:
    found = first(fields, "content-type")
    if found is None or (value := with_plain_type(found.value)) == found.value:
        return fields
    if value.count(b";") > found.value.count(b";"):
        notes["put the semicolon into Content-Type that the device left out"] = None
    else:
        notes["took control and 8-bit octets out of Content-Type"] = None
    return _set(fields, "Content-Type", value)


def _with_encoding(
    part: ScannedPart, fields: tuple[Field, ...], recode: Recode, notes: dict[str, None], *, still_eight_bit: bool
) -> tuple[Field, ...]:
    """Makes Content-Transfer-Encoding true (RFC 2045 s6.2).  `binary` cannot be sent without BDAT (RFC 3030)."""
    written = next((field.value.lower() for field in fields if field.name == "content-transfer-encoding"), b"")
    if recode in (Recode.BASE64, Recode.RAW_BASE64, Recode.REWRAP):
        wanted = "base64"
    elif recode in (Recode.QUOTED, Recode.MEND_QUOTED):
        wanted = "quoted-printable"
    elif part.encoding in CODED:
        wanted = part.encoding
    elif part.encoding.startswith("x-"):
        return fields
    elif part.encoding in ("uuencode", "uue"):
        wanted = "x-uuencode"
    elif still_eight_bit:
        wanted = "8bit"
    elif written == b"8bit" or not written:
        return fields
    else:
        wanted = "7bit"
    if re.fullmatch(re.escape(wanted.encode()) + rb"(?:[ \t]*\(.*)?", written, re.DOTALL) and not _trails(fields):
        return fields
    if recode is Recode.KEEP:
        notes[f"set Content-Transfer-Encoding to {wanted}" + (f": the device said {_shown(written)}" if written else "")] = None
    return _set(fields, "Content-Transfer-Encoding", wanted.encode())


def _trails(fields: tuple[Field, ...]) -> bool:
    """Whether blanks follow the encoding's name; some readers do not know the name then."""
    found = first(fields, "content-transfer-encoding")
    return found is not None and found.raw.rstrip(b"\r\n")[-1:] in (b" ", b"\t")


def _plan_container(part: ScannedPart, seen: BodyScan, terms: Terms, notes: dict[str, None]) -> PartPlan:
    """A multipart is 7bit, 8bit or binary (RFC 2045 s6.4), and all readers must read its boundary the same way."""
    fields = part.fields
    sealed = part.sealed or terms.signed
    eight_bit = seen.eight_bit and terms.eight_bit_allowed
    written = transfer_encoding(fields)
    wanted = "8bit" if eight_bit else "7bit"
    false = bool(written) and written not in ("7bit", "8bit")
    if not terms.eight_bit_allowed and seen.eight_bit and written == "8bit":
        false = True
    if false and (not sealed or not terms.eight_bit_allowed):
        fields = _set(fields, "Content-Transfer-Encoding", wanted.encode())
        if terms.eight_bit_allowed:
            notes[f"set Content-Transfer-Encoding of a multipart to {wanted}: it cannot be {written}"] = None
    fields = fields if sealed else _with_plain_type(fields, notes)
    found = first(fields, "content-type")
    boundary = ascii_boundary(part.kind.boundary).decode("ascii")
    stands = found and any(form.encode() in found.raw for form in (boundary, quoted(boundary)))
    if found and boundary and ((is_misread(found.value) and not sealed) or not stands):
        fields = _set(fields, "Content-Type", with_param(found.value, "boundary", boundary))
        notes["wrote the boundary in quotation marks"] = None
    fields = _with_sendable_fields(part, fields, terms, notes)
    return PartPlan(fields, fields != part.fields, container=True)


def _plan_rest(part: ScannedPart, terms: Terms, notes: dict[str, None]) -> PartPlan:
    """Parts beyond the limit are sent as they came; if that is impossible, as an attachment with their octets."""
    if not part.long_lines and (terms.eight_bit_allowed or not part.eight_bit):
        return PartPlan((), changed=False, eight_bit=part.eight_bit)
    notes[f"attached all that follows the first {MOST_PARTS} parts: it cannot go as it is"] = None
    return PartPlan(_REST_FIELDS, changed=True, recode=Recode.BASE64)


def _with_sendable_fields(
    part: ScannedPart, fields: tuple[Field, ...], terms: Terms, notes: dict[str, None]
) -> tuple[Field, ...]:
    """MIME fields in ASCII (RFC 2231, RFC 2047), without control octets and over-long lines; file names quoted."""
    if not (part.sealed or terms.signed or terms.only_transport):
        fields = tuple(_with_quotes(field, notes) for field in fields)
    if all(_is_sendable(field) for field in fields):
        return fields
    return tuple(field if _is_sendable(field) else _sendable(field, part, terms, notes) for field in fields)


def _with_quotes(field: Field, notes: dict[str, None]) -> Field:
    if field.name not in _PARAMETERED or (value := with_quotes(said := field.value)) == said:
        return field
    notes["wrote a file name in quotation marks"] = None
    return Field.of(field.label, value)


def _is_sendable(field: Field) -> bool:
    raw = field.raw
    if len(raw) > LINE_LIMIT and max(map(len, raw.split(b"\r\n"))) > LINE_LIMIT:
        return False
    return raw.isascii() and not _CONTROL.search(raw)


_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PARAMETERED = ("content-type", "content-disposition")


def _sendable(field: Field, part: ScannedPart, terms: Terms, notes: dict[str, None]) -> Field:
    raw, value = field.raw, field.value
    if not raw.isascii() or b"\x1b" in value:
        notes[f"encoded raw 8-bit text in {field.label}"] = None
        if field.name in _PARAMETERED and part.number >= 0:
            value = with_ascii_params(decode(with_ascii_names(value), terms.charset))
            raw = field.label.encode() + b": " + value + b"\r\n"
        elif field.name == "content-transfer-encoding":
            raw = re.sub(rb"[\x80-\xff]", b"", raw)
        else:
            raw = fold(field.label, encode_text(decode_words(decode(value, terms.charset))))
    else:
        notes["mended the header fields of a part"] = None
    return folded(Field(_CONTROL.sub(b"", raw)))


def _set(fields: tuple[Field, ...], label: str, value: bytes) -> tuple[Field, ...]:
    return replaced(fields, Field.of(label, value))


def _note_recode(recode: Recode, part: ScannedPart, terms: Terms, notes: dict[str, None]) -> None:
    if recode is Recode.KEEP:
        return
    why = "lines of more than 998 octets" if part.long_lines else "8-bit octets that cannot go as they are"
    if recode is Recode.RAW_BASE64:
        why = f"text in {part.wide}" if part.wide else "binary octets"
    notes[f"re-encoded a part ({part.kind.kind or 'text/plain'}): {why}"] = None


def _shown(value: bytes) -> str:
    return repr(value[:60].decode("latin-1"))
