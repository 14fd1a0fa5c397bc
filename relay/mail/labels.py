"""Whether a text part says truly which charset it is in, and what it should say.  RFC 2046 s4.1.2.  Pure."""

import codecs
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Sequence
from quopri import decodestring

from relay.mail.charset import ESCAPED, fits, vote
from relay.mail.survey import Part

_NOTHING = frozenset(
    {"", "us-ascii", "ascii", "ansi_x3.4-1968", "646", "7bit", "8bit", "default", "unknown", "unknown-8bit", "none"}
)
_JAPANESE = frozenset({"cp932", "euc_jp", "shift_jis"})
_LABELS = {"cp932": "Shift_JIS", "euc_jp": "EUC-JP", "cp1252": "windows-1252", "iso8859-1": "iso-8859-1"}
_MULTIBYTE = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}|[\xc2-\xdf][\x80-\xbf]")
_WIDE = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}")
_ALONE = re.compile(rb"[\x00-\x3f]")
_C1 = re.compile(rb"[\x80-\x9f]")


def label_for(part: Part, voted: str, raw: Sequence[bytes] = (), fallback: Sequence[str] = ()) -> str:
    """The charset that a text part should be said to be in; "" if its label may stay.

    `voted` is what raw header text and all undeclared text are in together.  A false label goes only where this text
    alone, or with the `raw` header text, is surely in one of `fallback`: other parts may be mended, and then vote no more.
    """
    octets = sample_of(part)
    said = part.kind.charset
    if octets.isascii():
        if ESCAPED.search(octets) and (said in _NOTHING or not is_name(said)) and fits(octets, "iso2022_jp_ext"):
            return "ISO-2022-JP"
        return "us-ascii" if part.kind.said and "charset" in part.kind.params and not is_name(said) else ""
    guess = "utf-8" if fits(octets, "utf-8") else voted
    if said not in _NOTHING and _is_known(said):
        if not _is_false(octets, said):
            return ""
        if guess != "utf-8":
            guesses = (vote([octets, *more], fallback) for more in ((), raw))
            guess = next((name for name in guesses if name in _JAPANESE and fits(octets, name)), "")
        if not guess:
            return ""
    if guess == "cp932" and fits(octets, "cp932") and not fits(octets, "shift_jis"):
        return "MS_Kanji"  # the one registered name for CP932 that old and new readers know
    label = _LABELS.get(guess, guess) if fits(octets, guess) else "iso-8859-1"
    return "MS_Kanji" if label == "iso-8859-1" and _is_false(octets, label) else label


def is_name(charset: str) -> bool:
    """Whether it could be a charset's name at all, known or not (RFC 2978 s2.3)."""
    return re.fullmatch(r"[A-Za-z0-9!#$%&'+^_`{}~.:-]+", charset) is not None


def sample_of(part: Part) -> bytes:
    """How the text begins, decoded from its transfer encoding, cut after the last whole line or at least character."""
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
    """The octets without a character that was cut in two at their end.

    After a line end no character goes on, nor, in any charset, after an octet below 0x40; but neither may stand so far
    in front that the text itself would not be looked at.
    """
    for place in (octets.rfind(b"\n"), _last_alone(octets)):
        if place > len(octets) // 2:
            return octets[: place + 1]
    ends = (octets[: len(octets) - cut] for cut in range(4))
    return next((end for end in ends if fits(end, "utf-8")), octets)


def _last_alone(octets: bytes) -> int:
    match = _ALONE.search(octets[::-1])
    return len(octets) - match.end() if match else -1


def _is_known(name: str) -> bool:
    if not is_name(name):
        return False  # Python's codecs forgive what other readers do not
    try:
        b" ".decode(name)
    except (LookupError, ValueError):
        return False
    return True


def _is_false(octets: bytes, said: str) -> bool:
    """Whether a label is surely wrong: UTF-8 or Shift_JIS sold as Latin-1 or the like, or octets that it cannot have."""
    name = codecs.lookup(said).name
    if name in ("iso8859-1", "cp1252", "iso8859-15"):
        if (len(_WIDE.findall(octets)) > 1 or len(_MULTIBYTE.findall(octets)) > 2) and fits(octets, "utf-8"):
            return True
        return name != "cp1252" and len(_C1.findall(octets)) > 2 and fits(octets, "cp932")
    if name == "shift_jis":
        name = "cp932"
    if name not in ("utf-8", "iso2022_jp", "euc_jp", "cp932") or fits(octets, name):
        return False
    return fits(octets, "utf-8") or _is_mostly_wrong(octets, name)


def _is_mostly_wrong(octets: bytes, name: str) -> bool:
    """Whether it is no text of this charset at all, rather than one with an octet or two damaged on the way."""
    text = octets.decode(name, "replace")
    wrong = text.count("\ufffd")
    foreign = sum(not char.isascii() for char in text) - wrong
    return 2 * wrong > foreign


def is_doubtful(part: Part) -> bool:
    """Whether the part's text has a say in the vote: its label is missing, unknown or surely wrong."""
    said = part.kind.charset
    return said in _NOTHING or not _is_known(said) or _is_false(sample_of(part), said)
