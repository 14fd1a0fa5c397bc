"""Who may look at the page over TCP, and what their browser is told: Host, password or session, Origin, headers.

The UNIX socket has none of this: the file's mode decides there.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.control import path_prefix, rendering, sessions
from relay.control.guesses import Guesses
from relay.control.sessions import Sessions
from relay.networks import group_of

FORM_COOKIE = "relay_form"
KNOWN_COOKIE = "relay_known"
KNOWN = "relay.known"
"""Key of the ASGI scope: what vouches for the request: "password", "session" or "proxy"."""
WHO = "relay.who"
"""Key of the ASGI scope: the name that a proxy gave to who has logged in."""
LOGIN, LOGOUT = "/login", "/logout"
_FOR_LONG = 400 * 86400  # seconds; the key of the seal lives as long as the process, and no longer

_SAFE = ("GET", "HEAD", "OPTIONS")
_FOR_PROGRAMS = ("/api/", "/metrics", "/readyz")
_LONGEST_WAY_BACK = 500
_LAN_DOMAINS = ("local", "lan", "internal", "home.arpa")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # `no-referrer` would make browsers send `Origin: null` with our own forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


@dataclass(slots=True)
class AccessRules:
    """`password` "" asks for none.  `names` are host names of ours.  The guard reads them at each request.

    `user_header` is the header by which a reverse proxy at an address within `proxies` names who has logged in; such a
    proxy may also have the page below a path of its own.
    """

    password: str = field(default="", repr=False)
    names: frozenset[str] = frozenset()
    user_header: str = ""
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def become(self, other: "AccessRules") -> None:
        """A reload changed them."""
        for each in fields(other):
            setattr(self, each.name, getattr(other, each.name))


class PasswordCheck:
    """The password, said by HTTP Basic or on the log-in page: both have the same tries.  `clock` counts seconds."""

    def __init__(self, rules: AccessRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules, self._guesses, self._seal = rules, Guesses(clock), FormSeal()
        self.sessions = Sessions(clock)

    @property
    def wanted(self) -> bool:
        """Whether there is a password to log in with."""
        return bool(self._rules.password)

    async def refusal(self, scope: Scope, said: bytes | None) -> Response | None:
        """None if this is the password.  A password that cannot be read is a wrong one."""
        headers = Headers(scope=scope)
        # a browser that has shown the right password has tries of its own: whoever guesses cannot use them up
        guesser = self.known_browser(headers) or group_of(_client(scope))
        if wait := await self._guesses.turn(guesser):
            return _refuse(429, "Too many wrong passwords; wait a little.", {"retry-after": str(wait)})
        wanted = self._rules.password.encode("utf-8", "surrogateescape")
        if wanted and said is not None and hmac.compare_digest(said, wanted):
            return None
        self._guesses.wrong(guesser)
        return _refuse(401, "A password is needed.", {"www-authenticate": 'Basic realm="relay", charset="UTF-8"'})

    def known_browser(self, headers: Headers) -> str:
        """The name in the cookie, if the cookie is one of ours; else ""."""
        name, _, seal = cookie_parser(headers.get("cookie", "")).get(KNOWN_COOKIE, "").partition(".")
        return name if name and self._seal.fits(self._sealed(name), seal) else ""

    def mark_of_known(self) -> str:
        """The Set-Cookie by which a browser is known again."""
        name = FormSeal.new_cookie()
        seal = self._seal.token(self._sealed(name))
        return f"{KNOWN_COOKIE}={name}.{seal}; Path=/; Max-Age={_FOR_LONG}; HttpOnly; SameSite=Strict"

    def _sealed(self, name: str) -> str:
        """Who knew an older password is known no more."""
        return f"{name} {self._rules.password}"

    def in_session(self, headers: Headers) -> bool:
        return self.wanted and self.sessions.holds(session_of(headers), self._rules.password)

    def begin_session(self, headers: Headers) -> str:
        """The Set-Cookie of a new session; one that the browser had ends."""
        self.sessions.end(session_of(headers))
        name = self.sessions.begin(self._rules.password)
        return f"{sessions.COOKIE}={name}; Path=/; Max-Age={int(sessions.LONGEST)}; HttpOnly; SameSite=Strict"

    def end_session(self, headers: Headers) -> str:
        """The Set-Cookie that makes the browser forget it."""
        self.sessions.end(session_of(headers))
        return f"{sessions.COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"


def session_of(headers: Headers) -> str:
    """The session that the browser says it has; "" if none."""
    return cookie_parser(headers.get("cookie", "")).get(sessions.COOKIE, "")


class Guard:
    """ASGI middleware.  `clock` counts seconds, for the limit on wrong passwords; `check` is made if none is given."""

    def __init__(
        self,
        app: ASGIApp,
        rules: AccessRules,
        clock: Callable[[], float] = time.monotonic,
        check: PasswordCheck | None = None,
    ) -> None:
        self._app, self._rules, self._check = app, rules, check or PasswordCheck(rules, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = self._prefix(scope) if scope["type"] == "http" else ""
        dress = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        send = path_prefix.below(prefix, send) if prefix else send

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in dress if pair[0] not in given)]
            await send(message)

        refusal = await self._refusal(scope) if scope["type"] == "http" else None
        if scope.get(KNOWN) == "password" and not self._check.known_browser(Headers(scope=scope)):
            dress.append((b"set-cookie", self._check.mark_of_known().encode()))
        await (refusal or self._app)(scope, receive, dressed)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["path"] == "/healthz" and scope["method"] in _SAFE:
            return None
        return self._misled(headers) or self._foreign(scope["method"], headers) or await self._unknown(scope, headers)

    def _prefix(self, scope: Scope) -> str:
        return path_prefix.prefix_of(Headers(scope=scope)) if self._is_proxy(_client(scope)) else ""

    def _misled(self, headers: Headers) -> Response | None:
        """DNS rebinding: a foreign name that points at us makes a browser think that a foreign page is ours."""
        hosts = headers.getlist("host")
        if len(hosts) == 1 and is_our_name(hosts[0], self._rules.names):
            return None
        return _refuse(400, "This is not a name of this relay. Use its address, or add the name to web.hosts.")

    async def _unknown(self, scope: Scope, headers: Headers) -> Response | None:
        if not self._rules.password and not self._rules.user_header:
            return None
        if self._named_by_proxy(_client(scope), headers):
            scope[KNOWN], scope[WHO] = "proxy", headers[self._rules.user_header].strip()[:100]
            return None
        if self._check.in_session(headers):
            scope[KNOWN] = "session"
            return None
        given = headers.get("authorization")
        if given is not None and self._rules.password:
            refusal = await self._check.refusal(scope, _said_by_basic(given))
            if refusal is None:
                scope[KNOWN] = "password"
            return refusal
        if self._rules.password:
            if _open_to_strangers(scope):
                return None
            if _is_person(scope["path"], headers):
                return RedirectResponse(_way_in(scope), 303)
        return _refuse(401, "A password is needed.", {"www-authenticate": 'Basic realm="relay", charset="UTF-8"'})

    def _named_by_proxy(self, client: str, headers: Headers) -> bool:
        named = bool(self._rules.user_header) and bool(headers.get(self._rules.user_header, "").strip())
        return named and self._is_proxy(client)

    def _is_proxy(self, client: str) -> bool:
        if not self._rules.proxies:
            return False
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        return any(address in network for network in self._rules.proxies)

    def _foreign(self, method: str, headers: Headers) -> Response | None:
        """Orders come from our own pages or from programs; a browser always says which page sends it."""
        if method in _SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "")
        own = origin is None or _host_of(origin) in (headers["host"].lower(), *self._rules.names)
        if own and site in ("", "same-origin", "none"):
            return None
        return _refuse(403, "Orders are taken from this relay's own pages only.")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # brackets that do not close
        return ""


class FormSeal:
    """CSRF tokens: a form carries the seal of the cookie that its page came with.  The key lives as long as the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    @staticmethod
    def new_cookie() -> str:
        return secrets.token_urlsafe(18)

    def token(self, cookie: str) -> str:
        return hmac.new(self._key, cookie.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def fits(self, cookie: str | None, token: str) -> bool:
        return bool(cookie) and hmac.compare_digest(self.token(cookie or "").encode(), token.encode("utf-8", "replace"))


def own_names(*hostnames: str) -> frozenset[str]:
    """What this machine may be called, given its host names: each as it is, and its first label alone and in the LAN."""
    found = {name.lower().removesuffix(".") for name in hostnames}
    short = {name.partition(".")[0] for name in found if not _is_address(name)}
    return frozenset({*found, *short, *(f"{name}.{domain}" for name in short for domain in _LAN_DOMAINS)} - {""})


def is_our_name(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this relay: an IP address, `localhost`, or one of `names`.

    Not any name without a dot or under .local: whoever has a machine in the LAN can take one, serve a page there, and then
    let the name lead here.
    """
    name = host.lower()
    if name.startswith("["):
        name, bracket, port = name[1:].partition("]")
        if not bracket or ":" not in name or port[:1] not in ("", ":"):
            return False
        port = port[1:]
    else:
        name, _, port = name.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return False
    name = name.removesuffix(".")
    return name == "localhost" or name.endswith(".localhost") or name in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _said_by_basic(given: str) -> bytes | None:
    """The password in an Authorization header; None where none can be read."""
    scheme, _, coded = given.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(coded.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return None


def _open_to_strangers(scope: Scope) -> bool:
    """The log-in page, and what it is drawn with."""
    path, method = scope["path"], scope["method"]
    if path == LOGIN:
        return method in ("GET", "HEAD", "POST")
    return method in _SAFE[:2] and path.startswith("/static/") and path.removeprefix("/static/") in rendering.KINDS


def _is_person(path: str, headers: Headers) -> bool:
    """Programs ask for anything, or for JSON; some monitors say that they are browsers."""
    return "text/html" in headers.get("accept", "") and not path.startswith(_FOR_PROGRAMS)


def _way_in(scope: Scope) -> str:
    """The log-in page, which leads to what was asked for; an order is not repeated after it."""
    asked = quote(scope["path"], safe="/")
    if query := scope.get("query_string", b"").decode("latin-1"):
        asked += f"?{query}"
    if scope["method"] not in _SAFE or not is_own_path(asked) or asked == "/":
        return LOGIN
    return f"{LOGIN}?next={quote(asked, safe='/')}"


def is_own_path(path: str) -> bool:
    """Whether a browser that is led there stays on this page; not `//evil.example`, and nothing that browsers leave out."""
    plain = path.isascii() and path.isprintable() and not set(path) & set(" \\")
    return plain and path.startswith("/") and not path.startswith("//") and len(path) <= _LONGEST_WAY_BACK


def _client(scope: Scope) -> str:
    peer: Any = scope.get("client")
    return str(peer[0]).removeprefix("::ffff:") if peer else ""


def _refuse(code: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(why + "\n", code, headers)
