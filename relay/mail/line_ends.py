"""Lines of content: blocks that never split a line end, and CRLF for every line end.  RFC 5321 s2.3.8.  Pure."""

import re
from collections.abc import Iterable, Iterator

BLOCK = RUN = 64 * 1024

_ENDS = re.compile(rb"\r+\n?|\n")
_HEADER_BY_LF = re.compile(rb"\n(?:\r*\n|[!-9;-~]+[ \t]*:)")
"""A blank line or a field behind an LF."""


def only_crlf(octets: bytes) -> bool:
    """Whether no CR and no LF stands alone."""
    # three counts would tell it too, and take four times as long: many short hits are what `count` is slow with
    rest = octets.replace(b"\r\n", b"")
    return b"\n" not in rest and b"\r" not in rest


class BareEnds:
    """Which bare line ends octets have that come in blocks, however these are cut."""

    __slots__ = ("_held", "cr", "lf")

    def __init__(self) -> None:
        self.cr = self.lf = False
        self._held = b""

    def __bool__(self) -> bool:
        return self.cr or self.lf

    def feed(self, block: bytes) -> None:
        """A CR at the end of a block waits for its LF."""
        if not block or (self.cr and self.lf):
            return
        block = self._held + block if self._held else block
        self._held = b"\r" if block.endswith(b"\r") else b""
        rest = (block[:-1] if self._held else block).replace(b"\r\n", b"")
        self.lf = self.lf or b"\n" in rest
        self.cr = self.cr or b"\r" in rest

    def close(self) -> None:
        self.cr = self.cr or bool(self._held)


def blocks(content: Iterable[bytes]) -> Iterator[bytes]:
    """The octets again, in blocks that end with a line end, or in pieces of BLOCK octets and more of an over-long line.

    No block ends inside a line end (`CR+ LF`), whatever the blocks of `content` were; the last one ends as it must.
    Only a run of RUN CRs and more is cut: it is no line end, and must not be held whole.
    """
    held: list[bytes] = []
    size = 0
    for block in content:
        held.append(block)
        size += len(block)
        if size < BLOCK:
            continue
        joined = b"".join(held)
        end = _last_line_end(joined) or len(joined) - _trailing_crs(joined)
        if not end and len(joined) >= RUN:
            end = len(joined) - 1
        if end:
            yield joined[:end]
        held = [joined[end:]]
        size = len(held[0]) if len(held[0]) < BLOCK else 0
    if rest := b"".join(held):
        yield rest


def _last_line_end(octets: bytes) -> int:
    """Where the last line end is surely over: a CR at the very end may have an LF to come."""
    end = max(octets.rfind(b"\n"), octets.rfind(b"\r")) + 1
    if not end or octets[end - 1 : end] == b"\n":
        return end
    if end < len(octets):
        return end
    before = len(octets) - _trailing_crs(octets)
    return max(octets.rfind(b"\n", 0, before), octets.rfind(b"\r", 0, before)) + 1


def _trailing_crs(octets: bytes) -> int:
    return len(octets) - len(octets.rstrip(b"\r"))


def crlf(block: bytes) -> bytes:
    """CRLF for every line end: `CR+ LF` is one (MIME::Lite, mailsend), bare LF and bare CR are one each."""
    if only_crlf(block):
        return block
    if b"\r" not in block:
        return block.replace(b"\n", b"\r\n")
    for _ in range(3):
        block = block.replace(b"\r\r\n", b"\r\n")
    if b"\r\r" in block:
        return _ENDS.sub(_end, block)
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _end(match: re.Match[bytes]) -> bytes:
    run = match[0]
    return b"\r\n" if run.endswith(b"\n") else b"\r\n" * len(run)


def header_text(octets: bytes) -> bytes:
    """A header whose bare CRs are blanks, as long as before, unless CR is how all of it ends its lines.

    A CR within a text that a device put into a field must not begin another field.
    """
    if only_crlf(octets) or b"\r" not in octets:
        return octets
    before, _, after = octets.partition(b"\n")
    if b"\r\r" in before.rstrip(b"\r") and not _HEADER_BY_LF.search(b"\n" + after):
        return octets  # its blank line is a CR, too, and what follows looks like no header
    if not after:
        return octets
    return _ENDS.sub(lambda run: run[0] if run[0].endswith(b"\n") else b" " * len(run[0]), octets)


def split(octets: bytes) -> list[bytes]:
    """Raw lines with their line ends; what `crlf` makes two of is two here."""
    if b"\r\r" not in octets:
        return octets.splitlines(keepends=True)
    lines: list[bytes] = []
    start = 0
    for match in _ENDS.finditer(octets):
        run = match[0]
        if run.endswith(b"\n"):
            lines.append(octets[start : match.end()])
        else:
            lines.append(octets[start : match.start() + 1])
            lines += [b"\r"] * (len(run) - 1)
        start = match.end()
    if start < len(octets):
        lines.append(octets[start:])
    return lines
