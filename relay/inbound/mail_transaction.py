"""The mail transactions of one session: MAIL, RCPT, DATA.  RFC 5321 s3.3.

`admission` decides on refusals; `dialect` reads the commands.
"""

import traceback
from functools import partial
from typing import Any

from relay import crash_points, events
from relay.inbound.admission import (
    HostAddress,
    ListenAuth,
    Listener,
    ListenTls,
    OutsideNetworks,
    admit_origin,
    admit_size,
    expand,
)
from relay.inbound.connection import Connection, SessionOver
from relay.inbound.data_reader import ConnectionLost, receive
from relay.inbound.device_rules import admit_device_size, recipients_of
from relay.inbound.dialect import MailArgument, mail_argument, rcpt_argument, transfer_protocol
from relay.inbound.message_buffer import MessageBuffer
from relay.inbound.server_certificate import Offer
from relay.inbound.server_state import ServerState, Transaction
from relay.mail.address import Address, BadAddress, with_a_labels
from relay.mail.device import Device, known_as
from relay.mail.envelope import Origin
from relay.mail.reply import Reply

BOGUS = 20
"""Unknown commands after which the connection is closed; real devices send a few probes, scanners hundreds."""
LOGIN_NEEDS_TLS = "a login needs TLS here: set the device to STARTTLS"
TLS_FIRST = Reply(530, "5.7.0", "TLS comes first here: set the device to STARTTLS")
_LONGEST_REPLY = 500  # RFC 5321 s4.5.3.1.5 allows 512 octets with CRLF


