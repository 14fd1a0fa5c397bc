"""Postfix's files as a plan: main.cf, master.cf and the tables that they name.  Pure."""

import re
from ipaddress import ip_network

from relay.importers.maincf import MainCf
from relay.importers.plan import Find, NothingToMove, Plan, RulePlan, Source
from relay.importers.postfix_content import meant, move_canonical, move_copies, move_header_checks
from relay.importers.postfix_ignored import NO_MATTER, NOT_KEPT, USUAL_RESTRICTIONS
from relay.importers.postfix_local import move_aliases, move_local_domains
from relay.importers.postfix_routes import ANYBODY, PostfixRecipients, Routing, rules
from relay.importers.postfix_senders import Generic
from relay.importers.postfix_servers import Servers
from relay.importers.tables import specs
from relay.mail.address import is_public
from relay.networks import with_port

KNOWN_NAMES = {
    "transport": "transport_maps",
    "generic": "smtp_generic_maps",
    "sasl_passwd": "smtp_sasl_password_maps",
    "sasl": "smtp_sasl_password_maps",
    "sasl_password": "smtp_sasl_password_maps",
    "sender_relay": "sender_dependent_relayhost_maps",
    "sender_relayhost": "sender_dependent_relayhost_maps",
    "sender_dependent_relayhost": "sender_dependent_relayhost_maps",
    "sender_dependent_relayhost_maps": "sender_dependent_relayhost_maps",
    "relayhost_map": "sender_dependent_relayhost_maps",
    "tls_policy": "smtp_tls_policy_maps",
    "virtual": "virtual_alias_maps",
    "aliases": "alias_maps",
}
"""What a table is for, by the name it usually has: for those who bring tables without a main.cf."""


def move_postfix(main_cf: Source, find: Find, master: Source | None = None, *, command: str = "relay import postfix") -> Plan:
    """The plan of one main.cf; `find` gives the tables that it names.  Raises NothingToMove."""
    plan = Plan(command, read=[main_cf.name])
    main = _with_origin(MainCf(main_cf), find, plan)
    _hostname(main, plan)
    _networks(main, plan, find)
    _size_and_times(main, plan)
    routing = Routing(main, plan, Servers(main, find, plan), find, master)
    routing.read()
    generic = Generic(main, find, plan, routing)
    routing.identify = generic.identify
    to_classes = routing.recipients()
    move_canonical(main, find, plan)
    move_header_checks(main, find, plan)
    move_aliases(main, find, plan, everything_routed=_routes_all(to_classes))
    move_copies(main, plan)
    plan.everything_to = meant(plan.everything_to, plan)
    if plan.everything_to and plan.aliases:
        plan.warn(main_cf.name, f"aliases do not count where everything goes to {plan.everything_to}")
    if not _routes_all(to_classes):
        to_classes += move_local_domains(main, find, plan, {one.entry.key for one in to_classes if one.entry})
        to_classes += _relay_domains(main, routing, plan)
        to_classes.append(PostfixRecipients())
    refused = [rule for rule in plan.rules if rule.client]
    plan.rules = [*refused, *rules(routing, to_classes, routing.senders(generic.classes))]
    if not any(rule.via or rule.discard for rule in plan.rules):
        raise NothingToMove(f"{main_cf.name} leads mail nowhere; expected relayhost, transport_maps or the like")
    routing.servers.tell()
    _unlooked(main, plan)
    return plan


def tables_as_main_cf(names: list[str]) -> str:
    """A main.cf for tables that came without one, by the names that they usually have; "" if none is known."""
    found = {KNOWN_NAMES[name]: name for name in names if name in KNOWN_NAMES}
    lines = [f"{setting} = texthash:{name}" for setting, name in found.items()]
    if "smtp_sasl_password_maps" in found:
        lines += ["smtp_sasl_auth_enable = yes", "smtp_tls_security_level = encrypt"]
    return "\n".join(lines) + "\n" if lines else ""


def _routes_all(to_classes: list[PostfixRecipients]) -> bool:
    return any(not one.globs for one in to_classes)


def _with_origin(main: MainCf, find: Find, plan: Plan) -> MainCf:
    """Debian's myorigin is a file (/etc/mailname) with the name in its first line."""
    path = main.get("myorigin")
    if not path.startswith("/"):
        return main
    source = find(path)
    name = source.text.strip().partition("\n")[0].strip() if source else ""
    if not name:
        plan.warn(main.where("myorigin"), f"{path} was not found; $myhostname is taken for the name in it")
    return main.with_overrides({"myorigin": name or "$myhostname"})


def _hostname(main: MainCf, plan: Plan) -> None:
    for name in ("smtp_helo_name", "myhostname"):
        value = main.get(name)
        if (
            main.said(name)
            and re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", value)
            and not value.endswith(".localdomain")
        ):
            plan.hostname = plan.hostname or value
            plan.say(main.where(name), f"our name in EHLO is {plan.hostname}")
    origin = main.get("myorigin")
    if origin and is_public(origin) and origin not in main.words("mydestination"):
        plan.default_domain = origin.lower()


