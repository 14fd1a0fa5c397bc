"""Facts about a body, part by part.  It is read once; only facts and short samples are kept.  Pure."""

import re
from binascii import a2b_base64
from codecs import getincrementaldecoder
from collections.abc import Iterable
from dataclasses import dataclass

from relay.mail.charset_names import codec_of
from relay.mail.encoded_words import LINE_LIMIT
from relay.mail.line_ends import BareEnds, crlf
from relay.mail.message import Field
from relay.mail.mime import ContentType, transfer_encoding
from relay.mail.mime_walk import BETWEEN, Delimiter, PartHead, walk

_SAMPLE = 32 * 1024
_GLANCE = 1024  # octets of base64 data, enough to see whether it is base64
_ESCAPE = b"\x1b$"
CONTROLS = re.compile(rb"[\x01-\x07\x0e-\x1a\x1c-\x1f]")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(octet for octet in range(256) if octet not in _BASE64)
_BASE64_OR_BLANK = _BASE64 + b" \t\r\n\0"
_WORD = re.compile(rb"[ \t\r\n]{0,9}(?:[A-Za-z]?[a-z]{1,30}|[A-Z]{1,30}|[0-9]{1,30})[.!?]?[ \t\r\n]{0,9}")
_INNER_BLANK = re.compile(rb"[^ \t\r\n][ \t](?=[^ \t\r\n])")
_NO_CODE = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]{0,80}[\r\n]|\Z)")
_SHORT_LINES = re.compile(rb"(?s:(?:.{0,%d}\n)*)" % (LINE_LIMIT + 1))
"""As many lines at a time as are within the limit together.  It matches always, so it never goes back over a line."""
_CODE = re.compile(rb"=(?:[0-9A-F]{2}|[ \t]{0,80}[\r\n])")


@dataclass(slots=True)
class ScannedPart:
    """Facts about one part.  `long_lines`: a line has more than LINE_LIMIT octets; `sample` is the beginning of its text.

    `container`: a multipart or message/rfc822, whose octets are those of its parts.  `rest`: everything after the most
    parts that are scanned.  `wide`: the octets are in this UTF-16 or UTF-32.  `encoding` is "" if the octets are not in
    the encoding that the header names.
    """

    number: int
    fields: tuple[Field, ...]
    kind: ContentType
    encoding: str
    sealed: bool = False
    mended: bool = False
    separator: bytes = b"\r\n"
    eight_bit: bool = False
    nul: bool = False
    escapes: bool = False
    long_lines: bool = False
    size: int = 0
    bare_ends: bool = False
    container: bool = False
    rest: bool = False
    sample: bytes = b""
    wide: str = ""
    wanted: int = 0  # octets of the sample


@dataclass(slots=True)
class BodyScan:
    """The parts by number (0 is the message itself), the octets between them, and what is wrong with delimiters.

    `nul`: some text has a NUL, or some base64 or quoted-printable.  `base64`: the whole body was said to be; it was read so,
    even if it turned out to be none.
    """

    parts: dict[int, ScannedPart]
    between: ScannedPart
    opened: bool = False
    missing: int = 0
    glued: int = 0
    bare_ends: bool = False
    nul: bool = False
    ends_with_line: bool = True
    size: int = 0
    eight_bit: bool = False
    base64: bool = False


def scan_body(
    fields: tuple[Field, ...], top: ContentType, body: Iterable[bytes], *, sealed: bool = False, plain: bool = False
) -> BodyScan:
    """Reads the body once, a message that is said to be base64 and is none twice.

    `top` is the content type to assume, which may differ from the field's; `plain`: whatever is said, there is no encoding.
    """
    encoding = "" if plain else transfer_encoding(fields)
    first = ScannedPart(0, fields, top, encoding)
    between = ScannedPart(BETWEEN, (), ContentType(), "")
    seen = BodyScan({0: first}, between, base64=encoding == "base64")
    first.container = bool(top.boundary) or (top.kind == "message/rfc822" and encoding not in ("base64", "quoted-printable"))
    for event in walk(top, _counted(body, seen), base64=seen.base64, sealed=sealed):
        if isinstance(event, PartHead):
            _enter(seen, event)
        elif isinstance(event, Delimiter):
            seen.opened = True
            seen.missing += event.missing and not event.sealed
            seen.glued += event.glued
        else:
            part = between if event.number == BETWEEN else seen.parts[event.number]
            _look(part, event.block, seen)
    for part in seen.parts.values():
        if (part.encoding == "base64" and not looks_base64(part.sample, text=_is_lines(part.kind))) or (
            part.encoding == "quoted-printable" and not looks_quoted(part.sample)
        ):
            part.encoding = ""
            part.wide = part.wide or (wide_codec(part.sample, part.kind.charset) if part.kind.text else "")
    if encoding == "base64" and not first.encoding and top.kind == "message/rfc822":
        return scan_body(fields, top, body, sealed=sealed, plain=True)
    seen.eight_bit = between.eight_bit or any(part.eight_bit for part in seen.parts.values())
    return seen


