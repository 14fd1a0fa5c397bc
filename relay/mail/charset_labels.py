"""Whether a text part's charset label is true, and what it should be.  RFC 2046 s4.1.2.  Pure."""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Sequence
from quopri import decodestring

from relay.mail.body_scan import CONTROLS, ScannedPart, is_never_wide
from relay.mail.charset import ESCAPED, damaged_utf8, effort, fits, is_latin_utf8, is_likely, is_utf8, vote
from relay.mail.charset_names import codec_of, is_name, is_registered, readings, written

NOTHING = frozenset(
    {"", "us-ascii", "ascii", "ansi_x3.4-1968", "646", "7bit", "8bit", "default", "unknown", "unknown-8bit", "none"}
)
"""Labels that say nothing about octets over 127."""

_DEFAULTS = ("iso8859-1", "cp1252", "iso8859-15")  # what pages name without a thought, and any octets fit

_MULTIBYTE = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}|[\xc2-\xdf][\x80-\xbf]")
_WIDE = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}")
_CUT_ESCAPE = re.compile(rb"\x1b[$(]?(?:\r\n)?\Z")
_ALONE = re.compile(rb"[\x00-\x3f]")
_C1 = re.compile(rb"[\x80-\x9f]")
_DECLARATION = re.compile(rb"[ \t\r\n]*<\?xml[ \t\r\n][^>]{0,200}encoding[ \t\r\n]{0,9}=[ \t\r\n]{0,9}[\"']([\w.:-]{1,40})")
_SHEET = re.compile(rb"@charset \"([\w.:-]{1,40})\";")
_META = re.compile(rb"<meta[^>]{0,300}[ \t\r\n\"';]charset[ \t\r\n]{0,9}=[ \t\r\n]{0,9}[\"']?[ \t]{0,9}([\w.:-]{1,40})", re.I)
_BINARY = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"RIFF", b"II*", b"MM*", b"\x7fELF")


def label_for(part: ScannedPart, voted: str, raw: Sequence[bytes] = (), fallback: Sequence[str] = ()) -> str:
    """The charset label that a text part should have; "" if its label may stay.

    `voted` is the charset of raw header text and all unlabelled text together.  A label is false only if the octets
    prove it.  It is replaced only if this text, alone or with the `raw` header text, is likely in another charset.
    """
    said = part.kind.charset
    if part.wide:
        return "" if codec_of(said).startswith(part.wide[:6]) else part.wide
    octets = sample_of(part)
    if said in NOTHING or not is_registered(said):
        return _missing(part, octets, voted)
    if not _is_false(octets, said):
        return ""
    if is_utf8(octets):
        return "utf-8" if not octets.isascii() else "ISO-2022-JP" if _is_escaped(octets) else "us-ascii"
    inner = inner_charset(octets)
    if codec_of(inner) not in ("", codec_of(said), *_DEFAULTS) and fits(octets, inner):
        return inner
    for pieces in ([octets], [octets, *raw]):
        guess = vote(pieces, (*fallback, "cp1252"))
        if codec_of(guess) != codec_of(said) and fits(octets, guess) and is_likely(octets, guess):
            return _label(octets, guess)
    return ""


def _missing(part: ScannedPart, octets: bytes, voted: str) -> str:
    """The label for text that has none, or one that says nothing."""
    said = part.kind.charset
    if octets.isascii():
        if _is_escaped(octets) and (said in NOTHING or not is_name(said)):
            return "ISO-2022-JP"
        return "us-ascii" if part.kind.said and "charset" in part.kind.params and not is_name(said) else ""
    if (inner := inner_charset(octets)) and fits(octets, inner):
        return inner
    guess = voted if fits(octets, voted) else "cp1252"
    if is_utf8(octets) or damaged_utf8(octets) or is_latin_utf8(octets, guess):
        return "utf-8"
    return _label(octets, guess)


def _is_escaped(octets: bytes) -> bool:
    return ESCAPED.search(octets) is not None and fits(_CUT_ESCAPE.sub(b"", octets), "iso2022_jp_ext")


def _label(octets: bytes, codec: str) -> str:
    """The charset name to write for text in that codec."""
    if codec == "cp932" and not octets_fit(octets, "shift_jis"):
        return "MS_Kanji"  # the one registered name for CP932 that old and new readers know
    if codec in ("cp1252", "iso8859-1"):
        return "windows-1252" if _C1.search(octets) else "iso-8859-1"
    return written(codec)


def inner_charset(octets: bytes) -> str:
    """The charset that the text itself names, by byte order mark, XML declaration or HTML; "" if none."""
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = octets.removeprefix(b"\xef\xbb\xbf")[:1024]
    if b"<" not in start and b"@" not in start[:1]:
        return ""
    match = _DECLARATION.match(start) or _SHEET.match(start) or _META.search(start)
    name = match[1].decode("ascii", "replace") if match else ""
    return name if codec_of(name) and not codec_of(name).startswith(("utf-16", "utf-32")) else ""


