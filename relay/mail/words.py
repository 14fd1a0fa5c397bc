"""Text in header fields: encoded-words, and folding.  RFC 2047, RFC 5322 s2.2.3.  Pure."""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from quopri import decodestring

LINE_LIMIT = 998
"""Octets that a line may have before its CRLF (RFC 5322 s2.1.1)."""

_WIDTH = 76
_WORD_OCTETS = 42  # 56 characters of base64: with =?utf-8?B??= a word of 68, which leaves room for a short name
_ENCODED = re.compile(r"=\?([!-)+->@-~]{1,40})(?:\*[!->@-~]{0,20})?\?([bBqQ])\?([!->@-~]{0,2000})\?=")
_BETWEEN = re.compile(r"(\?=)[ \t\r\n]+(=\?)")
_BLANKS = re.compile(r"([ \t]+)")


def encode_word(text: str) -> str:
    """The text as encoded-words in UTF-8, each of whole characters and at most 75 long, one blank between them."""
    whole = text.encode("utf-8", "replace")
    words: list[bytes] = [whole if len(whole) <= _WORD_OCTETS else b""]
    for char in text if not words[0] else "":
        octets = char.encode("utf-8", "replace")
        if len(words[-1]) + len(octets) > _WORD_OCTETS:
            words.append(b"")
        words[-1] += octets
    return " ".join(f"=?utf-8?B?{b2a_base64(word, newline=False).decode('ascii')}?=" for word in words)


def encode_text(text: str) -> str:
    """Unstructured text in ASCII: runs of words that need it become encoded-words, all else stays as it is."""
    if text.isascii():
        return text
    if " " not in text and "\t" not in text:
        return encode_word(text)
    out: list[str] = []
    run: list[str] = []
    pending = ""
    for piece in _BLANKS.split(text):
        if not piece or piece[0] in " \t":
            pending += piece
        elif piece.isascii():
            _flush(out, run)
            out += [pending, piece]
            pending = ""
        else:
            run += [pending if run else "", piece]
            if len(run) == 2:
                out.append(pending)
            pending = ""
    _flush(out, run)
    return "".join(out) + pending


def _flush(out: list[str], run: list[str]) -> None:
    if run:
        out.append(encode_word("".join(run)))
        run.clear()


def decode_words(text: str) -> str:
    """The text with its encoded-words decoded as far as that is possible; what is not stays as it stands."""
    if "=?" not in text:
        return text
    return _ENCODED.sub(_decoded, _BETWEEN.sub(r"\1\2", text))


def _decoded(match: re.Match[str]) -> str:
    octets = word_octets(match[2], match[3])
    try:
        return octets.decode(match[1]) if octets is not None else match[0]
    except (LookupError, ValueError):
        return match[0]


def word_octets(encoding: str, coded: str) -> bytes | None:
    """What an encoded-word's text stands for (`encoding` is B or Q); None if it cannot be decoded."""
    try:
        if encoding in "bB":
            return a2b_base64(coded + "=" * (-len(coded) % 4))
        return decodestring(coded.replace("_", " ").encode("ascii"), header=True)
    except (Base64Error, ValueError):
        return None


def fold(name: str, value: str, width: int = _WIDTH) -> bytes:
    """The field `name: value` folded at blanks so that lines keep to `width` where the words allow it."""
    if len(name) + len(value) < width - 1 and value[:1] not in (" ", "\t", "") and value[-1:] not in (" ", "\t"):
        return f"{name}: {value}\r\n".encode("ascii", "replace")
    lines: list[str] = []
    line = f"{name}:"
    for piece in re.findall(r"[ \t]*[^ \t]+", " " + value.strip()):
        if len(line) + len(piece) > width and line.strip() and line != f"{name}:":
            lines.append(line)
            line = piece
        else:
            line += piece
    lines.append(line)
    return "\r\n".join(lines).encode("ascii", "replace") + b"\r\n"
