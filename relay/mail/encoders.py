"""Transfer encodings as streams: octets in, lines of at most 76 characters out.  RFC 2045 s6.7, s6.8.  Pure."""

import re
from binascii import b2a_base64, b2a_qp
from typing import Protocol

_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_IGNORED = bytes(octet for octet in range(256) if octet not in _ALPHABET)
_FOREIGN = re.compile(rb"[\x80-\xff]")
_QP_PIECE = re.compile(rb"[^\r\n]{1,70}(?!(?<==)[0-9A-Fa-f]{2})(?!(?<==[0-9A-Fa-f])[0-9A-Fa-f])")
"""Octets for one line, not cut inside a `=XX` code."""
_QP_BEGUN = re.compile(rb"=[0-9A-Fa-f]?\Z")


class Encoder(Protocol):
    """Takes a part's octets in blocks that do not split a line end (but may split long lines)."""

    def feed(self, block: bytes) -> bytes: ...

    def close(self) -> bytes:
        """The rest, without the last line end, which belongs to the delimiter."""
        ...


class Base64:
    """Any octets as base64."""

    def __init__(self) -> None:
        self._held = b""
        self._lines = _Lines()

    def feed(self, block: bytes) -> bytes:
        octets = self._held + block
        end = len(octets) - len(octets) % 57
        self._held = octets[end:]
        return self._lines.wrap(b2a_base64(octets[:end], newline=False)) if end else b""

    def close(self) -> bytes:
        return self._lines.wrap(b2a_base64(self._held, newline=False)) if self._held else b""


class Rewrap:
    """Puts base64 with too long lines into new lines.

    Other characters, which readers ignore (RFC 2045 s6.8), are removed, since in new lines they could look like a boundary.
    """

    def __init__(self) -> None:
        self._held = b""
        self._lines = _Lines()

    def feed(self, block: bytes) -> bytes:
        octets = self._held + block.translate(None, _IGNORED)
        end = len(octets) - len(octets) % 76
        self._held = octets[end:]
        return self._lines.wrap(octets[:end]) if end else b""

    def close(self) -> bytes:
        return self._lines.wrap(self._held) if self._held else b""


class _Lines:
    """Puts characters into lines of 76; the CRLF of a line is written before the next one."""

    def __init__(self) -> None:
        self._lead = b""

    def wrap(self, octets: bytes) -> bytes:
        lines = [octets[place : place + 76] for place in range(0, len(octets), 76)]
        wrapped = self._lead + b"\r\n".join(lines)
        self._lead = b"\r\n"
        return wrapped


class QuotedPrintable:
    """Text as quoted-printable; its line ends stay."""

    def __init__(self) -> None:
        self._soft = b""

    def feed(self, block: bytes) -> bytes:
        coded = b2a_qp(block, quotetabs=False, istext=True)
        if b"\r\n" not in block:
            coded = coded.replace(b"\n", b"\r\n")
        out = self._soft + coded
        # a piece of a long line goes on in the next block
        self._soft = b"" if block.endswith(b"\n") else b"=\r\n"
        return out

    def close(self) -> bytes:
        return b""


class MendedQuotedPrintable:
    """Repairs quoted-printable that has raw 8-bit octets or over-long lines."""

    def __init__(self) -> None:
        self._soft = b""
        self._begun = b""  # the beginning of a code that goes on in the next block

    def feed(self, block: bytes) -> bytes:
        octets = _FOREIGN.sub(lambda match: b"=%02X" % match[0][0], self._begun + block)
        begun = _QP_BEGUN.search(octets, max(len(octets) - 2, 0))
        self._begun = begun[0] if begun else b""
        return self._coded(octets[: begun.start()] if begun else octets)

    def close(self) -> bytes:
        return self._coded(self._begun)

    def _coded(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        out = self._soft + b"\r\n".join([_soft_wrapped(line) for line in octets.split(b"\r\n")])
        self._soft = b"" if octets.endswith(b"\n") else b"=\r\n"
        return out


def _soft_wrapped(line: bytes) -> bytes:
    if len(line) <= 76:
        return line
    return b"=\r\n".join(_QP_PIECE.findall(line))
