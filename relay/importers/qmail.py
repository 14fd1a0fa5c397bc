"""qmail's control files as a plan: smtproutes and the files around it.

qmail-remote(8), qmail-control(5); logins as the patches write them: `host:port user password` in smtproutes (Clegg, Simpson,
qmail-ldap), `host:port|user|password` (spamcontrol, s/qmail), a smtpauth file by host, authsenders by sender.  Pure.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from relay.importers.plan import Hop, NothingToMove, Plan, RulePlan, ServerPlan, Source
from relay.importers.postfix_servers import as_address, is_alias, next_hop
from relay.mail.address import is_public
from relay.secret import Secret

KNOWN: dict[str, str] = {
    "concurrencyremote": "the relay opens `limits.connections` to each upstream",
    "concurrencylocal": "the relay has no mailboxes",
    "rcpthosts": "the relay takes mail for anybody, but only from listen.networks",
    "morercpthosts": "the relay takes mail for anybody, but only from listen.networks",
    "percenthack": "",
    "smtpgreeting": "",
    "timeoutconnect": "",
    "timeoutremote": "",
    "timeoutsmtpd": "",
    "localiphost": "",
    "plusdomain": "",
    "idhost": "",
    "bouncefrom": "",
    "bouncehost": "",
    "defaultdelivery": "the relay has no mailboxes",
    "jgreylist": "devices of one's own are not kept waiting: there is no greylisting",
    "greylisting": "devices of one's own are not kept waiting: there is no greylisting",
    "tlsdestinations": "set `tls` of the upstreams",
    "domaincerts": "to show a client certificate, set `client_cert` of the upstream",
    "smtpdplugins": "the relay has no plugins",
    "badhelo": "the relay takes any HELO, since devices do not know better",
    "spfbehavior": "the relay checks nobody's SPF on the way in",
}
"""Control files that are not imported, and why; "": they do not matter here."""


@dataclass(frozen=True, slots=True)
class QmailRoute:
    """One line of smtproutes or authsenders: `key` "" is everybody; `hop` None: the recipient's own MX."""

    key: str
    hop: Hop
    where: str


def move_qmail(files: Mapping[str, Source]) -> Plan:
    """The plan of a control folder, its files by name.  Raises NothingToMove."""
    plan = Plan("relay import qmail")
    names = [name for name in files if name in _READERS or name.startswith(".qmail-")]
    if not names:
        raise NothingToMove("no control file of qmail is among these; expected smtproutes, me or the like")
    plan.read += [files[name].name for name in names]
    _settings(files, plan)
    logins = list(_logins(files["smtpauth"], plan)) if "smtpauth" in files else []
    routes = _routes(files["smtproutes"], plan, logins) if "smtproutes" in files else []
    senders = _routes(files["authsenders"], plan, []) if "authsenders" in files else []
    for source in (files[name] for name in files if name.startswith(".qmail-")):
        _dot_qmail(source, plan, [text.lower() for _, text in _lines(files["locals"])] if "locals" in files else [])
    plan.rules = [*_refused(files, plan), *_local(files, plan), *_by_sender(senders, plan), *_by_recipient(routes)]
    for name, source in files.items():
        _unread(name, source, plan)
    return plan


