"""What a MIME part holds: its octets decoded as a stream, and its file name.  RFC 2045 s6, RFC 2183, RFC 2231.  Pure."""

import re
from binascii import Error as BinasciiError
from binascii import a2b_base64, a2b_qp, a2b_uu
from collections.abc import Iterable, Mapping
from typing import Protocol
from urllib.parse import unquote_to_bytes

from relay.mail.encoded_words import decode_words
from relay.mail.message import Field, first
from relay.mail.mime import read_content_type

_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_IGNORED = bytes(octet for octet in range(256) if octet not in _ALPHABET)
_UU_BEGIN = re.compile(rb"begin [0-7]{3,4} ")
_LONGEST_NAME = 200
_LONGEST_LINE = 65_536  # octets without a line end that are held; content has at most 998
_MOST_PIECES = 100  # of a file name by RFC 2231


class Decoder(Protocol):
    """Takes a part's octets in blocks, gives them without the transfer encoding."""

    def feed(self, block: bytes) -> bytes: ...
    def close(self) -> bytes: ...


def decoder_for(encoding: str) -> Decoder:
    """The decoder of a transfer encoding; of an unknown one the octets stay as they are (RFC 2045 s6.4)."""
    kinds: Mapping[str, type[Decoder]] = {
        "base64": _Base64,
        "quoted-printable": _QuotedPrintable,
        **dict.fromkeys(("x-uuencode", "uuencode", "x-uue", "uue"), _Uuencode),
    }
    return kinds.get(encoding, _Identity)()


class _Identity:
    def feed(self, block: bytes) -> bytes:
        return block

    def close(self) -> bytes:
        return b""


class _Base64:
    """What is not in the alphabet is ignored (RFC 2045 s6.8).  Padding ends a piece; some devices send several."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        octets = self._held + block.translate(None, _IGNORED)
        out = b""
        if b"=" in octets:
            *ended, octets = octets.split(b"=")
            out = b"".join(map(_piece, ended))
        end = len(octets) - len(octets) % 4
        self._held = octets[end:]
        return out + a2b_base64(octets[:end])

    def close(self) -> bytes:
        held, self._held = self._held, b""
        return _piece(held)


def _piece(octets: bytes) -> bytes:
    """A piece without its padding; a lone character at its end holds no whole octet."""
    over = len(octets) % 4
    return a2b_base64(octets[:-1] if over == 1 else octets + b"=" * (-over % 4))


class _QuotedPrintable:
    def __init__(self) -> None:
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        octets = self._held + block
        end = octets.rfind(b"\n") + 1
        if not end and len(octets) > _LONGEST_LINE:
            end = len(octets) - 2  # a code is not cut
        self._held = octets[end:]
        return a2b_qp(octets[:end])

    def close(self) -> bytes:
        held, self._held = self._held, b""
        return a2b_qp(held)


class _Uuencode:
    """What stands between `begin` and `end`; some old devices still use it."""

    def __init__(self) -> None:
        self._held, self._within = b"", False

    def feed(self, block: bytes) -> bytes:
        *lines, self._held = (self._held + block).split(b"\n")
        if len(self._held) > _LONGEST_LINE:
            lines, self._held = [*lines, self._held], b""
        return b"".join(map(self._line, lines))

    def close(self) -> bytes:
        held, self._held = self._held, b""
        return self._line(held)

    def _line(self, line: bytes) -> bytes:
        line = line.rstrip(b"\r")
        if not self._within:
            self._within = bool(_UU_BEGIN.match(line))
            return b""
        if line == b"end" or not line:
            self._within = bool(line != b"end")
            return b""
        size = (line[0] - 32) & 63
        try:
            return a2b_uu(line[: 1 + (size + 2) // 3 * 4])  # some add a character at the end of each line
        except BinasciiError:
            return b""


def file_name(fields: Iterable[Field]) -> str:
    """The name that the sender gave the part, as text without folders and control characters; "" if none."""
    fields = tuple(fields)
    for field, param in (("content-disposition", "filename"), ("content-type", "name")):
        said = first(fields, field)
        if said and (name := _as_name(_param(read_content_type(said.value).params, param))):
            return name
    return ""


def _as_name(text: str) -> str:
    bare = text.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in bare if char.isprintable()).strip()[:_LONGEST_NAME]


def _param(params: Mapping[str, str], name: str) -> str:
    """A parameter, in one piece or several, with a charset or without (RFC 2231)."""
    if (whole := params.get(f"{name}*")) is not None:
        return _extended([(whole, True)])
    pieces: list[tuple[str, bool]] = []
    while len(pieces) < _MOST_PIECES:
        key = f"{name}*{len(pieces)}"
        if (piece := params.get(f"{key}*")) is not None:
            pieces.append((piece, True))
        elif (piece := params.get(key)) is not None:
            pieces.append((piece, False))
        else:
            break
    return _extended(pieces) if pieces else decode_words(_utf8(params.get(name, "")))


def _extended(pieces: list[tuple[str, bool]]) -> str:
    text, coded = pieces[0]
    charset = "utf-8"
    if coded and text.count("'") >= 2:
        charset, _, text = text.split("'", 2)
    octets = b"".join(
        unquote_to_bytes(piece) if coded else piece.encode("latin-1", "replace")
        for piece, coded in ((text, coded), *pieces[1:])
    )
    try:
        return octets.decode(charset or "utf-8", "replace")
    except LookupError:
        return octets.decode("utf-8", "replace")


def _utf8(text: str) -> str:
    """Raw UTF-8 was read as Latin-1."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
