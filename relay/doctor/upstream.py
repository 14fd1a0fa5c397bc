"""An upstream: what is known of it, and what that means - the first thing that is in the way, with its cure.  Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import ip_address

from relay.doctor.finding import Finding, fine, problem, warning
from relay.doctor.subject import Subject
from relay.mail.reply import Answer, Fault, Stage
from relay.networks import in_lan, without_port
from relay.outbound.replies import Advice, judge
from relay.upstream.peer_certificate import Certificate
from relay.upstream.providers import preset_for
from relay.upstream.settings import Auth, TlsMode, Upstream


class PortState(Enum):
    """What became of a connection: OPEN, REFUSED (somebody said no), SILENT (nobody said anything: a filter)."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class PortFacts:
    """One port of a host; `fault` and `words` are why it did not open."""

    port: int
    state: PortState
    words: str = ""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class ProbeDialog:
    """How far a conversation came: `failed` is the answer that ended it early, `mail` the one to MAIL FROM:<sender>.

    `banner` and `hello` are the server's words; `offers` its AUTH mechanisms; `repeated`: not said to the server again,
    because the same account was refused there already in this run; `speaks_tls`: where no greeting came, TLS was answered;
    `slow`: broken off, since the time of the whole examination was up before the conversation was.
    """

    failed: Answer | None = None
    peer: str = ""
    tls: str = ""
    mechanism: str = ""
    banner: str = ""
    hello: str = ""
    certificate: Certificate | None = None
    offers: tuple[str, ...] = ()
    max_size: int = 0
    sender: str = ""
    mail: Answer | None = None
    repeated: bool = False
    speaks_tls: bool = False
    slow: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """One upstream: its name's addresses (or what the resolver said), its ports by their well-known numbers, the conversation.

    `mute_v6`: it has IPv6 addresses, and none of them can be reached while an IPv4 one can.  `asked_at` by our clock.
    """

    upstream: Upstream
    addresses: tuple[str, ...] = ()
    name_trouble: str = ""
    ports: Mapping[int, PortFacts] = field(default_factory=dict)
    mute_v6: bool = False
    talk: ProbeDialog | None = None
    asked_at: datetime | None = None


_DAYS_LEFT = timedelta(days=14)
_LONGEST_WINDOW = timedelta(minutes=30)
_GOOD_PORTS = {587: "starttls", 465: "implicit"}
_TLS_FINDINGS = {
    Fault.TLS_NAME: "tls-name",
    Fault.TLS_EXPIRED: "tls-expired",
    Fault.TLS_TRUST: "tls-trust",
    Fault.TLS_MODE: "tls-mode",
    Fault.TLS_OLD: "tls-old",
}
_TOKEN_FAULTS = frozenset(
    {Fault.TOKEN, Fault.TOKEN_DENIED, Fault.TOKEN_SERVER, Fault.TOKEN_STORE, Fault.TOKEN_RENEWED, Fault.TOKEN_NEW}
)


def judge_upstream(facts: UpstreamFacts, subject: Subject, *, wrong_clock: bool = False) -> list[Finding]:
    """The findings on one upstream; a talk that failed because of our clock is the clock's finding, not another."""
    upstream, talk = facts.upstream, facts.talk
    if facts.name_trouble:
        return [_no_name(facts)]
    if talk is None:
        return []
    if talk.failed:
        return (
            []
            if wrong_clock and _by_clock(talk.failed)
            else [_failed(facts, talk, talk.failed), *_remarks(facts, talk, subject)]
        )
    if talk.mail and not talk.mail.reply.positive:
        return [_sender_refused(upstream, talk.mail, subject), *_remarks(facts, talk, subject)]
    return [_healthy(facts, talk), *_remarks(facts, talk, subject)]


def _by_clock(answer: Answer) -> bool:
    return answer.fault in (Fault.TLS_EXPIRED, Fault.TLS_EARLY)


def _no_name(facts: UpstreamFacts) -> Finding:
    upstream, server = facts.upstream, facts.upstream.smtp
    preset = preset_for(upstream.provider)
    form = f" The provider's is {preset.host or preset.host_form}." if preset else ""
    cause = f"The name {server.host} cannot be looked up."
    cure = f"Check `host` for a misspelling, then whether this machine reaches its DNS server.{form}"
    return problem("upstream-name", upstream.name, cause, cure, facts.name_trouble)


