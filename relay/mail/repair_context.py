"""What a repair knows about a message beside its octets.  Pure."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.message import Field
from relay.mail.policy import RepairPolicy

Fields = tuple[Field, ...]
Change = tuple[Fields, tuple[str, ...]]
"""What a repair returns: the fields, and notes on what it changed (none if it changed nothing)."""


@dataclass(frozen=True, slots=True)
class RepairContext:
    """How the message came.  `accepted_at` has a zone; `hostname` is our own name.

    `repeated_id`: the same client used this Message-ID before, for other content to one of the recipients.
    """

    queue_id: str
    accepted_at: datetime
    hostname: str
    origin: Origin
    envelope: Envelope
    repeated_id: bool = False


@dataclass(frozen=True, slots=True)
class RepairCase:
    """What repairs of the header may use.

    `charset` is the voted charset of raw 8-bit text.  `sealed` has the names of fields that a DKIM signature covers:
    they are changed only if the message could not be sent otherwise.  `headless`: it came without a header section.
    """

    about: RepairContext
    policy: RepairPolicy
    charset: str = "utf-8"
    sealed: frozenset[str] = field(default_factory=frozenset)
    headless: bool = False

    @property
    def arrival(self) -> datetime:
        """The time of acceptance in the zone of this machine, which is the devices' zone, too."""
        return self.about.accepted_at.astimezone()

    @property
    def zone(self) -> tzinfo:
        """The zone of this machine."""
        return self.arrival.tzinfo or UTC

    def may_write(self, address: Address) -> bool:
        """Whether the address may stand in the header: if it is not ASCII, the client must have said SMTPUTF8."""
        return address.local.isascii() or self.about.envelope.utf8

    @property
    def host(self) -> str:
        """Our own name, valid after an @ and in trace fields."""
        return _host_of(self.about.hostname)

    @property
    def author(self) -> Address:
        """The sender by the envelope; `device` if the envelope has no usable one."""
        path = self.about.envelope.reverse_path
        if path is None or not path.ascii:
            return Address("device", self.host)
        if path.quoted and not path.public:  # a sender that was no address, see `as_sender`
            words = re.sub(r"[^A-Za-z0-9_+-]+", ".", path.local.partition("@")[0] or path.local).strip(".")
            return Address(words or "device", self.host)
        return path if path.qualified and not path.domain.startswith("[") else Address(path.local, self.host)


@lru_cache(maxsize=16)
def _host_of(hostname: str) -> str:
    name = re.sub(r"[^A-Za-z0-9.-]", "", hostname).strip(".-")
    return re.sub(r"\.{2,}", ".", name) or "relay.invalid"
