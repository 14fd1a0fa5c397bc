"""Evidence about our line, as strangers' mail hosts see it: asked only where a route delivers by `mx`."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from relay.doctor import domain_probe
from relay.doctor.domain_probe import sender_domains
from relay.doctor.resolver import DnsLookup
from relay.doctor.spf_check import LookupFailed
from relay.doctor.subject import Subject
from relay.doctor.uplink import Listing, UplinkFacts
from relay.doctor.upstream import PortFacts, UpstreamFacts
from relay.doctor.upstream_probe import UpstreamProbe
from relay.networks import in_lan
from relay.upstream.connect import Failed, places

BLOCK_LIST = "zen.spamhaus.org"
_ALWAYS_LISTED = "2.0.0.127"  # RFC 5782 s5: 127.0.0.2 is in every list that works
_MOST_TARGETS = 4


@dataclass(frozen=True, slots=True)
class OutsideServices:
    """What is asked of the world beyond the upstreams, only where a route uses `mx` (`real` where nothing else answers).

    `whoami` are (nameserver, name, type) of a service that tells a client its public address by the DNS; `well_known`
    are domains whose mail hosts answer everybody, to see whether port 25 is open at all; `real` are domains that exist,
    to tell a nameserver that knows nothing from one that is asked for the wrong name.
    """

    whoami: tuple[tuple[str, str, str], ...] = (
        ("208.67.222.222:53", "myip.opendns.com", "A"),
        ("[2620:119:35::35]:53", "myip.opendns.com", "AAAA"),
    )
    well_known: tuple[str, ...] = ("gmail.com",)
    real: tuple[str, ...] = ("gmail.com", "iana.org")
    block_list: str = BLOCK_LIST


async def line(
    subject: Subject, upstreams: Sequence[UpstreamFacts], asking: UpstreamProbe, look: DnsLookup, outside: OutsideServices
) -> UplinkFacts:
    """How our line looks from outside: port 25, our public addresses, their listing, their names, and SPF for them."""
    targets, public = await asyncio.gather(
        _targets(subject, asking, look, outside), _public(upstreams, asking.patience, outside)
    )
    senders = domain_probe.direct_domains(subject) if public else ()
    listings, ways, names = await asyncio.gather(
        asyncio.gather(*(_listing(address, outside.block_list, look) for address in public)),
        asyncio.gather(*(domain_probe.own_way(name, public, subject.hostname, look) for name in senders)),
        _names(public, look),
    )
    reverse, forward, trouble = names
    dnssec = await look.validates()
    return UplinkFacts(targets, public, tuple(listings), reverse, forward, tuple(ways), trouble, dnssec)


async def _names(public: Iterable[str], look: DnsLookup) -> tuple[dict[str, tuple[str, ...]], frozenset[str], str]:
    """The reverse names of our addresses, those of them that lead back, and what went wrong."""
    reverse: dict[str, tuple[str, ...]] = {}
    forward: set[str] = set()
    trouble = ""
    for address in public:
        try:
            names = tuple(await look(ip_address(address).reverse_pointer, "PTR"))
            for name in names:
                if address in await look(name, "AAAA" if ":" in address else "A"):
                    forward.add(name)
            reverse[address] = names
        except LookupFailed as failed:
            trouble = str(failed)
    return reverse, frozenset(forward), trouble


async def _targets(
    subject: Subject, asking: UpstreamProbe, look: DnsLookup, outside: OutsideServices
) -> Mapping[str, PortFacts]:
    """Port 25 of mail hosts that mail of ours may go to: the notices' and senders' domains, and a well-known one."""
    domains = [subject.notices_to.domain] if subject.notices_to else []
    domains += [name for upstream in subject.upstreams.values() for name in sender_domains(upstream, subject)]
    hosts: dict[str, None] = {}
    for name in dict.fromkeys((*domains, *outside.well_known)):
        try:
            hosts |= dict.fromkeys(host for host in list(await look(name, "MX"))[:1] if host)
        except LookupFailed:
            continue
    chosen = list(hosts)[: _MOST_TARGETS - 1] + list(hosts)[_MOST_TARGETS - 1 :][-1:]
    ports = await asyncio.gather(*(_port_25_of(host, asking, look) for host in chosen))
    return {host: there for host, there in zip(chosen, ports, strict=True) if there}


async def _port_25_of(host: str, asking: UpstreamProbe, look: DnsLookup) -> PortFacts | None:
    """Port 25 of one host, an address of each family tried; None if it has none, or only such as are in the LAN."""
    addresses: list[str] = []
    for kind in ("AAAA", "A"):
        try:
            addresses += list(await look(host, kind))[:1]
        except LookupFailed:
            continue
    # our own mail host in the LAN says nothing about the way out
    outside = [one for one in addresses if not in_lan(ip_address(one)) or ip_address(one).is_loopback]
    try:
        found = [place for address in outside for place in await places(address, 25, asking.patience)]
    except Failed:
        return None
    return await asking.port(found, 25) if found else None


async def _public(upstreams: Iterable[UpstreamFacts], patience: float, outside: OutsideServices) -> tuple[str, ...]:
    """Our addresses as others see them: by what upstreams say to EHLO, else by asking a resolver made for that."""
    told = [address for one in upstreams if one.talk for address in addresses_in(one.talk.hello)]
    if told:
        return tuple(dict.fromkeys(told))
    found = await asyncio.gather(*(_seen_by(*service, patience) for service in outside.whoami))
    return tuple(dict.fromkeys(address for addresses in found for address in addresses))


async def _seen_by(server: str, name: str, kind: str, patience: float) -> list[str]:
    look = DnsLookup([server], patience=patience / 2)
    try:
        return [address for address in await look(name, kind) if not in_lan(ip_address(address))]
    except LookupFailed:
        return []
    finally:
        await look.close()


def addresses_in(hello: str) -> list[str]:
    """Public addresses in brackets in the words of an EHLO reply: `mx.isp.example Hello relay [203.0.113.7]`."""
    found = []
    for text in re.findall(r"[\[(]((?:IPv6:)?[0-9A-Fa-f:.]{7,45})[\])]", hello):
        try:
            address = ip_address(text.removeprefix("IPv6:"))
        except ValueError:
            continue
        if not in_lan(address) and not address.is_unspecified:
            found.append(str(address))
    return found


async def _listing(address: str, block_list: str, look: DnsLookup) -> Listing:
    """The A records of the address's name in the list (RFC 5782); silence counts only where the list's test entry is seen."""
    there = ip_address(address)
    labels = there.reverse_pointer.removesuffix(".ip6.arpa").removesuffix(".in-addr.arpa")
    try:
        codes = tuple(await look(f"{labels}.{block_list}", "A"))
        if not codes and not await look(f"{_ALWAYS_LISTED}.{block_list}", "A"):
            return Listing(address, trouble="not even its test entry (127.0.0.2) is seen through this resolver")
        return Listing(address, codes)
    except LookupFailed as failed:
        return Listing(address, trouble=str(failed))
