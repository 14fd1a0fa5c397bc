"""One client's dialog: greeting, login, envelope, content, and the 250 that promises.  RFC 5321 s3, RFC 6409.

Refusals are values from `admission`; what a device means comes from `dialect`.  Whatever goes wrong inside is answered
`451 4.3.0` and noted, never told in detail.
"""

import asyncio
import ssl
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from relay import crash_points, events
from relay.inbound import sasl
from relay.inbound.admission import (
    ListenAuth,
    Listener,
    ListenTls,
    admit_client,
    admit_origin,
    admit_session,
    admit_size,
    client_address,
    expand,
)
from relay.inbound.certificate import Offer, handshake_advice, ready
from relay.inbound.connection import Connection, Gone
from relay.inbound.content import IncomingContent
from relay.inbound.dialect import clean_helo, is_http, mail_argument, rcpt_argument, read_command, transfer_protocol
from relay.inbound.intake import LineLost, receive
from relay.inbound.login import ask_credentials
from relay.inbound.reception import Reception, Transaction
from relay.mail.address import Address, BadAddress, with_a_labels
from relay.mail.envelope import Origin
from relay.mail.reply import Reply

BOGUS = 20
"""Unknown commands before the line is cut; real devices send a few probes, scanners hundreds."""
LOGINS = 5
_LONGEST_REPLY = 500  # RFC 5321 s4.5.3.1.5 allows 512 octets with CRLF


