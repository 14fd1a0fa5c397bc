"""Everything that can be set: the stations' own values, side by side.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.inbound.admission import ClientLimits, Listener, Network, Recipients
from relay.mail.device import Device
from relay.mail.policy import RepairPolicy
from relay.outbound.notice_content import NoticePolicy
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Route
from relay.secret import Secret
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import DIRECT_UPSTREAM, DkimKey, Upstream


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The status page: `address` "" is off; without `password` or `user_header` it must be loopback.

    `hosts` are names of ours beside `hostname`.  `user_header` is how a reverse proxy within `proxies` says who logged in.
    `content`: it may show what messages say.
    """

    address: str = ""
    password: Secret | None = None
    hosts: tuple[str, ...] = ()
    user_header: str = ""
    proxies: tuple[Network, ...] = ()
    content: bool = True


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`format`: auto (console on a terminal, JSON otherwise), console or json; `level`: debug, info, warning, error."""

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Config:
    """`hostname` is our name in EHLO, Received and Message-ID; `source` what this was read from: a file, or
    RELAY_CONFIG_YAML, or "" for the environment's single variables.

    `upstreams` are those configured, `direct` is the built-in one.  What the addresses in `trusted_nameservers` say of
    DNSSEC counts.
    """

    hostname: str
    upstreams: Mapping[str, Upstream]
    listeners: tuple[Listener, ...]
    routes: tuple[Route, ...]
    recipients: Recipients = field(default_factory=Recipients)
    retry: RetrySchedule = field(default_factory=RetrySchedule)
    notices: NoticePolicy = field(default_factory=NoticePolicy)
    repair: RepairPolicy = field(default_factory=RepairPolicy)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    nameservers: tuple[str, ...] = ()
    trusted_nameservers: tuple[str, ...] = ()
    direct: Upstream = DIRECT_UPSTREAM
    dkim: tuple[DkimKey, ...] = ()
    limits: ClientLimits = field(default_factory=ClientLimits)
    web: WebSettings = field(default_factory=WebSettings)
    devices: tuple[Device, ...] = ()
    log: LogSettings = field(default_factory=LogSettings)
    source: str = ""

    @property
    def all_upstreams(self) -> dict[str, Upstream]:
        """What a route may name."""
        return {self.direct.name: self.direct, **self.upstreams}

    @property
    def extent(self) -> str:
        """`1 upstream, 2 routes`."""
        counts = ((len(self.upstreams), "upstream"), (len(self.routes), "route"))
        return ", ".join(f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts)
