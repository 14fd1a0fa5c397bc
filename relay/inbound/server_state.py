"""What all listeners share: the sessions, their limits, alerts, and the commit of a message into the spool."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import Envelope

from relay import crash_points, events
from relay.inbound.admission import (
    ClientLimits,
    HostAddress,
    OverShare,
    Recipients,
    Throttle,
    admit_hops,
    admit_size,
    client_address,
    client_group,
    header_facts,
)
from relay.inbound.alert_dedup import AlertDedup
from relay.inbound.connection import Connection
from relay.inbound.data_reader import BROKEN_REPLY, FULL_REPLY
from relay.inbound.device_rules import DeviceThrottle, OverDeviceLimit, admit_device_size
from relay.inbound.dialect import MailArgument
from relay.inbound.login_check import LoginCheck
from relay.inbound.login_throttle import TOLD_AFTER, LoginThrottle
from relay.inbound.message_buffer import MemoryBudget, MessageBuffer
from relay.inbound.seen_clients import SeenClients
from relay.inbound.session_slots import SessionSlots
from relay.inbound.spool_share import SpoolShare
from relay.mail.address import Address
from relay.mail.device import Device, device_of
from relay.mail.envelope import Envelope as MailEnvelope
from relay.mail.envelope import Origin
from relay.mail.reply import Reply
from relay.spool.contract import AcceptingSpool, SpoolAway, SpoolBroken, SpoolFull
from relay.spool.entry import Detail, Entry, TrailLine

FULL, BROKEN = "spool full", "spool broken"
"""Causes of alerts; both are over as soon as a message is stored."""

MayRoute = Callable[[Address | None, Address, Origin], Reply | None]
Copies = Callable[[Address | None, Iterable[Address], Origin, Device | None], Iterable[Address]]
"""Who gets a copy of a message from this sender to these recipients."""


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """What a reload may change; a transaction keeps the one it began with.  `copies` None: nobody ever gets one."""

    hostname: str
    limits: ClientLimits
    recipients: Recipients
    max_message: int
    devices: tuple[Device, ...] = ()
    copies: Copies | None = None


class Transaction(Envelope):
    """One MAIL and its RCPTs (RFC 5321 s3.3); `mail` is None before MAIL.  `meant` has the aliases used, as sentences.

    `addressed` are the paths that stand for other addresses; `device` is whose mail it is, if that is known.

    aiosmtpd makes a new one where the protocol says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mail: MailArgument | None = None
        self.forward_paths: dict[str, Address] = {}
        self.meant: dict[str, None] = {}
        self.addressed: dict[str, None] = {}
        self.device: Device | None = None
        self.quirks: dict[str, None] = {}


