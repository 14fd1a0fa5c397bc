"""Who may submit, and what: the listeners' policy.  RFC 6409 s4, s6.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from relay.mail.address import Address
from relay.secret import Secret

Network = IPv4Network | IPv6Network


class ListenTls(Enum):
    OFF = "off"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class ListenAuth(Enum):
    """ANY answers 235 to whatever a device insists on sending; REQUIRED knows its users."""

    ANY = "any"
    OFF = "off"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Listener:
    """One address that devices connect to, and who may submit there."""

    host: str = "0.0.0.0"  # noqa: S104 - the networks below decide who may speak
    port: int = 25
    networks: tuple[Network, ...] = ()
    tls: ListenTls = ListenTls.STARTTLS
    tls_cert: str = ""
    tls_key: str = ""
    auth: ListenAuth = ListenAuth.ANY
    users: Mapping[str, Secret] = field(default_factory=dict)
    legacy_tls: bool = False

    @property
    def name(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds on what devices may use: open sessions in all and per client, recipients of one message,
    messages per client and minute, and idle time per command (per block in DATA)."""

    connections: int = 100
    per_client: int = 20
    recipients: int = 500
    messages_per_minute: int = 300
    idle: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Recipients:
    """`default_domain` completes a bare name ("" if none); `aliases` maps `root`, `a@b` or `*@b` to addresses."""

    default_domain: str = ""
    aliases: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
