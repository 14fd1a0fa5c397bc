"""Which charset raw 8-bit text is in, and the text it stands for.  Pure."""

import codecs
import re
from collections.abc import Iterable, Sequence

ESCAPED = re.compile(rb"\x1b\$[@B]|\x1b\(J")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def decode(octets: bytes, charset: str) -> str:
    """One line of text, without control characters.  Escape sequences and strict UTF-8 speak for themselves."""
    return _CONTROL.sub("", _decode(octets, charset))


def _decode(octets: bytes, charset: str) -> str:
    if ESCAPED.search(octets):
        try:
            return octets.decode("iso2022_jp_ext")
        except UnicodeDecodeError:
            pass
    for name in ("utf-8", charset, "cp1252"):
        try:
            return octets.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    return octets.decode("latin-1")


def vote(pieces: Iterable[bytes], fallback: Sequence[str]) -> str:
    """The one charset that explains all pieces of raw text, header fields and body text together."""
    ballots = [piece for piece in pieces if not piece.isascii()]
    for name in ("utf-8", *fallback):
        if all(fits(piece, name) for piece in ballots):
            return codecs.lookup(name).name
    return "cp1252"


def fits(octets: bytes, name: str) -> bool:
    try:
        octets.decode(name)
    except (UnicodeDecodeError, LookupError):
        return False
    return True
