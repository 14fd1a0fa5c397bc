"""The demo's ISP: a submission server that refuses what real ones refuse, on aiosmtpd's Controller."""

import asyncio
import re
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd import smtp
from aiosmtpd.controller import Controller

from relay.inbound.connection import SessionState

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
    _controller: Controller | None = None

    async def start(self) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE)
        self._controller = _OnAnyPort(
            self,
            server_hostname=self.name,
            tls_context=context,
            authenticator=self._authenticate,
            auth_required=True,
            data_size_limit=50_000_000,
        )
        self.port = self._controller.port
        await asyncio.to_thread(self._controller.start)

    async def stop(self) -> None:
        if self._controller:
            await asyncio.to_thread(self._controller.stop)

    def _authenticate(self, *said: Any) -> smtp.AuthResult:
        login: smtp.LoginPassword = said[-1]
        return smtp.AuthResult(success=login == (self.username.encode(), self.password.encode()), handled=False)

    async def handle_EHLO(self, _: object, session: smtp.Session, __: object, hostname: str, responses: list[str]) -> list[str]:
        session.host_name = hostname
        return [responses[0], "250-ENHANCEDSTATUSCODES", *responses[1:]]

    async def handle_MAIL(self, _: object, __: object, envelope: smtp.Envelope, address: str, options: list[str]) -> str:
        sender = "" if address == "<>" else address
        if sender and sender.rpartition("@")[2].lower() not in self.domains:
            return SENDERHOSTS
        envelope.mail_from = address
        return "250 2.1.0 Ok"

    async def handle_DATA(self, _: object, __: object, envelope: smtp.Envelope) -> str:
        content = envelope.original_content or b""
        if re.search(rb"(?<!\r)\n|\r(?!\n)", content):
            return BARE_LF
        self.box.append(Delivery((envelope.mail_from or "").strip("<>"), tuple(envelope.rcpt_tos), content))
        return f"250 2.0.0 Ok: queued as {self.name.upper()[:4]}{len(self.box):04d}"


class _OnAnyPort(Controller):
    """On a port that is free: aiosmtpd's own wants to be told one."""

    def __init__(self, handler: Isp, **settings: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        super().__init__(handler, hostname="127.0.0.1", port=self._socket.getsockname()[1], **settings)

    def factory(self) -> smtp.SMTP:
        return _Server(self.handler, **self.SMTP_kwargs)

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self._socket)


class _Server(smtp.SMTP):
    def _create_session(self) -> SessionState:
        """Without aiosmtpd's warning in the log at each login."""
        return SessionState(self.loop)
