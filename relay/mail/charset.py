"""Guesses the charset of raw 8-bit text, and decodes it.  Pure."""

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice

from relay.mail.charset_likelihood import LIKELY, bits
from relay.mail.charset_names import codec_of, read, readings

ESCAPED = re.compile(rb"\x1b\$[@B]|\x1b\(J")
_SAMPLE = 96  # octets that are judged; more would cost time and change nothing
BALLOTS = 100
"""Pieces of text that vote."""
_STEP = 3  # bits by which a charset must be more likely than the one configured before it
AUTO = (
    *("cp932", "euc_jp", "cp1252", "gb18030", "big5", "cp949", "cp1251", "koi8-r", "koi8-u", "cp1250", "iso8859-2"),
    *("cp1254", "cp1253", "cp1255", "cp1256", "cp874", "cp1258", "iso8859-7", "iso8859-5", "iso8859-6", "cp866", "cp1257"),
)
"""The charsets of `auto` in `fallback_charset`."""

_CONTEXT = 24  # ASCII characters before the first other one that are judged, too
_ASCII = re.compile(rb"[\x00-\x7f]*")
_EUC_KANA = re.compile(rb"[\x00-\x7f]*(?:\x8e[\xa1-\xdf][\x00-\x7f]*){2,}")
_C1 = re.compile(rb"[\x80-\x9f]")
_SEGMENT = re.compile(rb"\x1b(\$[@B]|\([BJI])([^\x1b]*)")
_WOUND = re.compile("\ufffd+")
_TORN = re.compile(rb"([\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})[ \t]+(?=[\x80-\xbf])")
"""A UTF-8 character that a fold cut in two."""
_NO_BEGIN = bytes({*range(256)} - {*range(0xC2, 0xF5)})  # octets that do not begin a UTF-8 character of several
_CUT = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{0,2}\Z")
"""A UTF-8 character without its end, at the end."""
_LETTER = re.compile(rb"[\xc2-\xc5][\x80-\xbf]")
"""A letter of Europe's Latin alphabets in UTF-8; each of them takes two octets there."""
_LATIN = frozenset({"cp1252", "iso8859-1", "iso8859-15", "cp1250", "iso8859-2", "cp1254", "iso8859-9", "cp1257"})
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def decode(octets: bytes, charset: str) -> str:
    """One line of text, without control characters.  Escape sequences and valid UTF-8 count more than `charset`."""
    text = _decode(octets, charset)
    return text if text.isprintable() else _CONTROL.sub("", text)


def _decode(octets: bytes, charset: str) -> str:
    if b"\x1b" in octets and ESCAPED.search(octets):
        try:
            return octets.decode("iso2022_jp_ext")
        except UnicodeDecodeError:
            octets = _SEGMENT.sub(_from_jis, octets)
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if damaged_utf8(octets) or (charset == "utf-8" and is_cut_utf8(octets)) or is_latin_utf8(octets, charset):
        return _TORN.sub(rb"\1", octets).decode("utf-8", "replace")
    text = read(octets, charset)
    return octets.decode("cp1252" if fits(octets, "cp1252") else "latin-1") if text is None else text


def damaged_utf8(octets: bytes, *, said: bool = False) -> bool:
    """Whether it is UTF-8, though not right: with a few characters cut or damaged.  Of short subjects in other charsets,
    one in a thousand looks like that by chance.  `said`: it is labelled UTF-8, so less proof is needed.
    """
    most = 2 if said else 4
    if len(octets) <= 1024 and 3 * len(octets.translate(None, _NO_BEGIN)) < most:
        return False  # too few characters, even if only one is damaged
    start = len(_ASCII.match(octets)[0])  # type: ignore[index]
    if not _mostly_utf8(octets[start : start + 96], 1):
        return False  # the first words are enough to exclude most text in other charsets
    return _mostly_utf8(octets[start : start + 1024], most)


def is_cut_utf8(octets: bytes) -> bool:
    """Whether it is UTF-8 that ends inside a character: proof enough where the message says UTF-8 of its text."""
    rest = _CUT.sub(b"", octets)
    return not rest.isascii() and is_utf8(rest)


def is_latin_utf8(octets: bytes, guess: str) -> bool:
    """Whether text that was guessed to be in a charset of Latin letters is damaged UTF-8: it has more letters than wounds.

    A letter read in such a charset is a capital and a sign, which hardly ever stand together.
    """
    letters = len(_LETTER.findall(octets)) if codec_of(guess) in _LATIN else 0
    return letters > 1 and letters > _TORN.sub(rb"\1", octets).decode("utf-8", "replace").count("\ufffd")


