"""The sections of the settings, one function each, into the values that the stations define."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from relay.config import hosts, scalars
from relay.config.config_values import LogSettings
from relay.config.fields import Fields, show
from relay.config.located import Table
from relay.config.scalars import Wrong, choice, duration, near, number, one_of, percent, size
from relay.inbound.admission import ClientLimits, ListenAuth, Listener, ListenTls, Recipients
from relay.mail.address import Address
from relay.mail.policy import RepairPolicy
from relay.networks import PRIVATE
from relay.outbound.notice_content import NoticePolicy
from relay.outbound.retry import RetrySchedule
from relay.password_hash import BadHash, is_hash, read_hash
from relay.secret import Secret
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import DIRECT_UPSTREAM, MxHosts, Upstream

_NONE = timedelta(0)
_SHORTEST_LEASE = timedelta(seconds=5)


def read_listeners(at: Fields) -> tuple[Listener, ...]:
    """`listen` is one mapping or a list of them; without it, port 25 for the private networks."""
    nodes = at.each("listen")
    if not nodes:
        if at.given("listen"):
            at.mistake("listen", "expected at least one address to listen on, found nothing")
        return (Listener(networks=PRIVATE),)
    found: list[Listener] = []
    for node in nodes:
        with at.reading.fields(node, node.path, node.place) as one:
            listener = _listener(one)
            taken = next((other.name for other in found if one.sound and _overlap(listener, other)), None)
            if taken == listener.name:
                one.mistake("address", f"expected each address once, found '{listener.name}' again")
            elif taken:
                one.mistake("address", f"expected each address once, found '{listener.name}' beside '{taken}', which share it")
            found.append(listener)
    return tuple(found)


def _overlap(one: Listener, other: Listener) -> bool:
    """Whether the two would fight for one port: [::] is dual-stack and takes all of IPv4 too."""
    if one.port != other.port or not one.port:
        return False
    hosts = {one.host, other.host}
    every_v4 = "0.0.0.0" in hosts and not any(":" in host and host != "::" for host in hosts)  # noqa: S104 - compared only
    return len(hosts) == 1 or "::" in hosts or every_v4


def _listener(at: Fields) -> Listener:
    default = Listener()
    host, port = at.get("address", hosts.socket_address(25), (default.host, default.port))
    networks = at.many("networks", hosts.submitters, (PRIVATE,))
    listener = Listener(
        host=host,
        port=port,
        networks=tuple(dict.fromkeys(network for some in networks for network in some)),
        on_purpose=tuple(network for some in networks if some is not PRIVATE for network in some),
        tls=at.get("tls", choice(ListenTls), default.tls),
        tls_cert=at.file("tls_cert"),
        tls_key=at.file("tls_key"),
        auth=at.get("auth", choice(ListenAuth), default.auth),
        users=_users(at),
        legacy_tls=at.flag("legacy_tls", default.legacy_tls),
        plain_login=at.flag("plain_login", default.plain_login),
    )
    _check_listener(at, listener)
    return listener


def _check_listener(at: Fields, listener: Listener) -> None:
    for key, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if at.said(key) and not at.said(other):
            at.mistake(other, f"expected the file of {other} beside {key}, found nothing")
    if listener.tls is ListenTls.OFF:
        for key in ("tls_cert", "legacy_tls"):
            if at.said(key):
                at.remark(key, "tls is off: not used")
        if listener.auth is ListenAuth.REQUIRED and not listener.plain_login:
            text = "expected tls beside auth: required, or plain_login: true for passwords without TLS, found tls: off"
            at.mistake("tls" if at.said("tls") else "auth", text)
        elif listener.auth is ListenAuth.REQUIRED:
            at.remark("plain_login", "tls is off: the devices' passwords are sent without TLS, and can be read on the network")
    plain = listener.tls in (ListenTls.OFF, ListenTls.STARTTLS)
    if listener.plain_login and (listener.auth is not ListenAuth.REQUIRED or not plain):
        at.remark("plain_login", "only for auth: required with tls: starttls or off: not used")
    users = at.node("users")
    if listener.auth is ListenAuth.REQUIRED and (not at.given("users") or (isinstance(users, Table) and not users.entries)):
        at.mistake("users", "expected user names and their passwords, since auth is required, found nothing")
    if listener.auth is not ListenAuth.REQUIRED and at.given("users"):
        at.mistake("users", f"expected auth: required beside it, found auth: {listener.auth.value}")


def _users(at: Fields) -> Mapping[str, Secret]:
    """`nas: secret` or `nas_file: path`."""
    with at.section("users") as section:
        for key in [key for key in section.table.entries if not section.given(key)]:
            # not by its name: `{nas, secret}` is a mistake for `{nas: secret}`
            section.reading.mistake(section.table.keys[key], section.path, "expected name: password, found a name alone")
        names = dict.fromkeys(key.removesuffix("_file") for key in section.table.entries if section.given(key))
        secrets = {name: secret for name in names if (secret := section.secret(name)) is not None}
        _check_hashes(section, secrets)
    return secrets


def _check_hashes(section: Fields, secrets: Mapping[str, Secret]) -> None:
    for name, secret in secrets.items():
        try:
            if is_hash(secret.reveal()):
                read_hash(secret.reveal())
        except BadHash as bad:
            section.mistake(name if section.said(name) else f"{name}_file", f"expected {bad}, found ***")
    if plain := [name for name, secret in secrets.items() if not is_hash(secret.reveal())]:
        whose = ", ".join(map(show, plain[:5])) + (", ..." if len(plain) > 5 else "")
        section.reading.remark(section.place, section.path, f"{whose}: a plain password; `relay hash` makes a hash to put here")


def read_recipients(at: Fields) -> Recipients:
    with at.section("recipients") as section:
        default_domain = section.get("default_domain", hosts.domain, "")
        everything_to = section.many("everything_to", hosts.mailbox, ())
        return Recipients(default_domain, _aliases(section, default_domain), everything_to)


def _aliases(at: Fields, default_domain: str) -> Mapping[str, tuple[Address, ...]]:
    aliases: dict[str, tuple[Address, ...]] = {}

    def convert(value: str) -> Address:
        bare = default_domain and "@" not in value
        return hosts.mailbox(f"{value}@{default_domain}" if bare else value)

    with at.section("aliases") as section:
        for key, place in section.table.keys.items():
            section.asked.add(key)
            try:
                name = hosts.alias(key).lower()
            except Wrong as wrong:
                section.reading.mistake(place, section.path_of(key), f"expected {wrong.expected}, found {show(key)}")
                continue
            if name in aliases:
                section.reading.mistake(place, section.path_of(key), f"set twice; {show(name)} is the same")
            aliases[name] = section.many(key, convert, ())
    return aliases


def read_retry(at: Fields) -> RetrySchedule:
    default = RetrySchedule()
    with at.section("retry") as section:
        found = RetrySchedule(
            delays=section.many("delays", duration(), default.delays),
            give_up_after=section.get("give_up_after", duration(), default.give_up_after),
            warn_after=section.get("warn_after", duration(), default.warn_after),
            rest=section.many("rest", duration(), default.rest),
            rest_login=section.get("rest_login", duration(), default.rest_login),
        )
        if section.said("warn_after") and found.warn_after >= found.give_up_after:
            section.remark("warn_after", "not shorter than give_up_after: nobody is warned before mail is given up")
    return found


def read_notices(
    at: Fields, upstreams: Sequence[str], everything_to: tuple[Address, ...] = (), *, readable: bool
) -> NoticePolicy:
    """`upstreams` by name; not `readable`: they could not be read, so that no name can be called wrong.

    Where all mail goes to one address, notices do not go elsewhere: a sender may be somebody who is not to get mail.
    """
    default = NoticePolicy()

    def known(name: str) -> str:
        if readable and name not in upstreams:
            raise Wrong("the name of an upstream", near(name, upstreams))
        return name

    with at.section("notices") as section:
        return NoticePolicy(
            to=section.get("to", hosts.mailbox, next(iter(everything_to), None)),
            webhook=_webhook(section),
            digest=section.get("digest", duration(least=_NONE), default.digest),
            senders=not everything_to,
            via=section.many("via", known, ()),
        )


def _webhook(at: Fields) -> str:
    """The URL; its file is for one that has a key in it, or a topic that nobody is to guess."""
    url = hosts.url("https", "http")
    if not at.said("webhook_file"):
        return at.get("webhook", url, "", secret=True)
    try:
        found = at.secret("webhook", "a URL")
        return url(found.reveal()) if found else ""
    except Wrong as wrong:
        at.mistake("webhook_file", f"expected a file with {wrong.expected}, found ***")
        return ""


def read_repair(at: Fields) -> RepairPolicy:
    default = RepairPolicy()
    with at.section("repair") as section:
        return RepairPolicy(
            date_skew=section.get("date_skew", duration(), default.date_skew),
            fallback_charset=section.many("fallback_charset", scalars.charset, default.fallback_charset),
            hide_client=section.flag("hide_client", default.hide_client),
        )


def read_spool(at: Fields) -> SpoolSettings:
    default = SpoolSettings()
    with at.section("spool") as section:
        return SpoolSettings(
            url=section.get("url", _spool_url, default.url),
            max_message=section.get("max_message", size(least=1000), default.max_message),
            keep_free=section.get("keep_free", size(least=0), default.keep_free),
            keep_history=section.get("keep_history", duration(least=_NONE), default.keep_history),
            **_shared_spool(section, default),
        )


def _shared_spool(section: Fields, default: SpoolSettings) -> dict[str, Any]:
    """What is for relays that share one spool, and its place where the spool is no file."""
    found = {
        "password": section.secret("password") or Secret(""),
        "fallback": section.get("fallback", _file_url, default.fallback),
        "lease": section.get("lease", duration(least=_SHORTEST_LEASE, most=timedelta(hours=1)), default.lease),
        "name": section.get("name", scalars.label, default.name),
        "max_size": section.get("max_size", size(least=1_000_000), default.max_size),
        "state_dir": section.file("state_dir", must_exist=False),
    }
    url = section.get("url", _spool_url, default.url)
    if SpoolSettings(url=url).file:
        for key in ("fallback", "password", "password_file"):
            if section.given(key):
                section.mistake(key, "expected only with a spool in PostgreSQL, found beside one in a file")
    return found


def _file_url(value: str) -> str:
    """Only a file: what PostgreSQL falls back to must be there when it is not."""
    wrong = Wrong("sqlite:/path/to/fallback.db")
    try:
        url = _spool_url(value)
    except Wrong:
        raise wrong from None
    if SpoolSettings(url=url).file is None:
        raise wrong
    return url


def _spool_url(value: str) -> str:
    """A directory means spool.db in it, as for the settings themselves."""
    url = scalars.spool_url(value)
    file = SpoolSettings(url=url).file
    return f"sqlite:{file / 'spool.db'}" if file and os.path.isdir(file) else url


def read_nameservers(at: Fields) -> tuple[str, ...]:
    def convert(value: str) -> str:
        host, port = hosts.socket_address(53)(value)
        if port == 0 or host == "0.0.0.0":  # noqa: S104 - nobody answers there
            raise Wrong("an address such as 192.168.0.1:53")
        return hosts.written((host, port))

    with at.section("dns") as section:
        return section.many("nameservers", convert, ())


def read_direct(at: Fields) -> Upstream:
    """The built-in upstream.  Tests have MX hosts on loopback, where port 25 is not theirs; nothing else sets that variable."""
    port = int(at.reading.environ.get("RELAY_TEST_MX_PORT", "25"))
    with at.section("mx") as section:
        return replace(DIRECT_UPSTREAM, transport=MxHosts(port, section.flag("private", False)))


def read_limits(at: Fields) -> ClientLimits:
    default = ClientLimits()
    many = number(1, 1_000_000)
    with at.section("limits") as section:
        found = ClientLimits(
            connections=section.get("connections", many, default.connections),
            per_client=section.get("per_client", many, default.per_client),
            recipients=section.get("recipients", many, default.recipients),
            messages_per_minute=section.get("messages_per_minute", many, default.messages_per_minute),
            share=section.get("share", percent, default.share),
            idle=section.get("idle", duration(), default.idle),
        )
        if section.said("recipients") and found.recipients < 100:
            section.remark("recipients", "fewer than 100: RFC 5321 section 4.5.3.1.8 lets clients count on 100")
    return found


def read_log(at: Fields) -> LogSettings:
    default = LogSettings()
    with at.section("log") as section:
        return LogSettings(
            format=section.get("format", one_of("auto", "console", "json"), default.format),
            level=section.get("level", one_of("debug", "info", "warning", "error"), default.level),
        )


def read_hostname(at: Fields, default: str) -> str:
    """Our own name; one that upstreams may refuse in EHLO is remarked on."""
    name = at.get("hostname", hosts.own_name, default)
    if at.said("hostname") and "." not in name and ":" not in name:
        at.remark("hostname", "has no dot: some upstreams refuse such a name in EHLO")
    return name
