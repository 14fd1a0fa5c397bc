"""Devices: each hands a message in as its kind does, and remembers what it was promised."""

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """`end`: of its lines; `login`: it insists on one; `leaves`: it is gone after the dot's reply, without QUIT."""

    name: str
    client: str
    sender: str
    end: bytes = b"\r\n"
    hello: bytes = b"EHLO"
    login: bool = False
    leaves: bool = False
    cc: int = 1


KINDS = (
    Kind("nas", "192.168.0.9", "nas@nas.local", b"\n", b"HELO", leaves=True),
    Kind("scanner", "192.168.0.21", "scanner@office.example", cc=2),
    Kind("ups", "192.168.0.30", "", b"\r\n", b"HELO"),
    Kind("camera", "192.168.0.33", "camera", b"\n", login=True, leaves=True),
    Kind("server", "192.168.0.40", "root@server.local", b"\n"),
    Kind("person", "192.168.0.50", "hanako@office.example", login=True, cc=3),
)
BY_NAME = {one.name: one for one in KINDS}


def content_of(kind: Kind, number: int, recipients: tuple[str, ...], size: int) -> bytes:
    """What the kind sends: not always a right message."""
    lines = [f"Subject: {kind.name} report {number}"]
    if kind.name not in ("ups", "camera"):
        lines += [f"From: {kind.sender or 'ups'}", f"To: {', '.join(recipients)}"]
    if kind.name in ("scanner", "person"):
        lines += [f"Message-ID: <{number}.{kind.name}@office.example>", "MIME-Version: 1.0", "Content-Type: text/plain"]
    lines += ["", f"This is number {number}.", *["x" * 76 for _ in range(size // 77)]]
    octets = kind.end.join(line.encode() for line in lines) + kind.end
    return octets.replace(b"report", "\u5831\u544a".encode("cp932")) if kind.name == "nas" else octets


class Submission(asyncio.Protocol):
    """One message, in one session.  `told` is called with the relay's last word: the reply to the dot, or b""."""

    def __init__(self, kind: Kind, recipients: tuple[str, ...], content: bytes, told: Any) -> None:
        self._kind, self._told, self._buffer = kind, told, bytearray()
        end = kind.end
        words = [kind.hello + b" " + kind.name.encode() + end]
        if kind.login:
            words.append(b"AUTH PLAIN AGEAYQ==" + end)
        words += [b"MAIL FROM:<" + kind.sender.encode() + b">" + end]
        words += [b"RCPT TO:<" + one.encode() + b">" + end for one in recipients]
        words += [b"DATA" + end, content + b"." + end]
        self._words, self._done = words[::-1], False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            if line[3:4] != b"-":
                self._heard(line)

    def _heard(self, line: bytes) -> None:
        if self._done:
            return
        if not self._words or line[:1] in (b"4", b"5"):
            self._end(line)
        else:
            self._transport.write(self._words.pop())

    def _end(self, line: bytes) -> None:
        self._done = True
        self._told(line)
        if self._kind.leaves:
            self._transport.abort()
        else:
            self._transport.write(b"QUIT" + self._kind.end)
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._done:
            self._done = True
            self._told(b"")
