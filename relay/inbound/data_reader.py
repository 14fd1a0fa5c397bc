"""Reading the content of one message to its end, whatever has to be done with it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay import events
from relay.inbound.connection import Connection
from relay.inbound.line_endings import ContentDecoder, LineEnd
from relay.inbound.message_buffer import MessageBuffer
from relay.mail.reply import Reply
from relay.spool.contract import SpoolBroken, SpoolFull

SILENCE = 10.0
"""Seconds without an octet after a lone dot between bare line ends that make it the end of data."""

_AT_ONCE = 512 * 1024
"""Octets that are handed to a thread together: for a block each, the way there would cost more than what is done."""

FULL_REPLY = Reply(452, "4.3.1", "the spool is full; try again later")
BROKEN_REPLY = Reply(452, "4.3.0", "the spool cannot be written; try again later")


class ConnectionLost(Exception):
    """The client went away within its message; nothing of it counts (RFC 5321 s4.1.1.4)."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How the content came: what had to be understood, whether only QUIT may follow, and why it cannot be kept."""

    quirks: tuple[str, ...]
    irregular: bool
    refusal: Reply | None


Admit = Callable[[MessageBuffer, int], Awaitable[Reply | None]]
"""Whether so many octets more may come; the refusal if not."""


async def receive(connection: Connection, content: MessageBuffer, admit: Admit) -> Arrival:
    """Reads to the end of data; what is refused is read and thrown away.  Raises LineLost."""
    connection.content_begins()
    decoder = ContentDecoder(connection.line_end)
    refusal: Reply | None = None
    pieces: list[bytes] = []
    size, stalled = 0, False
    while not decoder.ended:
        block = await connection.next_block(SILENCE if decoder.stalled else None)
        if block is None or (block == b"" and decoder.stalled and not connection.lost):
            stalled = True
            decoder.finish_stalled()
        elif block == b"":
            raise ConnectionLost(f"the line was lost within the message, after {size} octets; it was thrown away")
        else:
            piece = decoder.feed(block)
            size += len(piece)
            refusal = refusal or await admit(content, len(piece))
            if not refusal:
                content.look(piece)
                pieces.append(piece)
        refusal = refusal or await _kept(connection, content, pieces, whole=decoder.ended)
        if refusal:
            pieces.clear()
            content.close()
    connection.give_back(decoder.rest)
    return Arrival(_quirks(decoder, connection.line_end, stalled=stalled), decoder.irregular, refusal)


async def _kept(connection: Connection, content: MessageBuffer, pieces: list[bytes], *, whole: bool) -> Reply | None:
    """Takes the pieces away; of large content only when there are enough of them, or when it is `whole`."""
    try:
        if not content.large:
            content.write(pieces)
        elif whole or content.pressed or sum(map(len, pieces)) >= _AT_ONCE:
            connection.no_timeout()  # a slow disk is not the device's idleness
            await content.write_large(pieces, whole=whole)
    except OSError as error:
        events.note("warned", f"a message that comes in cannot be kept: {error.strerror or error}")
        return Reply(452, "4.3.1", "no room for the message; try again later")
    except SpoolFull:
        return FULL_REPLY
    except SpoolBroken as error:
        events.note("broken", f"the spool cannot take mail: {error}")
        return BROKEN_REPLY
    return None


def _quirks(decoder: ContentDecoder, line_end: LineEnd, *, stalled: bool) -> tuple[str, ...]:
    found = {
        f"command lines end in a bare {line_end.name}": line_end is not LineEnd.CRLF,
        "ended its message by a lone dot between bare line ends, then silence": stalled,
        "ended its message by LF.LF": decoder.irregular and not stalled,
        "bare LF in the message": decoder.bare_lf,
        "bare CR in the message": decoder.bare_cr,
        "NUL in the message": decoder.nul,
    }
    return tuple(text for text, seen in found.items() if seen)
