"""Repairs a body: labels, octets that cannot be sent, missing delimiters.  RFC 6409 s8.4, RFC 2046 s5.1.  Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from relay.mail.body_plan import CODED, PartPlan, Recode, Terms, plan_body
from relay.mail.body_scan import BodyScan, ScannedPart, scan_body
from relay.mail.charset import BALLOTS, ballots, elect, fits, is_utf8
from relay.mail.charset_labels import NOTHING, holds_text, inner_charset, is_doubtful, sample_of
from relay.mail.charset_names import codec_of
from relay.mail.encoded_words import named_charsets
from relay.mail.line_ends import blocks
from relay.mail.message import Field, first
from relay.mail.mime import ContentType, ascii_boundary, content_type, with_param
from relay.mail.recode import Body, mime_fields, with_mime_fields
from relay.mail.repair_context import Fields

_CANDIDATE = re.compile(rb"(?:\A|[\r\n])--([^\r\n]{1,210}+)(?=[\r\n]|\Z)")
_CANDIDATES = 1000


@dataclass(frozen=True, slots=True)
class Mended:
    """The fields with MIME fields repaired, the body to send, its size in octets (-1: not counted), and the notes."""

    fields: Fields
    body: Iterable[bytes]
    size: int
    eight_bit: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _WithoutNuls:
    source: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return (block.replace(b"\0", b"") for block in self.source)


@dataclass(frozen=True, slots=True)
class Examined:
    """The facts of a body, after it was read once (again, if it has NULs or its boundary had to be searched)."""

    source: Iterable[bytes]
    top: ContentType
    seen: BodyScan
    notes: tuple[str, ...] = ()


def examine(fields: Fields, source: Iterable[bytes]) -> Examined:
    """Reads the body.  If a multipart's boundary never occurs, the one found in the body is used, else it is text (M45)."""
    said = mime_fields(fields)
    top = content_type(said)
    sealed = first(fields, "dkim-signature") is not None
    seen = scan_body(said, top, source, sealed=sealed)
    if seen.nul and not sealed and not any(part.wide or _is_file_with_nul(part) for part in seen.parts.values()):
        source = _WithoutNuls(source)  # without them other things may show: a boundary, a byte order mark
        seen = scan_body(said, top, source)
        seen.nul = True
    if not top.multipart or seen.opened or sealed:
        return Examined(source, top, seen)
    boundary = _boundary_in(source)
    if boundary and (found := first(said, "content-type")):
        value = with_param(found.value, "boundary", boundary.decode("latin-1"))
        note = "took the boundary from the body: Content-Type " + ("names another" if top.boundary else "names none")
    else:
        value = b"text/plain"
        note = "made Content-Type text/plain: there are no parts in this multipart"
    said = tuple(Field.of("Content-Type", value) if field.name == "content-type" else field for field in said)
    top = content_type(said)
    return Examined(source, top, scan_body(said, top, source, sealed=sealed), (note,))


def _boundary_in(source: Iterable[bytes]) -> bytes:
    """The boundary of the first `--x` line that occurs twice; b"" if there is none."""
    seen: set[bytes] = set()
    last = b""
    for block in blocks(source):
        for match in _CANDIDATE.finditer(last + block):
            found = match[1].rstrip(b" \t").removesuffix(b"--").rstrip()
            if found.strip(b"- ") and found in seen:
                return found
            if len(seen) < _CANDIDATES:
                seen.add(found)
        last = block[-1:]
    return b""


def terms_for(examined: Examined, fields: Fields, fallback: tuple[str, ...], *, signed: bool) -> Terms:
    """The charset of raw header text, and of text parts whose label is missing or false.

    A charset that the message names for other text is taken if it fits; else all these texts vote together.
    """
    raw = [field for field in fields if not field.raw.isascii()]
    if len(raw) > 1 and is_utf8(b"".join([field.raw for field in raw])):
        raw = []  # UTF-8 needs no vote
    texts = [part.kind.charset for part in examined.seen.parts.values() if part.kind.text]
    pieces = ballots(_undeclared(examined, raw), said="utf-8" in map(codec_of, texts))
    named = (name for name in _declared(examined, fields) if all(fits(piece, name) for piece in pieces))
    charset = (next(named, "") if pieces else "") or elect(pieces, fallback)
    return Terms(charset=charset, raw=tuple([field.value for field in raw[:BALLOTS]]), fallback=fallback, signed=signed)


