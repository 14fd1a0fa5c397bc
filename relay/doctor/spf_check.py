"""Who may send for a domain: SPF as receivers evaluate it, over a given look-up.  RFC 7208.  Pure."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from relay.doctor.spf_parse import (
    BadRecord,
    HostAddress,
    MacroValues,
    SpfPolicy,
    Term,
    expand,
    explanation,
    is_spf,
    parse,
    wants_validated,
)

PASS, FAIL, SOFTFAIL, NEUTRAL = "pass", "fail", "softfail", "neutral"
NONE, TEMPERROR, PERMERROR = "none", "temperror", "permerror"
MAX_LOOKUPS = 10
MAX_VOIDS = 2
MAX_NAMES = 10  # of one MX or PTR answer (s4.6.4)

_QUALIFIERS = {"+": PASS, "-": FAIL, "~": SOFTFAIL, "?": NEUTRAL}


class LookupFailed(Exception):
    """The DNS could not tell (time is up, a server failed): what depends on it cannot be told either."""


Lookup = Callable[[str, str], Awaitable[Sequence[str]]]
"""(name, type) -> records as text: TXT joined to one text each, MX and PTR as host names in order, A, AAAA as addresses.

[] where the name or the type is not there.  Raises LookupFailed.
"""


@dataclass(frozen=True, slots=True)
class SpfResult:
    """`result` as of s2.6; `why` names the term that decided or the mistake; `lookups` were counted (s4.6.4)."""

    result: str
    why: str = ""
    explanation: str = ""
    lookups: int = 0


class _Broken(Exception):
    """permerror, with the reason."""


async def check(client: HostAddress, domain: str, sender: str, helo: str, lookup: Lookup, *, receiver: str = "") -> SpfResult:
    """check_host() of s4.  `sender` is the reverse-path ("" is null: then `domain` is the HELO name)."""
    local, _, sender_domain = sender.rpartition("@")
    if isinstance(client, IPv6Address) and client.ipv4_mapped:
        client = client.ipv4_mapped
    macros = MacroValues(client, local or "postmaster", sender_domain or domain, helo, receiver or "unknown")
    visit = _Visit(macros, lookup)
    try:
        result, why = await visit.check(domain)
    except _Broken as broken:
        return SpfResult(PERMERROR, str(broken), "", visit.lookups)
    except LookupFailed as failed:
        return SpfResult(TEMPERROR, str(failed), "", visit.lookups)
    words = await visit.explain() if result == FAIL else ""
    return SpfResult(result, why, words, visit.lookups)


def is_name(domain: str) -> bool:
    """Whether SPF can be asked for it: at least two labels, none empty or over 63 octets (s4.3)."""
    labels = domain.removesuffix(".").split(".")
    sound = all(0 < len(label.encode()) <= 63 for label in labels)
    return len(labels) > 1 and sound and not domain.startswith("[") and len(domain) <= 254


@dataclass
class _Visit:
    macros: MacroValues
    lookup: Lookup
    lookups: int = 0
    voids: int = 0
    exp: tuple[str, str] = ("", "")

    async def check(self, domain: str) -> tuple[str, str]:
        if not is_name(domain):
            return NONE, f"{domain or 'nothing'} is no domain name"
        policy = await self._policy(domain)
        if policy is None:
            return NONE, f"{domain} publishes no SPF record"
        for term in policy.terms:
            if await self._matches(term, domain):
                result = _QUALIFIERS[term.qualifier]
                self.exp = (policy.exp, domain) if result == FAIL else ("", "")
                return result, f"'{term.text}' in the record of {domain}"
        if policy.redirect and not any(term.name == "all" for term in policy.terms):
            return await self._redirected(policy.redirect, domain)
        return NEUTRAL, f"nothing in the record of {domain} is about {self.macros.client}"

    async def _policy(self, domain: str) -> SpfPolicy | None:
        records = [record for record in await self.lookup(domain, "TXT") if is_spf(record)]
        if len(records) > 1:
            raise _Broken(f"{domain} publishes {len(records)} SPF records")
        try:
            return parse(records[0]) if records else None
        except BadRecord as bad:
            raise _Broken(f"the record of {domain}: {bad}") from None

    async def _redirected(self, spec: str, domain: str) -> tuple[str, str]:
        self._count()
        target = await self._expanded(spec, domain)
        result, why = await self.check(target)
        if result == NONE:
            raise _Broken(f"redirect= of {domain} leads nowhere: {why}")
        return result, why

    async def _matches(self, term: Term, domain: str) -> bool:
        if term.name == "all":
            return True
        if term.network is not None:
            return self.macros.client in term.network
        self._count()
        target = await self._expanded(term.domain, domain) if term.domain else domain
        if term.name == "include":
            return await self._included(target)
        if term.name == "ptr":
            return any(_under(name, target) for name in await self._validated())
        if term.name == "exists":
            return bool(await self._ask(target, "A"))
        hosts: Sequence[str] = [target]
        if term.name == "mx":
            hosts = await self._ask(target, "MX")
            if len(hosts) > MAX_NAMES:
                raise _Broken(f"'{term.text}' stands for more than {MAX_NAMES} hosts")
        return await self._any_address(hosts, term.prefixes, voids=term.name == "a")

    async def _any_address(self, hosts: Sequence[str], prefixes: tuple[int, int], *, voids: bool) -> bool:
        client = self.macros.client
        prefix = prefixes[client.version == 6]
        for host in hosts:
            for address in await self._ask(host, "AAAA" if client.version == 6 else "A", voids=voids):
                if client in ip_network(f"{address}/{prefix}", strict=False):
                    return True
        return False

    async def _included(self, target: str) -> bool:
        kept = self.exp
        result, why = await self.check(target)
        self.exp = kept
        if result == NONE:
            raise _Broken(f"'include:{target}' leads nowhere: {why}")
        return result == PASS

    async def _validated(self) -> list[str]:
        """The client's names whose addresses lead back to it (s5.5); trouble in the DNS counts as none."""
        reverse = self.macros.client.reverse_pointer
        kind = "AAAA" if self.macros.client.version == 6 else "A"
        found = []
        try:
            names = await self._ask(reverse, "PTR")
        except LookupFailed:
            return []
        for name in names[:MAX_NAMES]:
            try:
                addresses = await self.lookup(name, kind)
            except LookupFailed:
                continue
            if any(ip_address(address) == self.macros.client for address in addresses):
                found.append(name.rstrip("."))
        return found

    async def _expanded(self, spec: str, domain: str) -> str:
        validated = await self._name_of_client(domain) if wants_validated(spec) else "unknown"
        return expand(spec, self.macros, domain, validated).removesuffix(".")

    async def _name_of_client(self, domain: str) -> str:
        names = await self._validated()
        same = [name for name in names if name.lower() == domain.lower()]
        below = [name for name in names if _under(name, domain)]
        return next(iter([*same, *below, *names]), "unknown")

    async def _ask(self, name: str, kind: str, *, voids: bool = True) -> Sequence[str]:
        found = await self.lookup(name, kind) if is_name(name) else []
        if not found and voids:
            self.voids += 1
            if self.voids > MAX_VOIDS:
                raise _Broken(f"more than {MAX_VOIDS} of the names in it do not exist, {name} the last of them")
        return found

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            raise _Broken(f"it needs more than {MAX_LOOKUPS} DNS look-ups")

    async def explain(self) -> str:
        """The words of `exp=`; any trouble means there are none (s6.2)."""
        spec, domain = self.exp
        if not spec:
            return ""
        try:
            name = await self._expanded(spec, domain)
            records = await self.lookup(name, "TXT") if is_name(name) else []
            validated = await self._name_of_client(domain) if any(map(wants_validated, records)) else "unknown"
        except (LookupFailed, _Broken):
            return ""
        return explanation(records[0], self.macros, domain, validated) if len(records) == 1 else ""


def _under(name: str, domain: str) -> bool:
    lower, parent = name.lower().rstrip("."), domain.lower().rstrip(".")
    return lower == parent or lower.endswith(f".{parent}")
