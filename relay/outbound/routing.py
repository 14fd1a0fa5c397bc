"""Which chain of upstreams a recipient's mail goes by, and which rule said so.

First match wins, for each recipient.  Rules count from 1, as people count; 0 is "no rule".  Pure.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from relay.mail.address import Address
from relay.mail.envelope import Origin
from relay.mail.reply import Reply

_NULL = "<>"


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


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the rules say about one recipient: `via` is the chain in order of preference, `why` names the rule for people."""

    rule: int
    via: tuple[str, ...] = ()
    reject: str = ""
    discard: bool = False
    why: str = ""


def chain_for(routes: Routes, sender: Address | None, recipient: Address, origin: Origin) -> Chosen:
    """The first rule that matches; rule 0 with an empty chain if none does."""
    client = _client(origin.client)
    for number, route in enumerate(routes, 1):
        matched = _matches(route, sender, recipient, client, origin.listener)
        if matched is not None:
            why = f"rule {number}: {matched}"
            return Chosen(number, route.via, route.reject, route.discard, why)
    return Chosen(0, why=f"no rule matches {recipient}")


def for_people(chosen: Chosen, folders: Collection[str]) -> Chosen:
    """The same without upstreams that are folders: a notice is to be read."""
    return replace(chosen, via=tuple(name for name in chosen.via if name not in folders))


def for_notice(chosen: Chosen, upstreams: Sequence[str], first: Sequence[str] = ()) -> Chosen:
    """A notice may go by any upstream: `first` (`notices.via`) come first, then the rule's chain, then every other one."""
    if chosen.discard:
        return replace(chosen, via=tuple(first), discard=not first)
    chain = tuple(dict.fromkeys((*first, *chosen.via)))
    others = [name for name in upstreams if name not in chain]
    who = [*([f"{', '.join(first)} first"] if first else []), *([f"{', '.join(others)} too"] if others else [])]
    why = f"{chosen.why}; a notice of our own, so {', '.join(who)}" if who else chosen.why
    return replace(chosen, via=(*chain, *others), reject="", why=why)


def may_route(routes: Routes, sender: Address | None, recipient: Address, origin: Origin) -> Reply | None:
    """For RCPT: the refusal, or None if a rule takes this recipient (also one that discards)."""
    chosen = chain_for(routes, sender, recipient, origin)
    if chosen.reject:
        return Reply(550, "5.7.1", chosen.reject)
    if chosen.via or chosen.discard:
        return None
    return Reply(550, "5.4.4", f"no rule in routes leads to {recipient}")


def catches_all(route: Route) -> bool:
    """Whether no message gets past this rule.  Every recipient has an @; of senders, notices have none."""
    anybody = _anybody(route.to, "*@") and _anybody(route.sender, "*")
    return anybody and not route.client and not route.listener


def _anybody(globs: Sequence[str], wild: str) -> bool:
    """Whether one of them stands for every address, as nothing but `wild` characters does, one @ at most."""
    return not globs or any("*" in glob and set(glob) <= set(wild) and _wide(glob) for glob in globs)


def _wide(glob: str) -> bool:
    name, at, domain = glob.partition("@")
    return not at or (set(name) == {"*"} and set(domain) == {"*"})


def _matches(
    route: Route, sender: Address | None, recipient: Address, client: IPv4Address | IPv6Address | None, listener: str
) -> str | None:
    """The conditions that matched, as text; None if one did not."""
    said: list[str] = []
    for field, globs, text in (("to", route.to, str(recipient)), ("from", route.sender, str(sender) if sender else _NULL)):
        if globs:
            hit = next((glob for glob in globs if _pattern(glob).fullmatch(text)), None)
            if hit is None:
                return None
            said.append(f"{field} {hit}")
    if route.client:
        network = next((network for network in route.client if client is not None and client in network), None)
        if network is None:
            return None
        said.append(f"client {network}")
    if route.listener:
        if listener not in route.listener:
            return None
        said.append(f"listener {listener}")
    return ", ".join(said) or "everything"


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    """Only `*` and `?` are wild: brackets belong to address literals.  Case never matters to the person who wrote it."""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in glob)
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


@lru_cache(maxsize=1024)
def _client(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:  # a dual-stack socket shows IPv4 so
        return address.ipv4_mapped
    return address