def _failed(facts: UpstreamFacts, talk: ProbeDialog, answer: Answer) -> Finding:
    upstream, server = facts.upstream, facts.upstream.smtp
    advice = judge(answer, upstream).advice
    own = facts.ports.get(server.port)
    if answer.stage is Stage.CONNECT and answer.lost:
        if talk.speaks_tls:
            cause = f"Port {server.port} begins with TLS, but `tls: {server.tls.mode.value}` waits for a greeting."
            return problem("tls-mode", upstream.name, cause, "Set `tls: implicit` for this upstream.", *_said(talk, answer))
        if talk.slow:
            cause = (
                "The server answers, but more slowly than the doctor waits; mail may still go, since the relay waits longer."
            )
            cure = "Run the doctor again; if it stays so, ask the provider, or try another port."
            return warning("upstream-slow", upstream.name, cause, cure, *_said(talk, answer))
        if own and own.state is not PortState.OPEN:
            return _closed(facts, own)
        cause = "The server accepts the connection but sends no greeting: it is overloaded, or a firewall blocks it."
        cure = "Wait and try again; if it stays so, try port 587 or 465, or ask the provider about a filter."
        return problem("upstream-mute", upstream.name, cause, cure, *_said(talk, answer))
    if answer.stage is Stage.CONNECT:
        return problem(_refusal_name(advice), upstream.name, advice.cause, advice.remedy, *_said(talk, answer))
    if answer.stage is Stage.TLS:
        return _tls(upstream, talk, answer, advice)
    if answer.stage is Stage.HELLO:
        return problem("upstream-hello", upstream.name, advice.cause, advice.remedy, *_said(talk, answer))
    return _login(upstream, talk, answer, advice)


def _refusal_name(advice: Advice) -> str:
    return "address-refused" if advice.name == "pbl" else "upstream-refuses"


def _closed(facts: UpstreamFacts, own: PortFacts) -> Finding:
    """The port that is set cannot be reached: what the other ports say tells a closed port from a dead line."""
    server, name = facts.upstream.smtp, facts.upstream.name
    seen = tuple(f"port {there.port}: {there.state.value}" for there in facts.ports.values())
    better = [port for port in _GOOD_PORTS if facts.ports.get(port, own).state is PortState.OPEN and port != server.port]
    advice = " or ".join(f"`port: {port}` with `tls: {_GOOD_PORTS[port]}`" for port in better)
    if server.port == 25 and own.state is PortState.SILENT and better:
        cause = "Your ISP blocks outgoing port 25 (OP25B), as on most home connections; the submission ports are open."
        return problem("op25b", name, cause, f"Set {advice} for this upstream.", *seen)
    if better:
        cause = f"Port {server.port} of {server.host} is closed, another port of it is open."
        return problem("upstream-port", name, cause, f"Set {advice} for this upstream.", *seen)
    if own.state is PortState.REFUSED:
        cause = f"Nothing listens on port {server.port} of {server.host}: it is the wrong machine, or its mail server is down."
        return problem("upstream-down", name, cause, "Check `host` and `port` with the provider's help page.", own.words, *seen)
    cause = f"{server.host} answers on no port: the Internet connection is down, a firewall blocks it, or the server is gone."
    cure = "Check the Internet connection with another program, then the firewall of router and container, then `host`."
    return problem("upstream-unreachable", name, cause, cure, own.words, *seen)


def _tls(upstream: Upstream, talk: ProbeDialog, answer: Answer, advice: Advice) -> Finding:
    name = _TLS_FINDINGS.get(answer.fault, "tls") if answer.fault else "tls"
    cause, cure = advice.cause, advice.remedy
    if answer.fault is Fault.TLS_PIN:
        name, cause = "tls-pin", "The server shows another certificate than the one that `fingerprint` pins."
        cure = "If the server's certificate was renewed, set the fingerprint named here; if not, somebody intercepts it."
    elif answer.fault is Fault.TLS_FILE:
        name, cause = "tls-ca-file", "A file that `ca_file`, `client_cert` or `client_key` names cannot be used."
        cure = "Name a PEM file that can be read."
    elif answer.fault is Fault.NO_STARTTLS:
        name, cause = "tls-not-offered", f"The server offers no encryption on port {upstream.smtp.port}."
        cure = "Set `port: 465` with `tls: implicit`; only if the provider has nothing better, `tls: none`."
    elif answer.fault is Fault.TLS_EARLY:
        name, cause = "tls-expired", "The server's certificate is not valid yet, although the clock here is right."
        cure = "The provider must renew it; until then use another upstream."
    return problem(name, upstream.name, cause, cure, *_said(talk, answer))


