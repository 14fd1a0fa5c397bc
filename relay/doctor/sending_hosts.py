"""Which addresses an upstream delivers from, and how sure that is: what its provider asks for, or what its host publishes.

A provider's name for others to include is in its preset; where none is known, the records of the host and of
the domains above it are read with care: a record that lists other services too is for other mail as well.  Pure.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address, ip_network

from relay.doctor.dmarc import aligned, organisational
from relay.doctor.spf_check import Lookup, LookupFailed, is_name
from relay.doctor.spf_parse import BadRecord, HostAddress, Network, SpfPolicy, Term, is_spf, parse
from relay.networks import in_lan
from relay.upstream.provider_rows import PRESETS
from relay.upstream.providers import preset_for

SAMPLES = 24  # networks whose first address is tried
_MOST_RECORDS = 40
_WIDEST = {4: 12, 6: 20}  # prefixes: a record with a shorter one names half the world, not machines that send


class Evidence(Enum):
    """How sure it is that what was found lists the addresses the upstream delivers from.

    CERTAIN: its provider asks for it, or it is we who deliver.  LIKELY: its owner publishes it, with nobody else in it.
    UNKNOWN: nothing is published, or only what is for other mail too; then no record can be named.
    """

    CERTAIN = "certain"
    LIKELY = "likely"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SendingHosts:
    """`include` is the record that lists the upstream's addresses; without one `term` stands for the host itself.

    `networks` are what it lists, as far as it can be enumerated.  `doubts` are sentences: what was seen and not used.
    """

    term: str = ""
    include: str = ""
    networks: tuple[Network, ...] = ()
    evidence: Evidence = Evidence.CERTAIN
    doubts: tuple[str, ...] = ()

    @property
    def samples(self) -> tuple[HostAddress, ...]:
        """One address of each network, spread over all of them."""
        step = max(1, -(-len(self.networks) // SAMPLES))
        return tuple(network.network_address for network in self.networks[::step])


async def learn(provider: str, host: str, lookup: Lookup, greeted: str = "", domain: str = "") -> SendingHosts:
    """What is known about an upstream's outgoing addresses, for mail in the name of `domain`.  Raises LookupFailed.

    `greeted` is the name by which the server greets: where `host` is a bare address, it tells whose server it is.
    """
    named = is_name(host) and not _literal(host)
    name = host if named else greeted
    include = _asked_for(provider, host if named else "")
    if include and (networks := await networks_of(include, lookup)):
        return SendingHosts(f"include:{include}", include, networks)
    addresses = _literal(host) or (await addresses_of([host], lookup) if is_name(host) else [])
    own = bool(domain and is_name(name) and aligned(domain, name))
    guess = SendingHosts() if own or not is_name(name) else await _guessed(name, addresses, lookup)
    if guess.include:
        return guess
    networks = tuple(ip_network(str(address)) for address in addresses)
    if all(map(in_lan, addresses)):  # in the LAN, or unknown: nothing that could stand in a record
        return SendingHosts("", "", networks, Evidence.UNKNOWN, guess.doubts)
    # one machine that takes the domain's mail and sends it
    alone = own and bool(set(addresses) & set(await addresses_of(list(await lookup(domain, "MX")), lookup)))
    preset = preset_for(provider)
    evidence = Evidence.LIKELY if alone or (preset and preset.one_machine) else Evidence.UNKNOWN
    term = f"ip{addresses[0].version}:{addresses[0]}" if _literal(host) else f"a:{host}"
    return SendingHosts(term, "", networks, evidence, guess.doubts)


async def named_by(domain: str, host: str, lookup: Lookup) -> str:
    """The term of the domain's record that names the upstream's own domain: somebody who knew put it there; "" if none."""
    policy = await _policy(domain, lookup)
    if policy is None or not is_name(host) or aligned(domain, host):
        return ""
    targets = [(term.text, term.domain) for term in policy.terms if term.qualifier == "+" and term.name in _NAMING]
    targets += [(f"redirect={policy.redirect}", policy.redirect)] if policy.redirect else []
    return next((text for text, target in targets if target and "%" not in target and aligned(target, host)), "")


_NAMING = ("include", "a", "mx")


def _asked_for(provider: str, host: str) -> str:
    """The include that the provider asks for.  A host of another owner is not the provider's, whatever is set."""
    by_host = next((preset for preset in PRESETS if preset.host and preset.host == host.lower()), None)
    named = preset_for(provider)
    include = (named and named.spf) or (by_host and by_host.spf)
    if not include:
        return ""
    preset = by_host or named
    its_own = [one for one in (preset.host if preset else "", include) if one]
    foreign = preset is not None and preset.host and is_name(host) and not any(aligned(host, one) for one in its_own)
    return "" if foreign else include


# --- a guess, by what the host's owner publishes