def _counted(body: Iterable[bytes], seen: BodyScan) -> Iterable[bytes]:
    """Yields the body, and sets `seen.bare_ends` before the part with the bare line end is scanned."""
    ends = BareEnds()
    last = b""
    for block in body:
        if block:
            seen.size += len(block)
            if not seen.bare_ends:
                ends.feed(block)
                seen.bare_ends = bool(ends)
            last = block[-1:]
            yield block
    ends.close()
    seen.ends_with_line = last in (b"\n", b"\r", b"")
    seen.bare_ends = bool(ends)


def _enter(seen: BodyScan, event: PartHead) -> None:
    part = ScannedPart(
        event.number, event.fields, event.kind, transfer_encoding(event.fields), event.sealed, separator=event.separator
    )
    part.mended = event.mended or event.unseparated
    encoded = part.encoding in ("base64", "quoted-printable")
    part.rest = event.rest
    part.container = bool(event.kind.boundary) or (event.kind.kind == "message/rfc822" and not encoded)
    seen.parts[event.number] = part


def _look(part: ScannedPart, block: bytes, seen: BodyScan) -> None:
    if not part.size:
        _begin(part, block)
    clean = crlf(block) if seen.bare_ends and not part.wide else block
    if clean is not block or (part.wide and seen.bare_ends):
        part.bare_ends = True
    if not part.wide and b"\0" in clean:
        part.nul = True
        seen.nul = seen.nul or part.kind.text or part.encoding in ("base64", "quoted-printable")
        clean = clean.replace(b"\0", b"")
    part.size += len(clean)
    if not part.eight_bit and not clean.isascii():
        part.eight_bit = True
    if not part.escapes and b"\x1b" in clean and _ESCAPE in clean:
        part.escapes = True
    if not part.long_lines and len(clean) > LINE_LIMIT:
        part.long_lines = _has_long_line(clean)
    if len(part.sample) < part.wanted:
        part.sample += clean[: part.wanted - len(part.sample)]


def _begin(part: ScannedPart, block: bytes) -> None:
    text, coded = part.kind.text, part.encoding == "base64"
    part.wanted = _SAMPLE if text else _GLANCE if coded else 0
    if text and (coded or is_identity(part.encoding)):
        part.wide = wide_codec(block, part.kind.charset, coded=coded)


def _has_long_line(octets: bytes) -> bool:
    """Whether a line of octets whose line ends are all CRLF is over the limit."""
    match = _SHORT_LINES.match(octets)
    return match is None or len(octets) - match.end() > LINE_LIMIT


def is_identity(encoding: str) -> bool:
    """Whether that encoding leaves the octets as they are; an unknown one does."""
    return encoding not in ("base64", "quoted-printable", "uuencode", "uue") and not encoding.startswith("x-")


def wide_codec(octets: bytes, charset: str, *, coded: bool = False) -> str:
    """UTF-16 or UTF-32 if the text is in one, by its byte order mark or its NULs; else "".

    `coded`: it is said to be base64, where other octets are damage.
    """
    if octets[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = octets[:512]
    nul = start.count(0)
    if not nul and not charset:
        return ""
    said = codec_of(charset)
    if said.startswith(("utf-16", "utf-32")) and (nul or not (coded or is_never_wide(start))):
        return said
    if not nul:
        return ""
    odd, even = start[1::2].count(0), start[::2].count(0)
    if nul < 4 or nul * 3 < len(start) or min(odd, even) * 20 > nul:
        return ""
    return "utf-16le" if odd > even else "utf-16be"


def is_never_wide(octets: bytes) -> bool:
    """Whether the text cannot be in UTF-16 or UTF-32: its line ends have no NULs, or it is text in UTF-8."""
    return b"\0" not in octets and (b"\r\n" in octets[:-2] or _is_utf8_text(octets))


def _is_utf8_text(octets: bytes) -> bool:
    """Whether they are text in UTF-8; the last character may be cut.  UTF-16 has octets of control characters or others."""
    if CONTROLS.search(octets):
        return False
    try:
        getincrementaldecoder("utf-8")().decode(octets)
    except UnicodeDecodeError:
        return False
    return True


def _is_lines(kind: ContentType) -> bool:
    """Whether it is text, in a charset without NULs."""
    return kind.text and not codec_of(kind.charset).startswith(("utf-16", "utf-32"))


def looks_base64(octets: bytes, *, text: bool = False) -> bool:
    """Whether it can be base64.  A few other octets are damage; many, or blanks inside lines, mean plain text.

    `text`: the part is declared as text, so a single word such as `Test` is that text.
    """
    if text and _WORD.fullmatch(octets) and not _is_plain(octets):
        return False
    letters = len(octets.translate(None, _NOT_BASE64))
    strange = len(octets.translate(None, _BASE64_OR_BLANK))
    if b" " in octets or b"\t" in octets:
        strange += len(_INNER_BLANK.findall(octets))
    return strange * 12 <= letters


def _is_plain(coded: bytes) -> bool:
    """Whether the base64 decodes to UTF-8 without control characters."""
    try:
        text = a2b_base64(coded).decode()
    except ValueError:
        return False
    return text.isprintable()


def looks_quoted(octets: bytes) -> bool:
    """Whether it can be quoted-printable: equals signs without a single valid code mean plain text."""
    return not _NO_CODE.search(octets) or _CODE.search(octets) is not None
