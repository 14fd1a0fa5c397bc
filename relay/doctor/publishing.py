"""Evidence from the DNS: what the senders' domains publish, and how strangers see our line."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from relay.doctor import dmarc
from relay.doctor.asking import Asking
from relay.doctor.dmarc import aligned, organisational
from relay.doctor.facts import DomainFacts, Door, Line, Listing, Subject, UpstreamFacts, Way
from relay.doctor.outgoing import Outgoing, in_lan, learn
from relay.doctor.resolver import Look
from relay.doctor.spf import PASS, TEMPERROR, LookupFailed, Outcome
from relay.doctor.spf_record import Proposal, evaluate, propose
from relay.mail.address import is_public
from relay.mail.rewrite import Rewrite
from relay.upstream.connect import Failed, places
from relay.upstream.providers import PRESETS, preset_for
from relay.upstream.settings import DIRECT, Upstream

BLOCK_LIST = "zen.spamhaus.org"
_MOST_TARGETS = 4


def sender_domains(upstream: Upstream, subject: Subject) -> tuple[str, ...]:
    """The domains whose names mail may bear when it leaves by this upstream: where SPF and DMARC are asked."""
    identity = upstream.identity
    found = {identity.sender.domain.lower(): None} if identity.sender else {}
    found |= dict.fromkeys(sorted(identity.domains))
    if identity.rewrite is Rewrite.NEVER or identity.sender is None:  # then senders stay as the routes let them in
        by_routes = [glob for route in subject.routes if upstream.name in route.via for glob in route.sender]
        found |= {glob.rpartition("@")[2].lower(): None for glob in by_routes}
    return tuple(domain for domain in found if is_public(domain) and not set(domain) & set("*?"))


def direct(subject: Subject) -> bool:
    """Whether a route delivers straight to the recipients' mail hosts."""
    return any(DIRECT in route.via for route in subject.routes)


async def domain(name: str, look: Look) -> DomainFacts:
    """What a domain publishes about its mail."""
    try:
        exists = await look.exists(name)
        mx = tuple(await look(name, "MX"))
        has_address = bool(mx) or bool(await look(name, "A")) or bool(await look(name, "AAAA"))
        return DomainFacts(name, exists, mx, has_address, await dmarc.find(name, look))
    except LookupFailed as failed:
        return DomainFacts(name, trouble=str(failed))


async def way(name: str, upstream: Upstream, look: Look, greeted: str = "") -> Way:
    """What SPF says to mail in the name of a domain from this upstream, and the record that makes it pass.

    `greeted` is the server's own name, of use where the host is a bare address.
    """
    sender = upstream.identity.sender
    spoken = str(sender) if sender and sender.domain.lower() == name else f"postmaster@{name}"
    outgoing = Outgoing()
    try:
        outgoing = await learn(upstream.provider, upstream.host, look, greeted)
        outcome = await evaluate(name, spoken, outgoing, look)
        found = Way(name, upstream.name, outgoing, outcome, theirs=_owner(name, upstream))
        if outcome.result in (PASS, TEMPERROR) or not outgoing.term:
            return found
        return replace(found, proposal=await propose(name, spoken, outgoing, look))
    except LookupFailed as failed:
        return Way(name, upstream.name, outgoing, Outcome(TEMPERROR, str(failed)), Proposal(), _owner(name, upstream))


def _owner(name: str, upstream: Upstream) -> str:
    """Whose a domain is if surely not the user's: that of a mail service for everybody; "" otherwise."""
    for preset in PRESETS:
        if organisational(name) in {organisational(one) for one in (preset.mail_domain, *preset.aliases) if "." in one}:
            return preset.name
    preset_here = preset_for(upstream.provider)
    if preset_here and upstream.host == preset_here.host and aligned(name, upstream.host):
        return preset_here.name
    return ""


@dataclass(frozen=True, slots=True)
class Outside:
    """What is asked of the world beyond the upstreams, only where a route uses `mx`.

    `whoami` is (nameserver, name) of a service that tells a client its public address by the DNS; `well_known` are domains
    whose mail hosts answer everybody, to see whether port 25 is open at all.
    """

    whoami: tuple[str, str] = ("208.67.222.222:53", "myip.opendns.com")
    well_known: tuple[str, ...] = ("gmail.com",)
    block_list: str = BLOCK_LIST


async def line(subject: Subject, upstreams: Sequence[UpstreamFacts], asking: Asking, look: Look, outside: Outside) -> Line:
    """How our line looks from outside: port 25, our public address, its listing and its name."""
    targets, public = await asyncio.gather(
        _targets(subject, asking, look, outside), _public(upstreams, asking.patience, outside)
    )
    listings = await asyncio.gather(*(_listing(address, outside.block_list, look) for address in public))
    reverse: dict[str, tuple[str, ...]] = {}
    forward: set[str] = set()
    trouble = ""
    for address in public:
        try:
            reverse[address] = tuple(await look(ip_address(address).reverse_pointer, "PTR"))
            for name in reverse[address]:
                if address in await look(name, "AAAA" if ":" in address else "A"):
                    forward.add(name)
        except LookupFailed as failed:
            trouble = str(failed)
    return Line(targets, public, tuple(listings), reverse, frozenset(forward), trouble)


async def _targets(subject: Subject, asking: Asking, look: Look, outside: Outside) -> Mapping[str, Door]:
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
    doors = await asyncio.gather(*(_door(host, asking, look) for host in chosen))
    return {host: door for host, door in zip(chosen, doors, strict=True) if door}


async def _door(host: str, asking: Asking, look: Look) -> Door | None:
    """Port 25 of one host; None if it has no address."""
    try:
        addresses = [*await look(host, "A"), *await look(host, "AAAA")]
        found = [place for address in addresses[:2] for place in await places(address, 25, asking.patience)]
    except (LookupFailed, Failed):
        return None
    return await asking.door(found, 25) if found else None


async def _public(upstreams: Iterable[UpstreamFacts], patience: float, outside: Outside) -> tuple[str, ...]:
    """Our address as others see it: by what upstreams say to EHLO, else by asking a resolver made for that."""
    told = [address for one in upstreams if one.talk for address in addresses_in(one.talk.hello)]
    if told:
        return tuple(dict.fromkeys(told))
    server, name = outside.whoami
    look = Look([server], patience=patience)
    try:
        return tuple(address for address in await look(name, "A") if not in_lan(ip_address(address)))
    except LookupFailed:
        return ()
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


async def _listing(address: str, block_list: str, look: Look) -> Listing:
    """The A records of the address's name in the list (RFC 5782)."""
    there = ip_address(address)
    labels = there.reverse_pointer.removesuffix(".ip6.arpa").removesuffix(".in-addr.arpa")
    try:
        return Listing(address, tuple(await look(f"{labels}.{block_list}", "A")))
    except LookupFailed as failed:
        return Listing(address, trouble=str(failed))
