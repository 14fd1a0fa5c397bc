"""Mailboxes in header fields: read tolerantly, written exactly.  RFC 5322 s3.4, RFC 2047 s5.

Works on octets, in time linear in the field's length, whatever a device wrote there.  Pure.
"""

import base64
import binascii
import contextlib
import re
from dataclasses import dataclass
from email.header import decode_header, make_header

from relay.mail.address import Address, BadAddress, parse_path

_SPECIAL = re.compile(rb'[\\"()<>,;:]')
_PHRASE = re.compile(rb'(?:[ \t]+|[A-Za-z0-9!#$%&\'*+/=?^_`{|}~.\x80-\xff-]+|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[ -~])*")*+\Z')
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # possessive, and matching unclosed ones too: linear in any text
_JUNK = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")
_BLANKS = re.compile(rb"[\x00-\x20\x7f]+")
_ENCODED_WORD = re.compile(rb"=\?[^?\s]*\?([bBqQ])\?([^?]*)\?=")
_PLAIN = re.compile(rb'[^\\"()<>]*\Z')
_LINE = 76
_MANY = 100
"""Mailboxes of an originator field that are looked at; a device that writes more means none of them."""

_LONGEST_PHRASE = 500  # octets; a display name is for a list of messages on a screen
_WORD_OCTETS = 45
"""An encoded-word has at most 75 characters (RFC 2047 s2): 12 of frame, 60 of base64."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox of a field: its display name and itself as octets, and what address can be understood.

    `phrase` is b"" where none was given (a trailing comment counts as one); `address` is None if there is none to
    be understood; `exact` tells that nothing had to be tolerated.
    """

    phrase: bytes
    address: Address | None
    raw: bytes
    exact: bool = True


def read_mailboxes(value: bytes) -> tuple[Mailbox, ...]:
    """The first hundred mailboxes of an address list; commas and semicolons separate, empty places are skipped.

    A group's name and colon are read as part of its first member's display name.
    """
    return tuple(_read_one(part) for part in split_list(value)[:_MANY] if part.strip())


def read_originators(value: bytes) -> tuple[Mailbox, ...]:
    """As `read_mailboxes`, for a field that should hold one: commas in an unquoted display name do not separate."""
    parts, waiting = [], b""
    for part in split_list(value):
        waiting = waiting + b"," + part if waiting.strip() else part
        if b"@" in part or b"<" in part:
            parts.append(waiting)
            waiting = b""
    if waiting.strip():
        parts.append(waiting)
    return tuple(_read_one(part) for part in parts[:_MANY])


def split_list(value: bytes) -> list[bytes]:
    """Parts of a list at its top level: not inside quotation marks, comments or angle brackets.

    If one of these is never closed, the rest of the value counts as one part.
    """
    if _PLAIN.match(value):
        return value.replace(b";", b",").split(b",")
    parts, start, depth, quoted, angle, skip = [], 0, 0, False, False, -1
    for found in _SPECIAL.finditer(value):
        place, char = found.start(), found[0]
        if place == skip:
            continue
        if char == b"\\":
            skip = place + 1
        elif quoted:
            quoted = char != b'"'
        elif char == b"(":
            depth += 1
        elif depth:
            depth -= char == b")"
        elif char == b'"':
            quoted = True
        elif char in b"<>":
            angle = char == b"<"
        elif char in b",;" and not angle:
            parts.append(value[start:place])
            start = place + 1
    parts.append(value[start:])
    return parts


def has_group(value: bytes) -> bool:
    """Whether a list holds a group (`name: a, b;`): a colon outside quotation marks, comments and brackets."""
    if b":" not in value:
        return False
    bare = re.sub(rb"<[^<>]*>", b"", _QUOTED.sub(b"", value))
    return b":" in _without_comments(bare)[0]


def _read_one(raw: bytes) -> Mailbox:
    bare, comment = _without_comments(raw)
    opened = _angle(bare)
    if opened < 0:
        text, phrase = bare.strip(), comment
        address = _address(text)
        if address is None:
            return Mailbox(_phrase_of(bare), None, raw, exact=False)
        return Mailbox(phrase, address, raw, exact=_says(text, address))
    text, closed, after = bare[opened + 1 :].partition(b">")
    phrase = bare[:opened].strip() or comment
    address = _address(text)
    exact = bool(closed) and not after.strip() and address is not None and _says(text, address) and is_phrase(bare[:opened])
    return Mailbox(phrase if address else _phrase_of(bare[:opened]), address, raw, exact)


def _says(text: bytes, address: Address) -> bool:
    return text.strip() == str(address).encode("utf-8", "surrogateescape")


def _address(text: bytes) -> Address | None:
    try:
        return parse_path("<" + text.decode("utf-8", "surrogateescape").strip(" \t<>") + ">")
    except BadAddress:
        return None


