"""smtp_generic_maps: the public addresses of local senders.  generic(5).  Pure.

An upstream has one `sender`, which replaces every sender that the account may not use.  So the address in most entries
becomes the upstream's `sender`; an entry with another address gets an upstream of its own.
"""

from collections import Counter
from dataclasses import replace

from relay.importers.maincf import MainCf
from relay.importers.plan import Find, Plan, ServerPlan
from relay.importers.postfix_routes import Routing, Senders
from relay.importers.postfix_servers import as_address
from relay.importers.tables import TableEntry, read_tables
from relay.mail.address import is_public


class Generic:
    """The identity of each upstream: `sender` and the domains that may stay as they are."""

    def __init__(self, main: MainCf, find: Find, plan: Plan, routing: Routing) -> None:
        self._main, self._plan = main, plan
        entries = [entry for entry in read_tables(main, "smtp_generic_maps", find, plan).entries if self._usable(entry)]
        left = {entry.key.removeprefix("@"): entry.value.lower() for entry in entries if entry.key.startswith("@")}
        counted = Counter(entry.value.lower() for entry in entries)
        common = max(counted, key=lambda value: (counted[value], value in left.values()), default="")
        self.address = next((entry.value for entry in entries if entry.value.lower() == common), "")
        self._left = left
        known = [self.address, *(entry.key for entry in (*routing.by_sender.entries, *routing.transport_by_sender.entries))]
        known += [*routing.servers.sender_keys, *(entry.value for entry in entries)]
        own = [one.rpartition("@")[2].lower() for one in known if "@" in one]
        own += [main.get(name).lower() for name in ("myorigin", "mydomain") if main.said(name) or name == "myorigin"]
        self._domains = tuple(dict.fromkeys(name for name in own if is_public(name) and name not in left))
        self.classes = [self._class(entry) for entry in entries if self._apart(entry)]
        for entry in entries:
            what = "by an upstream of its own" if self._apart(entry) else "as the upstream's `sender`"
            plan.say(entry.where, f"{entry.key} goes out as {entry.value}, {what}")

    def identify(self, server: ServerPlan, senders: Senders) -> ServerPlan:
        """The server with the sender that this class of senders has there."""
        if senders.identity:
            return replace(server, sender=senders.identity, rewrite="always")
        sender = self.address if self.address.lower() != server.username.lower() else ""
        own = (sender or as_address(server.username)).rpartition("@")[2].lower()
        if not own:
            return server
        domains = tuple(dict.fromkeys((own, *self._domains)))
        if not sender:
            self._plan.warn(
                "",
                f"{server.shown}: senders in {' and '.join(domains)} stay; others, such as root@nas, become {server.username}"
                " (Postfix sent them as they were): sender_domains lists who may stay, `rewrite: never` keeps all",
            )
        return replace(server, sender=sender, sender_domains=domains if domains != (own,) else ())

    def _usable(self, entry: TableEntry) -> bool:
        if entry.globs:
            self._plan.drop(entry.where, "smtp_generic_maps: patterns are not carried over; name the addresses")
        elif entry.value.startswith("@"):
            text = "the relay does not change the domain of a sender and keep its name"
            self._plan.drop(entry.where, f"{entry.key} {entry.value}: {text}; set the upstream's `sender` to one address")
        elif not as_address(entry.value):
            self._plan.drop(entry.where, f"{entry.value} is no full address")
        else:
            return True
        return False

    def _apart(self, entry: TableEntry) -> bool:
        """Whether the common `sender` would not do for this line: another address, or a domain that otherwise stays or
        goes out as somebody else (generic(5): an address comes before its domain)."""
        value, domain = entry.value.lower(), entry.key.rpartition("@")[2] if "@" in entry.key else ""
        whole = domain or self._main.get("myorigin").lower()  # what Postfix completes a bare name with
        by_domain = value if entry.key.startswith("@") else self._left.get(whole, value)
        return value != self.address.lower() or by_domain != value or (bool(domain) and domain in self._domains)

    def _class(self, entry: TableEntry) -> Senders:
        key = entry.key
        if key.startswith("@"):
            return Senders((f"*{key}",), (key,), identity=entry.value)
        if "@" in key:
            return Senders((key,), (key, f"@{key.rpartition('@')[2]}"), identity=entry.value)
        origin = self._main.get("myorigin").lower()
        full = f"{key}@{origin}"
        return Senders((key, full), (full, f"@{origin}"), identity=entry.value)