def _login(upstream: Upstream, talk: ProbeDialog, answer: Answer, advice: Advice) -> Finding:
    if answer.reply.transient and not answer.lost and answer.fault in (None, Fault.POP):
        cause = "The server could not check the login just now. The password may be right."
        cure = "The relay tries again by itself. Run the doctor again in a few minutes."
        return warning("login-later", upstream.name, cause, cure, *_said(talk, answer))
    if upstream.login.auth is Auth.POP:
        cause = "The POP login that must come before sending did not succeed."
        cure = "Check `pop: {host, port, tls}`, `username` and the password; where the server offers AUTH, use that."
        return problem("pop-login", upstream.name, cause, cure, *_said(talk, answer))
    if answer.fault in _TOKEN_FAULTS:
        return problem("login-oauth", upstream.name, advice.cause, _by_name(advice.remedy, upstream), *_said(talk, answer))
    if upstream.login.oauth and advice.name in ("login", "passing", "unknown"):
        cause = "The login by OAuth failed: there is no access token, or the server does not accept it."
        cure = f"Do what the words above say; mostly: run `relay oauth login {upstream.name}`."
        return problem("login-oauth", upstream.name, cause, cure, *_said(talk, answer))
    if answer.fault is Fault.NO_MECHANISM:
        cause = "The server offers no login mechanism that the relay can use."
        cure = "Do what the words above say; else set `auth: auto`, and port 587 with `tls: starttls` or 465 with `implicit`."
        return problem("login-mechanism", upstream.name, cause, cure, *_said(talk, answer))
    if answer.lost:
        cause = "The server closed the connection during the login."
        return problem("login-lost", upstream.name, cause, "Wait and try again; then ask the provider.", *_said(talk, answer))
    again = ("not tried again: the same account was refused in this run already",) if talk.repeated else ()
    return problem("login", upstream.name, advice.cause, advice.remedy, *_said(talk, answer), *again)


def _by_name(remedy: str, upstream: Upstream) -> str:
    return remedy.replace("`relay oauth login` with the upstream's name", f"`relay oauth login {upstream.name}`").replace(
        "`relay oauth login`", f"`relay oauth login {upstream.name}`"
    )


def _sender_refused(upstream: Upstream, answer: Answer, subject: Subject) -> Finding:
    advice = judge(answer, upstream).advice
    said = f"to MAIL FROM:<{upstream.identity.sender}> the server said: {answer.reply}"
    if advice.name == "senderhosts":
        return _senderhosts(upstream, said, subject)
    if advice.name == "pbl":
        return problem("address-refused", upstream.name, advice.cause, advice.remedy, said)
    if answer.lost or (answer.reply.transient and advice.name not in ("sender-domain",)):
        cause = "The server does not accept our sender just now."
        return warning("sender-later", upstream.name, cause, "Run the doctor again in a few minutes.", said)
    cause = f"The account may not send as {upstream.identity.sender}. {advice.cause}"
    return problem("sender-refused", upstream.name, cause, advice.remedy, said)


def _senderhosts(upstream: Upstream, said: str, subject: Subject) -> Finding:
    """CORESERVER, XREA: while a POP login from this address counts, everything is outgoing mail of registered domains."""
    others = [name for name in subject.upstreams if name != upstream.name]
    domain = upstream.smtp.host.partition(".")[2] or upstream.smtp.host
    by = others[0] if others else "isp"
    route = f'routes: [{{to: "*@your-domain-there", via: [{by}]}}, ...]'
    cause = (
        "The host treats this address as one that sends its users' mail, because somebody there logged in by POP "
        f"lately, and allows only senders of domains registered there (senderhosts); {upstream.identity.sender} is none."
    )
    cure = (
        f"Send mail for that host's own domains by your ISP or another upstream ({route}), or set `sender` to an address "
        f"of a domain that is registered at {domain}, or log in there by AUTH (port 587 or 465)."
    )
    return problem("senderhosts", upstream.name, cause, cure, said)


