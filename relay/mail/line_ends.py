"""Line ends of content: blocks that do not split one, and CRLF for all of them.  RFC 5321 s2.3.8.  Pure."""

import re
from collections.abc import Iterable, Iterator

BLOCK = RUN = 64 * 1024

_ENDS = re.compile(rb"\r+\n?|\n")
_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")
_HEADER_BY_LF = re.compile(rb"\n(?:\r*\n|[!-9;-~]+[ \t]*:)")
"""A blank line or a field after an LF."""


def only_crlf(octets: bytes) -> bool:
    """Whether no CR and no LF stands alone."""
    # comparing three counts takes four times as long, since `count` is slow with many short matches
    rest = octets.replace(b"\r\n", b"")
    return b"\n" not in rest and b"\r" not in rest


class BareEnds:
    """Which bare line ends are in octets that come in blocks; it does not matter how the blocks are cut."""

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
    """The same octets in blocks that end with a line end, or in pieces of at least BLOCK octets of an over-long line.

    No block ends inside a line end (`CR+ LF`), except the last one.  Only a run of RUN or more CRs is cut, since it is
    no line end and must not be kept in memory as a whole.
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
    """Where the last complete line end ends; after a CR at the very end an LF may still come."""
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


def on_the_wire(content: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets with CRLF for every CR and every LF that stands alone; no block ends inside a line end."""
    held = b""
    for raw in content:
        block = held + raw
        held = b"\r" if block.endswith(b"\r") else b""
        if held:
            block = block[:-1]
        if block:
            yield block if only_crlf(block) else _ANY_LINE_END.sub(b"\r\n", block)
    if held:
        yield b"\r\n"


def _end(match: re.Match[bytes]) -> bytes:
    run = match[0]
    return b"\r\n" if run.endswith(b"\n") else b"\r\n" * len(run)


def header_text(octets: bytes) -> bytes:
    """A header section with its bare CRs replaced by blanks, in the same length, unless all its lines end in CR.

    A CR within a field's text must not begin another field.
    """
    if b"\r" not in octets or only_crlf(octets):
        return octets
    before, _, after = octets.partition(b"\n")
    if b"\r\r" in before.rstrip(b"\r") and not _HEADER_BY_LF.search(b"\n" + after):
        return octets  # its blank line is a CR, too, and no header follows
    if not after:
        return octets
    return _ENDS.sub(lambda run: run[0] if run[0].endswith(b"\n") else b" " * len(run[0]), octets)


def split(octets: bytes) -> list[bytes]:
    """Lines with their line ends, counted as `crlf` does."""
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
