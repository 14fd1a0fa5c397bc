"""Everything that can be set: the stations' own values, side by side.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.inbound.admission import ClientLimits, Listener, Recipients
from relay.mail.policy import RepairPolicy
from relay.outbound.notices import NoticePolicy
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Route
from relay.secret import Secret
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import Upstream


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The status page: `address` "" is off; `password` None is allowed on loopback only."""

    address: str = ""
    password: Secret | None = None


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`format`: auto (console on a terminal, JSON otherwise), console or json; `level`: debug, info, warning, error."""

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Config:
    """`hostname` is our name in EHLO, Received and Message-ID; `source` the file this was read from ("" if the environment)."""

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
    limits: ClientLimits = field(default_factory=ClientLimits)
    web: WebSettings = field(default_factory=WebSettings)
    log: LogSettings = field(default_factory=LogSettings)
    source: str = ""
