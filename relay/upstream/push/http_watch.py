"""Watches the HTTP requests of the library: it tells whether a message was taken, not why not.  Runs in the push process.

Each request asks first, once it is connected: from then on it may go out.
"""

import email.utils
import errno
import importlib
import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from relay.mail.reply import Fault
from relay.upstream.push.check_calls import CheckCall, LibraryRequest, Proof, check_call

_MOST_SAID = 500
_MOST_CALLS = 10  # to one service; a URL may name several targets
_REFUSED = {
    errno.ECONNREFUSED: Fault.REFUSED,
    **dict.fromkeys((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL), Fault.UNREACHABLE),
    **dict.fromkeys((errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED), Fault.HUNG_UP),
}
_CERTIFICATES = {10: Fault.TLS_EXPIRED, 9: Fault.TLS_EARLY, 62: Fault.TLS_NAME, 64: Fault.TLS_NAME}
# Slack answers 200 with such a word, Matrix has `errcode`; Pushover answers 400 and names the field that is wrong
_ACCOUNTS = frozenset(
    (
        *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission", "missing_scope"),
        *("channel_not_found", "not_in_channel", "is_archived", "access_denied", "ekm_access_denied", "M_UNKNOWN_TOKEN"),
        *("M_FORBIDDEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED"),
    )
)
_RATES = frozenset({"ratelimited", "rate_limited", "M_LIMIT_EXCEEDED"})
_PASSING = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
# Telegram has one number, 400, for whatever it cannot do
_TARGETS = (
    "chat not found",
    "user not found",
    "group chat was upgraded",
    "not enough rights",
    "have no rights",
    "bot is not a",
)


class Stopped(BaseException):
    """The relay does not want the request to go out; no library catches it."""


@dataclass(slots=True)
class Watch:
    """One URL's requests.  `ask(peer, tls)` tells the relay that a connection is open; False ends it there."""

    ask: Callable[[str, str], bool]
    send_within: float
    asked: bool = False
    connected: bool = False
    """Whether the request under way has its connection."""
    octets: int = 0
    """How much went out in their bodies."""
    events: int = 0
    """How many of them were an event of Matrix."""
    word: tuple[bytes, ...] = ()
    """A word of the text in each form in which a body may have it."""
    text_taken: bool = False
    taken: int = 0
    """How many octets were in the bodies that were answered by 2xx."""
    bad: dict[str, Any] = field(default_factory=dict)
    """What is known of the last request that failed, in the fields of `Outcome`."""
    status: int = 0
    peer: str = ""
    tls: str = ""

    def going(self, request: Any) -> Any:
        """The request that goes out when the library sends this one."""
        if request.body is not None:
            length = request.headers.get("Content-Length", "")
            self.octets += int(length) if length.isdigit() else sys.maxsize  # a stream, whose end nobody knows
        if request.method == "PUT" and "/send/m.room." in request.url:
            # Matrix keeps one event for each transaction, and the library gives picture and text the same one
            self.events += 1
            request.url = f"{request.url}-{self.events}"
        return request

    def opened(self, sock: Any) -> None:
        self.connected = True
        peer = sock.getpeername()
        host, port = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
        self.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.tls = str(sock.version() or "") if isinstance(sock, ssl.SSLSocket) else ""
        if not self.asked:
            self.asked = True
            if not self.ask(self.peer, self.tls):
                raise Stopped
        # the library's time-out for connecting would be the one for sending a picture, too
        sock.settimeout(self.send_within)

    def answered(self, response: Any) -> None:
        self.status = int(response.status_code)
        data = _as_json(response)
        word = next((data[key] for key in ("error", "errcode") if isinstance(data.get(key), str)), "")
        no = data.get("ok") is False
        if self.status < 300 and not no:
            octets = _octets(response.request)
            self.taken += len(octets)
            self.text_taken = self.text_taken or any(form in octets for form in self.word)
            return
        said = _said(data) or (response.text[:_MOST_SAID] if "text/plain" in response.headers.get("Content-Type", "") else "")
        self.bad = {
            "status": 429 if word in _RATES else 503 if word in _PASSING else self.status,
            "retry_after": _retry_after(response.headers.get("Retry-After", ""), data),
            "said": said[:_MOST_SAID],
            "blocked": word in _ACCOUNTS
            or "invalid" in (data.get("token"), data.get("user"))
            or (self.status == 400 and any(words in said.lower() for words in _TARGETS)),
        }

    def failed(self, error: BaseException) -> None:
        self.bad = {"fault": _fault(error).value, "sent": self.connected}


