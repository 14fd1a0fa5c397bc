"""Postfix's next hops, logins and TLS policy.

postconf(5), SASL_README, TLS_README.  Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from relay.importers.maincf import MainCf
from relay.importers.plan import Find, Hop, Plan, ServerPlan
from relay.importers.tables import TableEntry, Tables, read_tables
from relay.mail.address import BadAddress, parse_address
from relay.networks import in_lan
from relay.secret import Secret

_SERVICES = {"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465, "urd": 465}
_SYSTEM_CAS = re.compile(r"/(ca-certificates\.crt|ca-bundle\.crt|ca-bundle\.trust\.crt|tls-ca-bundle\.pem|cert\.pem)\Z")
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")


@dataclass(frozen=True, slots=True)
class NextHop:
    """One destination as Postfix writes it; `direct`: in brackets, so without an MX lookup."""

    text: str
    host: str
    port: int
    direct: bool

    @property
    def on_lan(self) -> bool:
        """Whether no public authority can have certified it."""
        try:
            return in_lan(self.host)
        except ValueError:
            return "." not in self.host or self.host.lower().endswith((".local", ".lan", ".home", ".internal", ".home.arpa"))


def next_hop(text: str, port: int = 25) -> NextHop | None:
    """`[host]:port`, `[host]`, `host:port`, `host`; None if it is no such thing."""
    match = re.fullmatch(r"\[(?:ipv6:)?([^\[\]]+)\](?::(\w+))?|([^\[\]:]+)(?::(\w+))?", text, re.IGNORECASE)
    if not match:
        return None
    host, service = match[1] or match[3], match[2] or match[4] or str(port)
    number = _SERVICES.get(service.lower(), int(service) if service.isdigit() else 0)
    if not 0 < number < 65536 or not (_HOST.fullmatch(host) or _is_ip(host)):
        return None
    return NextHop(text, host.rstrip("."), number, bool(match[1]) or _is_ip(host))


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def as_address(text: str) -> str:
    """The text if it is a full address, else ""."""
    try:
        found = parse_address(text)
    except BadAddress:
        return ""
    return text if found.qualified else ""


def is_alias(name: str) -> bool:
    """Whether it can stand in `recipients.aliases`: `root`, `a@b`, `*@b`."""
    local, _, domain = name.rpartition("@")
    try:
        parse_address(f"x@{domain}" if local == "*" else name)
    except BadAddress:
        return False
    return not (local == "*" and domain.startswith("["))


class Servers:
    """Makes upstreams of next hops; what cannot be imported is noted in the plan once."""

    def __init__(self, main: MainCf, find: Find, plan: Plan) -> None:
        self._find, self._plan = find, plan
        logins = main.flag("smtp_sasl_auth_enable")
        if not logins and main.said("smtp_sasl_password_maps"):
            plan.warn(main.where("smtp_sasl_password_maps"), "smtp_sasl_auth_enable is not yes, so Postfix did not log in")
        self._logins = read_tables(main, "smtp_sasl_password_maps", find, plan) if logins else Tables()
        self._by_sender = main.flag("smtp_sender_dependent_authentication")
        self._policies = read_tables(main, "smtp_tls_policy_maps", find, plan)
        self._used: set[str] = set()
        self._hosts: dict[tuple[str, str], list[str]] = {}

    @property
    def sender_keys(self) -> list[str]:
        """The senders that have a login of their own."""
        return [entry.key for entry in self._logins.entries if "@" in entry.key] if self._by_sender else []

    def chain(self, text: str, senders: tuple[str, ...], main: MainCf, where: str) -> tuple[Hop, ...]:
        """The servers that a next hop names, for mail of the senders with these keys (most special first)."""
        found: list[Hop] = []
        for word in re.split(r"[\s,]+", text):
            hop = next_hop(word, _port(main))
            if hop is None:
                self._plan.drop(where, f"{word} is no host and port")
                continue
            if not hop.direct:
                hint = f"write [{hop.host}] there if the host itself was meant" if "." in hop.host else "give its full name"
                self._plan.warn(
                    where,
                    f"{word} stands without brackets, so Postfix asks the DNS for the MX of {hop.host}; the relay connects to"
                    f" {hop.host} itself: put the name of the MX into `host` if it is another one ({hint})",
                )
            found.append(self._server(hop, senders, main, where))
        return tuple(found)

    def _server(self, hop: NextHop, senders: tuple[str, ...], main: MainCf, where: str) -> ServerPlan:
        server = ServerPlan(hop.host, hop.port)
        entry = self._login_of(hop, senders)
        if entry:
            server = self._with_login(server, entry, main)
        return self._with_tls(server, hop, main, where)

    def _login_of(self, hop: NextHop, senders: tuple[str, ...]) -> TableEntry | None:
        keys = (*(senders if self._by_sender else ()), hop.host, hop.text)
        entry = next((found for key in keys if (found := self._logins.get(key))), self._logins.fixed)
        self._used |= {entry.where} if entry else set()
        return entry

    def _with_login(self, server: ServerPlan, entry: TableEntry, main: MainCf) -> ServerPlan:
        user, colon, password = entry.value.partition(":")
        if not colon or not user or not password:
            self._plan.drop(entry.where, "no user:password here, so the upstream has no login")
            return server
        if password.startswith("/") and "xoauth2" in main.get("smtp_sasl_mechanism_filter").lower():
            self._plan.drop(
                entry.where,
                f"{user} logs in by OAuth 2.0 with a token in {password}: set `oauth` with client_id, then `relay oauth login`",
            )
            return server
        mechanisms = [word.lower() for word in main.words("smtp_sasl_mechanism_filter") if not word.startswith("!")]
        auth = mechanisms[0] if len(mechanisms) == 1 and mechanisms[0] in ("plain", "login", "cram-md5") else ""
        return replace(server, username=user, password=Secret(password), auth=auth)

    # ---- TLS ---------------------------------------------------------------------------------------------------------

    def _with_tls(self, server: ServerPlan, hop: NextHop, main: MainCf, where: str) -> ServerPlan:
        level, attributes, said_at = self._level(hop, main)
        wrapped = main.flag("smtp_tls_wrappermode") or (hop.port == 465 and level not in ("", "none"))
        if wrapped and level in ("", "none"):
            level = "encrypt"
        if level in ("", "none"):
            if server.username:
                self._plan.warn(
                    said_at or where,
                    f"{hop.text} has no TLS, so the password goes in clear: write `tls: starttls` if the server can",
                )
            return replace(server, tls="none", auth=server.auth)
        server = replace(server, tls="implicit" if wrapped else "starttls", tls_min=_floor(main))
        if level == "fingerprint":
            return self._pinned(server, main, attributes, said_at or where)
        if level in ("verify", "secure", "dane", "dane-only"):
            return self._certified(server, main)
        return self._unverified(server, hop, level, said_at or where, main)

    def _level(self, hop: NextHop, main: MainCf) -> tuple[str, Mapping[str, str], str]:
        """Security level, attributes of the policy, and where it is said."""
        labels = hop.text.split(".")
        parents = ["." + ".".join(labels[place:]) for place in range(1, len(labels))] if not hop.text.startswith("[") else []
        entry = next((found for key in (hop.text, *parents) if (found := self._policies.get(key))), None)
        if entry:
            words = entry.value.split()
            return words[0].lower(), dict(_pair(word) for word in words[1:]), entry.where
        if main.said("smtp_tls_security_level"):
            return main.get("smtp_tls_security_level").lower(), {}, main.where("smtp_tls_security_level")
        if main.flag("smtp_enforce_tls"):
            return "verify", {}, main.where("smtp_enforce_tls")
        if main.flag("smtp_use_tls"):
            return "may", {}, main.where("smtp_use_tls")
        return "", {}, ""

    def _pinned(self, server: ServerPlan, main: MainCf, attributes: Mapping[str, str], where: str) -> ServerPlan:
        prints = attributes.get("match") or main.get("smtp_tls_fingerprint_cert_match")
        bare = [re.sub(r"[:\s]", "", one).lower() for one in re.split(r"[|,\s]+", prints) if one]
        found = next((one for one in bare if re.fullmatch(r"[0-9a-f]{64}", one)), "")
        if not found:
            self._plan.drop(
                where,
                "the fingerprint is not SHA-256; the certificate is verified instead (or give its SHA-256 in `fingerprint`)",
            )
        elif len(bare) > 1:
            self._plan.drop(where, "the relay takes one fingerprint for a server; the first one that is SHA-256 was kept")
        return replace(server, fingerprint=found)

    def _certified(self, server: ServerPlan, main: MainCf) -> ServerPlan:
        path = main.get("smtp_tls_CAfile")
        if not path or _SYSTEM_CAS.search(path):
            return server
        source = self._find(path)
        if source is None or "BEGIN CERTIFICATE" not in source.text:
            self._plan.drop(main.where("smtp_tls_CAfile"), f"{path} was not found: set `ca_file` of the upstream to its place")
            return server
        return replace(server, ca=source.text)

    def _unverified(self, server: ServerPlan, hop: NextHop, level: str, where: str, main: MainCf) -> ServerPlan:
        """`may` and `encrypt`: Postfix took any certificate."""
        if level == "may" and hop.on_lan and not server.username:
            self._plan.warn(where, f"{hop.text} is on the LAN and TLS was optional: `tls: none`")
            return replace(server, tls="none", tls_min="")
        if hop.on_lan:
            self._plan.warn(
                where, f"{hop.text} is on the LAN, where nobody certifies names: `verify: false`, as Postfix had it"
            )
            return replace(server, verify=False)
        self._hosts.setdefault((where, level), []).append(hop.host)
        return self._certified(server, main)

    def tell(self) -> None:
        """What is common to several servers, once."""
        for (where, level), hosts in self._hosts.items():
            optional = "TLS was optional and " if level == "may" else ""
            self._plan.warn(
                where,
                f"{optional}Postfix took any certificate (level {level}); the relay wants TLS and verifies"
                f" {', '.join(dict.fromkeys(hosts))}: `relay doctor` tells whether that works, `fingerprint` pins a certificate"
                " that nobody vouches for",
            )
        for entry in self.unused():
            self._plan.warn(entry.where, "no route leads to the server of this login, so it was left out")

    def unused(self) -> list[TableEntry]:
        """Logins that no route leads to."""
        return [entry for entry in self._logins.entries if entry.where not in self._used]


def _port(main: MainCf) -> int:
    said = main.get("smtp_tcp_port")
    return _SERVICES.get(said, int(said) if said.isdigit() else 25)


def _pair(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name.lower(), value


def _floor(main: MainCf) -> str:
    said = main.get("smtp_tls_mandatory_protocols") or main.get("smtp_tls_protocols")
    return "1.3" if re.search(r">=\s*TLSv?1\.3", said) else ""