def _said(talk: ProbeDialog, answer: Answer) -> tuple[str, ...]:
    """The server's own words, or ours where it had none."""
    who = f"{talk.peer}: " if talk.peer else ""
    return (f"{who}{answer.reply}",)


def _healthy(facts: UpstreamFacts, talk: ProbeDialog) -> Finding:
    upstream, server = facts.upstream, facts.upstream.smtp
    parts = [talk.tls or "no TLS", f"login by {talk.mechanism}" if talk.mechanism else "no login"]
    if talk.certificate and talk.certificate.expires:
        left = f" ({(talk.certificate.expires - facts.asked_at).days} days)" if facts.asked_at else ""
        parts.append(f"certificate until {talk.certificate.expires:%Y-%m-%d}{left}")
    if talk.mail:
        parts.append(f"takes mail from {talk.sender}")
    return fine("upstream", upstream.name, f"{server.host}:{server.port} is fine: {', '.join(parts)}", talk.banner)


def _remarks(facts: UpstreamFacts, talk: ProbeDialog, subject: Subject) -> Iterator[Finding]:
    """What works today and will not always, or works by luck."""
    upstream, expires = facts.upstream, talk.certificate.expires if talk.certificate else None
    server, since = upstream.smtp, talk.certificate.since if talk.certificate else None
    # certificates that live for days only are renewed within days
    enough = min(_DAYS_LEFT, (expires - since) / 3) if expires and since else _DAYS_LEFT
    if expires and facts.asked_at and expires - facts.asked_at < enough and not server.tls.fingerprint:
        cause = f"The server's certificate ends on {expires:%Y-%m-%d}; after that no mail goes there."
        cure = "If it is your own server, renew it; providers usually do so a few days before."
        yield warning("tls-soon", upstream.name, cause, cure)
    if not talk.failed:
        yield from _exposed(upstream, talk)
    if facts.mute_v6:
        cause = f"{server.host} has an IPv6 address that cannot be reached from here; each connection loses time by that."
        cure = "Repair IPv6 on this machine or switch it off; inside a container, on the container's network."
        yield warning("ipv6-mute", upstream.name, cause, cure)
    pop = upstream.login.pop
    if upstream.login.auth is Auth.POP and pop and pop.window > _LONGEST_WINDOW:
        cause = (
            f"`pop.window` is {pop.window}: hosts let a POP login count for 10 to 30 minutes, later mail is refused with 553."
        )
        yield warning("pop-window", upstream.name, cause, "Set `window: 10m`, or leave it out.")
    if upstream.login.auth is Auth.POP and talk.offers:
        cause = "The server offers a login (AUTH) now, so POP before SMTP is no longer needed."
        cure = "Set `auth: auto` with port 587 or 465: then a POP login of somebody else at your address cannot stop your mail."
        yield warning("pop-needless", upstream.name, cause, cure, f"EHLO offers AUTH {' '.join(talk.offers)}")


def _exposed(upstream: Upstream, talk: ProbeDialog) -> Iterator[Finding]:
    if _in_lan(without_port(talk.peer)):
        return
    tls = upstream.smtp.tls
    if tls.mode is TlsMode.NONE and talk.mechanism in ("PLAIN", "LOGIN"):
        cause = "The password is sent over the Internet without TLS."
        yield warning("tls-none", upstream.name, cause, "Set `tls: starttls` with port 587 or `tls: implicit` with port 465.")
    if tls.mode is not TlsMode.NONE and not tls.verify and not tls.fingerprint:
        cause = "The server's certificate is not verified: whoever intercepts the connection can read the password."
        yield warning(
            "tls-unverified", upstream.name, cause, "Leave `verify: false` out, or pin the certificate with `fingerprint`."
        )


def _in_lan(address: str) -> bool:
    try:
        return in_lan(ip_address(address))
    except ValueError:
        return False
