"""Content as DATA sends it: dots stuffed, whatever the block borders.  RFC 5321 s4.5.2.  Pure."""

from collections.abc import Generator, Iterable, Iterator

from relay.mail.line_ends import on_the_wire


def stuffed(content: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The octets that follow 354, but for the final dot; they end in CRLF unless there are none.

    A bare CR or LF becomes CRLF.  There should be none left here, but a server that takes one for a line end would see
    a lone dot where we see none (SMTP smuggling).
    """
    line_start = True
    for block in on_the_wire(content):
        stuffed_block = block.replace(b"\r\n.", b"\r\n..")
        yield b"." + stuffed_block if line_start and block.startswith(b".") else stuffed_block
        line_start = block.endswith(b"\n")
    if not line_start:
        yield b"\r\n"


def gathered(pieces: Iterator[bytes], size: int) -> bytes:
    """The next pieces joined, at least `size` octets unless the end comes first; b"" at the end."""
    taken, length = [], 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length >= size:
            break
    return b"".join(taken)