class Session(Connection):
    """A conversation on one listener; `context` None means that TLS cannot be had."""

    def __init__(self, reception: Reception, listener: Listener, context: Offer) -> None:
        super().__init__(reception.policy.limits.idle.total_seconds())
        self._reception = reception
        self._policy = reception.policy
        self._listener = listener
        self._context = context
        self._client = ""
        self._helo = ""
        self._extended = False
        self._user = ""
        self._transaction: Transaction | None = None
        self._quirks: dict[str, None] = {}
        self._bogus = self._refusals = 0
        self._failed_logins = 0
        self._quit_only = False
        self._refused_data = False
        self._turned_away: Reply | None = None

    # ---- coming and going ----------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        peer = transport.get_extra_info("peername")
        if self._listener.tls is ListenTls.IMPLICIT:
            transport.pause_reading()  # the ClientHello is for the TLS layer
        if peer:
            address = client_address(peer[0])
            self._client = str(address)
            self._reception.make_room(self._client)
            self._turned_away = admit_session(
                len(self._reception.sessions), self._reception.per_client[self._client], self._policy.limits
            ) or admit_client(address, self._listener)
        self._reception.enter(self, self._client)
        super().connection_made(transport)
        if self.task:
            self.task.add_done_callback(lambda _: self._reception.leave(self, self._client))

    async def _converse(self) -> None:
        if not self._client:
            return  # gone before it was looked at: a port check
        if self._turned_away:
            self._refused(self._turned_away)
            await self._reply(self._turned_away)
            return
        if self._listener.tls is ListenTls.IMPLICIT and (context := await ready(self._context)):
            await self._secure(context)
        await self.say(f"220 {self._policy.hostname} ESMTP")
        while (line := await self.next_line()) is not None:
            await self._answer(line)
            if self.pending:
                await asyncio.sleep(0)  # who pipelines thousands of commands must not stop the others
            if self._reception.draining:
                self.dismiss("4.3.2 the relay is stopping; try again soon")
                return

    async def _answer(self, line: bytes) -> None:
        command = read_command(line)
        if not command.verb and not command.argument:
            return  # an empty line between commands: some firmware ends its lines twice
        if self._quit_only and command.verb != "QUIT":
            await self._cut("4.7.0 after an end of data by a bare line end only QUIT is understood")
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

    def _surprised(self, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}:{place.lineno}"
        events.note("broken", f"{type(error).__name__}: {error}", client=self._client, where=where)

    async def _unknown(self, verb: str) -> None:
        if self._refused_data:
            # The device did not wait for 354: its content must never be read as commands.
            await self._cut("4.7.0 DATA was refused, its content cannot be taken")
        if verb in {"EXPN", "BDAT", "ETRN", "TURN", "SEND", "SOML", "SAML", "BURL"}:
            await self.say(f"502 5.5.1 {verb} is not offered")
            return
        self._bogus += 1
        if self._bogus >= BOGUS:
            await self._cut("4.7.0 too many unknown commands")
        await self.say("500 5.5.1 the command is not understood")

    async def _cut(self, text: str) -> None:
        self._refused(Reply.of(421, text))
        await self.say(f"421 {text}")
        raise Gone

    # ---- greeting ------------------------------------------------------------------------------

    async def _on_helo(self, argument: str) -> None:
        self._greeted(argument, extended=False)
        await self.say(f"250 {self._policy.hostname}")

    async def _on_ehlo(self, argument: str) -> None:
        self._greeted(argument, extended=True)
        offers = [f"SIZE {self._policy.max_message}", "8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "SMTPUTF8"]
        if self._context and not self.tls:
            offers.append("STARTTLS")
        if self._listener.auth is not ListenAuth.OFF:
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
        elif mechanism.upper() not in {"PLAIN", "LOGIN"}:
            await self.say("504 5.5.4 only AUTH PLAIN and AUTH LOGIN are understood")
        elif (credentials := await ask_credentials(self, mechanism.upper(), initial.strip())) is None:
            await self.say("501 5.7.0 the login was cancelled")
        elif self._listener.auth is ListenAuth.ANY:
            self._quirk("insisted on logging in; any name and password will do here")
            await self.say("235 2.7.0 ok, though no login is needed")
        elif user := sasl.known(credentials, self._listener.users):
            self._user = user
            await self.say("235 2.7.0 ok")
        else:
            await self._login_failed()

    async def _login_failed(self) -> None:
        self._failed_logins += 1
        self._refused(Reply(535, "5.7.8", "wrong user name or password"))
        await self.say("535 5.7.8 wrong user name or password")
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

    # ---- envelope ------------------------------------------------------------------------------

    async def _on_mail(self, argument: str) -> None:
        quirks = ["MAIL twice without RSET; the first was forgotten"] if self._transaction else []
        self._transaction = None
        if refusal := admit_origin(client_address(self._client), self._user, self._listener, self._reception.masks):
            await self._refuse(refusal)
            return
        if not argument:
            await self.say("501 5.5.4 a sender is missing: MAIL FROM:<address>")
            return
        try:
            mail = mail_argument(argument)
        except BadAddress as error:
            await self._refuse(Reply(553, "5.1.7", f"the sender cannot be understood: {error}"))
            return
        reception = self._reception
        refusal = admit_size(mail.size, self._policy.max_message, reception.spool.room()) or reception.throttle.admit(
            self._client, reception.now(), self._policy.limits
        )
        if refusal:
            await self._refuse(refusal)
            return
        if not self._helo:
            quirks.append("MAIL without a usable HELO")
        if mail.reverse_path and not mail.reverse_path.ascii and not mail.utf8:
            quirks.append("8-bit sender without SMTPUTF8")
        self._transaction = Transaction(mail, quirks=dict.fromkeys([*quirks, *mail.quirks]))
        await self.say("250 2.1.0 ok")

    async def _on_rcpt(self, argument: str) -> None:
        transaction = self._transaction
        if transaction is None:
            await self.say("503 5.5.1 MAIL comes before RCPT")
            return
        try:
            paths, quirks = rcpt_argument(argument)
        except BadAddress as error:
            await self._refuse(Reply(501, "5.1.3", f"the recipient cannot be understood: {error}"))
            return
        if not paths:
            await self._refuse(Reply(501, "5.1.3", "the recipient is empty"))
            return
        targets: dict[str, Address] = {}
        for path in paths:
            found = self._admit_recipient(transaction, path)
            if isinstance(found, Reply):
                await self._refuse(found, recipient=str(path))
                return
            targets |= found
        if len(transaction.forward_paths | targets) > self._policy.limits.recipients:
            await self._refuse(Reply(452, "4.5.3", "too many recipients in one message (limits.recipients)"))
            return
        transaction.quirks |= dict.fromkeys(quirks)
        transaction.forward_paths |= {key: one for key, one in targets.items() if key not in transaction.forward_paths}
        await self.say("250 2.1.5 ok")

    def _admit_recipient(self, transaction: Transaction, path: Address) -> dict[str, Address] | Reply:
        if not path.ascii and not transaction.mail.utf8:
            try:
                path = with_a_labels(path)
            except UnicodeError:
                return Reply(501, "5.1.3", "the recipient cannot be understood: its domain is none")
        if not path.ascii and not transaction.mail.utf8:
            return Reply(553, "5.6.7", "a recipient with 8-bit letters needs SMTPUTF8 after MAIL")
        targets = expand(path, self._policy.recipients)
        if isinstance(targets, Reply):
            return targets
        origin = self._origin(transaction)
        for target in targets:
            if refusal := self._reception.may_route(transaction.mail.reverse_path, target, origin):
                return refusal
        if targets != (path,):
            transaction.meant[f"{path} means {', '.join(map(str, targets))}"] = None
        return {target.key: target for target in targets}

    # ---- content -------------------------------------------------------------------------------

    async def _on_data(self, _argument: str) -> None:
        transaction = self._transaction
        if transaction is None or not transaction.forward_paths:
            missing = "554 5.5.1 no valid recipient" if transaction else "503 5.5.1 MAIL and RCPT come before DATA"
            await self.say(missing)
            if self.pending:
                await self._cut("4.7.0 DATA was refused, its content cannot be taken")
            self._refused_data = True
            return
        await self.say("354 go ahead; end with a dot alone on a line")
        self._transaction = None
        content = IncomingContent(self._reception.state_dir, self._reception.spool)
        try:
            reply = await self._take(transaction, content)
        except Exception:  # not when cancelled: the spool may be reading it
            content.close()
            raise
        if not reply.positive:
            content.close()
            self._refused(reply)
        await self._reply(reply)
        if reply.positive:
            crash_points.passed("accept-promised")

    async def _take(self, transaction: Transaction, content: IncomingContent) -> Reply:
        try:
            arrival = await receive(self, content, self._policy.max_message, self._reception.spool.room)
        except LineLost as error:
            self._refused(Reply(451, "4.4.2", str(error)))
            raise Gone from error
        self._quit_only = arrival.irregular
        transaction.quirks |= dict.fromkeys(arrival.quirks)
        if arrival.refusal:
            return arrival.refusal
        self.no_timeout()  # a slow disk is not the device's idleness
        return await self._reception.accept(transaction, self._origin(transaction), content, self._policy)

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

    # ---- words ---------------------------------------------------------------------------------

    def _origin(self, transaction: Transaction) -> Origin:
        return Origin(
            client=self._client,
            helo=self._helo,
            listener=self._listener.name,
            protocol=transfer_protocol(extended=self._extended, tls=bool(self.tls), login=bool(self._user)),
            tls=self.tls,
            user=self._user,
            quirks=tuple(dict.fromkeys([*self._quirks, *transaction.quirks])),
        )

    def _quirk(self, text: str) -> None:
        self._quirks[text] = None

    async def _reply(self, reply: Reply) -> None:
        await self.say(" ".join(str(reply).split())[:_LONGEST_REPLY])

    async def _refuse(self, reply: Reply, **fields: str) -> None:
        self._refused(reply, **fields)
        await self._reply(reply)
        self._refusals += 1
        if self._refusals > self._policy.limits.recipients + BOGUS:
            await self._cut("4.7.0 too many refused commands in one session")

    def _refused(self, reply: Reply, **fields: str) -> None:
        quirks = [*self._quirks, *(self._transaction.quirks if self._transaction else ())]
        device = self._reception.devices.saw(self._client, self._reception.now(), self._helo, quirks)
        device.refused += 1
        device.last_refusal = str(reply)
        self._reception.tell(self._client, reply)
        events.note("refused", str(reply), client=self._client, helo=self._helo, listener=self._listener.name, **fields)


_VERBS: Mapping[str, Callable[[Session, str], Awaitable[None]]] = {
    "HELO": Session._on_helo,
    "EHLO": Session._on_ehlo,
    "MAIL": Session._on_mail,
    "RCPT": Session._on_rcpt,
    "DATA": Session._on_data,
    "RSET": Session._on_rset,
    "NOOP": Session._on_noop,
    "QUIT": Session._on_quit,
    "AUTH": Session._on_auth,
    "STARTTLS": Session._on_starttls,
    "VRFY": Session._on_vrfy,
    "HELP": Session._on_help,
}
