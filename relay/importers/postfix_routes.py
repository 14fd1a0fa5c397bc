"""Postfix's routing as rules whose first match wins.

The order of precedence is that of transport(5) and postconf(5): transport_maps (address, domain, .parent, *) over everything;
then sender_dependent_default_transport_maps over default_transport, where a next hop there beats relayhost, and
sender_dependent_relayhost_maps over relayhost; with none of them the recipient's own MX.  Pure.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from relay.importers.maincf import MainCf, logical_lines
from relay.importers.plan import Find, Plan, RulePlan, ServerPlan, Source
from relay.importers.postfix_servers import Servers
from relay.importers.tables import TableEntry, Tables, read_tables

_SMTP = frozenset({"", "smtp", "relay", "smtp-amavis", "smtps", "submission"})


@dataclass(frozen=True, slots=True)
class Senders:
    """A class of senders: `globs` for our rule; `keys` for Postfix's tables, the most special first.

    No globs: all senders.  `patterns` are the table entries that this class stands for.
    """

    globs: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    patterns: tuple[TableEntry, ...] = ()
    identity: str = ""


ANYBODY = Senders()


@dataclass(frozen=True, slots=True)
class PostfixRecipients:
    """A class of recipients and its entry in the transport table; None if the tables have none."""

    globs: tuple[str, ...] = ()
    entry: TableEntry | None = None
    decided: RulePlan | None = None


@dataclass(slots=True)
class Routing:
    """The tables for routing, and the servers they lead to.  `identify` sets a server's sender for a class of senders."""

    main: MainCf
    plan: Plan
    servers: Servers
    find: Find
    master: Source | None = None
    transports: Tables = field(default_factory=Tables)
    by_sender: Tables = field(default_factory=Tables)
    transport_by_sender: Tables = field(default_factory=Tables)
    services: dict[str, tuple[str, dict[str, str], str]] = field(default_factory=dict)
    identify: Callable[[ServerPlan, Senders], ServerPlan] = lambda server, _senders: server

    def read(self) -> None:
        self.transports = read_tables(self.main, "transport_maps", self.find, self.plan)
        self.by_sender = read_tables(self.main, "sender_dependent_relayhost_maps", self.find, self.plan)
        self.transport_by_sender = read_tables(self.main, "sender_dependent_default_transport_maps", self.find, self.plan)
        if self.master:
            self.services = dict(_services(self.master))

    # ---- who sends ---------------------------------------------------------------------------------------------------

    def senders(self, identities: Sequence[Senders]) -> list[Senders]:
        """The classes of senders that any table tells apart: addresses, patterns, domains, anybody."""
        tables = (self.by_sender, self.transport_by_sender)
        keys = [entry.key for table in tables for entry in table.entries if entry.key]
        keys += self.servers.sender_keys
        found = {key: _class_of(key) for key in keys if "@" in key or key == "<>"}
        for one in identities:
            known = found.get(one.keys[0]) if one.keys else None
            found[one.keys[0]] = replace(known or one, identity=one.identity, globs=one.globs)
        patterns = [
            Senders(entry.globs, (), (entry,)) for table in tables for entry in table.patterns if entry.value.upper() != "DUNNO"
        ]
        whole = [one for key, one in found.items() if not key.startswith("@")]
        domains = [self._inherited(one, identities) for key, one in found.items() if key.startswith("@")]
        return [*(self._inherited(one, identities) for one in whole), *patterns, *domains, ANYBODY]

    @staticmethod
    def _inherited(one: Senders, identities: Sequence[Senders]) -> Senders:
        """An address has the identity of its domain if it has none of its own."""
        if one.identity:
            return one
        domain = next((other for other in identities if other.keys[:1] == one.keys[1:2]), None)
        return replace(one, identity=domain.identity) if domain else one

    # ---- to whom -----------------------------------------------------------------------------------------------------

    def recipients(self) -> list[PostfixRecipients]:
        """The classes that the transport table tells apart, in the order of its search."""
        exact, domains, parents, every = [], [], [], []
        subdomains_too = "transport_maps" in self.main.get("parent_domain_matches_subdomains")
        for entry in self.transports.entries:
            key = entry.key
            if entry.globs:
                exact.append(PostfixRecipients(entry.globs, entry))
            elif self.transports.get(key) is not entry:
                self.plan.warn(entry.where, f"{key} stands in the table twice; the first one counts")
            elif key == "*":
                every.append(PostfixRecipients((), entry))
            elif key.startswith("."):
                parents.append(PostfixRecipients((f"*@*{key}",), entry))
            elif "@" in key:
                exact.append(PostfixRecipients(self._with_extension(key), entry))
            else:
                domains.append(PostfixRecipients((f"*@{key}",), entry))
                if subdomains_too and not self.transports.get(f".{key}"):
                    parents.append(PostfixRecipients((f"*@*.{key}",), entry))
        parents.sort(key=lambda one: len(one.globs[0]), reverse=True)
        fixed = [PostfixRecipients((), self.transports.fixed)] if self.transports.fixed and not every else []
        return [*exact, *domains, *parents, *every, *fixed]

    def _with_extension(self, address: str) -> tuple[str, ...]:
        """With recipient_delimiter `+`, user+box@domain is looked up as user@domain too."""
        local, _, domain = address.rpartition("@")
        delimiters = [one for one in self.main.get("recipient_delimiter") if one not in local]
        return (address, *(f"{local}{one}*@{domain}" for one in delimiters))

    # ---- next hops ---------------------------------------------------------------------------------------------------

    def rule(self, to: PostfixRecipients, senders: Senders) -> RulePlan | None:
        """What Postfix does with this mail; None if that cannot be carried over."""
        if to.decided:
            return to.decided
        if to.entry is None:
            return self._default(senders)
        transport, _, hop = to.entry.value.partition(":")
        if not transport and not hop:
            found = self._default(senders)
            return replace(found, origin=to.entry.where) if found else None
        # A login by sender is for the server that the sender's mail goes to as a rule, not to be shown to this one too.
        return self.by(transport, hop, replace(senders, keys=()), to.entry.where)

    def _default(self, senders: Senders) -> RulePlan | None:
        main = self.main
        transport, _, hop = main.get("default_transport").partition(":")
        where = main.where("default_transport")
        if entry := _lookup(self.transport_by_sender, senders):
            other, _, other_hop = entry.value.partition(":")
            transport, hop, where = other or transport, other_hop or hop, entry.where
        if not hop:
            hop, where = self._relayhost(senders, "" if transport in ("smtp", "relay") else where)
        return self.by(transport, hop, senders, where)

    def _relayhost(self, senders: Senders, otherwise: str) -> tuple[str, str]:
        entry = _lookup(self.by_sender, senders)
        if entry and entry.value.upper() != "DUNNO":
            return entry.value, entry.where
        if self.main.said("relayhost"):
            return self.main.get("relayhost"), self.main.where("relayhost")
        return "", otherwise or f"{self.main.source.name}, which has no relayhost"

    def by(self, transport: str, hop: str, senders: Senders, where: str) -> RulePlan | None:
        """What a transport does with a next hop; an empty one is the recipient's own domain."""
        if transport == "error":
            text = re.sub(r"^\s*[45]\.\d{1,3}\.\d{1,3}\s*", "", hop).strip() or "not delivered by this relay"
            return RulePlan(reject=text, origin=where)
        if transport == "discard":
            return RulePlan(discard=True, origin=where)
        command, overrides, service_at = self.services.get(transport, ("", {}, ""))
        if command not in ("", "smtp") or (not command and transport in ("local", "virtual", "lmtp", "uucp", "retry", "bsmtp")):
            self.plan.drop(where, f"the transport {transport} ends in a mailbox or another program, which the relay has not")
            return RulePlan(reject=f"mail for this address was delivered by {transport}, which is no more", origin=where)
        if not command and transport not in _SMTP:
            self.plan.warn(where, f"the transport {transport} is taken for plain SMTP; name master.cf too, to have its options")
        main = self.main.with_overrides(overrides) if overrides else self.main
        self._told_overrides(overrides, service_at)
        chain = self.servers.chain(hop, senders.keys, main, where) if hop else (None,)
        if fallback := main.get("smtp_fallback_relay") or main.get("fallback_relay"):
            chain += self.servers.chain(fallback, senders.keys, main, main.where("smtp_fallback_relay"))
        via = tuple(self.identify(one, senders) if one else None for one in chain)
        return RulePlan(via=via, origin=where) if via else None

    def _told_overrides(self, overrides: dict[str, str], where: str) -> None:
        known = ("smtp_tls_", "smtp_sasl_mechanism_filter", "smtp_fallback_relay", "smtp_tcp_port", "syslog_name")
        for name in overrides:
            if not name.startswith(known):
                self.plan.drop(where, f"-o {name} is not carried over")


