"""What Postfix delivered on its own machine: aliases come along, mailboxes do not.  aliases(5), virtual(5).  Pure."""

import re
from collections.abc import Iterable

from relay.importers.maincf import MainCf
from relay.importers.plan import Find, Plan, RulePlan
from relay.importers.postfix_routes import PostfixRecipients
from relay.importers.postfix_servers import as_address, is_alias
from relay.importers.tables import TableEntry, Tables, read_tables

_DEEPEST = 10
_TOLD = ("root", "postmaster", "admin")


def move_aliases(main: MainCf, find: Find, plan: Plan, *, everything_routed: bool) -> None:
    """virtual_alias_maps and, unless the transport table takes even local mail elsewhere, alias_maps."""
    for entry in read_tables(main, "virtual_alias_maps", find, plan).entries:
        move_virtual(entry, main, plan, "virtual_alias_maps")
    if everything_routed or not main.said("alias_maps"):
        return
    local = _names(main, "mydestination")
    tables = read_tables(main, "alias_maps", find, plan, colons=True)
    for entry in tables.entries:
        targets = _followed(entry.key, tables, set(local))
        names = (entry.key, *(f"{entry.key}@{domain}" for domain in local))
        if targets and all(map(is_alias, names)):
            for name in names:
                plan.aliases.setdefault(name, targets)
            plan.say(entry.where, f"{entry.key} means {', '.join(targets)}")
        elif re.search(r'[|/:"]', entry.value):
            plan.drop(entry.where, f"{entry.key}: a program, file or list of this machine; the relay has none")
    told = next((plan.aliases[name][0] for name in _TOLD if name in plan.aliases), "")
    if told and not plan.notices_to:
        plan.notices_to = told
        plan.say("", f"{told} is told when mail fails, as root was")


def move_virtual(entry: TableEntry, main: MainCf, plan: Plan, setting: str) -> None:
    """One line of virtual_alias_maps, or of another table of that form, as an alias.

    A bare name stands for that name at this machine's own domains: virtual(5), canonical(5).
    """
    origin = main.get("myorigin")
    words = [word for word in re.split(r"[\s,]+", entry.value) if word]
    targets = tuple(as_address(word if "@" in word else f"{word}@{origin}") for word in words)
    names: Iterable[str] = (entry.key,)
    if entry.globs:
        names = [glob for glob in entry.globs if re.fullmatch(r"(\*|[^*?@]+)@[^*?@]+", glob)]
    elif entry.key.startswith("@"):
        names = (f"*{entry.key}",)
    elif "@" not in entry.key:
        own = dict.fromkeys([*_names(main, "myorigin"), *_names(main, "mydestination")])
        names = (entry.key, *(f"{entry.key}@{domain}" for domain in own))
    if not targets or not all(targets):
        plan.drop(entry.where, f"{setting}: {entry.key or 'this pattern'} does not lead to full addresses")
        return
    if not names or not all(map(is_alias, names)):
        plan.drop(entry.where, f"{setting}: {entry.key or 'this pattern'} is no name, address or @domain as an alias has")
        return
    if len(words) == 1 and words[0].lower() == entry.key:
        return  # an address that means itself, as an exception to a wider pattern
    for name in names:
        plan.aliases.setdefault(name, targets)
    plan.say(entry.where, f"{entry.key or ', '.join(names)} means {', '.join(targets)}")


def _followed(name: str, tables: Tables, local: set[str], depth: int = 0) -> tuple[str, ...]:
    """The addresses elsewhere that an alias leads to in the end; local targets are left out."""
    entry = tables.get(name)
    if entry is None or depth > _DEEPEST:
        return ()
    found: list[str] = []
    for word in (word.strip() for word in entry.value.split(",") if word.strip()):
        bare, _, domain = word.strip('"').removeprefix("\\").rpartition("@")
        if bare and domain.lower() not in local:
            found += [as_address(word)] if as_address(word) else []
        else:
            found += _followed((bare or domain).lower(), tables, local, depth + 1)
    return tuple(dict.fromkeys(found))


def move_local_domains(main: MainCf, find: Find, plan: Plan, routed: set[str]) -> list[PostfixRecipients]:
    """Mail for domains with mailboxes on this machine is refused with the reason, not sent to the Internet."""
    found = []
    for setting in ("mydestination", "virtual_mailbox_domains", "virtual_alias_domains"):
        if setting != "mydestination" and not main.said(setting):
            continue
        domains = [name for name in _names(main, setting) if name not in routed and name != "localhost.localdomain"]
        if not domains:
            continue
        where = main.where(setting)
        if main.said(setting):
            plan.warn(
                where, f"mail for {', '.join(domains)} was kept on this machine; the relay has no mailboxes and refuses it"
            )
        text = "this name has no mailbox here; recipients.aliases can give it an address elsewhere"
        rule = RulePlan(reject=text, origin=f"{where} {setting}")
        found.append(PostfixRecipients(tuple(f"*@{name}" for name in domains), decided=rule))
    return found


def _names(main: MainCf, setting: str) -> list[str]:
    """The domains that stand in a setting themselves."""
    words = [word.lower().strip("[]") for word in main.words(setting)]
    return list(dict.fromkeys(word for word in words if re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", word)))