class MailTransaction(Connection):
    """MAIL, RCPT and DATA of one client.  `context` None: TLS is not offered."""

    envelope: Transaction

    def __init__(self, state: ServerState, listener: Listener, context: Offer, **settings: Any) -> None:
        policy = state.policy
        super().__init__(
            policy.limits.idle.total_seconds(), hostname=policy.hostname, data_size_limit=policy.max_message, **settings
        )
        self._state = state
        self._policy = policy
        self._listener = listener
        self._context = context
        self._client = self._group = ""
        self._address: HostAddress
        self._quirks: dict[str, None] = {}
        self._bogus = self._refusals = 0
        self._failed_logins = 0
        self._quit_only = ""
        self._refused_data = False
        self._unwelcome = ""
        self._retired = False

    def _create_envelope(self) -> Transaction:
        return Transaction()

    @property
    def _user(self) -> str:
        """The name that the client logged in with; "" if it did not."""
        return self.session.auth_data or ""

    @property
    def tls_missing(self) -> bool:
        """Whether the client must start TLS before it does anything else."""
        return self._listener.tls is ListenTls.REQUIRED and not self.tls

    @property
    def login_offered(self) -> bool:
        """A password must not go over the network in clear text, unless the listener allows it or has no TLS at all."""
        listener = self._listener
        if listener.auth is ListenAuth.REQUIRED:
            return bool(self.tls) or (not self.tls_missing and (listener.plain_login or listener.tls is ListenTls.OFF))
        return listener.auth is ListenAuth.ANY and not self.tls_missing

    # ---- envelope ------------------------------------------------------------------------------

    async def smtp_MAIL(self, argument: str) -> None:
        """aiosmtpd refuses much of what devices write, and decodes encoded-words within an address."""
        quirks = []
        if self.envelope.mail:
            quirks.append("MAIL twice without RSET; the first was forgotten")
            self._set_rset_state()
        self.envelope.device = None  # a refused MAIL may have left one
        self._policy = self._state.policy  # a reload reaches sessions that are open, and no transaction that has begun
        if self.tls_missing:
            await self._refuse(TLS_FIRST)
            return
        if refusal := admit_origin(self._address, self._user, self._listener, self._state.masks):
            needs_tls = refusal.code == 530 and not self.login_offered
            await self._refuse(Reply(530, "5.7.0", f"{LOGIN_NEEDS_TLS} and to log in") if needs_tls else refusal)
            return
        if not argument:
            await self.say("501 5.5.4 a sender is missing: MAIL FROM:<address>")
            return
        try:
            mail = mail_argument(argument)
        except BadAddress as error:
            await self._refuse(Reply(553, "5.1.7", f"the sender cannot be understood: {error}"))
            return
        state = self._state
        limits, room = self._policy.limits, state.spool.room()
        refusal = (
            admit_size(mail.size, self._policy.max_message, room)
            or state.throttle.admit(self._client, state.now(), limits.messages_per_minute)
            or await state.shares.admit(self._group, mail.size, room, limits)
        )
        device = None
        if self._policy.devices and not refusal:
            device = known_as(self._policy.devices, self._client, self._user, self.session.host_name or "")
            refusal = await state.admit_device(device, mail.size) if device else None
        self.envelope.device = device
        if refusal:
            await self._refuse(refusal)
            return
        if not self.session.host_name:
            quirks.append("MAIL without a usable HELO")
        if mail.reverse_path and not mail.reverse_path.ascii and not mail.utf8:
            quirks.append("8-bit sender without SMTPUTF8")
        self.envelope.mail, self.envelope.quirks = mail, dict.fromkeys([*quirks, *mail.quirks])
        await self.say("250 2.1.0 ok")

    async def smtp_RCPT(self, argument: str) -> None:
        """For the same reason as MAIL; and one command may name several recipients."""
        transaction = self.envelope
        if transaction.mail is None:
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
        most = self._policy.limits.recipients
        if len(transaction.forward_paths | targets) > most or len(transaction.addressed) > most:
            await self._refuse(Reply(452, "4.5.3", "too many recipients in one message (limits.recipients)"))
            return
        transaction.quirks |= dict.fromkeys(quirks)
        transaction.forward_paths |= {key: one for key, one in targets.items() if key not in transaction.forward_paths}
        await self.say("250 2.1.5 ok")

    def _admit_recipient(self, transaction: Transaction, path: Address) -> dict[str, Address] | Reply:
        mail, recipients, device = transaction.mail or MailArgument(None), self._policy.recipients, transaction.device
        replaced = recipients.everything_to or (device and device.to)  # then nobody is ever sent the address itself
        if not mail.utf8 and not replaced:
            try:
                path = with_a_labels(path)
            except UnicodeError:
                return Reply(501, "5.1.3", "the recipient cannot be understood: its domain is none")
        if not path.ascii and not mail.utf8 and not replaced:
            return Reply(553, "5.6.7", "a recipient with 8-bit letters needs SMTPUTF8 after MAIL")
        targets = recipients_of(path, device, recipients) if device or replaced else expand(path, recipients)
        if isinstance(targets, Reply):
            return targets
        origin = self._origin(transaction)
        for target in targets:
            if refusal := self._state.may_route(mail.reverse_path, target, origin):
                return refusal
        if targets != (path,):
            transaction.meant[f"{path} means {', '.join(map(str, targets))}"] = None
            transaction.addressed[str(path)] = None
        return {target.key: target for target in targets}

    # ---- content -------------------------------------------------------------------------------

    async def smtp_DATA(self, _argument: str) -> None:
        """aiosmtpd keeps a whole message in memory, waits for CRLF without end, and has one timeout for all content."""
        transaction = self.envelope
        if transaction.mail is None or not transaction.forward_paths:
            missing = "554 5.5.1 no valid recipient" if transaction.mail else "503 5.5.1 MAIL and RCPT come before DATA"
            await self.say(missing)
            if self.pending:
                await self._cut("4.7.0 DATA was refused, its content cannot be taken")
            self._refused_data = True
            return
        await self.say("354 go ahead; end with a dot alone on a line")
        self._set_post_data_state()
        content = MessageBuffer(self._state.state_dir, self._state.spool, self._state.memory)
        try:
            reply = await self._take(transaction, content)
        except Exception:  # not when cancelled: the spool may be reading the content
            content.close()
            raise
        finally:
            content.let_go()
            self._state.shares.comes(self._group, -content.size)
        if not reply.positive:
            content.close()
            self._refused(reply)
        await self._reply(reply)
        if reply.positive:
            self.useful_at = self.loop.time()
            crash_points.passed("accept-promised")

    async def _take(self, transaction: Transaction, content: MessageBuffer) -> Reply:
        try:
            arrival = await receive(self, content, partial(self._admit_piece, transaction.device))
        except ConnectionLost as error:
            self._refused(Reply.of(421, self.dismissed) if self.dismissed else Reply(451, "4.4.2", str(error)))
            raise SessionOver from error
        if self.dismissed:
            raise SessionOver  # the client got a 421, and will send the message again
        self._quit_only = "an end of data by a bare line end" if arrival.irregular else ""
        transaction.quirks |= dict.fromkeys(arrival.quirks)
        if arrival.refusal:
            return arrival.refusal
        self.no_timeout()  # the time of a slow disk is not the client's
        return await self._state.accept(transaction, self._origin(transaction), content, self._policy)

    async def _admit_piece(self, device: Device | None, content: MessageBuffer, octets: int) -> Reply | None:
        """None if that many more octets may come.  Content that cannot be stored in the end is not collected."""
        room = self._state.spool.room() + content.stored
        refusal = admit_size(content.size + octets, self._policy.max_message, room)
        if device:
            refusal = refusal or admit_device_size(content.size + octets, device)
        refusal = refusal or await self._state.shares.admit(self._group, octets, room, self._policy.limits)
        if not refusal:
            self._state.shares.comes(self._group, octets)
        return refusal

    # ---- replies -------------------------------------------------------------------------------

    def _origin(self, transaction: Transaction) -> Origin:
        user = self._user
        return Origin(
            client=self._client,
            helo=self.session.host_name or "",
            listener=self._listener.name,
            protocol=transfer_protocol(extended=self.session.extended_smtp, tls=bool(self.tls), login=bool(user)),
            tls=self.tls,
            user=user,
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
        helo = self.session.host_name or ""
        quirks = [*self._quirks, *self.envelope.quirks]
        device = self._state.devices.saw(self._client, self._state.now(), helo, quirks, self._user)
        device.refused += 1
        device.last_refusal, device.outside = str(reply), isinstance(reply, OutsideNetworks)
        self._state.tell(self._client, reply, self.envelope.device)
        fields |= {"helo": helo, "listener": self._listener.name, "code": f"{reply.code} {reply.status}"}
        events.note("refused", str(reply), client=self._client, **fields)

    async def _cut(self, text: str) -> None:
        self._refused(Reply.of(421, text))
        await self.say(f"421 {text}")
        raise SessionOver

    def _unexpected_error(self, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}:{place.lineno}"
        events.note("broken", f"{type(error).__name__}: {error}", client=self._client, where=where)