async def _guessed(host: str, addresses: Iterable[HostAddress], lookup: Lookup) -> SendingHosts:
    """The record of the host or of a domain above it, if nobody but the host's owner is in it; else only doubts."""
    doubts: list[str] = []
    home = organisational(host)
    for name in _upwards(host, home):
        policy = await _policy(name, lookup)
        if policy is None:
            continue
        if not (others := await _others_in(name, home, lookup)):
            if networks := await networks_of(name, lookup):
                return SendingHosts(f"include:{name}", name, networks, Evidence.LIKELY)
            doubts.append(f"the SPF record of {name} names no addresses that could be looked at")
            continue
        if narrow := await _narrower(policy, home, tuple(addresses), lookup):
            return SendingHosts(f"include:{narrow[0]}", narrow[0], narrow[1], Evidence.LIKELY)
        doubts.append(
            f"the SPF record of {name} is for other mail too, so it is not the one to include: {', '.join(others[:5])}"
        )
    return SendingHosts(evidence=Evidence.UNKNOWN, doubts=tuple(doubts))


def _upwards(host: str, home: str) -> Iterator[str]:
    """The host's name and its parents up to the registered domain."""
    name = host.lower().rstrip(".")
    while is_name(name):
        yield name
        if name == home:
            return
        name = name.partition(".")[2]


async def _narrower(
    policy: SpfPolicy, home: str, addresses: tuple[HostAddress, ...], lookup: Lookup
) -> tuple[str, tuple[Network, ...]] | None:
    """The one record of the host's owner, among those that its own record includes, which lists the host's addresses."""
    names = [term.domain for term in policy.terms if term.name == "include" and term.qualifier == "+"]
    found = []
    for name in dict.fromkeys(one.lower() for one in names if _is_own(one, home)):
        if not await _others_in(name, home, lookup):
            networks = await networks_of(name, lookup)
            if addresses and all(any(one in network for network in networks) for one in addresses):
                found.append((name, networks))
    return found[0] if len(found) == 1 else None


def _is_own(target: str, home: str) -> bool:
    return "%" not in target and organisational(target) == home


async def _others_in(name: str, home: str, lookup: Lookup) -> list[str]:
    """The terms, includes of the owner's own followed, by which the record lets more pass than machines of that owner."""
    found: list[str] = []
    async for _, policy in _records(name, lookup, lambda target: _is_own(target, home)):
        for term in policy.terms:
            wide = term.network is not None and term.network.prefixlen < _WIDEST[term.network.version]
            foreign = term.name in ("include", "a", "mx") and bool(term.domain) and not _is_own(term.domain, home)
            if term.qualifier == "+" and (wide or foreign or term.name in ("all", "ptr", "exists")):
                found.append(term.text)
        if policy.redirect and not _is_own(policy.redirect, home):
            found.append(f"redirect={policy.redirect}")
    return found


# --- what records list


async def networks_of(name: str, lookup: Lookup) -> tuple[Network, ...]:
    """Every network that the record of `name` lets pass, includes followed; what only macros can tell is left out."""
    found: dict[Network, None] = {}
    async for one, policy in _records(name, lookup, lambda target: "%" not in target):
        for term in policy.terms:
            if term.qualifier == "+":
                found |= dict.fromkeys(await _networks(term, one, lookup))
    return tuple(found)


async def _records(name: str, lookup: Lookup, follow: Callable[[str], bool]) -> AsyncIterator[tuple[str, SpfPolicy]]:
    """The record of a name and those that it includes or leads on to, as far as `follow` allows, each once."""
    waiting, seen = [name.lower()], set[str]()
    while waiting and len(seen) < _MOST_RECORDS:
        one = waiting.pop(0)
        if one in seen:
            continue
        seen.add(one)
        if (policy := await _policy(one, lookup)) is None:
            continue
        yield one, policy
        includes = [term.domain for term in policy.terms if term.name == "include" and term.qualifier == "+"]
        waiting += [target.lower() for target in (*includes, policy.redirect) if target and follow(target)]


async def _policy(name: str, lookup: Lookup) -> SpfPolicy | None:
    """The one sound record of a name; None if there is none, or not one."""
    records = [record for record in await lookup(name, "TXT") if is_spf(record)]
    try:
        return parse(records[0]) if len(records) == 1 else None
    except BadRecord:
        return None


async def _networks(term: Term, domain: str, lookup: Lookup) -> list[Network]:
    if term.network is not None:
        return [term.network]
    target = term.domain or domain
    if term.name not in ("a", "mx") or "%" in target:
        return []
    hosts = await lookup(target, "MX") if term.name == "mx" else [target]
    addresses = await addresses_of(list(hosts)[:10], lookup)
    return [ip_network(f"{one}/{term.prefixes[one.version == 6]}", strict=False) for one in addresses]


async def addresses_of(hosts: Iterable[str], lookup: Lookup) -> list[HostAddress]:
    """The addresses of both families of all these hosts; a question that fails gives none."""
    found: list[HostAddress] = []
    for host in hosts:
        for kind in ("A", "AAAA"):
            try:
                found += [ip_address(text) for text in (await lookup(host, kind) if host else ())]
            except LookupFailed:
                continue
    return found


def _literal(host: str) -> list[HostAddress]:
    try:
        return [ip_address(host.strip("[]"))]
    except ValueError:
        return []
