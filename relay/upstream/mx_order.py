"""Which hosts of a domain are tried in which order, and where they may be.  RFC 5321 s4.1.3 and s5.1, RFC 7505.  Pure."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from relay.networks import address_of, on_internet


@dataclass(frozen=True, slots=True)
class MailHost:
    name: str
    preference: int = 0


def literal(domain: str) -> str:
    """The address in an address literal, "" if the domain is none."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return ""
    inside = domain[1:-1]
    inside = inside[5:] if inside[:5].lower() == "ipv6:" else inside
    try:
        address_of(inside)
    except ValueError:
        return ""
    return inside


def takes_no_mail(published: Sequence[tuple[int, str]]) -> bool:
    """Null MX: the root is all that is named (RFC 7505 s3); beside real hosts it means nothing."""
    return bool(published) and not any(host for _, host in published)


def in_order(published: Iterable[tuple[int, str]], queue_id: str) -> list[MailHost]:
    """By preference; equals by a hash of queue id and host: spread over messages, the same for one."""

    def place(record: tuple[int, str]) -> tuple[int, bytes]:
        preference, host = record
        return preference, hashlib.sha256(f"{queue_id} {host.lower()}".encode()).digest()

    first = dict[str, MailHost]()
    for preference, host in sorted((record for record in published if record[1]), key=place):
        first.setdefault(host.lower(), MailHost(host, preference))
    return list(first.values())


def allowed(addresses: Iterable[str], *, private: bool, ours: Callable[[str], bool]) -> list[str]:
    """Where a host may be called: not in the LAN and not at this machine, unless `private`."""
    return [one for one in dict.fromkeys(addresses) if private or (on_internet(one) and not ours(one))]


def leads_back(addresses: Iterable[str], ours: Callable[[str], bool]) -> bool:
    """Whether this host is ourselves as the Internet sees us: then hosts that are not better would send it here again."""
    return any(on_internet(address) and ours(address) for address in addresses)


def better_than(hosts: Sequence[MailHost], ourselves: MailHost) -> list[MailHost]:
    """RFC 5321 s5.1: all hosts with our own preference and above are left out."""
    return [host for host in hosts if host.preference < ourselves.preference]
