"""Evidence: what was asked of the world and what came back, before anybody judges it.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from relay.doctor.dmarc import Dmarc
from relay.doctor.outgoing import Outgoing
from relay.doctor.spf import Outcome
from relay.doctor.spf_record import Proposal
from relay.doctor.subject import Subject as Subject  # noqa: PLC0414 - whoever judges the evidence asks for it here
from relay.inbound.admission import Listener
from relay.mail.reply import Answer, Fault
from relay.upstream.certificate import Certificate
from relay.upstream.settings import Upstream

HostAddress = IPv4Address | IPv6Address


class State(Enum):
    """What became of a connection: OPEN, REFUSED (somebody said no), SILENT (nobody said anything: a filter)."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Door:
    """One port of a host; `fault` and `words` are why it did not open."""

    port: int
    state: State
    words: str = ""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Talk:
    """How far a conversation came: `failed` is the answer that ended it early, `mail` the one to MAIL FROM:<sender>.

    `banner` and `hello` are the server's words; `offers` its AUTH mechanisms; `repeated`: not said to the server again,
    because the same account was refused there already in this run; `speaks_tls`: where no greeting came, TLS was answered;
    `slow`: broken off, since the time of the whole examination was up before the conversation was.
    """

    failed: Answer | None = None
    peer: str = ""
    tls: str = ""
    mechanism: str = ""
    banner: str = ""
    hello: str = ""
    certificate: Certificate | None = None
    offers: tuple[str, ...] = ()
    max_size: int = 0
    sender: str = ""
    mail: Answer | None = None
    repeated: bool = False
    speaks_tls: bool = False
    slow: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """One upstream: its name's addresses (or what the resolver said), its doors by the port they are known by, the talk.

    `mute_v6`: it has IPv6 addresses, and none of them can be reached while an IPv4 one can.  `asked_at` by our clock.
    """

    upstream: Upstream
    addresses: tuple[str, ...] = ()
    name_trouble: str = ""
    doors: Mapping[int, Door] = field(default_factory=dict)
    mute_v6: bool = False
    talk: Talk | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A domain that mail goes out in the name of: `mx` as published ("" in it is the null MX), and its DMARC policy.

    `inside`: the private address of its mail host, which shows that the nameserver tells the LAN's own view of it.
    """

    domain: str
    exists: bool = True
    mx: tuple[str, ...] = ()
    has_address: bool = False
    dmarc: Dmarc = field(default_factory=Dmarc)
    inside: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """Mail in the name of `domain` delivered by `upstream`: what SPF says to it, and the record that would do.

    `theirs`: the domain belongs to the provider (or another one), so its DNS is not the user's to change.
    """

    domain: str
    upstream: str
    outgoing: Outgoing
    outcome: Outcome
    proposal: Proposal = field(default_factory=Proposal)
    theirs: str = ""


@dataclass(frozen=True, slots=True)
class SpoolFacts:
    """`trouble` why nothing can be written there; `free` octets (-1: unknown); `alien`: what the file is, if no spool.

    `owner`: the user whose directory it is, "" unless that is somebody else than we are, and not root; `hangs`: no answer.
    `damage`: what is amiss in the file, as a start would find it.
    """

    path: str
    trouble: str = ""
    free: int = -1
    alien: str = ""
    slow: float = 0.0
    owner: str = ""
    hangs: bool = False
    damage: str = ""


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """`trouble` in the system's words, with its errno's name; `holder` who has the port, as far as it can be seen.

    `unsure`: the port is forbidden to us, and the service may have a right that we have not.
    """

    listener: Listener
    errno: str = ""
    trouble: str = ""
    holder: str = ""
    ours: bool = False
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Here:
    """This machine: `now` by its clock, where the spool would be lost (""), whose place clients are shown in."""

    now: datetime
    spool: SpoolFacts | None = None
    listeners: tuple[ListenerFacts, ...] = ()
    container: bool = False
    masks: frozenset[HostAddress] = frozenset()
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a block list said about an address: `codes` are its A records ([] not listed), `trouble` why it could not tell."""

    address: str
    codes: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """The line as strangers' mail hosts see it, asked only where a route uses `mx`.

    `targets` are port 25 of hosts outside; `public` our addresses there; `reverse` their names, `forward` the names that
    lead back; `ways` is what SPF says to senders' mail from these addresses.
    """

    targets: Mapping[str, Door] = field(default_factory=dict)
    public: tuple[str, ...] = ()
    listings: tuple[Listing, ...] = ()
    reverse: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forward: frozenset[str] = frozenset()
    ways: tuple[Way, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known.  `resolver` is why the DNS knows no real name, "" if it does; `consents` as in judge_consent.

    `invented` is what the resolver said of a name that does not exist, "" if it said so.
    """

    here: Here
    resolver: str = ""
    invented: str = ""
    upstreams: tuple[UpstreamFacts, ...] = ()
    domains: tuple[DomainFacts, ...] = ()
    ways: tuple[Way, ...] = ()
    line: Line | None = None
    took: float = 0.0
    consents: tuple[Mapping[str, Any], ...] = ()
