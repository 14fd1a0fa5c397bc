"""Which charset raw 8-bit text is in, and the text it stands for.  Pure."""

import codecs
import re
from collections.abc import Iterable, Sequence
from itertools import islice

from relay.mail.charsetnames import codec_of, read

ESCAPED = re.compile(rb"\x1b\$[@B]|\x1b\(J")
_SAMPLE = 1024  # octets that are judged; more would only cost
BALLOTS = 100
"""Pieces of text that have a vote."""
_JUDGED = frozenset({"cp932", "shift_jis", "euc_jp", "iso8859-1", "iso8859-15", "cp1252"})
_EUC_KANA = re.compile(rb"[\x00-\x7f]*(?:\x8e[\xa1-\xdf][\x00-\x7f]*){2,}")
_C1 = re.compile(rb"[\x80-\x9f]")
_SEGMENT = re.compile(rb"\x1b(\$[@B]|\([BJI])([^\x1b]*)")
_WOUND = re.compile("\ufffd+")
_TORN = re.compile(rb"([\xc2-\xf4][\x80-\xbf]{0,2})[ \t]+(?=[\x80-\xbf])")
"""A character of UTF-8 inside which a line was folded."""
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def decode(octets: bytes, charset: str) -> str:
    """One line of text, without control characters.  Escape sequences and strict UTF-8 speak for themselves."""
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
    if damaged_utf8(octets):
        return _TORN.sub(rb"\1", octets).decode("utf-8", "replace")
    text = read(octets, charset)
    return octets.decode("cp1252" if fits(octets, "cp1252") else "latin-1") if text is None else text


def damaged_utf8(octets: bytes, *, said: bool = False) -> bool:
    """Whether it is UTF-8 in which a few characters are cut or spoilt: no other text is so by chance (1 short subject in
    a thousand, of those in other charsets).  `said`: it is called UTF-8, which needs less proof.
    """
    text = octets.decode("utf-8", "replace")
    wounds = len(_WOUND.findall(text))
    good = sum([1 + (char > "\u07ff") for char in text if char > "\x7f" and char != "\ufffd"])
    return 0 < wounds * (2 if said else 4) <= good


def _from_jis(match: re.Match[bytes]) -> bytes:
    """One segment of ISO-2022-JP in UTF-8: with the circled numbers and other signs that firmware adds to JIS X 0208."""
    if match[1] == b"(I":
        return bytes(octet | 0x80 for octet in match[2]).decode("cp932", "replace").encode()
    if match[1].startswith(b"("):
        return match[2]
    return bytes(octet | 0x80 for octet in match[2]).decode("euc_jis_2004", "replace").encode()


def vote(pieces: Iterable[bytes], fallback: Sequence[str]) -> str:
    """The one charset that best explains all pieces of raw text, header fields and body text together.

    Strict UTF-8 first: no other text looks like it by chance.  Then `fallback`, the charsets of the people at the
    devices: who cannot decode is out; the rest are judged by how likely their text is.
    """
    ballots = list(islice((piece for piece in pieces if not speaks_for_itself(piece)), BALLOTS))
    if not ballots:
        return "utf-8"
    names = list(dict.fromkeys(map(codec_of, fallback)))
    names = [name for name in names if name not in ("", "utf-8", "ascii", "iso2022_jp")]
    votes = {name: sum(fits(piece, name) for piece in ballots) for name in names}
    able = [name for name in names if votes[name] == max(votes.values())]
    sample = b"\n".join(ballots)[:_SAMPLE]
    if len(able) < 2:
        best = able[0] if able else "cp1252"
    elif "euc_jp" in able and _EUC_KANA.fullmatch(sample):
        best = "euc_jp"
    elif all(name in _JUDGED for name in able):
        best = min(able, key=lambda name: _cost(sample.decode(_read_as(name), "replace")))
    else:
        best = _normalizer(sample, able)
    return _read_as(best) if _C1.search(sample) else best


def speaks_for_itself(piece: bytes) -> bool:
    """Whether it is ASCII or UTF-8, be it damaged, and needs no vote."""
    return piece.isascii() or fits(piece, "utf-8") or damaged_utf8(piece)


def _read_as(name: str) -> str:
    """Who says Latin-1 and uses the octets 0x80 to 0x9f means Windows-1252."""
    return "cp1252" if name == "iso8859-1" else name


def _normalizer(sample: bytes, able: list[str]) -> str:
    """charset-normalizer's word where there are charsets whose text we cannot judge (GBK, KOI8-R ...)."""
    from charset_normalizer import from_bytes  # 2.5 MB that a relay for two printers never needs

    best = from_bytes(sample, cp_isolation=able, enable_fallback=False).best()
    return codecs.lookup(best.encoding).name if best else able[0]


def _cost(text: str) -> int:
    """How unlikely a text is, in tenths of steps that were tuned on subjects of 2 to 20 characters in four languages."""
    kinds = " " + text.translate(_KINDS)
    return sum([cost * kinds.count(kind) for kind, cost in _COSTS])


class _Kinds(dict[int, str]):
    """One letter for what a character is, found once for each."""

    def __missing__(self, code: int) -> str:
        kind = self[code] = _kind(chr(code))
        return kind


_KINDS = _Kinds()


def _kind(char: str) -> str:
    """`a` an ASCII letter, a blank for other ASCII, `k` kana, `c` a common ideograph, `r` a rare one, `h` half-width
    kana, `p` Japanese punctuation, `l` a letter of western Europe, `s` its signs, `o` all else.
    """
    if char.isascii():
        return "a" if char.isalpha() else " "
    if "\u3040" <= char <= "\u30ff":
        return "k"
    if "\u4e00" <= char <= "\u9fff":
        return "c" if _is_common(char) else "r"
    if "\uff61" <= char <= "\uff9f":
        return "h"
    if "\u3000" <= char <= "\u303f" or "\uff00" <= char <= "\uff60":
        return "p"
    if char.isalpha() and char <= "\u017f":
        return "l"
    return "s" if char in "\u2018\u2019\u201c\u201d\u2013\u2014\u2026\u20ac\xb0" else "o"


_COSTS = (
    *(("k", 4), ("c", 10), ("r", 40), ("h", 9), ("p", 6), ("l", 40), ("s", 25), ("o", 60)),
    # what a character costs more, or less, behind one of another kind
    *(("ca", 15), ("ra", 15), ("ac", 25), ("ar", 25), ("ah", 43), ("al", -24), (" l", -24)),
    *((before + "h", 13) for before in " kcrplso"),
)


def _is_common(char: str) -> bool:
    """JIS X 0208 level 1: the characters of everyday Japanese."""
    try:
        return 0xB0 <= char.encode("euc_jp")[0] <= 0xCF
    except UnicodeEncodeError:
        return False


def fits(octets: bytes, name: str) -> bool:
    """Whether this can be text under that name, as readers understand it."""
    return read(octets, name) is not None


def is_likely(octets: bytes, name: str) -> bool:
    return True
