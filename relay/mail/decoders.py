"""Transfer encodings undone as streams: a part's octets in blocks in, its decoded octets out.  RFC 2045 s6.  Pure."""

import re
from binascii import Error as Malformed
from binascii import a2b_base64, a2b_qp, a2b_uu
from typing import Protocol

_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_IGNORED = bytes(octet for octet in range(256) if octet not in _ALPHABET)
_PADS = re.compile(rb"=+")
_HELD = 64 * 1024  # octets of one line; no line that was sent is so long
_BEGIN = re.compile(rb"begin [0-7]{3,4} ")


class Decoder(Protocol):
    """Takes the octets in blocks, cut anywhere.  Damage costs the octets that are damaged, and no more."""

    def feed(self, block: bytes) -> bytes: ...

    def close(self) -> bytes: ...


class AsIs:
    """No encoding: 7bit, 8bit, binary."""

    def feed(self, block: bytes) -> bytes:
        return block

    def close(self) -> bytes:
        return b""


class FromBase64:
    """Foreign characters are ignored; a `=` in the middle only ends its group, as where a device joined encoded pieces."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        octets = self._held + block.translate(None, _IGNORED)
        *ended, last = _PADS.split(octets) if b"=" in octets else (octets,)
        whole = len(last) - len(last) % 4
        self._held = last[whole:]
        return b"".join([*map(_group, ended), a2b_base64(last[:whole])])

    def close(self) -> bytes:
        rest, self._held = self._held, b""
        return _group(rest)


def _group(octets: bytes) -> bytes:
    """What stands before a `=` or the end; a single character left over holds no octet."""
    sound = octets[: len(octets) - 1] if len(octets) % 4 == 1 else octets
    return a2b_base64(sound + b"=" * (-len(sound) % 4))


class _Lines:
    """Collects whole lines."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        octets = self._held + block
        end = octets.rfind(b"\n") + 1
        if not end and len(octets) > _HELD:
            code = octets.rfind(b"=", len(octets) - 2)  # that is not whole yet
            end = code if code >= 0 else len(octets)
        self._held = octets[end:]
        return self._decoded(octets[:end]) if end else b""

    def close(self) -> bytes:
        rest, self._held = self._held, b""
        return self._decoded(rest)

    def _decoded(self, octets: bytes) -> bytes:
        raise NotImplementedError


class FromQuotedPrintable(_Lines):
    """Line ends stay as they are in the message (CRLF): so they are meant in text; in other data they are encoded."""

    def _decoded(self, octets: bytes) -> bytes:
        if b" \r\n" in octets or b"\t\r\n" in octets or octets[-1:] in (b" ", b"\t"):
            octets = b"\r\n".join([line.rstrip(b" \t") for line in octets.split(b"\r\n")])  # added on the way (RFC 2045 s6.7)
        return a2b_qp(octets)


class FromUuencode(_Lines):
    """What stands between `begin` and `end`."""

    def __init__(self) -> None:
        super().__init__()
        self._inside = False

    def _decoded(self, octets: bytes) -> bytes:
        out = []
        for line in octets.splitlines():
            if not self._inside:
                self._inside = _BEGIN.match(line) is not None
            elif line.rstrip() == b"end":
                self._inside = False
            elif line:
                out.append(_uu_line(line))
        return b"".join(out)


def _uu_line(line: bytes) -> bytes:
    try:
        return a2b_uu(line)
    except Malformed:  # some encoders add a check character, or count the filling
        needed = (((line[0] - 32) & 63) * 4 + 5) // 3
        try:
            return a2b_uu(line[:needed])
        except Malformed:
            return b""


def decoder(encoding: str) -> Decoder:
    """The decoder for a transfer encoding by its right name (see mime.transfer_encoding)."""
    if encoding == "base64":
        return FromBase64()
    if encoding == "quoted-printable":
        return FromQuotedPrintable()
    return FromUuencode() if encoding in ("uuencode", "uue", "x-uuencode", "x-uue") else AsIs()
