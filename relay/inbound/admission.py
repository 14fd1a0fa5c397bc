"""Who may submit, and what: the listeners' policy, and the decisions made by it.  RFC 6409 s4, s6.  Pure."""

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from relay.mail.address import Address
from relay.mail.line_ends import header_text
from relay.mail.reply import Reply
from relay.networks import with_port
from relay.secret import Secret

Network = IPv4Network | IPv6Network
HostAddress = IPv4Address | IPv6Address


class ListenTls(Enum):
    """STARTTLS offers TLS; REQUIRED takes neither a login nor mail before it; IMPLICIT begins with it."""

    OFF = "off"
    STARTTLS = "starttls"
    REQUIRED = "required"
    IMPLICIT = "implicit"


class ListenAuth(Enum):
    """ANY accepts every login with 235; REQUIRED accepts only the users of the listener."""

    ANY = "any"
    OFF = "off"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Listener:
    """One address that devices connect to, and who may submit there.

    `on_purpose`: the networks that the configuration lists itself, not only by `private`.  `users`: passwords, or their
    hashes.  `plain_login`: passwords may come without TLS.
    """

    host: str = "0.0.0.0"  # noqa: S104 - the networks below decide who may speak
    port: int = 25
    networks: tuple[Network, ...] = ()
    on_purpose: tuple[Network, ...] = ()
    tls: ListenTls = ListenTls.STARTTLS
    tls_cert: str = ""
    tls_key: str = ""
    auth: ListenAuth = ListenAuth.ANY
    users: Mapping[str, Secret] = field(default_factory=dict)
    legacy_tls: bool = False
    plain_login: bool = False

    @property
    def name(self) -> str:
        return with_port(self.host, self.port)

    @property
    def needs_tls(self) -> bool:
        """Whether it is of no use without TLS."""
        login = self.auth is ListenAuth.REQUIRED and self.tls is ListenTls.STARTTLS and not self.plain_login
        return login or self.tls in (ListenTls.REQUIRED, ListenTls.IMPLICIT)


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits for clients: open sessions in all and per client, recipients of one message, messages per client and
    minute, percent of the spool that one client may fill, and idle time per command (in DATA, see `ContentPace`)."""

    connections: int = 100
    per_client: int = 20
    recipients: int = 500
    messages_per_minute: int = 300
    share: int = 50
    idle: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Recipients:
    """`default_domain` completes a bare name ("" if none); `aliases` maps `root`, `a@b` or `*@b` to addresses.

    `everything_to` gets all mail, whatever it is addressed to; (): it goes to whom it is addressed.
    """

    default_domain: str = ""
    aliases: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    everything_to: tuple[Address, ...] = ()


NETWORKS = "listen.networks (RELAY_NETWORKS)"
"""What lets a device in, as replies name it: in a file, and in a compose file."""

MAX_HOPS = 50
"""Received fields that a message may carry (RFC 5321 s6.3 asks for a large threshold)."""
OWN_HOPS = 3
"""How often a message may have passed this relay before.  A mailbox that forwards back to the LAN is no loop yet."""


@lru_cache(maxsize=256)
def client_address(peer: str) -> HostAddress:
    """The peer's address without its zone; as IPv4 when IPv4 came in by a dual-stack socket."""
    address = ip_address(peer.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=256)
def client_group(address: HostAddress) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, all of which one machine may use."""
    return str(address) if address.version == 4 else str(IPv6Network((int(address) >> 64 << 64, 64)))


class OutsideNetworks(Reply):
    """Nothing is wrong but the client's address."""


def admit_client(client: HostAddress, listener: Listener) -> Reply | None:
    """None if this address may submit here, else the reply at connect."""
    if any(client in network for network in listener.networks):
        return None
    return OutsideNetworks(554, "5.7.1", f"{client} may not submit here; to allow it, add its network to {NETWORKS}")


