"""One client's session: a slot, the greeting, commands, login, TLS.  RFC 5321 s3, RFC 6409.

An error of ours is answered `451 4.3.0`; its details go to the log only.
"""

import asyncio
import math
import re
import ssl
from base64 import b64encode
from typing import Any, cast

from aiosmtpd import smtp

from relay.inbound.admission import (
    ListenAuth,
    Listener,
    ListenTls,
    admit_client,
    client_address,
    client_group,
)
from relay.inbound.connection import SessionOver
from relay.inbound.dialect import clean_helo, is_http, read_command
from relay.inbound.login_check import TooMany
from relay.inbound.mail_transaction import BOGUS, LOGIN_NEEDS_TLS, TLS_FIRST, MailTransaction
from relay.inbound.server_certificate import Offer, handshake_advice, ready
from relay.inbound.server_sasl import Credentials, decoded, plain
from relay.inbound.server_state import ServerState
from relay.mail.reply import Reply

LOGINS = 5
_RETIRED = "4.3.2 this listener was closed; connect again"
_NAMELESS = "-"
"""The name passed to aiosmtpd when a client gives none in HELO."""
_NOT_OFFERED = frozenset({"ETRN", "TURN", "SEND", "SOML", "SAML", "BURL"})
_CHUNK = re.compile(r"0*([0-9]{1,10})(?:\s+LAST)?\Z", re.IGNORECASE)


class Hooks:
    """The replies to commands that aiosmtpd carries out."""

    async def handle_HELO(self, server: "ServerSession", session: smtp.Session, _: object, hostname: str) -> str:
        server.greeted(session, hostname)
        return f"250 {server.hostname}"

    async def handle_EHLO(
        self, server: "ServerSession", session: smtp.Session, _: object, hostname: str, responses: list[str]
    ) -> list[str]:
        """aiosmtpd's extensions and ours, in one write."""
        server.greeted(session, hostname)
        name, size, eight_bit, *more = responses[:-1]  # the last is HELP
        if not server.login_offered:
            more = [line for line in more if not line.startswith("250-AUTH ")]
        lines = [name, size, eight_bit, "250-ENHANCEDSTATUSCODES", "250-PIPELINING", *more]
        lines[-1] = lines[-1].replace("250-", "250 ", 1)
        return ["\r\n".join(lines)]

    async def handle_NOOP(self, *_: object) -> str:
        return "250 2.0.0 ok"

    async def handle_RSET(self, *_: object) -> str:
        return "250 2.0.0 ok"

    async def handle_QUIT(self, *_: object) -> str:
        return "221 2.0.0 bye"


