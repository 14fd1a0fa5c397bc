"""A device as seen from the wire: octets out, replies in, nothing done for it."""

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from typing import ClassVar

PATIENCE = 15.0
"""Seconds that a test waits for a reply before it fails."""


def untrusting() -> ssl.SSLContext:
    """As most devices: any certificate will do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Device:
    """One connection.  `say` sends octets as they are; `reply` reads one whole reply, "" when the relay hung up."""

    opened: ClassVar[list["Device"]] = []
    """Those that a test has not closed; `close_all` does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.opened.append(self)

    @classmethod
    async def close_all(cls) -> None:
        while cls.opened:
            await cls.opened[-1].close()

    @classmethod
    async def connect(cls, address: tuple[str, int], *, context: ssl.SSLContext | None = None, source: str = "") -> "Device":
        name = "localhost" if context else None
        local = (source, 0) if source else None
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=name, local_addr=local)
        return cls(reader, writer)

    async def __aenter__(self) -> "Device":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def say(self, octets: bytes, *, at_a_time: int = 0, pause: float = 0.0) -> None:
        for start in range(0, len(octets), at_a_time or len(octets) or 1):
            self._writer.write(octets[start : start + (at_a_time or len(octets))])
            await self._writer.drain()
            if pause:
                await asyncio.sleep(pause)

    async def reply(self, patience: float = PATIENCE) -> str:
        """Its lines joined by a newline.  Raises TimeoutError."""
        lines = []
        async with asyncio.timeout(patience):
            while True:
                try:
                    line = (await self._reader.readline()).decode().rstrip("\r\n")
                except ConnectionError:
                    return ""
                lines.append(line)
                if not re.match(r"\d{3}-", line):
                    return "\n".join(lines)

    async def ask(self, octets: bytes, patience: float = PATIENCE) -> str:
        await self.say(octets)
        return await self.reply(patience)

    async def dialog(self, *steps: tuple[bytes, str]) -> None:
        """Says each line and holds the reply against its beginning."""
        for octets, expected in steps:
            got = await self.ask(octets)
            assert re.match(expected, got), f"after {octets[:200]!r}: expected {expected}, got {got!r}"

    async def submit(self, content: bytes, *, sender: bytes = b"nas@nas.local", to: bytes = b"me@example.jp") -> str:
        """MAIL, RCPT and DATA with CRLF; the reply to the content, which must bring its own dot-stuffing."""
        await self.dialog((b"MAIL FROM:<%b>\r\n" % sender, "250"), (b"RCPT TO:<%b>\r\n" % to, "250"), (b"DATA\r\n", "354"))
        return await self.ask(content + b".\r\n")

    async def silence(self, seconds: float) -> bool:
        """Whether the relay says nothing for so long."""
        try:
            await self.reply(seconds)
        except TimeoutError:
            return True
        return False

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self._writer.start_tls(context, server_hostname="localhost")

    @property
    def tls(self) -> str:
        return self._writer.get_extra_info("ssl_object").version()

    @property
    def certificate(self) -> bytes:
        return self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    def half_close(self) -> None:
        self._writer.write_eof()

    def reset(self) -> None:
        """Hangs up with RST, as firmware does that is switched off."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        if self in self.opened:
            self.opened.remove(self)
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()