def admit_origin(client: HostAddress, user: str, listener: Listener, masks: Iterable[HostAddress] = ()) -> Reply | None:
    """None if the client is identified: by a login where one is required, else by its address.

    `masks` are addresses that the container's network may show in place of any client's.  They identify nobody, unless
    the configuration lists them.  This is checked at MAIL, not at connect, so that a port check from the host succeeds.
    """
    if listener.auth is ListenAuth.REQUIRED:
        return None if user else Reply(530, "5.7.0", "log in first (AUTH PLAIN or LOGIN)")
    if client not in masks or _on_purpose(client, listener):
        return None
    cure = f"use network_mode: host, or list {client} in {NETWORKS} on purpose"
    return Reply(554, "5.7.1", f"{client} is the container's own network, any client may look like that: {cure}")


def mask_warnings(listeners: Iterable[Listener], masks: Iterable[HostAddress]) -> list[str]:
    """Warnings for the start, when the container's network may hide the clients' addresses: who is refused or let in."""
    shown = sorted(masks, key=lambda address: (address.version, address))
    hidden = [one for one in listeners if one.auth is not ListenAuth.REQUIRED]
    trusting = [one for one in hidden if any(_on_purpose(address, one) for address in shown)]
    doubting = [one.name for one in hidden if one not in trusting]
    addresses = " or ".join(map(str, shown))
    sentences = []
    if shown and doubting:
        sentences.append(
            f"the relay is behind the container's network: clients that seem to come from {addresses} cannot be told"
            f" apart (with some engines that is every client), so {', '.join(doubting)} takes no mail from there; the cure"
            f" is network_mode: host, or listing that address in {NETWORKS} on purpose"
        )
    if shown and trusting:
        sentences.append(
            f"listen.networks has {addresses}, the container's own network, on purpose: any client may look like that, so"
            " whoever reaches the published port may send; publish it on an address of the LAN only"
        )
    return sentences


def _on_purpose(client: HostAddress, listener: Listener) -> bool:
    return any(client in network for network in listener.on_purpose)


def admit_session(open_in_all: int, open_of_client: int, limits: ClientLimits) -> Reply | None:
    """None if one more session may be opened.  The counts do not include it."""
    if open_in_all >= limits.connections:
        return Reply(421, "4.7.0", "too many connections; try again soon (limits.connections)")
    if open_of_client >= limits.per_client:
        return Reply(421, "4.7.0", "too many connections from your address; try again soon (limits.per_client)")
    return None


def admit_size(said: int, max_message: int, room: int) -> Reply | None:
    """None if a message of this many octets may come in.  RFC 1870 s6.1."""
    if said > max_message:
        return Reply(552, "5.3.4", f"the message is larger than {max_message} octets (spool.max_message)")
    if room <= 0 or said > room:
        return Reply(452, "4.3.1", "the spool is full; try again later")
    return None


class OverShare(Reply):
    """The spool has room, but not for more mail of this client."""


def admit_share(taken: int, said: int, whole: int, limits: ClientLimits) -> Reply | None:
    """None if a client whose mail takes `taken` octets may send `said` more; `whole` is the room for all mail."""
    if (taken + said) * 100 <= whole * limits.share:
        return None
    text = f"your mail that waits takes more than {limits.share} % of the room; try again later (limits.share)"
    return OverShare(452, "4.3.1", text)


def expand(address: Address, recipients: Recipients) -> tuple[Address, ...] | Reply:
    """The addresses that a forward-path stands for: aliases resolved, bare names completed.  A Reply if there are none.

    An alias may lead to another alias.  A circle of aliases ends where it closes.
    """
    found: dict[str, Address] = {}
    seen: set[str] = set()
    waiting = deque([address])
    while waiting:
        one = waiting.popleft()
        key = str(one).lower()
        targets = None if key in seen else _alias(one, recipients)
        seen.add(key)
        if targets:
            waiting.extendleft(reversed(targets))
        elif one.qualified:
            found.setdefault(one.key, one)
        elif recipients.default_domain:
            waiting.appendleft(Address(one.local, recipients.default_domain))
        else:
            text = f"{one.local!r} has no domain; set recipients.default_domain or an alias for it"
            return Reply(550, "5.1.1", text)
    return tuple(found.values())


