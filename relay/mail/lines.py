"""Lines of content: blocks that never split a line end, and CRLF for every line end.  RFC 5321 s2.3.8.  Pure."""

import re
from collections.abc import Iterable, Iterator

BLOCK = 64 * 1024

_ENDS = re.compile(rb"\r+\n?|\n")


def blocks(content: Iterable[bytes]) -> Iterator[bytes]:
    """The octets again, in blocks that end with a line end, or in pieces of BLOCK octets and more of an over-long line.

    No block ends inside a line end (`CR+ LF`), whatever the blocks of `content` were; the last one ends as it must.
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
    ends = block.count(b"\r\n")
    if block.count(b"\n") == ends and block.count(b"\r") == ends:
        return block
    for _ in range(3):
        block = block.replace(b"\r\r\n", b"\r\n")
    if b"\r\r" in block:
        return _ENDS.sub(_end, block)
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _end(match: re.Match[bytes]) -> bytes:
    run = match[0]
    return b"\r\n" if run.endswith(b"\n") else b"\r\n" * len(run)


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