def octets_fit(octets: bytes, codec: str) -> bool:
    """Whether they fit this codec strictly, without the supersets that readers accept."""
    try:
        octets.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def holds_text(part: ScannedPart) -> bool:
    """Whether the part is text: it says so, or says nothing (RFC 2045 s5.2) and its octets look like it.

    A whole message without a type is text, whatever control characters are in it, unless it begins as a file does.
    """
    if part.kind.kind:
        return part.kind.text
    octets = (sample_of(part) if part.encoding in ("base64", "quoted-printable") else part.sample)[:4096]
    if part.wide or octets.startswith(_BINARY) or not part.number:
        return not octets.startswith(_BINARY)
    if octets.isascii() and b"\0" not in octets and not part.nul:
        return True  # a form feed, a bell, the STX and ETX of a serial line: what is no text has other octets, too
    octets = octets.replace(b"\0", b"")
    return len(CONTROLS.findall(octets)) * 20 <= len(octets)


def sample_of(part: ScannedPart) -> bytes:
    """The beginning of the text, without its transfer encoding, cut after a whole line or at least a whole character."""
    octets = part.sample
    whole = part.size <= len(octets)
    if part.encoding == "base64":
        characters = re.sub(rb"[^A-Za-z0-9+/]", b"", octets)
        over = len(characters) % 4
        characters = characters + b"=" * (4 - over) if whole and over > 1 else characters[: len(characters) - over]
        try:
            octets = a2b_base64(characters)
        except Base64Error:
            return b""
    elif part.encoding == "quoted-printable":
        octets = decodestring(octets)
    return octets if whole else _whole_characters(octets)


def _whole_characters(octets: bytes) -> bytes:
    """The octets without a last character that was cut in two.

    They can be cut after a line end, or after an octet below 0x40, which ends a character in any charset.  But the cut
    must be in the second half, else too little text would be judged.
    """
    for place in (octets.rfind(b"\n"), _last_alone(octets)):
        if place > len(octets) // 2:
            return octets[: place + 1]
    ends = (octets[: len(octets) - cut] for cut in range(4))
    return next((end for end in ends if is_utf8(end)), octets)


def _last_alone(octets: bytes) -> int:
    match = _ALONE.search(octets[::-1])
    return len(octets) - match.end() if match else -1


def _is_false(octets: bytes, said: str) -> bool:
    """Whether the octets prove a registered label wrong: they are surely UTF-8, or cannot be text in that charset."""
    codec = codec_of(said)
    if octets.startswith(b"\xef\xbb\xbf") and is_utf8(octets):
        return codec != "utf-8"
    if codec == "utf-8":
        return not is_utf8(octets) and not damaged_utf8(octets, said=True)
    if codec.startswith(("utf-16", "utf-32")):
        return bool(octets) and is_never_wide(octets)
    if octets.isascii():
        return False
    if codec.startswith(("utf-7", "hz", "iso2022_kr")):
        return is_utf8(octets)
    if not codec or not fits(octets, said):
        return _is_surely_utf8(octets, said) or (bool(codec) and _is_mostly_wrong(octets, readings(said)[0]))
    if _is_surely_utf8(octets, said):
        return True
    if codec not in ("iso8859-1", "iso8859-15") or len(_C1.findall(octets)) < 3 or not fits(octets, "cp932"):
        return False
    # Shift_JIS, or Windows' own signs, as which every reader shows them
    return vote([octets], ("cp932", "latin-1")) == "cp932"


def _is_surely_utf8(octets: bytes, said: str) -> bool:
    """Whether it is UTF-8, too much of it for chance, and less likely text in the charset of its label."""
    if not is_utf8(octets) or (len(_WIDE.findall(octets)) < 2 and len(_MULTIBYTE.findall(octets)) < 3):
        return False
    return not readings(said) or effort(octets, "utf-8")[0] < effort(octets, said)[0]


def _is_mostly_wrong(octets: bytes, codec: str) -> bool:
    """Whether it is no text in this charset, rather than text with one or two damaged octets."""
    text = octets.decode(codec, "replace")
    wrong = text.count("\ufffd")
    foreign = sum(not char.isascii() for char in text) - wrong
    return 2 * wrong > foreign


def is_doubtful(part: ScannedPart) -> bool:
    """Whether the part's text votes: its label is missing, unknown or surely wrong."""
    said = part.kind.charset
    if part.wide:
        return False
    octets = sample_of(part)
    if said in NOTHING or not is_registered(said):
        return not inner_charset(octets)
    return _is_false(octets, said)