class ServerSession(MailTransaction):
    """A session on one listener."""

    AuthLoginUsernameChallenge = "Username:"  # many devices expect exactly this text
    AuthLoginPasswordChallenge = "Password:"

    def __init__(self, state: ServerState, listener: Listener, context: Offer) -> None:
        super().__init__(state, listener, context, handler=_ANSWERS, authenticator=_authenticate, auth_require_tls=False)
        self._said: Credentials | None = None
        self._quiet = False

    # ---- coming and going ----------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Reads the client's address first; under implicit TLS, pauses reading until the TLS layer is there."""
        peer = transport.get_extra_info("peername")
        if self._listener.tls is ListenTls.IMPLICIT and self._original_transport is None:
            transport.pause_reading()
        if peer:
            self._address = client_address(peer[0])
            self._client, self._group = str(self._address), client_group(self._address)
        super().connection_made(transport)

    async def _converse(self) -> None:
        if not self._client:
            return  # gone at once: a port check
        try:
            refusal = admit_client(self._address, self._listener)
            if refusal := refusal or await self._state.slots.enter(self, self._group, self._policy.limits):
                self._refused(refusal)
                await self._reply(refusal)
                return
            await self._serve()
        finally:
            self._state.slots.leave(self)

    async def _serve(self) -> None:
        if self._listener.tls is ListenTls.IMPLICIT and (context := await ready(self._context)):
            self._quiet = True  # there was no STARTTLS, so aiosmtpd's 220 must not be sent
            await self._secure(context)
            self._quiet = False
        await self.say(f"220 {self._policy.hostname} ESMTP")
        while (line := await self.next_line()) is not None:
            await self._answer(line)
            if self._buffer:
                await asyncio.sleep(0)  # a client that pipelines thousands of commands must not stop the others
            if self._state.draining:
                self.dismiss("4.3.2 the relay is stopping; try again soon")
            elif self._unwelcome:
                self.dismiss(self._unwelcome)
            elif self._retired and self.envelope.mail is None:
                self.dismiss(_RETIRED)
            if self.dismissed:
                return

    @property
    def listener_name(self) -> str:
        return self._listener.name

    def reconsider(self, listener: Listener, context: Offer) -> None:
        """A reload changed the listener.  Ends the session if it would refuse this client now; after a commit under way."""
        before, self._listener, self._context = self._listener, listener, context
        name = self._said.user.decode("utf-8", "replace") if self._said else self._user
        if admit_client(self._address, listener):
            self._unwelcome = "4.7.1 your network is not in listen.networks any more"
        elif listener.auth is ListenAuth.REQUIRED and listener.users.get(name) != before.users.get(name):
            self._unwelcome = "4.7.0 your login has changed; log in again"
        elif listener.auth is ListenAuth.REQUIRED and before.auth is not ListenAuth.REQUIRED:
            self._unwelcome = "4.7.0 a login is needed from now on"
        elif not self.tls and before.tls is not listener.tls and (listener.needs_tls or before.tls is ListenTls.IMPLICIT):
            self._unwelcome = "4.7.0 TLS is needed from now on"
        if self._unwelcome and self.task not in self._state.commits:
            self.dismiss(self._unwelcome)

    def retire(self) -> None:
        """The listener is closed: a message that has begun may come to its end, another one may not begin."""
        self._retired = True
        if self.waiting and self.envelope.mail is None:
            self.dismiss(_RETIRED)

    async def _answer(self, line: bytes) -> None:
        command = read_command(line)
        if not command.verb and not command.argument:
            return  # an empty line between commands: some firmware sends two line ends
        if self._quit_only and command.verb not in ("QUIT", "BDAT"):
            await self._cut(f"4.7.0 after {self._quit_only} only QUIT is understood")
        if command.quirk:
            self._quirk(command.quirk)
        verb = self._commands.get(command.verb)
        if verb is None:
            if is_http(line):
                self._refused(Reply(421, "4.7.0", "HTTP was spoken on the SMTP port"))
                raise SessionOver
            await self._unknown(command.verb)
            return
        self._refused_data = self._refused_data and command.verb in {"RSET", "NOOP"}
        try:
            await verb(self, command.argument)
        except SessionOver:
            raise
        except Exception as error:
            self._set_rset_state()
            self._unexpected_error(error)
            await self.say("451 4.3.0 an error inside the relay; try again later")

    async def _unknown(self, verb: str) -> None:
        if self._refused_data:
            # The client did not wait for 354.  Its content must never be read as commands.
            await self._cut("4.7.0 DATA was refused, its content cannot be taken")
        if verb in _NOT_OFFERED:
            await self.say(f"502 5.5.1 {verb} is not offered")
            return
        self._bogus += 1
        if self._bogus >= BOGUS:
            await self._cut("4.7.0 too many unknown commands")
        await self.say("500 5.5.1 the command is not understood")

    async def smtp_BDAT(self, argument: str) -> None:
        """Chunks are not offered.  Their octets come whatever the reply is (RFC 3030 s2) and must never be read as commands.

        A client that sends them all the same may have counted wrong, so only BDAT and QUIT are accepted after one.
        """
        chunk = _CHUNK.match(argument)
        if chunk is None or int(chunk[1]) > self._policy.max_message:
            await self._cut("4.7.0 BDAT is not offered, its content cannot be taken")
        else:
            await self._discard(int(chunk[1]))
            self._set_rset_state()
            self._quit_only = "a refused chunk"
            await self._refuse(Reply(502, "5.5.1", "BDAT is not offered, use DATA"))

    # ---- greeting ------------------------------------------------------------------------------

    async def smtp_HELO(self, hostname: str) -> None:
        """aiosmtpd wants a name; some devices send none."""
        await super().smtp_HELO(hostname or _NAMELESS)

    async def smtp_EHLO(self, hostname: str) -> None:
        """As HELO; and TLS may become available while the session is open, when the certificate is made."""
        self.tls_context = cast("ssl.SSLContext | None", self._context)  # aiosmtpd asks only whether it is None
        await super().smtp_EHLO(hostname or _NAMELESS)

    def greeted(self, session: smtp.Session, hostname: str) -> None:
        session.host_name = "" if hostname == _NAMELESS else clean_helo(hostname)
        if not session.host_name:
            self._quirk("empty HELO")
        self._state.devices.saw(self._client, self._state.now(), session.host_name)

    # ---- login and TLS -------------------------------------------------------------------------

    async def check_helo_needed(self, helo: str = "HELO") -> bool:
        """Devices may log in without HELO; aiosmtpd would refuse that."""
        return False

    async def smtp_AUTH(self, argument: str) -> None:
        """aiosmtpd's AUTH, made to accept lower case, no EHLO and bad base64, and slowed down after wrong passwords."""
        mechanism, _, initial = argument.partition(" ")
        if self.tls_missing:
            await self._refuse(TLS_FIRST)
            return
        if self._listener.auth is ListenAuth.OFF:
            await self.say("502 5.5.1 no login is needed here, and none is offered")
            return
        if not self.login_offered:
            await self._refuse(Reply(538, "5.7.11", f"{LOGIN_NEEDS_TLS}, or set listen.plain_login"))
            return
        if self._listener.auth is ListenAuth.REQUIRED and not self._user and await self._must_come_again():
            if self._state.logins.guesses(self._group):  # else it may be right: it only came while others guess
                self._state.login_failed(self._group, self.loop.time())
            await self._login_refused(Reply(454, "4.7.0", "too many wrong passwords; try again in a minute"))
            return
        extended, self.session.extended_smtp = self.session.extended_smtp, True
        try:
            response = _as_base64(mechanism.upper(), initial.strip())
            await super().smtp_AUTH(f"{mechanism.upper()} {response}".strip())
        finally:
            self.session.extended_smtp = extended
        if self._listener.auth is ListenAuth.ANY:
            self.session.authenticated = False  # any password is right, so nobody is identified
        if self._said:
            try:
                await self._log_in(self._said)
            finally:
                self._said = None

    async def challenge_auth(
        self, challenge: str | bytes, encode_to_b64: bool = True, log_client_response: bool = False
    ) -> Any:
        """aiosmtpd's reads its own stream, and accepts exact base64 only."""
        octets = challenge.encode() if isinstance(challenge, str) else challenge
        await self.say(f"334 {b64encode(octets).decode()}")
        line = await self.next_line()
        if line is None:
            raise SessionOver
        text = line.decode("utf-8", "replace").strip()
        if text == "*":
            await self.say("501 5.7.0 the login was cancelled")
            return smtp.MISSING
        return decoded(text) if octets else _plain_parts(text)

    def judge_login(self, login: bytes, password: bytes) -> smtp.AuthResult:
        if self._listener.auth is ListenAuth.ANY:
            self._quirk("insisted on logging in; any name and password will do here")
            return smtp.AuthResult(success=True, message="235 2.7.0 ok, though no login is needed")
        self._said = Credentials(login, password)
        return smtp.AuthResult(success=False, handled=True)  # a hash takes time, so `smtp_AUTH` goes on from here

    async def _log_in(self, said: Credentials) -> None:
        logins = self._state.logins
        self.no_timeout()
        self.owing_since = self.loop.time()  # a client that guesses passwords may lose its slot meanwhile
        try:
            user = await self._state.passwords.user(said, self._listener.users, logins.wrong(self._group))
        except TooMany:
            await self._login_refused(Reply(454, "4.7.0", "too many logins at once; try again in a minute"))
            return
        finally:
            self.owing_since = math.inf
        if not user:
            self._state.login_failed(self._group, self.loop.time())
            await self._login_refused(Reply(535, "5.7.8", "wrong user name or password"))
            return
        logins.right(self._group)
        session: Any = self.session
        session.authenticated, session.auth_data = True, user
        await self.say("235 2.7.0 ok")

    async def _must_come_again(self) -> bool:
        """Waits until this client's password may be checked.  True, without waiting, if that would take too long."""
        delay = self._state.logins.delay(self._group, self.loop.time())
        if delay:
            self.no_timeout()
            self.owing_since = self.loop.time()  # a client that guesses passwords may lose its slot meanwhile
            await asyncio.sleep(delay)
            self.owing_since = math.inf
        return delay is None

    async def _login_refused(self, reply: Reply) -> None:
        await self._refuse(reply)
        self._failed_logins += 1
        if self._failed_logins >= LOGINS:
            await self._cut("4.7.0 too many failed logins")

    async def smtp_STARTTLS(self, _argument: str) -> None:
        """aiosmtpd accepts it twice, and cannot wait for a certificate that is being made."""
        if self.tls:
            await self.say("503 5.5.1 TLS is already in use")
        elif (context := await ready(self._context)) is None:
            await self.say("502 5.5.1 STARTTLS is not offered here; go on without")
        else:
            await self._secure(context)

    async def push(self, status: str | bytes) -> None:
        """aiosmtpd sends STARTTLS's 220 also for implicit TLS."""
        if not self._quiet:
            await super().push(status)

    async def _secure(self, context: ssl.SSLContext) -> None:
        self.tls_context = context
        try:
            await self._start_tls()
        except ConnectionResetError as error:
            raise SessionOver from error  # a port check, or a device that changed its mind
        except OSError as error:
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
            self._refused(Reply(421, "4.7.0", f"TLS handshake failed: {handshake_advice(reason)} ({reason})"))
            raise SessionOver from error

    def _unexpected_tls(self) -> None:
        cure = "set the device to STARTTLS or to no encryption, or give it a listener with `tls: implicit` (usually port 465)"
        self._refused(Reply(421, "4.7.0", f"the device is set to SSL/TLS, but this port begins in the clear: {cure}"))

    # ---- the rest ------------------------------------------------------------------------------

    async def smtp_RSET(self, _argument: str) -> None:
        """aiosmtpd refuses RSET and QUIT with an argument."""
        await super().smtp_RSET("")

    async def smtp_VRFY(self, _argument: str) -> None:
        """aiosmtpd's parser of addresses fails at a lone bracket."""
        await self.say("252 2.5.2 send the mail and see")

    async def smtp_EXPN(self, _argument: str) -> None:
        """aiosmtpd's reply has no enhanced status, which EHLO promises."""
        await self.say("502 5.5.1 EXPN is not offered")

    async def smtp_HELP(self, _argument: str) -> None:
        """aiosmtpd answers 250; RFC 5321 s4.3.2 wants 214."""
        await self.say("214 2.0.0 HELO EHLO MAIL RCPT DATA RSET NOOP AUTH STARTTLS QUIT")

    async def smtp_QUIT(self, _argument: str) -> None:
        """aiosmtpd cancels the task, which takes effect at its next pause; pipelined commands would run before that."""
        await super().smtp_QUIT("")
        raise SessionOver


_ANSWERS = Hooks()


def _authenticate(
    server: ServerSession, _session: object, _envelope: object, _mechanism: str, said: smtp.LoginPassword
) -> smtp.AuthResult:
    """Not a method: that would make a reference cycle in each session."""
    return server.judge_login(said.login, said.password)


def _as_base64(mechanism: str, response: str) -> str:
    """The response on the AUTH line as aiosmtpd accepts it.  .NET and Konica Minolta put the LOGIN user name there."""
    if response in ("", "*"):
        return response
    return b64encode(_plain_parts(response) if mechanism == "PLAIN" else decoded(response)).decode("ascii")


def _plain_parts(response: str) -> bytes:
    said = plain(response)
    return b"\0%b\0%b" % (said.user, said.password)