def _mostly_utf8(octets: bytes, most: int) -> bool:
    octets, torn = _TORN.subn(rb"\1", octets) if b" " in octets or b"\t" in octets else (octets, 0)
    text = octets.decode("utf-8", "replace")
    wounds = text.count("\ufffd") - octets.count(b"\xef\xbf\xbd")
    good = len(text.encode()) - len(text) - 2 * wounds  # 1 for a character of two octets, 2 for one of three
    return good > 0 and most * (torn + len(_WOUND.findall(text))) <= good


def _from_jis(match: re.Match[bytes]) -> bytes:
    """One segment of ISO-2022-JP as UTF-8, with the circled numbers and other signs that firmware adds to JIS X 0208."""
    if match[1] == b"(I":
        return bytes(octet | 0x80 for octet in match[2]).decode("cp932", "replace").encode()
    if match[1].startswith(b"("):
        return match[2]
    return bytes(octet | 0x80 for octet in match[2]).decode("euc_jis_2004", "replace").encode()


def vote(pieces: Iterable[bytes], fallback: Sequence[str]) -> str:
    """The one charset that fits all pieces of raw text best, header fields and body text together.

    Valid UTF-8 comes first, since no other text looks like it by chance.  Then `fallback`: charsets that cannot decode
    the text are out, the most likely of the others wins, and of equals the one that was configured first.
    """
    return elect(ballots(pieces), fallback)


def ballots(pieces: Iterable[bytes], *, said: bool = False) -> list[bytes]:
    """The pieces that vote: all but ASCII and UTF-8, also damaged UTF-8.  `said`: the message names UTF-8 for its text."""

    def is_foreign(octets: bytes) -> bool:
        return not is_utf8(octets) and not damaged_utf8(octets) and not (said and is_cut_utf8(octets))

    return list(islice((one for one in pieces if not one.isascii() and is_foreign(one)), BALLOTS))


def elect(ballots: Sequence[bytes], fallback: Sequence[str]) -> str:
    """As `vote`, for pieces from `ballots`."""
    if not ballots:
        return "utf-8"
    names = _candidates(tuple(fallback))
    # Latin-1 fits whatever it is
    votes = {name: len(ballots) if name == "iso8859-1" else sum([fits(piece, name) for piece in ballots]) for name in names}
    most = max(votes.values())
    sample = _sample(ballots)
    able = [name for name in votes if votes[name] == most]
    if "euc_jp" in able and _EUC_KANA.fullmatch(sample):
        return "euc_jp"
    best, least = able[0], math.inf
    for name in able if len(able) > 1 else ():
        codec = "cp1252" if name == "iso8859-1" else readings(name)[0]
        cost = bits(sample.decode(codec, "replace").rstrip("\ufffd"), codec, least - names[name])[0] + names[name]
        if cost < least:
            best, least = name, cost
    return "cp1252" if best == "iso8859-1" and _C1.search(sample) else best


def _sample(ballots: Iterable[bytes]) -> bytes:
    """The lines that are not ASCII, with little of the ASCII before; only the last character may be cut."""
    taken: list[bytes] = []
    left = _SAMPLE
    for ballot in ballots:
        for line in ballot[: 64 * _SAMPLE].split(b"\n"):
            if not line.isascii():
                start = max(len(_ASCII.match(line)[0]) - _CONTEXT, 0)  # type: ignore[index]
                taken.append(line[start : start + left])
                left -= len(taken[-1])
                if left <= 0:
                    return b"\n".join(taken)
    return b"\n".join(taken)


@lru_cache(16)
def _candidates(fallback: tuple[str, ...]) -> dict[str, float]:
    """The codecs to try, each with the bits by which it must be more likely; western Europe's comes last."""
    names: dict[str, float] = {}
    for place, charset in enumerate(fallback):
        for rank, name in enumerate(AUTO if charset == "auto" else (charset,)):
            codec = codec_of(name)
            if codec and codec not in ("utf-8", "ascii", "iso2022_jp"):
                names.setdefault(codec, _STEP * place + rank / 4)
    if "iso8859-1" not in names:
        names.setdefault("cp1252", _STEP * len(fallback))
    return names


def is_utf8(octets: bytes) -> bool:
    """Whether the octets are right UTF-8, which ASCII is, too."""
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def fits(octets: bytes, name: str) -> bool:
    """Whether the octets can be decoded under that charset's name, as mail readers do."""
    return read(octets, name) is not None


def effort(octets: bytes, name: str) -> tuple[float, int]:
    """The bits that the beginning of the text takes in that charset (fewer is more likely), and its number of letters."""
    codec = readings(name)[0]
    return bits(_sample([octets]).decode(codec, "replace").rstrip("\ufffd"), codec)


def is_likely(octets: bytes, name: str) -> bool:
    """Whether it is likely text in that charset, not only possible."""
    cost, letters = effort(octets, name)
    return letters > 0 and cost <= LIKELY * letters
