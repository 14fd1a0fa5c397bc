"""Opens a session that is ready for MAIL: connect, TLS, EHLO, one AUTH; translates aiosmtplib's errors.

aiosmtplib does connection, TLS and greeting; the transactions go over our own SmtpWire (see smtp_wire.py).
RFC 5321 s3.1, s3.2, RFC 3207, RFC 4954.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import cast

import aiosmtplib

from relay.mail.reply import Answer, Fault, Reply, Stage, readable
from relay.upstream import tls
from relay.upstream.authenticate import Dialog, Refused, Token, as_said, no_token
from relay.upstream.connect import Endpoint, Failed, lost_at, places, reach
from relay.upstream.learned_limits import Learned
from relay.upstream.peer_certificate import Certificate, examine
from relay.upstream.report import tls_fault
from relay.upstream.settings import Auth, Tls, TlsMode, Upstream
from relay.upstream.smtp_wire import SmtpWire, garbage

_WHOLE = 5  # times the patience with one reply: so long it may take in all until MAIL, whatever comes meanwhile
_CURIOSITY = timedelta(seconds=10)  # for a second look at a certificate that was not trusted


@dataclass
class ClientSession:
    """An open, logged-in session.  `extensions` as announced (lower case -> parameters), `used` counts transactions.

    `learned` is what is known of its server by now; `spent`: the server takes no more mail in it.
    `banner` and `hello` are the server's text in its greeting and EHLO reply, `certificate` its own in DER (b"" without TLS).
    """

    upstream: Upstream
    wire: SmtpWire
    extensions: Mapping[str, str]
    peer: str
    tls: str = ""
    mechanism: str = ""
    used: int = 0
    notes: list[str] = field(default_factory=list)
    banner: str = ""
    hello: str = ""
    certificate: bytes = b""
    learned: Learned = field(default_factory=Learned)
    spent: bool = False

    @cached_property
    def max_size(self) -> int:
        """The SIZE limit in octets that the server announced, 0 if none (RFC 1870)."""
        value = self.extensions.get("size", "").split(" ")[0]
        return int(value) if value.isascii() and value.isdigit() else 0

    def offers(self, extension: str) -> bool:
        """`extension` in lower case."""
        return extension in self.extensions


async def open_session(
    upstream: Upstream,
    *,
    hostname: str,
    token: Token = no_token,
    refused: Refused = as_said,
    candidates: Sequence[Endpoint] = (),
    opportunistic: bool = False,
    trust: tls.Trust | None = None,
    dial: float | None = None,
    learned: Learned | None = None,
) -> ClientSession:
    """A session ready for MAIL.  Raises Failed with the Answer that every forward-path shares.

    `candidates` are addresses to try instead of looking up the host; `opportunistic`: STARTTLS where offered,
    in clear where not (RFC 7435), for MX hosts; `trust` says which certificates are trusted, in place of the upstream's
    settings; `dial`: seconds to wait for a connection, if less than for a reply; `learned` is what is known of the
    server; mechanisms that it does not take are added.
    """
    timeout = upstream.timeout.total_seconds()
    found = candidates or await places(upstream.smtp.host, upstream.smtp.port, timeout)
    learned = learned or Learned()
    for last in (False, False, True):
        opener = _Opener(upstream, hostname, timeout, refused, learned, trust)
        sock, place = await reach(found, min(timeout, dial or timeout))
        try:
            return await _opened(opener, sock, place, token, opportunistic)
        except Failed as failed:
            if last or not failed.again:
                raise
    raise AssertionError("the last turn returns or raises")


async def _opened(opener: "_Opener", sock: socket.socket, place: Endpoint, token: Token, opportunistic: bool) -> ClientSession:
    upstream, hostname = opener.upstream, str(opener.smtp.local_hostname)
    whole = _WHOLE * opener.timeout
    try:
        async with asyncio.timeout(whole) as deadline:
            return await opener.run(sock, place, token, opportunistic)
    except TimeoutError:
        _hang_up(opener, sock)
        if not deadline.expired():
            raise
        late = lost_at(opener.stage, Fault.TIMED_OUT, f"the server was not ready for mail within {whole:g} seconds")
        raise Failed(late, str(place), opener.banner) from None
    except Failed as failed:
        _hang_up(opener, sock)
        failed.peer, failed.banner = str(place), opener.banner
        if opener.trust or not isinstance(failed.__cause__, ssl.SSLCertVerificationError):
            raise
        seen = await _shown_chain(upstream, hostname, place)
        fault, words = tls.explain(failed.__cause__, upstream.smtp, seen)
        raise Failed(_no_tls(fault, words), str(place), opener.banner) from None
    except BaseException:
        _hang_up(opener, sock)
        raise


async def _shown_chain(upstream: Upstream, hostname: str, place: Endpoint) -> list[Certificate]:
    """Connects again without verifying, only to tell what is wrong with the certificate; sends no secret."""
    mode = upstream.smtp.tls.mode
    server = replace(upstream.smtp, tls=Tls(mode, verify=False))
    distrusting = replace(upstream, transport=server, timeout=min(upstream.timeout, _CURIOSITY))
    opener = _Opener(distrusting, hostname, distrusting.timeout.total_seconds())
    try:
        sock, _ = await reach([place], opener.timeout)
        try:
            return [examine(der) for der in await opener.chain(sock)]
        finally:
            _hang_up(opener, sock)
    except Failed:
        return []


def _hang_up(opener: "_Opener", sock: socket.socket) -> None:
    """Ends the connection now: closing a TLS transport waits for the other side, which may have failed.

    Once the socket belongs to the transport (`owned`) only that may close it, which it does after the shutdown.
    """
    opener.smtp.close()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    if not opener.owned:
        sock.close()


class _Opener:
    """The steps to one session, each with its stage.  The caller closes on failure."""

    def __init__(
        self,
        upstream: Upstream,
        hostname: str,
        timeout: float,
        refused: Refused = as_said,
        learned: Learned | None = None,
        trust: tls.Trust | None = None,
    ) -> None:
        self.upstream = upstream
        self.trust = trust
        self.refused = refused
        self.learned = learned or Learned()
        self.timeout = timeout
        self.stage = Stage.CONNECT
        self.notes: list[str] = []
        self.banner = ""
        self.owned = False
        self.smtp = aiosmtplib.SMTP(
            hostname=upstream.smtp.host.strip("[]"),
            local_hostname=hostname,
            timeout=timeout,
            start_tls=False,
            use_tls=upstream.smtp.tls.mode is TlsMode.IMPLICIT,
        )

    async def chain(self, sock: socket.socket) -> list[bytes]:
        """The certificates that the server shows (DER), its own first, trusted or not."""
        self.smtp.tls_context = await self._context()
        await self._connect(sock)
        if self.upstream.smtp.tls.mode is TlsMode.STARTTLS:
            await self._hello(may_fall_back=False)
            await self._starttls()
        return tls.chain_of(self.smtp.get_transport_info("ssl_object"))

    def _certificate(self) -> bytes:
        return bytes(self.smtp.get_transport_info("ssl_object").getpeercert(binary_form=True) or b"")

    async def run(self, sock: socket.socket, place: Endpoint, token: Token, opportunistic: bool) -> ClientSession:
        encrypted = self.upstream.smtp.tls.mode is TlsMode.IMPLICIT
        if self.upstream.smtp.tls.mode is not TlsMode.NONE:
            self.smtp.tls_context = await self._context()
        await self._connect(sock)
        if encrypted:
            self._check_certificate()
        await self._hello(may_fall_back=not encrypted)
        if self.upstream.smtp.tls.mode is TlsMode.STARTTLS and (not opportunistic or self.smtp.supports_extension("starttls")):
            await self._starttls()
            encrypted = True
        version = self._tls_version() if encrypted else ""
        certificate = self._certificate() if encrypted else b""
        mechanism = await self._log_in(token, encrypted)
        extensions = {name: readable(value) for name, value in self.smtp.esmtp_extensions.items()}
        hello = self.smtp.last_ehlo_response
        wire = SmtpWire(cast(asyncio.Transport, self.smtp.transport))
        return ClientSession(
            self.upstream,
            wire,
            extensions,
            str(place),
            version,
            mechanism,
            notes=self.notes,
            banner=self.banner,
            hello=readable(hello.message) if hello else "",
            certificate=certificate,
            learned=self.learned,
        )

    async def _context(self) -> ssl.SSLContext:
        try:
            return await asyncio.to_thread(self.trust.context if self.trust else self._configured)
        except tls.BadClientCertificate as error:
            raise Failed(_no_tls(Fault.TLS_FILE, str(error))) from None
        except OSError as error:
            policy = self.upstream.smtp.tls
            ours = {policy.client_cert: "client_cert", policy.client_key: "client_key"}
            name = error.filename if error.filename in ours else policy.ca_file
            words = f"{ours.get(name, 'ca_file')} {name} cannot be used: {error.strerror or error}"
            raise Failed(_no_tls(Fault.TLS_FILE, words)) from None

    def _configured(self) -> ssl.SSLContext:
        return tls.context_for(self.upstream.smtp.tls)

    async def _connect(self, sock: socket.socket) -> None:
        self.owned = True
        try:
            self.banner = " ".join(readable((await self.smtp.connect(sock=sock)).message).split())
        except aiosmtplib.SMTPResponseException as error:
            raise Failed(_said(Stage.CONNECT, error)) from None
        except aiosmtplib.SMTPConnectError as error:
            raise Failed(self._no_greeting(error.__cause__)) from error.__cause__

    def _no_greeting(self, cause: BaseException | None) -> Answer:
        """aiosmtplib has one error for the TLS handshake and the greeting; its cause tells them apart."""
        if isinstance(cause, aiosmtplib.SMTPServerDisconnected):
            return lost_at(Stage.CONNECT, Fault.HUNG_UP, "the server closed the connection before its greeting")
        if isinstance(cause, aiosmtplib.SMTPTimeoutError):
            words = f"the server sent no greeting within {self.timeout:g} seconds{self._hint()}"
            return lost_at(Stage.CONNECT, Fault.TIMED_OUT, words)
        if self.upstream.smtp.tls.mode is TlsMode.IMPLICIT:
            return self._untrusted(cause)
        return lost_at(Stage.CONNECT, Fault.HUNG_UP, f"the connection broke before the greeting: {cause}")

    def _hint(self) -> str:
        if self.upstream.smtp.tls.mode is TlsMode.IMPLICIT:
            return ""
        return "; if this port begins with TLS, as 465 does, set `tls: implicit`"

    def _untrusted(self, cause: BaseException | None) -> Answer:
        error = cause if isinstance(cause, Exception) else OSError()
        return _no_tls(*tls.explain(error, self.upstream.smtp))

    async def _hello(self, may_fall_back: bool) -> None:
        """EHLO; HELO where it is not understood and neither TLS nor a login is needed (RFC 5321 s3.2)."""
        try:
            await self._said_at(Stage.HELLO, self.smtp.ehlo())
        except Failed as failed:
            needed = self.upstream.login.username and self.upstream.login.auth not in (Auth.NONE, Auth.POP)
            plain = may_fall_back and not needed and self.upstream.smtp.tls.mode is TlsMode.NONE
            if failed.answer.lost or not failed.answer.reply.permanent or not plain:
                raise
            await self._said_at(Stage.HELLO, self.smtp.helo())
            self.notes.append("HELO, since the server does not understand EHLO")

    async def _starttls(self) -> None:
        if not self.smtp.supports_extension("starttls"):
            server = self.upstream.smtp
            words = f"{server.host} offers no STARTTLS on port {server.port}; try port 465 with `tls: implicit`"
            raise Failed(Answer(Stage.TLS, Reply(454, "4.7.4", words), fault=Fault.NO_STARTTLS))
        try:
            await self._said_at(Stage.TLS, self.smtp.starttls())
        except Failed as failed:
            if failed.answer.fault is not Fault.HUNG_UP:
                raise
            raise Failed(self._untrusted(ConnectionResetError())) from None
        except (ssl.SSLError, OSError) as error:
            raise Failed(self._untrusted(error)) from error
        self._check_certificate()
        await self._said_at(Stage.HELLO, self.smtp.ehlo())  # what was announced in clear is void, RFC 3207 s4.2

    def _check_certificate(self) -> None:
        ssl_object = self.smtp.get_transport_info("ssl_object")
        if self.trust and (distrust := self.trust.problem(ssl_object)):
            failed = Failed(_no_tls(distrust.fault, f"{self.upstream.smtp.host}: {tls_fault(distrust.fault)}"))
            failed.again = distrust.again
            raise failed
        if problem := tls.pin_problem(self.upstream.smtp.tls, ssl_object.getpeercert(binary_form=True)):
            raise Failed(_no_tls(Fault.TLS_PIN, f"{self.upstream.smtp.host}: {problem}"))

    def _binding(self) -> bytes:
        """What SCRAM can bind a login to (RFC 5929 s3); the library gives nothing for TLS 1.3, see docs/decisions.md."""
        ssl_object = self.smtp.get_transport_info("ssl_object")
        if ssl_object is None or ssl_object.version() not in ("TLSv1.2", "TLSv1.1", "TLSv1"):
            return b""
        return bytes(ssl_object.get_channel_binding("tls-unique") or b"")

    def _tls_version(self) -> str:
        return str(self.smtp.get_transport_info("ssl_object").version() or "")

    async def _log_in(self, token: Token, encrypted: bool) -> str:
        offered = [readable(name) for name in self.smtp.server_auth_methods]

        async def say(*words: bytes) -> Reply:
            return await self._said_at(Stage.AUTH, self.smtp.execute_command(*words))

        dialog = Dialog(self.upstream, offered, encrypted, say, token, self.refused, self.learned.unfit, self._binding())
        return await dialog.log_in()

    async def _said_at(self, stage: Stage, command: Awaitable[aiosmtplib.SMTPResponse]) -> Reply:
        """The reply to a command; raises Failed where there is none, and for what aiosmtplib takes for a refusal."""
        self.stage = stage
        try:
            code, text = await command
        except aiosmtplib.SMTPResponseException as error:
            raise Failed(_said(stage, error)) from None
        except aiosmtplib.SMTPTimeoutError:
            raise Failed(lost_at(stage, Fault.TIMED_OUT, f"the server gave no reply within {self.timeout:g} seconds")) from None
        except aiosmtplib.SMTPServerDisconnected:
            raise Failed(lost_at(stage, Fault.HUNG_UP, "the server closed the connection")) from None
        if not 200 <= code < 600:
            raise Failed(_no_reply(stage, f"{code} {text}"))
        return Reply.of(code, text)


def _said(stage: Stage, error: aiosmtplib.SMTPResponseException) -> Answer:
    """The refusal that aiosmtplib raised; its code -1 means that it was no SMTP reply."""
    if not 400 <= error.code < 600:
        return _no_reply(stage, str(error.message))
    return Answer(stage, Reply.of(error.code, error.message))


def _no_reply(stage: Stage, text: str) -> Answer:
    return Answer(stage, garbage(readable(text).encode()), lost=True, fault=Fault.GARBAGE)


def _no_tls(fault: Fault, words: str) -> Answer:
    return Answer(Stage.TLS, Reply(454, "4.7.5", words), lost=True, fault=fault)
