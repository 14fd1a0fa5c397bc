"""Which chain of upstreams a recipient's mail goes by, and which rule said so.  Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class Route:
    """One rule.  Empty conditions match everything.  Exactly one of `via`, `reject`, `discard` is set.

    `to` and `sender` are globs over the whole address (`*@host.example`; `<>` for the null reverse-path),
    `client` networks of the device, `listener` names as in `listen.address`.  Several of one kind: any of them.
    """

    via: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    sender: tuple[str, ...] = ()
    client: tuple[IPv4Network | IPv6Network, ...] = ()
    listener: tuple[str, ...] = ()
    reject: str = ""
    discard: bool = False


Routes = Sequence[Route]
