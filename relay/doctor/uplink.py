"""The Internet line: what strangers' mail hosts see of it, and what that means; only where a route uses `mx`.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.doctor.domain import DomainFacts, SendingPath, judge_ways
from relay.doctor.finding import Finding, Grade, fine, problem, warning
from relay.doctor.subject import Subject
from relay.doctor.upstream import PortFacts, PortState, UpstreamFacts
from relay.upstream.settings import DIRECT_UPSTREAM


@dataclass(frozen=True, slots=True)
class Listing:
    """What a block list said about an address: `codes` are its A records ([] not listed), `trouble` why it could not tell."""

    address: str
    codes: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class UplinkFacts:
    """The line as strangers' mail hosts see it, asked only where a route uses `mx`.

    `targets` are port 25 of hosts outside; `public` our addresses there; `reverse` their names, `forward` the names that
    lead back; `ways` is what SPF says to senders' mail from these addresses; `dnssec`: a nameserver whose word counts
    validates.
    """

    targets: Mapping[str, PortFacts] = field(default_factory=dict)
    public: tuple[str, ...] = ()
    listings: tuple[Listing, ...] = ()
    reverse: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forward: frozenset[str] = frozenset()
    ways: tuple[SendingPath, ...] = ()
    trouble: str = ""
    dnssec: bool = False


_MX = DIRECT_UPSTREAM.name
_PBL = ("127.0.0.10", "127.0.0.11")
_REFUSED = {
    "127.255.255.252": "the list's name was asked for wrongly",
    "127.255.255.254": "the question came through a public resolver, which the list does not answer",
    "127.255.255.255": "too many questions came from this resolver",
}
"""Codes that are no listing (docs of Spamhaus): they say that the question itself was refused."""


def judge_uplink(
    line: UplinkFacts, domains: Iterable[DomainFacts], upstreams: Sequence[UpstreamFacts], subject: Subject
) -> list[Finding]:
    """Port 25, listing, name.  A route that has another upstream behind `mx` still works: then they are warnings."""
    alone = any(_MX in route.via and route.via[-1] == _MX for route in subject.routes)
    findings = [_port_25(line, upstreams, subject)]
    if not line.public:
        cause = "Our public address could not be found out, so SPF, block lists and reverse DNS were not looked at for it."
        cure = "Run the doctor again; or look the address up in the router or the provider's panel, and at check.spamhaus.org."
        findings.append(warning("public-address", _MX, cause, cure, *([line.trouble] if line.trouble else [])))
    findings += [_listing(one, subject) for one in line.listings]
    findings += [_reverse(address, line) for address in line.public if address in line.reverse or not line.trouble]
    findings += _dane(line, subject)
    outside_view = [one for one in domains if not one.inside]  # the others were judged with their domain
    findings += judge_ways(outside_view, line.ways, {_MX: DIRECT_UPSTREAM})
    return findings if alone else [replace(one, grade=Grade.WARNING) if one.grade is Grade.PROBLEM else one for one in findings]


def _dane(line: UplinkFacts, subject: Subject) -> list[Finding]:
    if line.dnssec:
        return [fine("dane", _MX, "the nameserver validates DNSSEC, so certificates named by the DNS (DANE) are demanded")]
    if not subject.trusted_nameservers:
        return []
    asked = ", ".join(subject.trusted_nameservers)
    cause = f"No nameserver that `dns.trusted` names ({asked}) is asked and says that it validates DNSSEC, so DANE is not used."
    cure = (
        "Name it in `dns: {nameservers: [...]}` or /etc/resolv.conf, and switch validation on there (unbound and BIND do it as "
        "they come); or remove `dns: {trusted: [...]}`."
    )
    return [warning("dane", _MX, cause, cure)]


def _instead(subject: Subject) -> str:
    others = list(subject.upstreams)
    return f"`via: [{others[0]}]`" if others else "an upstream of your ISP (`via: [isp]`)"


def _port_25(line: UplinkFacts, upstreams: Sequence[UpstreamFacts], subject: Subject) -> Finding:
    if not line.targets:
        cause = "No mail host outside could be looked up, so whether port 25 is open is not known."
        return warning("port-25-unknown", _MX, cause, "See the finding on the resolver, if there is one; then run it again.")
    if any(there.state is PortState.OPEN for there in line.targets.values()):
        return fine("port-25", _MX, "port 25 to the outside is open")
    seen = [f"{host}: {there.words or there.state.value}" for host, there in line.targets.items()]
    if upstreams and not any(there.state is PortState.OPEN for one in upstreams for there in one.ports.values()):
        cause = "Nothing outside answers on any port, so whether port 25 is open is not known."
        return warning("port-25-unknown", _MX, cause, "See the findings on the upstreams; then run it again.", *seen)
    others = [one for one in upstreams if any(one.ports[p].state is PortState.OPEN for p in (465, 587) if p in one.ports)]
    seen += [f"ports 465 or 587 of {one.upstream.smtp.host} are open" for one in others]
    cause = "Your ISP blocks outgoing port 25 (OP25B), as on most home connections: direct delivery (`mx`) cannot work."
    cure = f"Replace `mx` in the routes by {_instead(subject)}, or ask the ISP to open port 25 (with a fixed address)."
    return problem("port-25", _MX, cause, cure, *seen)


def _listing(listing: Listing, subject: Subject) -> Finding:
    address = listing.address
    if listing.trouble:
        return warning(
            "block-list-unknown", address, "The block list gave no answer.", "Run the doctor again.", listing.trouble
        )
    refused = [code for code in listing.codes if code in _REFUSED or code.startswith("127.255.255.")]
    if refused:
        cause = f"Whether the address is listed cannot be told: {_REFUSED.get(refused[0], 'the list refused the question')}."
        cure = "Set `dns: {nameservers: [...]}` to your own or your ISP's resolver instead of a public one (8.8.8.8)."
        return warning("block-list-refused", address, cause, cure, f"the list answered {', '.join(refused)}")
    codes = [code for code in listing.codes if code.startswith("127.0.0.")]
    if not codes:
        return fine("block-list", address, "not listed by Spamhaus")
    if all(code in _PBL for code in codes):
        cause = (
            "The address belongs to a range of home connections (Spamhaus PBL): iCloud and many others refuse mail from it "
            "that comes directly, with 550 5.7.1."
        )
        cure = f"Hand mail to your ISP's server instead of delivering it: replace `mx` in the routes by {_instead(subject)}."
        return problem("pbl", address, cause, cure, f"Spamhaus answered {', '.join(codes)}")
    cause = (
        "The address is on a block list (Spamhaus SBL or XBL): spam was seen coming from it, perhaps from another device here."
    )
    cure = f"Look for an infected device, then see check.spamhaus.org; meanwhile send by {_instead(subject)}, not `mx`."
    return problem("block-list", address, cause, cure, f"Spamhaus answered {', '.join(codes)}")


def _reverse(address: str, line: UplinkFacts) -> Finding:
    names = line.reverse.get(address, ())
    cure_from = "Ask the ISP to set the reverse DNS of your address to the relay's `hostname`; else send by an upstream."
    if not names:
        cause = "The address has no name in reverse DNS; many mail hosts refuse mail from such addresses (CORESERVER, Gmail)."
        return problem("reverse-dns", address, cause, cure_from)
    if not set(names) & line.forward:
        cause = f"The address's name {names[0]} does not lead back to it; many mail hosts refuse mail from such addresses."
        return problem("reverse-dns", address, cause, f"Give {names[0]} an A (or AAAA) record with {address}. {cure_from}")
    return fine("reverse-dns", address, f"its name is {names[0]}")
