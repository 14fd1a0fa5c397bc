"""One client's dialog: a place, the greeting, commands, login, TLS.  RFC 5321 s3, RFC 6409.

Whatever goes wrong inside is answered `451 4.3.0` and noted, never told in detail.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from relay.inbound import sasl
from relay.inbound.admission import (
    ListenAuth,
    Listener,
    ListenTls,
    admit_client,
    client_address,
    client_group,
)
from relay.inbound.certificate import handshake_advice, ready
from relay.inbound.connection import Gone
from relay.inbound.dialect import clean_helo, is_http, read_command
from relay.inbound.login import ask_credentials
from relay.inbound.mail_transaction import BOGUS, LOGIN_NEEDS_TLS, MailTransaction
from relay.mail.reply import Reply

LOGINS = 5
_NOT_OFFERED = frozenset({"EXPN", "ETRN", "TURN", "SEND", "SOML", "SAML", "BURL"})
_CHUNK = re.compile(r"0*([0-9]{1,10})(?:\s+LAST)?\Z", re.IGNORECASE)


class Session(MailTransaction):
    """A conversation on one listener."""

    # ---- coming and going ----------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        peer = transport.get_extra_info("peername")
        if self._listener.tls is ListenTls.IMPLICIT:
            transport.pause_reading()  # the ClientHello is for the TLS layer
        if peer:
            self._address = client_address(peer[0])
            self._client, self._group = str(self._address), client_group(self._address)
        super().connection_made(transport)

    async def _converse(self) -> None:
        if not self._client:
            return  # gone before it was looked at: a port check
        try:
            refusal = admit_client(self._address, self._listener)
            if refusal := refusal or await self._reception.places.enter(self, self._group, self._policy.limits):
                self._refused(refusal)
                await self._reply(refusal)
                return
            await self._serve()
        finally:
            self._reception.places.leave(self)

    async def _serve(self) -> None:
        if self._listener.tls is ListenTls.IMPLICIT and (context := await ready(self._context)):
            await self._secure(context)
        await self.say(f"220 {self._policy.hostname} ESMTP")
        while (line := await self.next_line()) is not None:
            await self._answer(line)
            if self.pending:
                await asyncio.sleep(0)  # who pipelines thousands of commands must not stop the others
            if self._reception.draining:
                self.dismiss("4.3.2 the relay is stopping; try again soon")
            elif self._unwelcome:
                self.dismiss(self._unwelcome)
            if self.dismissed:
                return

    def reconsider(self, listener: Listener) -> None:
        """The listener was changed by a reload: whoever would not be let in any more goes, at once if no 250 is on its way."""
        before, name = self._listener, self._user
        if listener.name != before.name:
            return
        if admit_client(self._address, listener):
            self._unwelcome = "4.7.1 your network is not in listen.networks any more"
        elif listener.auth is ListenAuth.REQUIRED and listener.users.get(name) != before.users.get(name):
            self._unwelcome = "4.7.0 your login has changed; log in again"
        elif listener.auth is ListenAuth.REQUIRED and before.auth is not ListenAuth.REQUIRED:
            self._unwelcome = "4.7.0 a login is needed from now on"
        if self._unwelcome and self.task not in self._reception.commits:
            self.dismiss(self._unwelcome)

    async def _answer(self, line: bytes) -> None:
        command = read_command(line)
        if not command.verb and not command.argument:
            return  # an empty line between commands: some firmware ends its lines twice
        if self._quit_only and command.verb not in ("QUIT", "BDAT"):
            await self._cut(f"4.7.0 after {self._quit_only} only QUIT is understood")
        if command.quirk:
            self._quirk(command.quirk)
        verb = _VERBS.get(command.verb)
        if verb is None:
            if is_http(line):
                self._refused(Reply(421, "4.7.0", "HTTP was spoken on the SMTP port"))
                raise Gone
            await self._unknown(command.verb)
            return
        self._refused_data = self._refused_data and command.verb in {"RSET", "NOOP"}
        try:
            await verb(self, command.argument)
        except Gone:
            raise
        except Exception as error:
            self._transaction = None
            self._surprised(error)
            await self.say("451 4.3.0 an error inside the relay; try again later")

    async def _unknown(self, verb: str) -> None:
        if self._refused_data:
            # The device did not wait for 354: its content must never be read as commands.
            await self._cut("4.7.0 DATA was refused, its content cannot be taken")
        if verb in _NOT_OFFERED:
            await self.say(f"502 5.5.1 {verb} is not offered")
            return
        self._bogus += 1
        if self._bogus >= BOGUS:
            await self._cut("4.7.0 too many unknown commands")
        await self.say("500 5.5.1 the command is not understood")

    async def _on_bdat(self, argument: str) -> None:
        """Chunks are not offered.  Their octets come whatever the reply is (RFC 3030 s2), and must never be read as commands.

        Who sends them all the same may have counted wrong, so nothing but the next chunk is listened to.
        """
        chunk = _CHUNK.match(argument)
        if chunk is None or int(chunk[1]) > self._policy.max_message:
            await self._cut("4.7.0 BDAT is not offered, its content cannot be taken")
        else:
            await self._thrown_away(int(chunk[1]))
            self._transaction, self._quit_only = None, "a refused chunk"
            await self._refuse(Reply(502, "5.5.1", "BDAT is not offered, use DATA"))

    # ---- greeting ------------------------------------------------------------------------------

    async def _on_helo(self, argument: str) -> None:
        self._greeted(argument, extended=False)
        await self.say(f"250 {self._policy.hostname}")

    async def _on_ehlo(self, argument: str) -> None:
        self._greeted(argument, extended=True)
        offers = [f"SIZE {self._policy.max_message}", "8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "SMTPUTF8"]
        if self._context and not self.tls:
            offers.append("STARTTLS")
        if self._login_offered:
            offers.append("AUTH LOGIN PLAIN")
        await self.say(f"250-{self._policy.hostname}", *(f"250-{offer}" for offer in offers[:-1]), f"250 {offers[-1]}")

    def _greeted(self, argument: str, *, extended: bool) -> None:
        self._helo, self._extended, self._transaction = clean_helo(argument), extended, None
        if not self._helo:
            self._quirk("empty HELO")
        self._reception.devices.saw(self._client, self._reception.now(), self._helo)

    # ---- login and TLS -------------------------------------------------------------------------

    async def _on_auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if self._listener.auth is ListenAuth.OFF:
            await self.say("502 5.5.1 no login is needed here, and none is offered")
        elif self._user:
            await self.say("503 5.5.1 already logged in")
        elif not self._login_offered:
            await self._refuse(Reply(538, "5.7.11", f"{LOGIN_NEEDS_TLS}, or set listen.plain_login"))
        elif mechanism.upper() not in {"PLAIN", "LOGIN"}:
            await self.say("504 5.5.4 only AUTH PLAIN and AUTH LOGIN are understood")
        elif (credentials := await ask_credentials(self, mechanism.upper(), initial.strip())) is None:
            await self.say("501 5.7.0 the login was cancelled")
        elif self._listener.auth is ListenAuth.ANY:
            self._quirk("insisted on logging in; any name and password will do here")
            await self.say("235 2.7.0 ok, though no login is needed")
        elif await self._must_come_again():
            await self._login_failed(Reply(454, "4.7.0", "too many wrong passwords; try again in a minute"))
        elif user := sasl.known(credentials, self._listener.users):
            self._user = user
            self._reception.logins.right(self._group)
            await self.say("235 2.7.0 ok")
        else:
            await self._login_failed(Reply(535, "5.7.8", "wrong user name or password"))

    async def _must_come_again(self) -> bool:
        """Waits until this client's password may be looked at; whether that would take too long."""
        delay = self._reception.logins.delay(self._group, self.loop.time())
        if delay:
            self.no_timeout()
            self.owing_since = self.loop.time()  # a guess is no reason to keep a place
            await asyncio.sleep(delay)
            self.owing_since = math.inf
        return delay is None

    async def _login_failed(self, reply: Reply) -> None:
        self._reception.login_failed(self._group, self.loop.time())
        await self._refuse(reply)
        self._failed_logins += 1
        if self._failed_logins >= LOGINS:
            await self._cut("4.7.0 too many failed logins")

    async def _on_starttls(self, _argument: str) -> None:
        if self.tls:
            await self.say("503 5.5.1 TLS is already in use")
            return
        if (context := await ready(self._context)) is None:
            await self.say("502 5.5.1 STARTTLS is not offered here; go on without")
            return
        self.transport.pause_reading()  # what comes from now on is for the TLS layer
        await self.say("220 2.0.0 go ahead")
        await self._secure(context)
        self._helo, self._extended, self._user, self._transaction = "", False, "", None  # RFC 3207 s4.2

    async def _secure(self, context: ssl.SSLContext) -> None:
        try:
            await self._upgrade(context)
        except ConnectionResetError as error:
            raise Gone from error  # a port check, or a device that changed its mind
        except OSError as error:
            reason = str(getattr(error, "reason", "") or error or type(error).__name__)
            self._refused(Reply(421, "4.7.0", f"TLS handshake failed: {handshake_advice(reason)} ({reason})"))
            raise Gone from error

    def _tls_in_the_clear(self) -> None:
        cure = "set the device to STARTTLS or to no encryption, or give it a listener with `tls: implicit` (usually port 465)"
        self._refused(Reply(421, "4.7.0", f"the device is set to SSL/TLS, but this port begins in the clear: {cure}"))

    # ---- the rest ------------------------------------------------------------------------------

    async def _on_rset(self, _argument: str) -> None:
        self._transaction = None
        await self.say("250 2.0.0 ok")

    async def _on_noop(self, _argument: str) -> None:
        await self.say("250 2.0.0 ok")

    async def _on_vrfy(self, _argument: str) -> None:
        await self.say("252 2.5.2 send the mail and see")

    async def _on_help(self, _argument: str) -> None:
        await self.say("214 2.0.0 HELO EHLO MAIL RCPT DATA RSET NOOP AUTH STARTTLS QUIT")

    async def _on_quit(self, _argument: str) -> None:
        await self.say("221 2.0.0 bye")
        raise Gone


_VERBS: Mapping[str, Callable[[Session, str], Awaitable[None]]] = {
    "HELO": Session._on_helo,
    "EHLO": Session._on_ehlo,
    "MAIL": Session._on_mail,
    "RCPT": Session._on_rcpt,
    "DATA": Session._on_data,
    "BDAT": Session._on_bdat,
    "RSET": Session._on_rset,
    "NOOP": Session._on_noop,
    "QUIT": Session._on_quit,
    "AUTH": Session._on_auth,
    "STARTTLS": Session._on_starttls,
    "VRFY": Session._on_vrfy,
    "HELP": Session._on_help,
}
