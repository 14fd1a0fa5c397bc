"""What the doctor is asked to examine.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay.inbound.admission import Listener
from relay.mail.address import Address
from relay.outbound.routing import Route
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import DIRECT_UPSTREAM, DkimKey, Upstream


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be examined: the stations' own settings, as the daemon would run with them.

    `remarks` are the configuration's own; `running`: we are the daemon, so what holds the listeners' ports is us.
    `command` is what a person types to have it examined.
    """

    hostname: str
    upstreams: Mapping[str, Upstream]
    listeners: tuple[Listener, ...] = ()
    routes: tuple[Route, ...] = ()
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    state_dir: Path = Path("/var/lib/relay")
    nameservers: tuple[str, ...] = ()
    trusted_nameservers: tuple[str, ...] = ()
    notices_to: Address | None = None
    source: str = ""
    remarks: tuple[str, ...] = ()
    running: bool = False
    command: str = "relay doctor"
    dkim: tuple[DkimKey, ...] = ()

    @property
    def uses_mx(self) -> bool:
        """Whether a route delivers straight to the recipients' mail hosts."""
        return any(DIRECT_UPSTREAM.name in route.via for route in self.routes)
