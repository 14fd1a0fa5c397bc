"""Which chain of upstreams a recipient's mail goes by, and which rule said so.

First match wins, for each recipient.  Rules count from 1, as people count; 0 is "no rule".  Pure.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from relay.mail.address import Address
from relay.mail.device import Device
from relay.mail.envelope import Origin
from relay.mail.glob import pattern
from relay.mail.reply import Reply
from relay.networks import client_of
from relay.upstream.settings import Folder, Upstream

_NULL = "<>"


@dataclass(frozen=True, slots=True)
class Route:
    """One rule.  Empty conditions match everything.  Exactly one of `via`, `reject`, `discard` is set.

    `to` and `sender` are globs over the whole address (`*@host.example`; `<>` for the null reverse-path),
    `client` networks of the device, `listener` names as in `listen.address`, `device` names as in `devices`, `user`
    who logged in.  Several of one kind: any of them.  `copy_to` gets a copy of what goes by this rule.
    """

    via: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    sender: tuple[str, ...] = ()
    client: tuple[IPv4Network | IPv6Network, ...] = ()
    listener: tuple[str, ...] = ()
    reject: str = ""
    discard: bool = False
    device: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    copy_to: tuple[Address, ...] = ()


Routes = Sequence[Route]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the rules say about one recipient: `via` is the chain in order of preference, `why` names the rule for people."""

    rule: int
    via: tuple[str, ...] = ()
    reject: str = ""
    discard: bool = False
    why: str = ""
    copy_to: tuple[Address, ...] = ()


def chain_for(routes: Routes, sender: Address | None, recipient: Address, origin: Origin, device: str = "") -> Chosen:
    """The first rule that matches; rule 0 with an empty chain if none does.  `device` is whose mail it is, by name."""
    client = client_of(origin.client)
    for number, route in enumerate(routes, 1):
        if (route.device and device not in route.device) or (route.user and origin.user not in route.user):
            continue
        matched = _matches(route, sender, recipient, client, origin.listener)
        if matched is not None:
            who = [f"device {device}"] if route.device else []
            who += [f"user {origin.user}"] if route.user else []
            said = ", ".join([*who, *matched]) or "everything"
            return Chosen(number, route.via, route.reject, route.discard, f"rule {number}: {said}", route.copy_to)
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


def of_notice(
    chosen: Mapping[Address, Chosen], upstreams: Mapping[str, Upstream], first: Mapping[Address, Sequence[str]]
) -> dict[Address, Chosen]:
    """The chains of a notice of our own.  Folders are left out where there is an account; `first` has `notices.via`."""
    accounts = [name for name, one in upstreams.items() if one.transport.has_account]
    folders = {name for name, one in upstreams.items() if isinstance(one.transport, Folder)} if accounts else ()
    return {to: for_notice(for_people(one, folders), accounts, first.get(to, ())) for to, one in chosen.items()}


def may_route(routes: Routes, sender: Address | None, recipient: Address, origin: Origin, device: str = "") -> Reply | None:
    """For RCPT: the refusal, or None if a rule takes this recipient (also one that discards)."""
    chosen = chain_for(routes, sender, recipient, origin, device)
    if chosen.reject:
        return Reply(550, "5.7.1", chosen.reject)
    if chosen.via or chosen.discard:
        return None
    return Reply(550, "5.4.4", f"no rule in routes leads to {recipient}")


def copies(
    routes: Routes, sender: Address | None, recipients: Iterable[Address], origin: Origin, device: Device | None
) -> Iterator[Address]:
    """Who gets a copy of a message: of the device's mail, and by the rules that take these recipients.

    A copy that no rule takes is not made, since nobody would ever be told of it.
    """
    name = device.name if device else ""
    wanted = [copy for each in recipients for copy in chain_for(routes, sender, each, origin, name).copy_to]
    for copy in dict.fromkeys([*(device.copy_to if device else ()), *wanted]):
        if may_route(routes, sender, copy, origin, name) is None:
            yield copy


def catches_all(route: Route) -> bool:
    """Whether no message gets past this rule.  Every recipient has an @; of senders, notices have none."""
    anybody = _anybody(route.to, "*@") and _anybody(route.sender, "*")
    return anybody and not (route.client or route.listener or route.device or route.user)


def _anybody(globs: Sequence[str], wild: str) -> bool:
    """Whether one of them stands for every address, as nothing but `wild` characters does, one @ at most."""
    return not globs or any("*" in glob and set(glob) <= set(wild) and _wide(glob) for glob in globs)


def _wide(glob: str) -> bool:
    name, at, domain = glob.partition("@")
    return not at or (set(name) == {"*"} and set(domain) == {"*"})


def _matches(
    route: Route, sender: Address | None, recipient: Address, client: IPv4Address | IPv6Address | None, listener: str
) -> list[str] | None:
    """The conditions that matched, in words; None if one did not."""
    said: list[str] = []
    for field, globs, path in (("to", route.to, recipient), ("from", route.sender, sender)):
        if globs:
            text = str(path) if path else _NULL
            hit = next((glob for glob in globs if pattern(glob).fullmatch(text)), None)
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
    return said
