"""Short ways to say which upstream, which message, by which transport: for tests that submit to a ScriptedUpstream."""

import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import trustme

from relay.mail.address import parse_address
from relay.mail.outgoing import Outgoing
from relay.secret import Secret
from relay.upstream.report import Report
from relay.upstream.settings import Auth, Limits, Login, MxHosts, SmtpServer, Tls, TlsMode, Upstream
from relay.upstream.transports import Means, Transports

LETTER = b"From: a@home.example\r\nSubject: test\r\n\r\nhello\r\n.\r\n..two\r\n"


def upstream_at(
    port: int,
    *,
    name: str = "isp",
    host: str = "127.0.0.1",
    tls: Tls | None = None,
    user: str = "",
    password: str = "secret",  # noqa: S107
    auth: Auth = Auth.AUTO,
    timeout: float = 5.0,
    limits: Limits | None = None,
    **more: Any,
) -> Upstream:
    """An upstream on loopback, in clear unless `tls` says otherwise; `timeout` in seconds."""
    login = more.pop("login", None) or Login(auth=auth, username=user, password=Secret(password) if user else None)
    return Upstream(
        name=name,
        transport=SmtpServer(host, port, tls or Tls(TlsMode.NONE), login),
        limits=limits or Limits(),
        timeout=timedelta(seconds=timeout),
        **more,
    )


def on_server(upstream: Upstream, **changes: Any) -> Upstream:
    """The same with other values of its SmtpServer."""
    return replace(upstream, transport=replace(upstream.smtp, **changes))


class By:
    """A transport that a function stands in for."""

    def __init__(self, submit: Callable[[Upstream, Outgoing], Awaitable[Report]]) -> None:
        self.submit = submit

    def forget(self, name: str) -> None:
        """Keeps nothing."""

    async def close(self) -> None:
        """Keeps nothing."""


def transports_by(submit: Callable[[Upstream, Outgoing], Awaitable[Report]], hostname: str = "relay.test") -> Transports:
    """Every kind of upstream by this function."""
    return Transports(Means(hostname), dict.fromkeys((SmtpServer, MxHosts), lambda means: By(submit)))


def letter(*paths: str, content: Iterable[bytes] = (LETTER,), sender: str | None = "a@home.example", **more: Any) -> Outgoing:
    """A message to `paths` (default: one recipient); its size is counted unless given."""
    blocks = content if "size" in more else list(content)
    size = more.pop("size", None)
    return Outgoing(
        queue_id=more.pop("queue_id", "q1q1q1q1q1q1q1"),
        reverse_path=parse_address(sender) if sender else None,
        forward_paths=tuple(map(parse_address, paths or ("b@there.example",))),
        content=blocks,
        size=sum(map(len, blocks)) if size is None else size,
        **more,
    )


def server_context(ca: trustme.CA, *names: str, **more: Any) -> ssl.SSLContext:
    """A server's TLS context with a certificate of `ca` for `names`; `more` goes to trustme (`not_after=...`)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, **more).configure_cert(context)
    return context