def _networks(main: MainCf, plan: Plan, find: Find) -> None:
    where = main.where("mynetworks")
    said = main.said("mynetworks")
    for spec in specs(re.sub(r"\[([0-9A-Fa-f:.]+)\]", r"\1", main.get("mynetworks"))):
        for text in _networks_of(spec, find, plan, where):
            _network(text, plan, where)
    if not said:
        plan.networks = ["127.0.0.0/8", "::1/128"]
        plan.warn(
            main.source.name, "there is no mynetworks, so only this machine may send; `networks: [private]` lets the LAN do so"
        )
    listen = main.get("inet_interfaces").lower()
    if listen in ("loopback-only", "localhost", "127.0.0.1"):
        plan.listen = ("127.0.0.1:25",)
    elif listen not in ("all", "") and main.said("inet_interfaces"):
        hosts = [word.strip("[]") for word in re.split(r"[\s,]+", listen)]
        known = [host for host in hosts if re.fullmatch(r"[0-9.]+|(?=[0-9a-f]*:.)[0-9a-f:]+", host)]
        plan.listen = tuple(with_port(host, 25) for host in known)
        if not known:
            plan.drop(main.where("inet_interfaces"), f"{listen} is a name; write its address into listen.address")


def _networks_of(spec: str, find: Find, plan: Plan, where: str) -> list[str]:
    """The networks of one value in mynetworks: itself, or those in a file."""
    path = re.sub(r"^(cidr|hash|texthash|lmdb):", "", spec)
    if "/" not in path[:1]:
        return [spec]
    source = find(path)
    if source is None:
        plan.drop(where, f"mynetworks: {path} was not found, so the networks in it may not send")
        return []
    plan.read += [source.name] if source.name not in plan.read else []
    lines = (line.split("#")[0].split() for line in source.text.splitlines())
    return [words[0] for words in lines if words]


def _network(text: str, plan: Plan, where: str) -> None:
    try:
        network = ip_network(text.removeprefix("!"), strict=False)
    except ValueError:
        plan.drop(where, f"mynetworks: {text} is no network")
        return
    if text.startswith("!"):
        words = "this device may not send (mynetworks of Postfix)"
        plan.rules.append(RulePlan(client=(str(network),), reject=words, origin=where))
        plan.say(where, f"{network} is refused by a rule")
    elif network.prefixlen < (8 if network.version == 4 else 32) and not network.is_private:
        plan.drop(where, f"mynetworks: {network} is half the Internet: an open relay, so it was left out")
    elif str(network) not in plan.networks:
        plan.networks.append(str(network))
        plan.say(where, f"{network} may send")


def _size_and_times(main: MainCf, plan: Plan) -> None:
    size = main.get("message_size_limit")
    if size == "0":
        plan.warn(main.where("message_size_limit"), "no limit of size; the relay's is 50 MB (spool.max_message)")
    elif size.isdigit() and int(size) >= 1000:
        plan.max_message = int(size)
        plan.say(main.where("message_size_limit"), f"messages may have {size} octets")
    for name, unit in (("maximal_queue_lifetime", "d"), ("delay_warning_time", "h")):
        match = re.fullmatch(r"([1-9]\d{0,3})([smhdw]?)", main.get(name))
        if not match:
            continue
        number, letter = int(match[1]), match[2] or unit
        said = f"{number * 7}d" if letter == "w" else f"{number}{letter}"
        if name == "delay_warning_time":
            plan.warn_after = said
        else:
            plan.give_up_after = said
        plan.say(main.where(name), f"{'people are told of a delay' if unit == 'h' else 'mail is given up'} after {said}")


def _relay_domains(main: MainCf, routing: Routing, plan: Plan) -> list[PostfixRecipients]:
    """Domains of their own class go by relay_transport, which matters only if that names a next hop."""
    transport, _, hop = main.get("relay_transport").partition(":")
    if not main.said("relay_domains") or not hop:
        return []
    where = main.where("relay_domains")
    found = routing.by(transport, hop, ANYBODY, main.where("relay_transport"))
    domains = [word for word in main.words("relay_domains") if re.fullmatch(r"[A-Za-z0-9.-]+", word)]
    if not found or len(domains) < len(main.words("relay_domains")):
        plan.drop(where, "relay_domains: only domains that stand there themselves are carried over")
    globs = tuple(glob for domain in domains for glob in (f"*@{domain}", f"*@*.{domain}"))
    return [PostfixRecipients(globs, decided=found)] if found and globs else []


def _unlooked(main: MainCf, plan: Plan) -> None:
    for name, text in NOT_KEPT.items():
        if main.said(name) and main.get(name).lower() not in ("no", "none", "0", "0s"):
            plan.drop(main.where(name), f"{name}: {text}")
    for name in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data"):
        setting = f"smtpd_{name}_restrictions"
        strange = [word for word in main.words(setting) if word not in USUAL_RESTRICTIONS]
        if strange:
            text = "who may send is decided by listen.networks, and a rule can `reject`"
            plan.drop(main.where(setting), f"{setting}: {', '.join(strange)} is not carried over; {text}")
    rest = main.unlooked(NO_MATTER)
    rest = [name for name in rest if not re.match(r"smtpd_tls_|lmtp_|virtual_|postscreen_|local_|debug", name)]
    if rest:
        plan.warn(main.source.name, f"not looked at, since the relay has nothing like it: {', '.join(sorted(rest))}")
