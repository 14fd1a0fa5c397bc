"""What was odd about a session, as sentences.  Pure."""

import re
from collections.abc import Iterator

from relay.inbound.dialect import is_http, is_tls_hello
from relay.recording.tape import Tape, Who

NUMBERS = {
    "empty HELO": "S1",
    "MAIL without a usable HELO": "S4",
    "odd spacing after MAIL FROM": "S5",
    "odd spacing after RCPT TO": "S5",
    "no plain angle brackets in MAIL": "S6",
    "no plain angle brackets in RCPT": "S6",
    "command lines end in a bare LF": "S16",
    "command lines end in a bare CR": "S16",
    "insisted on logging in; any name and password will do here": "S18",
    "ended its message by LF.LF": "S25",
    "MAIL twice without RSET; the first was forgotten": "S37",
    "telnet or control octets in a command": "S40",
    "NUL in the message": "M35",
    "bare LF in the message": "M37",
    "bare CR in the message": "M38",
}
"""The corpus's numbers of the quirks."""

_VERBS = frozenset(
    b"HELO EHLO LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT HELP VRFY EXPN AUTH STARTTLS ETRN TURN SEND SOML SAML BURL".split()
)


def noticed(tape: Tape) -> tuple[str, ...]:
    """The findings about the session, then the repairs that its messages would get."""
    return (*dict.fromkeys([*_spoken(tape), *tape.quirks]), *(f"would be repaired: {note}" for note in tape.repairs))


def quirk_numbers(tape: Tape) -> list[str]:
    return list(dict.fromkeys(NUMBERS[quirk] for quirk in tape.quirks if quirk in NUMBERS))


def _spoken(tape: Tape) -> Iterator[str]:
    stream = tape.device
    if is_tls_hello(stream):
        yield "begins with TLS, where this port begins in the clear: the device is set to SSL/TLS (record with --tls implicit)"
        return
    if is_http(stream):
        yield "speaks HTTP, not SMTP"
        return
    first = tape.pieces[0] if tape.pieces else None
    if first and first.who is Who.DEVICE:
        yield "speaks before the banner"
    yield from _asked_in_vain(tape)
    device = [piece for piece in tape.pieces if piece.who is Who.DEVICE]
    if len(device) >= 10 and len(stream) / len(device) <= 4:
        yield f"sends about {max(1, round(len(stream) / len(device)))} octets at a time"
    if _blasts(tape):
        yield "sends the next command without waiting for the reply"
    if tape.ended_by_device and not re.search(rb"(?im)^QUIT\b", stream):
        yield "hangs up without QUIT"
    if tape.cut:
        yield "sent more than is recorded: the end is missing"


def _asked_in_vain(tape: Tape) -> Iterator[str]:
    """The commands that were refused, with the reply's code."""
    said = b""
    for piece in tape.pieces:
        if piece.who is Who.DEVICE:
            said = (said + piece.octets)[-2000:]
        elif piece.who is Who.RELAY:
            if piece.octets[:1] in b"45":
                yield f"{_called(said)} was answered {piece.octets[:3].decode('ascii', 'replace')}"
            said = b""


def _called(said: bytes) -> str:
    """The last line's verb only: a line that is no command may be a password, after a login that was refused."""
    line = re.split(rb"[\r\n]+", said.rstrip(b"\r\n"))[-1]
    if line == b".":
        return "the message"
    verb = re.match(rb"[^A-Za-z]*([A-Za-z]+)", line)
    return verb[1].decode("ascii").upper() if verb and verb[1].upper() in _VERBS else "a line that is no command"


def _blasts(tape: Tape) -> bool:
    """Whether two commands came together, outside a message."""
    content = False
    for piece in tape.pieces:
        if piece.who is Who.RELAY:
            content = piece.octets.startswith(b"354")
        elif piece.who is Who.DEVICE and not content:
            if len(re.findall(rb"(?im)^(?:HELO|EHLO|MAIL|RCPT|DATA|QUIT)\b[^\n]*\n", piece.octets)) > 1:
                return True
            content = bool(re.search(rb"(?im)^DATA\s*$", piece.octets))
    return False
