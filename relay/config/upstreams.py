"""One upstream of the settings: what its preset knows, what the file says, and whether both can work."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from relay.config import hosts, scalars
from relay.config.fields import Fields, show
from relay.config.scalars import Wrong, choice, duration, listing, near, no_limit_or, number, size
from relay.config.upstream_login import read_graph_login, read_login
from relay.mail.address import Address, BadAddress, parse_address
from relay.mail.rewrite import Identity, Rewrite
from relay.upstream.graph_rights import MOST_AT_ONCE, PUBLIC_CLOUD
from relay.upstream.provider import Preset, SenderRule, UserForm
from relay.upstream.providers import GENERIC, NAMES, preset_for
from relay.upstream.settings import DIRECT_UPSTREAM, GraphMailbox, Limits, Login, SmtpServer, Tls, TlsFloor, TlsMode, Upstream

_TLS_PORTS = frozenset({443, 465, 994, 2465, 8465})
"""Ports that begin with TLS, at one provider or another."""

_PORTS = {TlsMode.STARTTLS: 587, TlsMode.IMPLICIT: 465, TlsMode.NONE: 587}

_SMTP_ONLY = ("host", "port", "tls", "auth", "password", "password_file", "pop", "client_cert", "client_key", "legacy_tls")
_TLS = ("ca_file", "fingerprint", "verify", "tls_min")
_SENDER = ("username", "oauth", "sender", "sender_domains", "rewrite", "rewrite_from")
_ACCOUNT = frozenset({"provider", "api", "url", "save_to_sent", *_SMTP_ONLY, *_TLS, *_SENDER})
_PUSH = ("push", "push_file", "title", "attachments")
"""Which settings belong to which kind of upstream; `limits` and `timeout` to all of them."""


class Api(Enum):
    """How mail is handed over."""

    SMTP = "smtp"
    GRAPH = "graph"


@dataclass(frozen=True, slots=True)
class Account:
    """The user name as the server wants it, and the address that it stands for."""

    username: str
    address: Address | None


def read_upstream(name: str, at: Fields) -> Upstream:
    """Everything that is said about one upstream.  Mistakes are noted; the value is then only a stand-in."""
    timeout = at.get("timeout", duration(), DIRECT_UPSTREAM.timeout)
    if at.said("folder") or at.said("save"):
        from relay.config.folder import read_folder

        if folder := read_folder(at):
            _no_account(at, "folder")
            return Upstream(name, folder, limits=_limits(at, Limits()), timeout=timeout)
    if any(map(at.said, _PUSH)):
        from relay.config.push import PUSH_LIMITS, read_push

        if push := read_push(at):
            _no_account(at, "push")
            return Upstream(name, push, limits=_limits(at, PUSH_LIMITS), timeout=timeout)
    preset = _preset(at)
    if at.get("api", choice(Api), Api.SMTP) is Api.GRAPH:
        return _graph(name, at, preset, timeout)
    for key in ("url", "save_to_sent"):
        if at.said(key):
            at.mistake(key, f"expected api: graph beside {key}, found {'api: smtp' if at.said('api') else 'none'}")
    host = at.get("host", hosts.host, preset.host if preset else "")
    if not host and not at.said("host") and (preset or _raw(at, "provider").lower() in ("", GENERIC)):
        form = f" such as {preset.host_form}" if preset and preset.host_form else ""
        at.mistake("host", f"expected the server's name{form}, found nothing")
    port, mode = _way_in(at, preset)
    tls = _tls(at, mode)
    account = _account(at, preset)
    login = read_login(at, preset, account.username, mode)
    return Upstream(
        name=name,
        transport=SmtpServer(host, port, tls, login),
        identity=_identity(at, account, login, preset),
        limits=_limits(at, preset.limits if preset else Limits()),
        timeout=timeout,
        provider=preset.key if preset else GENERIC,
    )


def _no_account(at: Fields, kind: str) -> None:
    """What belongs to another kind of upstream is a mistake here, and no unknown word."""
    for key in at.strangers:
        if key in _ACCOUNT:
            at.mistake(key, f"expected a mail server or a mailbox beside {key}, found {kind}")
        elif key in _PUSH:
            at.mistake(key, f"expected push or {kind}, each as an upstream of its own; found both")


def _graph(name: str, at: Fields, preset: Preset | None, timeout: timedelta) -> Upstream:
    """A mailbox at Microsoft Graph; what belongs to SMTP is a mistake there."""
    for key in _SMTP_ONLY:
        if at.said(key):
            at.mistake(key, f"expected api: smtp beside {key}, found api: graph")
    if preset and not preset.graph:
        at.mistake("api", f"expected api: smtp, since {preset.name} has no Microsoft Graph, found graph")
    if not preset or not preset.graph:
        preset = preset_for("outlook")
    url = at.get("url", hosts.cloud, PUBLIC_CLOUD)
    account = _account(at, preset)
    login = read_graph_login(at, preset, account.username, url)
    # of SMTP sessions fewer are allowed
    limits = _limits(at, replace(preset.limits if preset else Limits(), connections=MOST_AT_ONCE))
    if limits.connections > MOST_AT_ONCE:
        at.remark("limits", f"Microsoft Graph takes {MOST_AT_ONCE} at a time for one mailbox; it refuses more for a while")
    return Upstream(
        name=name,
        transport=GraphMailbox(url, login, at.flag("save_to_sent", False), _tls(at, TlsMode.IMPLICIT)),
        identity=_identity(at, account, login, preset),
        limits=limits,
        timeout=timeout,
        provider=preset.key if preset else GENERIC,
    )


def _preset(at: Fields) -> Preset | None:
    def convert(value: str) -> Preset | None:
        if value.strip().lower() == GENERIC:
            return None
        found = preset_for(value)
        if not found:
            raise Wrong("a known provider", near(value, NAMES) or f"known are {listing(NAMES)}")
        return found

    preset = at.get("provider", convert, None)
    pattern, words = preset.misplaced if preset else ("", "")
    if pattern and re.search(pattern, _raw(at, "username"), re.IGNORECASE):
        at.remark("provider", words)
    return preset


def _raw(at: Fields, key: str) -> str:
    return str(getattr(at.node(key), "text", ""))


def _way_in(at: Fields, preset: Preset | None) -> tuple[int, TlsMode]:
    """Port and TLS: each follows the other where only one is said (RFC 8314 s7.3: 465 is implicit TLS)."""
    port = at.get("port", scalars.port, None)
    mode = at.get("tls", choice(TlsMode), None)
    default_port, default_mode = (preset.port, preset.tls) if preset else (587, TlsMode.STARTTLS)
    if port is None:
        port = default_port if mode in (None, default_mode) else _PORTS[mode or default_mode]
    if mode is None:
        changed = port != default_port
        mode = TlsMode.IMPLICIT if port in _TLS_PORTS else TlsMode.STARTTLS if changed else default_mode
    if (port, mode) == (465, TlsMode.STARTTLS):
        at.remark("tls", "port 465 begins with TLS at nearly every server; tls: implicit is probably meant")
    if (port, mode) == (587, TlsMode.IMPLICIT):
        at.remark("tls", "port 587 begins without TLS at nearly every server; tls: starttls is probably meant")
    if preset and at.said("port") and port not in (preset.port, *preset.other_ports):
        ports = listing(str(known) for known in (preset.port, *preset.other_ports))
        at.remark("port", f"{preset.name} is known to listen on {ports}, not on {port}")
    return port, mode


def _tls(at: Fields, mode: TlsMode) -> Tls:
    found = Tls(
        mode=mode,
        ca_file=at.file("ca_file"),
        fingerprint=at.get("fingerprint", scalars.fingerprint, ""),
        verify=at.flag("verify", True),
        floor=at.get("tls_min", choice(TlsFloor), TlsFloor.TLS_1_2),
        client_cert=at.file("client_cert"),
        client_key=at.file("client_key"),
        legacy=at.flag("legacy_tls", False),
    )
    _check_tls(at, mode, found)
    return found


def _check_tls(at: Fields, mode: TlsMode, found: Tls) -> None:
    if found.client_key and not found.client_cert:
        at.mistake("client_key", "expected client_cert beside it, found nothing")
    if found.legacy and at.said("tls_min"):
        at.mistake("tls_min", "expected tls_min or legacy_tls, found both")
    if found.legacy and mode is not TlsMode.NONE:
        text = "TLS 1.0 and weak keys are allowed: whoever intercepts the connection may be able to read the password"
        at.remark("legacy_tls", f"{text}; remove it when the server is renewed")
    if mode is TlsMode.NONE:
        for key in ("ca_file", "fingerprint", "verify", "tls_min", "client_cert", "client_key", "legacy_tls"):
            if at.said(key):
                at.mistake(key, f"expected tls: starttls or implicit beside {key}, found tls: none")
    elif not found.verify:
        text = "the server's certificate is not verified: whoever intercepts the connection can read the password"
        at.remark("verify", f"{text}; set fingerprint or ca_file instead")


def _account(at: Fields, preset: Preset | None) -> Account:
    default = preset.fixed_user if preset else ""
    name = at.get("username", _user_name, default)
    address = _as_address(name)
    if not preset or not name:
        return Account(name, address)
    if preset.user is UserForm.FIXED and name != preset.fixed_user:
        at.mistake("username", f"expected '{preset.fixed_user}' for {preset.name}, found {show(name)}")
    if preset.user in (UserForm.ADDRESS, UserForm.LOCAL) and address is None and preset.mail_domain and "@" not in name:
        address = _as_address(f"{name}@{preset.mail_domain}")
    if preset.user is UserForm.ADDRESS and "@" not in name and not preset.local_too:
        example = f"{name}@{preset.mail_domain}" if preset.mail_domain else "me@example.jp"
        at.mistake("username", f"expected the full address ({preset.name} wants it), such as {example}, found {show(name)}")
    if preset.user is UserForm.ANY and address:
        at.remark(
            "username", f"{preset.name} hands out user names of its own, which are no addresses; {show(name)} looks like one"
        )
    if preset.user is UserForm.LOCAL and address:
        name = address.local
    if preset.user is UserForm.DOTTED and address and "@" in name:
        name = name.replace("@", ".")
    return Account(name, address)


def _user_name(value: str) -> str:
    if not value or any(char in value for char in "\0\r\n"):
        raise Wrong("a user name")
    return value


def _as_address(name: str) -> Address | None:
    try:
        found = parse_address(name) if name else None
    except BadAddress:
        return None
    return found if found and found.qualified else None


def _identity(at: Fields, account: Account, login: Login, preset: Preset | None) -> Identity:
    verified = preset is not None and preset.sender is SenderRule.VERIFIED
    sender = at.get("sender", hosts.mailbox, None if verified else account.address)
    own = (sender.domain.lower(),) if sender else ()
    rewrite = at.get("rewrite", choice(Rewrite), Rewrite.FOREIGN)
    if preset and verified and not at.said("sender") and rewrite is not Rewrite.NEVER:
        at.mistake("sender", f"expected an address that is verified at {preset.name}, found nothing")
    elif sender is None and not at.said("sender") and rewrite is not Rewrite.NEVER:
        who = "the user name is no address" if login.username else "there is no user name"
        at.remark("sender", f"not set, and {who}: senders stay as the devices write them")
    return Identity(
        sender=sender,
        domains=frozenset(at.many("sender_domains", hosts.domain, own)),
        rewrite=rewrite,
        rewrite_from=at.flag("rewrite_from", True),
    )


def _limits(at: Fields, known: Limits) -> Limits:
    many = number(1, 10_000_000)
    with at.section("limits") as limits:
        return Limits(
            connections=limits.get("connections", number(1, 1000), known.connections),
            per_minute=_unlimited(limits, "per_minute", many, known.per_minute),
            per_day=_unlimited(limits, "per_day", many, known.per_day),
            message=_unlimited(limits, "message", size(1000), known.message),
            recipients=limits.get("recipients", number(1, 100_000), known.recipients),
        )


def _unlimited(limits: Fields, key: str, convert: scalars.Convert[int], known: int | None) -> int | None:
    return limits.get(key, no_limit_or(convert), known if not limits.said(key) else None)
