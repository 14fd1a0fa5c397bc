"""Evidence from the DNS about the senders' domains: what they publish, and what SPF says to each way out."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

from relay.doctor import dmarc
from relay.doctor.dmarc import aligned, organisational
from relay.doctor.domain import DomainFacts, SendingPath
from relay.doctor.resolver import DnsLookup
from relay.doctor.sending_hosts import Evidence, SendingHosts, addresses_of, learn, named_by
from relay.doctor.spf_check import FAIL, NEUTRAL, PASS, SOFTFAIL, TEMPERROR, Lookup, LookupFailed, SpfResult
from relay.doctor.spf_propose import Proposal, evaluate, propose
from relay.doctor.subject import Subject
from relay.mail.address import is_public
from relay.mail.rewrite import Rewrite
from relay.networks import Address, in_lan
from relay.upstream.provider_rows import PRESETS
from relay.upstream.providers import preset_for
from relay.upstream.settings import DIRECT_UPSTREAM, Upstream

_FOR_EVERYBODY = frozenset(
    {"gmail", "googlemail", "hotmail", "outlook", "live", "msn", "yahoo", "ymail", "icloud", "aol", "gmx", "proton", "qq"}
)
_CARRIERS = frozenset({"docomo.ne.jp", "ezweb.ne.jp", "au.com", "softbank.ne.jp", "t-online.de", "web.de", "mail.ru"})
"""First labels, and domains, of mail services for everybody: nobody who has an address there can change their DNS."""


def sender_domains(upstream: Upstream, subject: Subject) -> tuple[str, ...]:
    """The domains whose names mail may bear when it leaves by this upstream: where SPF and DMARC are asked."""
    identity = upstream.identity
    found = {identity.sender.domain.lower(): None} if identity.sender else {}
    found |= dict.fromkeys(sorted(identity.domains))
    if identity.rewrite is Rewrite.NEVER or identity.sender is None:  # then senders stay as the routes let them in
        by_routes = [glob for route in subject.routes if upstream.name in route.via for glob in route.sender]
        found |= {glob.rpartition("@")[2].lower(): None for glob in by_routes}
    return tuple(domain for domain in found if is_public(domain) and not set(domain) & set("*?"))


def direct_domains(subject: Subject) -> tuple[str, ...]:
    """The domains whose names mail may bear that goes by `mx`, where no sender is rewritten.

    A route that takes any sender takes those of the domains that are signed there, and those of the upstreams' domains:
    no others are known.
    """
    routes = [route for route in subject.routes if DIRECT_UPSTREAM.name in route.via]
    found = {glob.rpartition("@")[2].lower(): None for route in routes for glob in route.sender}
    if any(not route.sender for route in routes):
        found |= {key.domain: None for key in subject.dkim if DIRECT_UPSTREAM.name in key.via}
        found |= dict.fromkeys(name for one in subject.upstreams.values() for name in sender_domains(one, subject))
    return tuple(domain for domain in found if is_public(domain) and not set(domain) & set("*?"))


def own_direct_domains(subject: Subject) -> tuple[str, ...]:
    """Those of them whose DNS is the user's, as far as their names tell."""
    return tuple(name for name in direct_domains(subject) if not _of_a_service(name))


async def domain(name: str, look: DnsLookup) -> DomainFacts:
    """What a domain publishes about its mail."""
    try:
        exists = await look.exists(name)
        mx = tuple(await look(name, "MX"))
        own = [] if mx else await addresses_of([name], look)
        inside = next((str(one) for one in own or await addresses_of(mx[:2], look) if _private(one)), "")
        return DomainFacts(name, exists, mx, bool(mx or own), await dmarc.find(name, look), inside)
    except LookupFailed as failed:
        return DomainFacts(name, trouble=str(failed))


def _private(address: Address) -> bool:
    return in_lan(address) and not address.is_loopback and not address.is_link_local


async def way(name: str, upstream: Upstream, look: Lookup, greeted: str = "") -> SendingPath:
    """What SPF says to mail in the name of a domain from this upstream, and the record that makes it pass.

    `greeted` is the server's own name, of use where the host is a bare address.
    """
    outgoing = SendingHosts()
    try:
        outgoing = await learn(upstream.provider, upstream.transport.host, look, greeted, name)
        found = await _judged(name, _spoken(name, upstream), upstream.name, outgoing, look, _owner(name, upstream))
        if outgoing.evidence is Evidence.CERTAIN or found.outcome.result not in (FAIL, SOFTFAIL, NEUTRAL):
            return found
        # what we guess does not outdo what somebody wrote there who knew which include is right
        term = await named_by(name, upstream.transport.host, look) or await named_by(name, greeted, look)
        return (
            replace(found, outcome=SpfResult(PASS, f"'{term}' names the upstream's domain"), proposal=Proposal())
            if term
            else found
        )
    except LookupFailed as failed:
        return SendingPath(name, upstream.name, outgoing, SpfResult(TEMPERROR, str(failed)), Proposal(), _owner(name, upstream))


async def own_way(name: str, public: Sequence[str], hostname: str, look: Lookup) -> SendingPath:
    """The same for mail that we deliver ourselves (`mx`), from our own public addresses."""
    networks = tuple(ip_network(address) for address in public)
    ours = {str(one) for one in await addresses_of([hostname] if is_public(hostname) else [], look)}
    by_number = " ".join(f"ip{network.version}:{network.network_address}" for network in networks)
    outgoing = SendingHosts(f"a:{hostname}" if set(public) <= ours else by_number, "", networks)
    try:
        return await _judged(name, f"postmaster@{name}", DIRECT_UPSTREAM.name, outgoing, look, _of_a_service(name))
    except LookupFailed as failed:
        unknown = SpfResult(TEMPERROR, str(failed))
        return SendingPath(name, DIRECT_UPSTREAM.name, outgoing, unknown, Proposal(), _of_a_service(name))


async def _judged(name: str, spoken: str, by: str, outgoing: SendingHosts, look: Lookup, owner: str) -> SendingPath:
    """Raises LookupFailed."""
    outcome = await evaluate(name, spoken, outgoing, look)
    found = SendingPath(name, by, outgoing, outcome, theirs=owner)
    if outcome.result in (PASS, TEMPERROR) or not outgoing.term or outgoing.evidence is Evidence.UNKNOWN:
        return found
    return replace(found, proposal=await propose(name, spoken, outgoing, look))


def _spoken(name: str, upstream: Upstream) -> str:
    sender = upstream.identity.sender
    return str(sender) if sender and sender.domain.lower() == name else f"postmaster@{name}"


def _owner(name: str, upstream: Upstream) -> str:
    """Whose a domain is if surely not the user's: that of a mail service for everybody; "" otherwise."""
    preset_here = preset_for(upstream.provider)
    if preset_here and upstream.transport.host == preset_here.host and aligned(name, upstream.transport.host):
        return preset_here.name
    return _of_a_service(name)


def _of_a_service(name: str) -> str:
    home = organisational(name)
    for preset in PRESETS:
        if home in {organisational(one) for one in (preset.mail_domain, *preset.aliases) if "." in one}:
            return preset.name
    return home if home in _CARRIERS or home.partition(".")[0] in _FOR_EVERYBODY else ""