@dataclass(slots=True)
class Examination(Watch):
    """A service that is asked whether it knows the account: of the library's requests none goes out as it is.

    `unclear`: it answered in a way that shows nothing.
    """

    service: str = ""
    call: CheckCall | None = None
    calls: int = 0
    proved: Proof = Proof.NOTHING
    unclear: bool = False

    def going(self, request: Any) -> Any:
        self.call = check_call(self.service, LibraryRequest(request.method, request.url, _octets(request)))
        if self.call is None:
            if self.asked:
                raise Stopped
            return request  # which is stopped when it has its connection
        self.asked = True
        self.calls += 1
        if self.calls > _MOST_CALLS:
            raise Stopped
        wanted = request.copy()
        for name in ("Content-Length", "Content-Type"):
            wanted.headers.pop(name, None)
        wanted.method, wanted.url = self.call.method, self.call.url
        if self.call.kind:
            wanted.headers["Content-Type"] = self.call.kind
        wanted.prepare_body(self.call.body or None, None)
        return wanted

    def answered(self, response: Any) -> None:
        self.bad = {}
        Watch.answered(self, response)
        call = self.call
        if call is None:
            raise Stopped
        if not self.bad or self.status in call.good:
            self.bad, self.proved = {}, call.proves
        elif call.optional:
            self.bad = {}
        else:
            self.unclear = self.status in call.unclear
            raise Stopped


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """All requests of this process are told to `watch` meanwhile."""
    sessions = importlib.import_module("requests").sessions.Session
    connection = importlib.import_module("urllib3.connection")
    kinds = (connection.HTTPConnection, connection.HTTPSConnection)
    send, connects = sessions.send, [kind.connect for kind in kinds]

    def watched(session: Any, request: Any, **options: Any) -> Any:
        watch.connected = False
        try:
            response = send(session, watch.going(request), **options)
        except Exception as error:
            watch.failed(error)
            raise
        watch.answered(response)
        return response

    def connecting(connect: Callable[[Any], None]) -> Callable[[Any], None]:
        def opening(connection: Any) -> None:
            connect(connection)
            watch.opened(connection.sock)

        return opening

    sessions.send = watched
    for kind, connect in zip(kinds, connects, strict=True):
        kind.connect = connecting(connect)
    try:
        yield
    finally:
        sessions.send = send
        for kind, connect in zip(kinds, connects, strict=True):
            kind.connect = connect


def _octets(request: Any) -> bytes:
    """The body; b"" of a stream, which can be read once only."""
    body = request.body
    return body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else b""


def _as_json(response: Any) -> dict[str, Any]:
    try:
        found = json.loads(response.content[:65536])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _said(data: dict[str, Any]) -> str:
    """The service's own words."""
    for key in ("description", "errorDescription", "error_description", "message", "error", "errors"):
        found = data.get(key)
        if isinstance(found, list):
            found = ", ".join(one for one in found[:5] if isinstance(one, str))
        if isinstance(found, str) and found:
            return found
    return ""


def _retry_after(header: str, data: dict[str, Any]) -> float | None:
    """Seconds to wait, as a header (a number or a date), or as Telegram, Discord and Matrix write it."""
    inner = data.get("parameters")
    for value, part in (
        (header, 1.0),
        (inner.get("retry_after") if isinstance(inner, dict) else None, 1.0),
        (data.get("retry_after"), 1.0),
        (data.get("retry_after_ms"), 0.001),
    ):
        try:
            return max(0.0, min(float(value or "none") * part, 86_400.0))
        except (TypeError, ValueError):
            continue
    try:
        return max(0.0, min(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), 86_400.0))
    except (TypeError, ValueError, OverflowError):
        return None


def _fault(error: BaseException) -> Fault:
    """Why no answer came: the first cause that says it plainly."""
    for one in _causes(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return _CERTIFICATES.get(one.verify_code, Fault.TLS_TRUST)
        if isinstance(one, socket.gaierror):
            return Fault.DNS if one.errno == socket.EAI_AGAIN else Fault.NO_HOST
        if isinstance(one, TimeoutError) or type(one).__name__ in ("ConnectTimeoutError", "ReadTimeoutError"):
            return Fault.TIMED_OUT
        if isinstance(one, ssl.SSLError):
            return Fault.TLS
        if isinstance(one, OSError) and (found := _REFUSED.get(one.errno or 0)):
            return found
    return Fault.HUNG_UP


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The innermost first: requests and urllib3 wrap what happened several times."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [one.__context__, one.__cause__, getattr(one, "reason", None), *one.args]
    return reversed(found)