def _angle(text: bytes) -> int:
    """The place of the bracket that opens the address: the last one outside quotation marks, else the last one."""
    masked = _QUOTED.sub(lambda found: b'"' * len(found[0]), text)
    place = masked.rfind(b"<")
    if place >= 0:
        return place
    place = text.rfind(b"<")
    return place if place >= 0 and b"@" in text[place:] else -1


def _without_comments(text: bytes) -> tuple[bytes, bytes]:
    """The text without its comments, and the last comment's own text; an unbalanced parenthesis is no comment."""
    if b"(" not in text:
        return text, b""
    kept, comment, depth, quoted, start, skip = [], b"", 0, False, 0, -1
    for found in _SPECIAL.finditer(text):
        place, char = found.start(), found[0]
        if place == skip:
            continue
        if char == b"\\":
            skip = place + 1
        elif not depth and char == b'"':
            quoted = not quoted
        elif not quoted and char == b"(":
            if not depth:
                kept.append(text[start:place])
                start = place
            depth += 1
        elif depth and char == b")":
            depth -= 1
            if not depth:
                comment, start = text[start + 1 : place], place + 1
    kept.append(text[start:])
    return (text, b"") if depth else (b" ".join(kept), comment.strip())


def is_phrase(text: bytes) -> bool:
    """Whether these octets may stand as a display name as they are (periods and 8-bit octets included)."""
    return _PHRASE.match(text) is not None and not (b"=?" in text and _hides_controls(text))


def _hides_controls(text: bytes) -> bool:
    """Whether an encoded-word decodes to a line end or the like, which some parsers take for one (ESC may be a shift)."""
    for how, octets in _ENCODED_WORD.findall(text):
        try:
            plain = binascii.a2b_base64(octets) if how in b"bB" else binascii.a2b_qp(octets, header=True)
        except ValueError:
            return True
        if re.search(rb"[\x00-\x1a\x1c-\x1f\x7f]", plain):
            return True
    return False


def _phrase_of(text: bytes) -> bytes:
    return re.sub(rb"[\s<>]+", b" ", text).strip()


def display(phrase: bytes) -> bytes:
    """A display name that any parser takes: as it stands if it may, else quoted, else as encoded-words (RFC 2047)."""
    flat = re.sub(rb"[ \t\r\n]+", b" ", phrase[:_LONGEST_PHRASE]).strip()
    if flat.isascii() and is_phrase(flat) and not _overlong(flat):
        return flat if b"." not in _QUOTED.sub(b"", flat) else quoted(flat.decode())
    return quoted(_plain(flat))


def quoted(text: str) -> bytes:
    """Text as a display name: a quoted string if it is ASCII, else encoded-words."""
    clean = " ".join(_JUNK.sub(" ", text).split())
    if clean.isascii() and "=?" not in clean and not _overlong(clean.encode()):
        return b'"' + re.sub(r'(["\\])', r"\\\1", clean).encode() + b'"'
    return encoded(clean)


def _plain(phrase: bytes) -> str:
    """The text of a display name that is not well formed: its quotation marks and backslashes are not part of it."""
    text = phrase.decode("utf-8", "replace") if _is_utf8(phrase) else phrase.decode("latin-1")
    return re.sub(r"\\(.)", r"\1", readable(text)).replace('"', "").strip()


def readable(text: str) -> str:
    """A header's text for people: encoded-words decoded, in one line, without control characters; never raises."""
    if "=?" in text:
        with contextlib.suppress(ValueError, LookupError):
            text = str(make_header(decode_header(text)))
    return " ".join(_JUNK.sub(" ", text).split())


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _overlong(octets: bytes) -> bool:
    return len(octets) > 60 and any(len(word) > 60 for word in octets.split())


def encoded(text: str) -> bytes:
    """Text as UTF-8 encoded-words, each whole in its characters (RFC 2047 s5), parted by blanks."""
    words, piece = [], b""
    for char in _JUNK.sub(" ", text):
        octets = char.encode("utf-8", "replace")
        if len(piece) + len(octets) > _WORD_OCTETS:
            words.append(piece)
            piece = b""
        piece += octets
    words.append(piece)
    return b" ".join(b"=?utf-8?b?" + base64.b64encode(word) + b"?=" for word in words)


def fold(name: bytes, value: bytes) -> bytes:
    """A whole field `name: value` CRLF, folded at blanks after 76 octets where it can be (RFC 5322 s2.2.3).

    Blanks in a row, and control octets among them, become one blank: no value can begin another field.  The value
    must have no word over 900 octets.
    """
    lines, line = [], name + b":"
    for word in _BLANKS.sub(b" ", value).strip().split(b" "):
        if len(line) + 1 + len(word) > _LINE and line.strip() and line != name + b":":
            lines.append(line)
            line = b""
        line += b" " + word
    return b"\r\n".join([*lines, line]) + b"\r\n"