def rules(routing: Routing, to_classes: Sequence[PostfixRecipients], senders: Sequence[Senders]) -> list[RulePlan]:
    """One rule for each pair of classes whose fate differs from what a later sender class of the same recipients has."""
    found: list[RulePlan] = []
    for to in to_classes:
        fates = [(one, routing.rule(to, one)) for one in senders]
        kept = [(one, fate) for place, (one, fate) in enumerate(fates) if fate and not _same_later(place, fates)]
        found += [replace(fate, to=to.globs, sender=one.globs) for one, fate in kept]
    return found


def _same_later(place: int, fates: Sequence[tuple[Senders, RulePlan | None]]) -> bool:
    """Whether the rule that would match next says the same; between them nothing else may match such mail."""
    one, fate = fates[place]
    for other, otherwise in fates[place + 1 :]:
        falls_to = not other.globs or (len(one.keys) > 1 and other.keys == one.keys[1:])
        if falls_to or other.patterns:
            return bool(falls_to and fate and otherwise and fate.outcome == otherwise.outcome)
    return False


def _lookup(tables: Tables, senders: Senders) -> TableEntry | None:
    own = next((entry for entry in senders.patterns if entry in tables.entries), None)
    return own or next((found for key in senders.keys if (found := tables.get(key))), tables.fixed)


def _class_of(key: str) -> Senders:
    if key == "<>":
        return Senders(("<>",), ("<>",))
    if key.startswith("@"):
        return Senders((f"*{key}",), (key,))
    return Senders((key,), (key, f"@{key.rpartition('@')[2]}"))


def _services(master: Source) -> Iterator[tuple[str, tuple[str, dict[str, str], str]]]:
    """The transports of master.cf: command, its `-o name=value`, and where it stands."""
    for number, text in logical_lines(master):
        words = text.split(None, 7)
        if len(words) == 8 and words[1] == "unix":
            command, _, rest = words[7].partition(" ")
            pairs = re.findall(r"-o\s+(?:\{\s*)?(\w+)\s*=\s*([^\s{}]*)", rest)
            yield words[0], (command, dict(pairs), master.at(number))
