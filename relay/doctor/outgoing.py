"""Which addresses an upstream delivers from: the record its provider publishes for that, or that of its host.

A provider's name for others to include is data, like the presets; where none is known the host's domain is asked.
Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from relay.doctor.dmarc import organisational
from relay.doctor.spf import Lookup, LookupFailed, is_name
from relay.doctor.spf_terms import BadRecord, HostAddress, Network, Term, is_spf, parse

INCLUDES = {
    "gmail": "_spf.google.com",
    "google-workspace": "_spf.google.com",
    "outlook": "spf.protection.outlook.com",
    "outlook.com": "spf.protection.outlook.com",
    "icloud": "icloud.com",
    "yahoo": "_spf.mail.yahoo.com",
    "fastmail": "spf.messagingengine.com",
    "zoho": "zohomail.com",
    "gmx": "gmx.net",
    "web.de": "web.de",
    "mailbox.org": "mailbox.org",
    "lolipop": "_spf.lolipop.jp",
    "xserver": "spf.sender.xserver.jp",
    "asahi-net": "spf-01.asahi-net.or.jp",
    "ses": "amazonses.com",
    "sendgrid": "sendgrid.net",
    "mailgun": "mailgun.org",
    "postmark": "spf.mtasv.net",
    "brevo": "spf.brevo.com",
}
"""Preset -> the record that the provider asks its customers to include.  A name that turns out empty is not used."""

_LAN = tuple(
    ip_network(text)
    for text in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)

SAMPLES = 24  # networks whose first address is tried
_MOST_RECORDS = 40


@dataclass(frozen=True, slots=True)
class Outgoing:
    """`include` is the record that lists the upstream's addresses; without one `term` stands for the host itself.

    `networks` are what it lists, as far as it can be enumerated.
    """

    term: str = ""
    include: str = ""
    networks: tuple[Network, ...] = ()

    @property
    def samples(self) -> tuple[HostAddress, ...]:
        """One address of each network, spread over all of them."""
        step = max(1, -(-len(self.networks) // SAMPLES))
        return tuple(network.network_address for network in self.networks[::step])


def in_lan(address: HostAddress) -> bool:
    """Whether an address means nothing outside: loopback, private, link-local, behind a carrier's NAT (RFC 6598)."""
    return any(address in network for network in _LAN)


async def learn(provider: str, host: str, lookup: Lookup, greeted: str = "") -> Outgoing:
    """What is known about an upstream's outgoing addresses.  Raises LookupFailed.

    `greeted` is the name by which the server greets: where `host` is a bare address, it tells whose server it is.
    """
    for name in _candidates(provider, host if is_name(host) and not _literal(host) else greeted):
        if networks := await networks_of(name, lookup):
            return Outgoing(f"include:{name}", name, networks)
    addresses = _literal(host) or (await _addresses([host], lookup) if is_name(host) else [])
    networks = tuple(ip_network(str(address)) for address in addresses)
    if all(map(in_lan, addresses)):
        return Outgoing("", "", networks)  # in the LAN, or unknown: nothing that could stand in a record
    return Outgoing(f"ip{addresses[0].version}:{addresses[0]}" if _literal(host) else f"a:{host}", "", networks)


def _candidates(provider: str, host: str) -> Iterable[str]:
    """The provider's include, then the host's name and its parents up to the registered domain."""
    if provider in INCLUDES:
        yield INCLUDES[provider]
    top = organisational(host)
    name = host.lower().rstrip(".")
    while is_name(name):
        yield name
        if name == top:
            return
        name = name.partition(".")[2]


def _literal(host: str) -> list[HostAddress]:
    try:
        return [ip_address(host.strip("[]"))]
    except ValueError:
        return []


async def networks_of(name: str, lookup: Lookup) -> tuple[Network, ...]:
    """Every network that the record of `name` lets pass, includes followed; what only macros can tell is left out."""
    found: dict[Network, None] = {}
    waiting, seen = [name], set[str]()
    while waiting and len(seen) < _MOST_RECORDS:
        one = waiting.pop(0).lower()
        if one in seen or "%" in one:
            continue
        seen.add(one)
        records = [record for record in await lookup(one, "TXT") if is_spf(record)]
        try:
            policy = parse(records[0]) if len(records) == 1 else None
        except BadRecord:
            policy = None
        for term in policy.terms if policy else ():
            if term.qualifier != "+":
                continue
            if term.name == "include":
                waiting.append(term.domain)
            for network in await _networks(term, one, lookup):
                found[network] = None
        if policy and policy.redirect:
            waiting.append(policy.redirect)
    return tuple(found)


async def _networks(term: Term, domain: str, lookup: Lookup) -> list[Network]:
    if term.network is not None:
        return [term.network]
    target = term.domain or domain
    if term.name not in ("a", "mx") or "%" in target:
        return []
    hosts = await lookup(target, "MX") if term.name == "mx" else [target]
    addresses = await _addresses(list(hosts)[:10], lookup)
    return [ip_network(f"{one}/{term.prefixes[one.version == 6]}", strict=False) for one in addresses]


async def _addresses(hosts: Iterable[str], lookup: Lookup) -> list[HostAddress]:
    found: list[HostAddress] = []
    for host in hosts:
        for kind in ("A", "AAAA"):
            try:
                found += [ip_address(text) for text in (await lookup(host, kind) if host else ())]
            except LookupFailed:
                continue
    return found
