"""The demo's ISP: a submission server that refuses what real ones refuse."""

import asyncio
import base64
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("demo_isp.pem")
"""Certificate and key for localhost.  The key is public, so it protects nothing: it is for the demo on loopback only."""

SENDERHOSTS = "552 sorry, your domain isn't in my list of allowed senderhosts (#5.7.1)"
BARE_LF = "451 See http://pobox.com/~djb/docs/smtplf.html."


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that the ISP took."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass
class Isp:
    """Takes mail for its users only: STARTTLS and AUTH first, senders of `domains` only, CRLF only."""

    name: str
    username: str
    password: str
    domains: frozenset[str]
    port: int = 0
    box: list[Delivery] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Conversation(self, reader, writer).hold()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def may_send(self, sender: str) -> bool:
        return sender.rpartition("@")[2].lower() in self.domains


class _Conversation:
    def __init__(self, isp: Isp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._isp, self._reader, self._writer = isp, reader, writer
        self._secure = self._known = False
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def hold(self) -> None:
        await self._say(f"220 {self._isp.name} ESMTP")
        verbs: dict[bytes, Callable[[bytes], Awaitable[None]]] = {
            b"EHLO": self._ehlo,
            b"STARTTLS": self._starttls,
            b"AUTH": self._auth,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._rset,
            b"NOOP": self._fine,
        }
        while line := (await self._reader.readline()).strip():
            verb, _, argument = line.partition(b" ")
            if verb.upper() == b"QUIT":
                await self._say("221 2.0.0 Bye")
                return
            await verbs.get(verb.upper(), self._unknown)(argument)

    async def _say(self, *lines: str) -> None:
        code = lines[0][:3]
        for line in lines[:-1]:
            self._writer.write(f"{code}-{line[4:]}\r\n".encode())
        self._writer.write(f"{code} {lines[-1][4:]}\r\n".encode())
        await self._writer.drain()

    async def _refuse(self, reply: str) -> None:
        self._isp.refusals.append(reply)
        await self._say(reply)

    async def _fine(self, _: bytes) -> None:
        await self._say("250 2.0.0 Ok")

    async def _unknown(self, _: bytes) -> None:
        await self._say("500 5.5.2 What?")

    async def _ehlo(self, _: bytes) -> None:
        offer = "250 AUTH PLAIN LOGIN" if self._secure else "250 STARTTLS"
        await self._say(f"250 {self._isp.name}", "250 SIZE 50000000", "250 8BITMIME", "250 ENHANCEDSTATUSCODES", offer)

    async def _starttls(self, _: bytes) -> None:
        await self._say("220 2.0.0 Go ahead")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE)
        await self._writer.start_tls(context)
        self._secure = True

    async def _auth(self, argument: bytes) -> None:
        mechanism, _, initial = argument.partition(b" ")
        if not self._secure:
            await self._refuse("538 5.7.11 Encryption required for requested authentication mechanism")
            return
        if mechanism.upper() == b"PLAIN":
            _, user, password = (_decoded(initial or await self._ask("")) + b"\0\0").split(b"\0")[:3]
        else:
            user = _decoded(initial or await self._ask("VXNlcm5hbWU6"))
            password = _decoded(await self._ask("UGFzc3dvcmQ6"))
        self._known = (user.decode(), password.decode()) == (self._isp.username, self._isp.password)
        if self._known:
            await self._say("235 2.7.0 Authentication successful")
        else:
            await self._refuse("535 5.7.8 Error: authentication failed")

    async def _ask(self, challenge: str) -> bytes:
        await self._say(f"334 {challenge}")
        return (await self._reader.readline()).strip()

    async def _mail(self, argument: bytes) -> None:
        match = re.match(r"(?i)FROM:<([^>]*)>", argument.decode("latin-1"))
        if not self._known:
            await self._refuse("530 5.7.0 Authentication required")
        elif not match:
            await self._refuse("501 5.5.4 Syntax: MAIL FROM:<address>")
        elif match[1] and not self._isp.may_send(match[1]):
            await self._refuse(SENDERHOSTS)
        else:
            self._sender, self._recipients = match[1], []
            await self._say("250 2.1.0 Ok")

    async def _rcpt(self, argument: bytes) -> None:
        match = re.match(r"(?i)TO:<([^>]+)>", argument.decode("latin-1"))
        if self._sender is None or not match:
            await self._refuse("503 5.5.1 MAIL first" if match else "501 5.5.4 Syntax: RCPT TO:<address>")
            return
        self._recipients.append(match[1])
        await self._say("250 2.1.5 Ok")

    async def _data(self, _: bytes) -> None:
        if self._sender is None or not self._recipients:
            await self._refuse("503 5.5.1 RCPT first")
            return
        await self._say("354 End data with <CR><LF>.<CR><LF>")
        lines = []
        while (line := await self._reader.readuntil(b"\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        content = b"".join(lines)
        if re.search(rb"(?<!\r)\n|\r(?!\n)", content):
            await self._refuse(BARE_LF)
        else:
            self._isp.box.append(Delivery(self._sender, tuple(self._recipients), content))
            await self._say(f"250 2.0.0 Ok: queued as {self._isp.name.upper()[:4]}{len(self._isp.box):04d}")
        self._sender = None

    async def _rset(self, _: bytes) -> None:
        self._sender = None
        await self._say("250 2.0.0 Ok")


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""
