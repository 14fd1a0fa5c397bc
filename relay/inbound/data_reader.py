"""Reads the content of one message to its end, also when the message is refused."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay import events
from relay.inbound.connection import Connection
from relay.inbound.end_of_data import ContentDecoder, LineEnd
from relay.inbound.message_buffer import MessageBuffer
from relay.mail.reply import Reply
from relay.spool.contract import SpoolBroken, SpoolFull

SILENCE = 10.0
"""A lone dot between bare line ends is the end of data if so many seconds pass after it without an octet."""

_AT_ONCE = 512 * 1024
"""Octets that are passed to a thread together: passing each block alone would cost more than the work itself."""

FULL_REPLY = Reply(452, "4.3.1", "the spool is full; try again later")
BROKEN_REPLY = Reply(452, "4.3.0", "the spool cannot be written; try again later")


class ConnectionLost(Exception):
    """The client was gone before the end of its message, so the message is dropped (RFC 5321 s4.1.1.4)."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How the content came: its quirks, whether only QUIT may follow, and the refusal if it cannot be kept."""

    quirks: tuple[str, ...]
    irregular: bool
    refusal: Reply | None


Admit = Callable[[MessageBuffer, int], Awaitable[Reply | None]]
"""None if that many more octets may come, else the refusal."""


async def receive(connection: Connection, content: MessageBuffer, admit: Admit) -> Arrival:
    """Reads to the end of data.  Refused content is read and dropped.  Raises ConnectionLost."""
    connection.content_begins()
    decoder = ContentDecoder(connection.line_end)
    refusal: Reply | None = None
    pieces: list[bytes] = []
    size, stalled = 0, False
    while not decoder.ended:
        block = await connection.next_block(SILENCE if decoder.stalled else None, wide=content.roomy)
        if block is None or (block == b"" and decoder.stalled and not connection.lost):
            stalled = True
            decoder.finish_stalled()
        elif block == b"":
            raise ConnectionLost(f"the connection was lost within the message, after {size} octets; the message was dropped")
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
    """Moves the pieces into the buffer; of large content only when there are enough of them, or when it is `whole`."""
    try:
        if not content.large:
            content.write(pieces)
        elif whole or content.pressed or sum(map(len, pieces)) >= _AT_ONCE:
            connection.no_timeout()  # the time of a slow disk is not the client's
            await content.write_large(pieces, whole=whole)
    except OSError as error:
        events.note("warned", f"a message that is coming in cannot be stored: {error.strerror or error}")
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