def _alias(address: Address, recipients: Recipients) -> tuple[Address, ...] | None:
    aliases = {name.lower(): targets for name, targets in recipients.aliases.items()}
    return aliases.get(str(address).lower()) or aliases.get(f"*@{address.domain.lower()}")


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """Facts of a header section: Message-ID ("" if none), number of hops, number of them here, the Subject as it came.

    Octets of `subject` that are not ASCII are lone surrogates.  Whoever shows it decodes them.
    """

    message_id: str = ""
    hops: int = 0
    own_hops: int = 0
    subject: str = ""


_SUBJECT = 400  # octets of a subject that are kept, for people who look for their message

_FACT = re.compile(rb"^(received|message-id|subject)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*)", re.IGNORECASE | re.MULTILINE)
_BLANK_LINE = re.compile(rb"\n\r*+\n|(?<!\r)\r{2,}+(?!\n)")  # possessive: a run of CRs is looked at once


def header_facts(head: bytes, hostname: str) -> HeaderFacts:
    """Read from the first octets of a message, whatever its line ends."""
    head = header_text(head.lstrip(b"\r\n"))
    end = _BLANK_LINE.search(head)
    section = head[: end.start()] if end else head
    lines = section.replace(b"\r\n", b"\n")
    if b"\r" in lines:
        lines = b"\n".join(re.split(rb"(?<!\r)\r*+\n|\r", section))
    message_id, hops, own_hops, subject = "", 0, 0, ""
    for one in _FACT.finditer(lines):
        name, value = one[1].lower(), one[2]
        if name == b"received":
            hops += 1
            own_hops += bool(_own_hop(hostname).search(value))
        elif name == b"message-id":
            message_id = message_id or " ".join(value.decode("utf-8", "replace").split())[:998]
        else:
            subject = subject or b" ".join(value.split())[:_SUBJECT].decode("ascii", "surrogateescape")
    return HeaderFacts(message_id, hops, own_hops, subject)


@lru_cache(maxsize=4)
def _own_hop(hostname: str) -> re.Pattern[bytes]:
    return re.compile(rb"\bby\s+" + re.escape(hostname.encode("utf-8")) + rb"(?![\w.-])", re.IGNORECASE)


def admit_hops(facts: HeaderFacts) -> Reply | None:
    """None unless the message is in a loop.  RFC 5321 s6.3."""
    if facts.hops > MAX_HOPS:
        return Reply(554, "5.4.6", f"the message has passed {facts.hops} servers: a mail loop")
    if facts.own_hops > OWN_HOPS:
        return Reply(554, "5.4.6", f"the message was here {facts.own_hops} times before: a mail loop")
    return None


class Throttle:
    """Messages per client within the last minute.  Clients that sent nothing in it are forgotten."""

    def __init__(self) -> None:
        self._times: dict[str, deque[datetime]] = {}

    def admit(self, client: str, now: datetime, most: int) -> Reply | None:
        """None if this client may send one more message now: fewer than `most` came in the last minute."""
        times = self._times.get(client)
        while times and not timedelta() <= now - times[0] < timedelta(minutes=1):
            times.popleft()
        if times and len(times) >= most:
            return Reply(450, "4.7.1", "too many messages within a minute; try again soon (limits.messages_per_minute)")
        return None

    def count(self, client: str, now: datetime) -> None:
        """One more message of this client was accepted."""
        if len(self._times) > 1000 and client not in self._times:
            self._times = {who: times for who, times in self._times.items() if now - times[-1] < timedelta(minutes=1)}
        self._times.setdefault(client, deque()).append(now)