@dataclass(slots=True)
class ServerState:
    """The state behind the listeners; one for the whole relay."""

    policy: ServerPolicy
    spool: AcceptingSpool
    may_route: MayRoute
    now: Callable[[], datetime]
    new_queue_id: Callable[[datetime], str]
    state_dir: Path
    masks: frozenset[HostAddress] = frozenset()
    devices: SeenClients = field(default_factory=SeenClients)
    throttle: Throttle = field(default_factory=Throttle)
    device_throttle: DeviceThrottle = field(default_factory=DeviceThrottle)
    slots: SessionSlots = field(default_factory=SessionSlots)
    commits: set[asyncio.Task[Any]] = field(default_factory=set)
    """Sessions that wait for a commit; the relay does not stop before it is done."""
    alarm: Callable[[str, str], None] = lambda _text, _cause: None
    alerts: AlertDedup = field(default_factory=AlertDedup)
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    logins: LoginThrottle = field(default_factory=LoginThrottle)
    passwords: LoginCheck = field(default_factory=LoginCheck)
    shares: SpoolShare = field(init=False)
    draining: bool = False

    def __post_init__(self) -> None:
        self.shares = SpoolShare(self.spool.kept_by_client, time.monotonic)

    @property
    def sessions(self) -> dict[Connection, str]:
        """The sessions that have a slot, and the client of each."""
        return self.slots.sessions

    async def accept(self, transaction: Transaction, origin: Origin, content: MessageBuffer, policy: ServerPolicy) -> Reply:
        """Checks the whole message, commits it, and returns the reply to the dot."""
        crash_points.passed("accept-received")
        facts = header_facts(bytes(content.head), policy.hostname)
        if refusal := admit_hops(facts) or admit_size(content.size, policy.max_message, self.spool.room() + content.stored):
            return refusal
        now, mail = self.now(), transaction.mail or MailArgument(None)
        copies: list[Address] = []
        if policy.copies:
            known = transaction.forward_paths
            wanted = policy.copies(mail.reverse_path, known.values(), origin, transaction.device)
            copies = list({one.key: one for one in wanted if one.key not in known}.values())
        entry = Entry(
            queue_id=self.new_queue_id(now),
            accepted_at=now,
            origin=origin,
            envelope=MailEnvelope(mail.reverse_path, (*transaction.forward_paths.values(), *copies), mail.body, mail.utf8),
            size=content.size,
            content=content.source,
            message_id=facts.message_id,
            digest=content.digest,
        )
        line = _accepted_line(entry, facts.subject, transaction, copies)
        if refusal := await self._store(entry, content, (line,)):
            return refusal
        crash_points.passed("accept-durable")
        self._accepted(entry, transaction.device)
        if transaction.device:
            self.device_throttle.count(transaction.device, now)
        return Reply(250, "2.0.0", f"queued as {entry.queue_id}")

    async def _store(self, entry: Entry, content: MessageBuffer, trail: tuple[TrailLine, ...]) -> Reply | None:
        """Commits the entry; None when it is durable, else the refusal.  A lost connection does not stop the commit."""
        conversation = cast("asyncio.Task[Any]", asyncio.current_task())
        self.commits.add(conversation)
        began = time.monotonic()
        try:
            await self.spool.commit(entry, trail)
            events.took("accepting", time.monotonic() - began)
            self.alerts.ended(FULL, BROKEN)
        except SpoolFull:
            return FULL_REPLY
        except SpoolAway:
            return Reply(451, "4.3.2", "the queue cannot be reached; try again later")
        except SpoolBroken as error:
            events.note("broken", f"the spool cannot take mail: {error}", queue_id=entry.queue_id)
            return BROKEN_REPLY
        finally:
            content.close()
            self.commits.discard(conversation)
        return None

    def login_failed(self, client: str, at: float) -> None:
        """Counts a wrong password; many of them cause one alert."""
        whom = self.logins.failed(client, at)
        if whom is None:
            return
        cause = f"logins from {whom}" if whom else "logins"
        text = "Wrong passwords for this relay come from many addresses: somebody is guessing. Such tries are slowed down."
        if whom:
            text = (
                f"{whom} has sent {TOLD_AFTER} wrong passwords within an hour: a device with an old password, or somebody who"
                " is guessing. Its tries are slowed down. Correct the password in the device, or find out who that is."
            )
        if self.alerts.begins(cause, self.now(), ends_by_itself=True):
            self.alarm(text, cause)

    async def admit_device(self, device: Device, said: int) -> Reply | None:
        """None if this device may send one more message, of so many octets as far as it says."""
        now = self.now()
        if device.limits.per_day is not None and self.device_throttle.begins(now):
            await self._count_today(now)
        return admit_device_size(said, device) or self.device_throttle.admit(device, now)

    async def _count_today(self, now: datetime) -> None:
        """What the devices sent today before this process began."""
        sent: Counter[str] = Counter()
        try:
            for one in await self.spool.heard(now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)):
                if device := device_of(self.policy.devices, one.origin):
                    sent[device.name] += one.messages
        except SpoolBroken:
            return  # the commit will report the fault
        self.device_throttle.knows(sent, now)

    def tell(self, client: str, reply: Reply, device: Device | None) -> None:
        """Sends an alert about a refusal that a person must know of, once, when its cause begins."""
        kind = {OverShare: "share", OverDeviceLimit: "device"}.get(type(reply), reply.status)
        match reply.code, kind:
            case 450, "device" if device:
                cause = f"limits of {device.name}"
                text = (
                    f"The device {device.name} ({client}) sends more than its limits allow: {reply.text}. Is it broken?"
                    " Messages over a limit are answered 450."
                )
            case 452, "share":
                cause = f"share of {client}"
                text = (
                    f"Mail of the device {client} takes {self.policy.limits.share} % of the room for mail: is it broken, or"
                    " is its mail not relayed? More mail from it is answered 452; other devices are served (limits.share)."
                )
            case 452, "4.3.1":
                cause = FULL
                text = (
                    "The spool is full: devices are told to try again later (452). Accepted mail is safe and is still"
                    " relayed. Make room on the spool's disk; spool.keep_free is the reserve."
                )
            case 452, "4.3.0":
                cause = BROKEN
                text = (
                    "The spool cannot be written (see the log): devices are told to try again later (452)."
                    " Check the disk. The relay goes on by itself when it can write again."
                )
            case 451, "4.3.2":
                cause = BROKEN
                text = (
                    "The spool's database cannot be reached: devices are told to try again later (451). Accepted mail"
                    " is safe there and is relayed when the database is back."
                )
            case 450, "4.7.1":
                cause = f"flood from {client}"
                text = (
                    f"The device {client} sends more than {self.policy.limits.messages_per_minute} messages a minute: is it"
                    " broken? Messages over the limit are answered 450, so none is lost (limits.messages_per_minute)."
                )
            case _:
                return
        if self.alerts.begins(cause, self.now(), ends_by_itself=cause not in (FULL, BROKEN)):
            self.alarm(text, cause)

    def _accepted(self, entry: Entry, device: Device | None) -> None:
        origin, named = entry.origin, {"device": device.name} if device else {}
        self.throttle.count(origin.client, entry.accepted_at)
        self.shares.accepted(client_group(client_address(origin.client)), entry.size)
        self.devices.saw(origin.client, entry.accepted_at, origin.helo, origin.quirks, origin.user).messages += 1
        events.note(
            "accepted",
            queue_id=entry.queue_id,
            client=origin.client,
            helo=origin.helo,
            listener=origin.listener,
            tls=origin.tls,
            sender=str(entry.envelope.reverse_path or "<>"),
            recipients=[str(one) for one in entry.envelope.forward_paths],
            size=entry.size,
            quirks=list(origin.quirks),
            **named,
        )


def _accepted_line(entry: Entry, subject: str, transaction: Transaction, copies: Sequence[Address]) -> TrailLine:
    origin = entry.origin
    words = [f"from {origin.client}" + (f" ({origin.helo})" if origin.helo else ""), f"{entry.size} octets"]
    words += [f"understood: {'; '.join(origin.quirks)}"] if origin.quirks else []
    details: dict[str, Detail] = {
        "client": origin.client,
        "helo": origin.helo,
        "listener": origin.listener,
        "protocol": origin.protocol,
        "tls": origin.tls,
        "user": origin.user,
        "quirks": list(origin.quirks),
        "size": entry.size,
        "subject": subject,
    }
    if transaction.device:
        details["device"] = transaction.device.name
    if transaction.addressed:
        details["addressed"] = list(transaction.addressed)
    if copies:
        details["copies"] = [str(one) for one in copies]
        words.append(f"a copy for {', '.join(map(str, copies))}")
    return TrailLine(entry.accepted_at, "accepted", ", ".join([*words, *transaction.meant]), details)