def _undeclared(examined: Examined, raw: list[Field]) -> Iterator[bytes]:
    for field in raw:
        yield field.value
    for part in examined.seen.parts.values():
        foreign = part.kind.text and (part.eight_bit or part.encoding in CODED)
        if foreign and is_doubtful(part) and not (sample := sample_of(part)).isascii():
            yield sample
        if part.number:
            yield from (field.value for field in part.fields if not field.raw.isascii())


def _declared(examined: Examined, fields: Fields) -> Iterator[str]:
    """The charsets that the message names for its text and in its encoded-words; raw text may be in them, too.

    Latin-1 counts only if text really uses it, since it is the default of libraries.
    """
    for part in examined.seen.parts.values():
        if part.kind.text or part.container:
            octets = sample_of(part)
            name = part.kind.charset
            name = inner_charset(octets) if name in NOTHING else name
            codec = codec_of(name)
            if not codec or codec.startswith(("utf-", "ascii", "iso2022")):
                continue
            if octets.isascii() and codec in ("iso8859-1", "cp1252", "iso8859-15"):
                continue
            if octets.isascii() or not is_doubtful(part):
                yield name
    for field in fields:
        if b"=?" in field.raw:
            for name in named_charsets(field.raw):
                if not codec_of(name).startswith(("utf-", "ascii", "iso2022", "iso8859-1", "cp1252")):
                    yield name


def mend(examined: Examined, fields: Fields, terms: Terms) -> Mended:
    """Repairs what the facts show to be wrong.  A correct body is returned as it came."""
    seen = examined.seen
    plans, said = plan_body(seen, terms)
    notes = (*examined.notes, *said, *_notes(seen, plans))
    mended = with_mime_fields(fields, plans[0].fields)
    if mended is not fields and not first(fields, "mime-version") and first(mended, "mime-version"):
        notes = (*notes, "added MIME-Version: the message has MIME fields")
    between = seen.between.long_lines
    eight_bit = any(planned.eight_bit for planned in plans.values()) or (seen.between.eight_bit and not between)
    if not between and _is_right(seen, plans):
        return Mended(mended, examined.source, seen.size, eight_bit, notes)
    body = Body(
        examined.source,
        examined.top,
        plans,
        base64=seen.base64,
        plain_between=between,
        signed=terms.signed,
    )
    return Mended(mended, body, -1, eight_bit, notes)


def _is_file_with_nul(part: ScannedPart) -> bool:
    """Its NULs may be meant: whatever was said of its type, it was not text; or nothing was, and it does not look like it."""
    return part.nul and (not part.kind.kind.startswith("text/") if part.kind.said else not holds_text(part))


def _is_right(seen: BodyScan, plans: Mapping[int, PartPlan]) -> bool:
    if seen.bare_ends or seen.nul or seen.missing or seen.glued or not seen.ends_with_line:
        return False
    if any(part.mended for part in seen.parts.values()):
        return False
    if any(ascii_boundary(part.kind.boundary) != part.kind.boundary for part in seen.parts.values()):
        return False
    return all(planned.recode is Recode.KEEP and not (number and planned.changed) for number, planned in plans.items())


def _notes(seen: BodyScan, plans: Mapping[int, PartPlan]) -> tuple[str, ...]:
    notes = []
    bare = [number for number, part in seen.parts.items() if part.bare_ends]
    if seen.bare_ends and not (bare and all(plans[number].recode is Recode.RAW_BASE64 for number in bare)):
        notes.append("made every line end CRLF: the device sent others")
    if seen.nul:
        notes.append("removed NUL octets")
    if any(part.mended for part in seen.parts.values()):
        notes.append("put the header of a part in order, or the missing empty line behind it")
    if seen.missing:
        notes.append("added a closing boundary: the device left a multipart open")
    if seen.glued:
        notes.append("put a boundary on a line of its own")
    return tuple(notes)
