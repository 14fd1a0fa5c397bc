"""The SPF record to publish so that mail passes by an upstream: what is there is kept, and it is tried before it is said.

RFC 7208 s4.6.4 allows ten look-ups; where an include would go beyond them, the record is made lighter.  Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from relay.doctor.sending_hosts import SendingHosts, networks_of
from relay.doctor.spf_check import NONE, PASS, PERMERROR, Lookup, LookupFailed, SpfResult, check
from relay.doctor.spf_parse import bad_terms, is_spf

_STRANGER = ip_address("240.255.255.254")  # of class E: in nobody's record
_LONGEST = 450  # octets: with the other records of the domain the answer should stay in one UDP packet


@dataclass(frozen=True, slots=True)
class Proposal:
    """A TXT record and what was done to get it; `record` "" if none was found that passes."""

    record: str = ""
    changes: tuple[str, ...] = ()


async def evaluate(domain: str, sender: str, outgoing: SendingHosts, lookup: Lookup) -> SpfResult:
    """What receivers will say about mail from this upstream: the worst result over its addresses."""
    for client in outgoing.samples:
        outcome = await check(client, domain, sender, "relay.invalid", lookup)
        if outcome.result != PASS:
            return outcome
    if not outgoing.samples:  # no record and a broken one are so for everybody
        outcome = await check(_STRANGER, domain, sender, "relay.invalid", lookup)
        if outcome.result in (NONE, PERMERROR):
            return outcome
    return SpfResult(PASS, f"all known addresses of {outgoing.term} pass")


async def propose(domain: str, sender: str, outgoing: SendingHosts, lookup: Lookup) -> Proposal:
    """The first record, from the one closest to what is there, with which all known addresses pass."""
    # sorted: nameservers turn the order of records around, and what is printed should be the same each time
    records = sorted(record for record in await lookup(domain, "TXT") if is_spf(record))
    has_mx = any(await lookup(domain, "MX"))
    for proposal in _candidates(records, outgoing, has_mx=has_mx):
        if await _does(domain, sender, outgoing, _with(domain, proposal.record, lookup)):
            return proposal
    return await _lighter(records, domain, sender, outgoing, lookup)


async def _does(domain: str, sender: str, outgoing: SendingHosts, lookup: Lookup) -> bool:
    """Whether our mail passes and the record stays within its limits for everybody else's: a stranger asks the most."""
    if (await evaluate(domain, sender, outgoing, lookup)).result != PASS:
        return False
    return (await check(_STRANGER, domain, sender, "relay.invalid", lookup)).result != PERMERROR


def _with(domain: str, record: str, lookup: Lookup) -> Lookup:
    """The DNS as it will be with this record published."""

    async def changed(name: str, kind: str) -> Sequence[str]:
        found = await lookup(name, kind)
        if kind != "TXT" or name.lower().rstrip(".") != domain.lower().rstrip("."):
            return found
        return [*(one for one in found if not is_spf(one)), record]

    return changed


def _candidates(records: Sequence[str], outgoing: SendingHosts, *, has_mx: bool) -> Iterator[Proposal]:
    new = outgoing.term.split(" ")
    if not records:
        yield Proposal(" ".join(["v=spf1", *(["mx"] if has_mx else []), *new, "~all"]))
        return
    terms, changes = _merged(records)
    yield Proposal(_joined(_inserted(terms, new)), changes)
    yield Proposal(_joined([*new, *terms]), (*changes, f"{outgoing.term} stands first, since a term before it refused"))
    slim = [one for one in terms if _bare(one).partition(":")[0] != "ptr"]
    if slim != terms:
        yield Proposal(_joined(_inserted(slim, new)), (*changes, "ptr is left out: RFC 7208 s5.5 says not to use it"))
    own = [f"ip{network.version}:{network}" for network in outgoing.networks]
    flat = _joined(_inserted([one for one in slim if _bare(one) != outgoing.term.lower()], own))
    if outgoing.include and len(flat) <= _LONGEST:
        why = f"the addresses stand for include:{outgoing.include}, which would need too many look-ups"
        yield Proposal(flat, (*changes, why))


