"""Content as DATA sends it: dots stuffed, whatever the block borders.  RFC 5321 s4.5.2.  Pure."""

import re
from collections.abc import Generator, Iterable, Iterator

from relay.mail.line_ends import only_crlf

_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


def stuffed(content: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The octets that follow 354, but for the final dot; they end in CRLF unless there are none.

    A bare CR or LF becomes CRLF.  There should be none left here, but a server that takes one for a line end would see
    a lone dot where we see none (SMTP smuggling).
    """
    line_start, held = True, b""
    for raw in content:
        block = held + raw
        held = b"\r" if block.endswith(b"\r") else b""
        if held:
            block = block[:-1]
        if not block:
            continue
        yield _stuff(block, line_start)
        line_start = block.endswith(b"\n")
    if held or not line_start:
        yield b"\r\n"


def _stuff(block: bytes, line_start: bool) -> bytes:
    if not only_crlf(block):
        block = _ANY_LINE_END.sub(b"\r\n", block)
    stuffed_block = block.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed_block if line_start and block.startswith(b".") else stuffed_block


def gathered(pieces: Iterator[bytes], size: int) -> bytes:
    """The next pieces joined, at least `size` octets unless the end comes first; b"" at the end."""
    taken, length = [], 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length >= size:
            break
    return b"".join(taken)