def _lines(source: Source) -> Iterator[tuple[str, str]]:
    """(place, text) of each line; qmail has no continuation lines, and comments in the first column only."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield source.at(number), line.strip()


def _first(files: Mapping[str, Source], *names: str) -> tuple[str, str]:
    """The first line of the first of these files that has one, and its place."""
    for name in names:
        for where, text in _lines(files[name]) if name in files else ():
            return text, where
    return "", ""


# ---- where to --------------------------------------------------------------------------------------------------------


def _routes(source: Source, plan: Plan, logins: list[tuple[str, str, str]]) -> list[QmailRoute]:
    found: dict[str, QmailRoute] = {}
    for where, line in _lines(source):
        text, user, password = _credentials(line)
        key, colon, place = text.partition(":")
        if not colon and "|" not in line:
            plan.drop(where, f"{key} has no colon, so it is no route")
            continue
        key = key.strip().lower()
        if key in found:
            plan.warn(where, f"{key or 'the default route'} stands there twice; the first line counts")
            continue
        hop = _hop(place.strip(), where, plan)
        if hop is None and place.strip():
            continue
        if hop and not user:
            user, password = _login_for(hop, key, logins)
        if hop and user:
            plan.warn(
                where,
                f"{hop.host}: the password goes by TLS only (tls: {hop.tls if hop.tls != 'none' else 'starttls'});"
                " `relay doctor` tells whether the server can do that",
            )
            tls = "starttls" if hop.tls == "none" else hop.tls
            hop = replace(hop, tls=tls, username=user.removeprefix("-"), password=Secret(password))
        elif hop is None and user:
            plan.drop(where, "a login without a server to log in to")
        found[key] = QmailRoute(key, hop, where)
    return list(found.values())


def _credentials(line: str) -> tuple[str, str, str]:
    """The route without its login, user and password, separated by blanks or bars."""
    parts = line.split("|", 2) if "|" in line else line.split(None, 2)
    text, user, password = (*(part.strip() for part in parts), "", "")[:3]
    return text, user if password else "", password


def _hop(place: str, where: str, plan: Plan) -> ServerPlan | None:
    if not place:
        return None
    hop = None if place.count(":") > 1 and not place.startswith("[") else next_hop(place)
    if hop is None:
        plan.drop(where, f"{place} is no host and port")
        return None
    tls = {465: "implicit", 587: "starttls"}.get(hop.port, "none")
    return ServerPlan(hop.host, hop.port, tls)


def _logins(source: Source, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """(server or domain, user, password) of each line of smtpauth; "" is every server.

    Accepted: `host:port user password`, `host:port user:password`, `host:port|user|password`, `host:port:user:password`,
    and `user password` for all.
    """
    for where, line in _lines(source):
        text, user, password = _credentials(line)
        if not user:
            words = line.split(None, 1)
            text, _, rest = (*words, "")[0], "", (*words, "")[1]
            if rest and ("@" in text or "." not in text):  # `user password`, for every server
                text, user, password = "", text, rest
            elif rest:
                user, _, password = rest.partition(":")
            else:
                match = re.fullmatch(r"(\[[^\]]+\]|[^:\s]*)(:\d+)?:([^:\s]+):(\S+)", line)
                text, user, password = (f"{match[1]}{match[2] or ''}", match[3], match[4]) if match else ("", "", "")
        if user and password:
            yield text.lower().lstrip(":"), user, password
        else:
            plan.drop(where, "no user and password can be made out here")


def _login_for(hop: ServerPlan, key: str, logins: list[tuple[str, str, str]]) -> tuple[str, str]:
    names = (
        f"{hop.host}:{hop.port}",
        f"[{hop.host}]:{hop.port}",
        hop.host,
        f"[{hop.host}]",
        f"{key}:{hop.host}:{hop.port}",
        key,
        "",
        "*",
    )
    for name in names:
        for text, user, password in logins:
            if text == name.lower():
                return user, password
    return "", ""


def _by_recipient(routes: list[QmailRoute]) -> list[RulePlan]:
    """The domain itself, then the longest .suffix, then the default: as qmail-remote asks."""
    exact = [
        RulePlan(to=(f"*@{one.key}",), via=(one.hop,), origin=one.where) for one in routes if one.key and one.key[0] != "."
    ]
    suffixes = sorted((one for one in routes if one.key.startswith(".")), key=lambda one: len(one.key), reverse=True)
    wild = [RulePlan(to=(f"*@*{one.key}",), via=(one.hop,), origin=one.where) for one in suffixes]
    default = [RulePlan(via=(one.hop,), origin=one.where) for one in routes if not one.key]
    return [*exact, *wild, *(default or [RulePlan(via=(None,), origin="no default route in smtproutes: by MX")])]


def _by_sender(routes: list[QmailRoute], plan: Plan) -> list[RulePlan]:
    rules: list[RulePlan] = []
    order: list[Callable[[QmailRoute], bool]] = [
        lambda one: "@" in one.key[1:],
        lambda one: one.key.startswith("@"),
        lambda one: one.key.startswith("."),
        lambda one: not one.key,
    ]
    for wanted in order:
        for one in (one for one in routes if wanted(one)):
            if one.hop is None:
                plan.drop(one.where, "a login by sender without a server; write the server there, or a rule with `from`")
                continue
            globs = (
                (f"*{one.key}",) if one.key.startswith("@") else (f"*@*{one.key}",) if one.key.startswith(".") else (one.key,)
            )
            rules.append(RulePlan(sender=globs if one.key else (), via=(one.hop,), origin=one.where))
    return rules


# ---- the rest --------------------------------------------------------------------------------------------------------


def _settings(files: Mapping[str, Source], plan: Plan) -> None:
    me, where = _first(files, "helohost", "me")
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", me):
        plan.hostname = me
        plan.say(where, f"our name in EHLO is {me}")
    bare, where = _first(files, "envnoathost", "defaulthost", "me")
    domain, _ = _first(files, "defaultdomain")
    bare = f"{bare}.{domain}" if bare and "." not in bare and domain else bare
    local = {text.lower() for _, text in _lines(files["locals"])} if "locals" in files else {me.lower()}
    if bare and is_public(bare) and bare.lower() not in local:
        plan.default_domain = bare.lower()
        plan.say(where, f"a bare name such as root means root@{plan.default_domain}")
    size, where = _first(files, "databytes")
    if size.isdigit() and int(size) >= 1000:
        plan.max_message = int(size)
        plan.say(where, f"messages may have {size} octets")
    seconds, where = _first(files, "queuelifetime")
    if seconds.isdigit() and 60 <= int(seconds) <= 8_640_000:
        plan.give_up_after = f"{seconds}s"
        plan.say(where, f"mail is given up after {seconds} s")
    if "tcp.smtp" in files:
        _clients(files["tcp.smtp"], plan)
    else:
        plan.warn("", "tcp.smtp is not among the files: `private` networks may send (listen.networks)")


def _clients(source: Source, plan: Plan) -> None:
    """The networks that tcpserver lets relay: `192.168.0.:allow,RELAYCLIENT=""`."""
    for where, line in _lines(source):
        address, _, rule = line.partition(":")
        if "RELAYCLIENT" not in rule:
            continue
        octets = [part for part in address.strip().split(".") if part]
        if not re.fullmatch(r"(\d{1,3}\.){1,3}|(\d{1,3}\.){3}\d{1,3}", address.strip()) or any(
            int(part) > 255 for part in octets
        ):
            plan.drop(where, f"{address or 'everybody'} is no network that may be let in; write it into listen.networks")
            continue
        bits = 8 * len(octets)
        plan.networks.append(f"{'.'.join([*octets, *['0'] * (4 - len(octets))])}/{bits}")
        plan.say(where, f"{plan.networks[-1]} may send")


def _refused(files: Mapping[str, Source], plan: Plan) -> list[RulePlan]:
    rules = []
    for name, field_, text in (
        ("badmailfrom", "sender", "mail from this sender is not taken"),
        ("badrcptto", "to", "mail for this address is not taken"),
    ):
        for where, line in _lines(files[name]) if name in files else ():
            glob = f"*{line}" if line.startswith("@") else line
            if re.fullmatch(r"[^\s,;<>!+-][^\s,;<>]*@[^\s,;<>@]+|\*@[^\s,;<>]+", glob):
                rules.append(RulePlan(**{field_: (glob,)}, reject=text, origin=where))  # type: ignore[arg-type]
                plan.say(where, f"{glob} is refused by a rule")
            else:
                plan.drop(where, f"{line} is no address or @domain")
    return rules


def _local(files: Mapping[str, Source], plan: Plan) -> list[RulePlan]:
    """Mail that stayed on the machine is refused with the reason, not sent to the Internet."""
    rules = []
    for name in ("locals", "virtualdomains"):
        if name not in files:
            continue
        lines = [(where, text.partition(":")[0].lower()) for where, text in _lines(files[name])]
        domains = [(where, f"*@*{key}" if key[0] == "." else key if "@" in key else f"*@{key}") for where, key in lines if key]
        if domains:
            text = "this name has no mailbox here; recipients.aliases can give it an address elsewhere"
            rules.append(RulePlan(to=tuple(glob for _, glob in domains), reject=text, origin=f"{domains[0][0]} {name}"))
            shown = ", ".join(glob.removeprefix("*@") for _, glob in domains)
            plan.warn(domains[0][0], f"mail for {shown} was kept on this machine; the relay has no mailboxes and refuses it")
    return rules


def _dot_qmail(source: Source, plan: Plan, local: list[str]) -> None:
    """An alias of ~alias/.qmail-NAME, if it forwards; it answers to NAME at every local domain."""
    name = source.name.rpartition("/")[2].removeprefix(".qmail-").replace(":", ".")
    lines = [text for _, text in _lines(source)]
    targets = tuple(as_address(text.removeprefix("&")) for text in lines if text.startswith("&") or text[:1].isalnum())
    if targets and all(targets) and name != "default" and is_alias(name):
        for one in (name, *(f"{name}@{domain}" for domain in local)):
            plan.aliases[one] = targets
        plan.say(source.at(1), f"{name} means {', '.join(targets)}")
    elif lines:
        plan.drop(source.at(1), f"{name}: a mailbox or program of this machine; the relay has none")


def _unread(name: str, source: Source, plan: Plan) -> None:
    if name in KNOWN:
        if KNOWN[name]:
            plan.warn(source.name, KNOWN[name])
    elif name not in _READERS and not name.startswith(".qmail-"):
        plan.drop(source.name, "not read: nothing in the relay is like it")


_READERS = frozenset(
    [
        *("smtproutes", "smtpauth", "authsenders", "me", "helohost", "envnoathost", "defaulthost", "defaultdomain", "locals"),
        *("virtualdomains", "databytes", "queuelifetime", "tcp.smtp", "badmailfrom", "badrcptto"),
    ]
)