async def _lighter(records: Sequence[str], domain: str, sender: str, outgoing: SendingHosts, lookup: Lookup) -> Proposal:
    """Leaves out what leads nowhere; then writes the smallest includes out as addresses, one after the other."""
    if not records:
        return Proposal()
    terms, changes = _merged(records)
    dead = [one for one in terms if _bare(one).partition(":")[0] == "ptr" or await _is_dead(_bare(one), lookup)]
    terms = [one for one in terms if one not in dead]
    said = [*changes, *([f"left out, since it leads nowhere: {', '.join(dead)}"] if dead else [])]
    smallest = await _by_size(terms, lookup)
    while True:
        record = _joined(_inserted(terms, outgoing.term.split(" ")))
        if await _does(domain, sender, outgoing, _with(domain, record, lookup)):
            return Proposal(record, tuple(said))
        if not smallest or len(record) > _LONGEST:
            return Proposal()
        include, addresses = smallest.pop(0)
        place = terms.index(include)
        terms = [*terms[:place], *addresses, *terms[place + 1 :]]
        said.append(f"addresses stand for {include}, since there would be too many look-ups: look after them when they change")


async def _by_size(terms: Sequence[str], lookup: Lookup) -> list[tuple[str, list[str]]]:
    """The includes that have addresses to write out, fewest first, and these as terms."""
    found = []
    for term in terms:
        name, _, target = _bare(term).partition(":")
        if name == "include" and "%" not in target and (networks := await networks_of(target, lookup)):
            sign = term[0] if term[0] in "~?" else ""
            found.append((term, [f"{sign}ip{network.version}:{network}" for network in networks]))
    return sorted(found, key=lambda one: len(one[1]))


async def _is_dead(term: str, lookup: Lookup) -> bool:
    name, _, value = term.partition(":")
    if name not in ("include", "a") or not value or "%" in value:
        return False
    try:
        if name == "include":
            return not any(is_spf(record) for record in await lookup(value, "TXT"))
        host = value.partition("/")[0]
        return not (await lookup(host, "A") or await lookup(host, "AAAA"))
    except LookupFailed:
        return False


def _merged(records: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The terms of all records in one, each once, without those that break the grammar; the strictest `all` last."""
    wrong = [term for record in records for term in bad_terms(record)]
    terms: list[str] = []
    for record in records:
        terms += [one for one in record.split(" ")[1:] if one and one not in wrong and one.lower() not in map(str.lower, terms)]
    alls = [one for one in terms if _bare(one) == "all"]
    tail = [one for one in terms if one.lower().startswith(("redirect=", "exp="))]
    body = [one for one in terms if one not in alls and one not in tail]
    strictest = sorted(alls, key=lambda one: "-~?+".index(one[0] if one[0] in "-~?+" else "+"))[:1]
    changes = [f"the {len(records)} records become one: more than one counts as a mistake"] if len(records) > 1 else []
    changes += [f"'{term}' is left out: it breaks the grammar of SPF" for term in wrong]
    if strictest:  # with `all` a redirect is never looked at (RFC 7208 s6.1)
        tail = [one for one in tail if not one.lower().startswith("redirect=")]
    return [*body, *strictest, *tail], tuple(changes)


def _inserted(terms: Sequence[str], new: Iterable[str]) -> list[str]:
    """The new terms behind all mechanisms but `all`, and before the modifiers."""
    here = [one for one in new if one.lower() not in {_bare(term) for term in terms}]
    place = next((n for n, one in enumerate(terms) if _bare(one) == "all" or "=" in one.partition(":")[0]), len(terms))
    return [*terms[:place], *here, *terms[place:]]


def _bare(term: str) -> str:
    return term.lstrip("+-~?").lower()


def _joined(terms: Iterable[str]) -> str:
    return " ".join(["v=spf1", *terms])
