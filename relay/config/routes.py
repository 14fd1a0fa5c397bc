"""The rules of routing: each names where mail goes, on which conditions; none may be out of reach.  Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from relay.config import hosts, scalars
from relay.config.fields import Fields, Reading, show
from relay.config.located import Node, Place
from relay.config.scalars import Wrong, listing, near
from relay.inbound.admission import Listener
from relay.networks import Network
from relay.outbound.routing import Route, catches_all
from relay.upstream.settings import DIRECT


@dataclass(frozen=True, slots=True)
class Known:
    """What rules may name.  `readable` False: the upstreams could not be read, so that no name can be called wrong.

    `for_notices` are used without a rule.
    """

    upstreams: Sequence[str]
    listeners: Sequence[Listener]
    readable: bool = True
    devices: Sequence[str] = ()
    for_notices: Sequence[str] = ()


def read_routes(at: Fields, known: Known) -> tuple[Route, ...]:
    """All rules; with one upstream and no rules, everything goes there."""
    nodes = at.each("routes")
    if not nodes:
        return _default(at, known)
    routes: list[Route] = []
    catch_all: Place | None = None
    for number, node in enumerate(nodes):
        with at.reading.fields(node, node.path or f"routes[{number}]", node.place) as rule:
            routes.append(_route(rule, known))
            if catch_all:
                text = f"can never be reached: the rule on line {catch_all.line} already matches everything"
                at.reading.mistake(node.place, node.path, text)
            elif rule.sound and not rule.strangers and _matches_everything(rule, routes[-1]):
                catch_all = node.place
    _remark_unused(at, known, routes)
    return tuple(routes)


def _default(at: Fields, known: Known) -> tuple[Route, ...]:
    if at.given("routes") or len(known.upstreams) > 1:
        why = f", since there are {len(known.upstreams)} upstreams" if len(known.upstreams) > 1 else ""
        example = known.upstreams[0] if known.upstreams else DIRECT
        at.mistake("routes", f"expected rules such as [{{via: [{example}]}}]{why}, found nothing")
    return tuple(Route(via=(name,)) for name in known.upstreams[:1])


def _route(rule: Fields, known: Known) -> Route:
    found = Route(
        via=_via(rule, known),
        to=rule.many("to", hosts.pattern, ()),
        sender=rule.many("from", hosts.sender_pattern, ()),
        client=_networks(rule),
        listener=_listeners(rule, known.listeners),
        reject=rule.get("reject", scalars.text, ""),
        discard=rule.get("discard", _only_true, False),
        device=_devices(rule, known.devices),
        user=rule.many("user", scalars.text, ()),
        copy_to=rule.many("copy_to", hosts.mailbox, ()),
    )
    said = [key for key in ("via", "reject", "discard") if rule.said(key)]
    if len(said) != 1 and rule.sound:
        found_words = " and ".join(said) or "none"
        rule.reading.mistake(rule.place, rule.path, f"expected exactly one of via, reject or discard, found {found_words}")
    if rule.said("copy_to") and rule.said("reject"):
        rule.mistake("copy_to", "expected only beside via or discard, found reject: of what is refused there is no copy")
    return found


def _devices(rule: Fields, names: Sequence[str]) -> tuple[str, ...]:
    def convert(value: str) -> str:
        if value not in names:
            known = f"there are {listing(names)}" if names else "devices is empty"
            raise Wrong("the name of a device", near(value, names) or known)
        return value

    return rule.many("device", convert, ())


def _via(rule: Fields, known: Known) -> tuple[str, ...]:
    names = known.upstreams
    seen: set[str] = set()

    def convert(value: str) -> str:
        if value not in names and value != DIRECT and known.readable:
            raise _Unnamed(value)
        if value in seen:
            raise Wrong("each upstream once", "a chain never tries the same one twice")
        seen.add(value)
        return value

    if not rule.said("via"):
        return ()
    nodes = rule.each("via")
    if not nodes:
        rule.mistake("via", f"expected the names of upstreams or {DIRECT}, found nothing")
    return tuple(name for node in nodes if (name := _upstream(rule.reading, node, convert, names)))


class _Unnamed(Exception):
    pass


def _upstream(reading: Reading, node: Node, convert: scalars.Convert[str], names: Collection[str]) -> str | None:
    try:
        return reading.value(node, convert)
    except _Unnamed as unknown:
        name = str(unknown)
        hint = near(name, [*names, DIRECT]) or f"there are {listing([*names, DIRECT])}"
        reading.mistake(node.place, node.path, f"no upstream is named {show(name)}; {hint}")
        return None


def _networks(rule: Fields) -> tuple[Network, ...]:
    return tuple(network for some in rule.many("client", hosts.clients, ()) for network in some)


def _listeners(rule: Fields, listeners: Sequence[Listener]) -> tuple[str, ...]:
    names = [listener.name for listener in listeners]

    def convert(value: str) -> str:
        try:
            name = hosts.written(hosts.socket_address(25)(value))
        except Wrong:
            name = value
        if name not in names:
            raise Wrong(f"the address of a listener ({listing(names)})" if names else "the address of a listener")
        return name

    return rule.many("listener", convert, ())


def _only_true(value: str) -> bool:
    if not scalars.flag(value):
        raise Wrong("true")
    return True


def _matches_everything(rule: Fields, route: Route) -> bool:
    """A condition that was said but could not be read still is one."""
    read = {"device": route.device, "user": route.user}
    conditions = {"to": route.to, "from": route.sender, "client": route.client, "listener": route.listener, **read}
    return catches_all(route) and all(values or not rule.said(key) for key, values in conditions.items())


def _remark_unused(at: Fields, known: Known, routes: Sequence[Route]) -> None:
    used = {name for route in routes for name in route.via}
    for name in known.upstreams:
        if name not in used and name not in known.for_notices:
            path = f"upstreams.{name}"
            at.reading.remark(at.reading.places.get(path, at.place), path, "no rule uses this upstream")
