"""A token server on loopback that answers as Microsoft's and Google's documents say.

    with provider() as stub:
        stub.consent("taro")                    a refresh token, as if a person had consented
        ... oauth: {client_id: app, provider: microsoft, token_url: stub.token_url, ...}
    stub.asked("refresh_token")                 the forms that came, by grant type

It rotates refresh tokens, and the old one is void at once (`rotate`).  `trouble` is a list of answers that are given
instead of the usual ones, in order: (HTTP status, JSON object or text).  `/introspect` tells Dovecot whose a token is.
`form` makes an access token of its number.
"""

import base64
import hashlib
import http.server
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

REVOKED_BY_MICROSOFT = {
    "error": "invalid_grant",
    "error_description": "AADSTS50173: The provided grant has expired due to it being revoked, a fresh auth token is needed. "
    "The user might have changed or reset their password. Trace ID: 0000aaaa-11bb-cccc-dd22-eeeeee333333 "
    "Correlation ID: aaaa0000-bb11-2222-33cc-444444dddddd Timestamp: 2026-11-22 03:04:05Z",
    "error_codes": [50173],
    "suberror": "token_expired",
}
REVOKED_BY_GOOGLE = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}


def jwt(**claims: Any) -> str:
    """An access token in the form that Microsoft's have; its signature is none."""
    pieces = (json.dumps({"typ": "JWT", "alg": "none"}), json.dumps(claims), "signature")
    return ".".join(base64.urlsafe_b64encode(piece.encode()).rstrip(b"=").decode() for piece in pieces)


@dataclass
class Stub:
    """See the module.  `expires_in` is put into answers as it is; None leaves it out."""

    port: int
    expires_in: Any = 3599
    rotate: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    form: Callable[[int], str] = "access-{}".format
    trouble: list[tuple[int, Any]] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    """What the device flow answers before it grants."""
    interval: int = 1
    delay: float = 0.0
    user: str = "taro@isp.example"
    forms: list[dict[str, str]] = field(default_factory=list)
    refresh_tokens: set[str] = field(default_factory=set)
    access_tokens: dict[str, str] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)
    introspecting: threading.Event = field(default_factory=threading.Event)
    """Set once somebody has shown a token."""
    gate: threading.Event = field(default_factory=threading.Event)
    """While it is not set, whoever asks about a token has to wait."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_url(self) -> str:
        return f"{self.base}/token"

    @property
    def urls(self) -> dict[str, str]:
        return {
            "token_url": self.token_url,
            "device_url": f"{self.base}/devicecode",
            "auth_url": f"{self.base}/authorize",
        }

    def consent(self) -> str:
        token = f"refresh-{next(self.numbers)}"
        self.refresh_tokens.add(token)
        return token

    def revoke(self) -> None:
        """Every token given so far is void."""
        self.refresh_tokens.clear()
        self.access_tokens.clear()

    def asked(self, grant: str) -> list[dict[str, str]]:
        return [form for form in self.forms if form.get("grant_type") == grant]

    # the answers

    def token(self, form: dict[str, str]) -> tuple[int, Any]:
        self.forms.append(form)
        if self.trouble:
            return self.trouble.pop(0)
        grant = form.get("grant_type", "")
        if grant == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                return 400, REVOKED_BY_MICROSOFT
            if self.rotate:
                self.refresh_tokens.discard(form["refresh_token"])
            return self.granted(new_refresh=self.rotate)
        if grant == "authorization_code":
            return self._code(form)
        if grant == DEVICE_GRANT:
            if self.pending:
                return 400, {"error": self.pending.pop(0), "error_description": "AADSTS70016: Pending end-user authorization."}
            return self.granted(new_refresh=True)
        return self.granted(new_refresh=False)  # client_credentials

    def granted(self, *, new_refresh: bool) -> tuple[int, Any]:
        access = self.form(next(self.numbers))
        self.access_tokens[access] = self.user
        answer = {"token_type": "Bearer", "scope": "https://outlook.office.com/SMTP.Send", "access_token": access}
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        if new_refresh:
            answer["refresh_token"] = self.consent()
        return 200, {**answer, **self.extra}

    def _code(self, form: dict[str, str]) -> tuple[int, Any]:
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if not asked or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "Malformed auth code."}
        return self.granted(new_refresh=True)

    def device(self, form: dict[str, str]) -> tuple[int, Any]:
        self.forms.append(form)
        if self.trouble:
            return self.trouble.pop(0)
        return 200, {
            "user_code": "GTHDDWXPL",
            "device_code": "device-1",
            "verification_uri": "https://login.microsoft.com/device",
            "expires_in": 900,
            "interval": self.interval,
            "message": "To sign in, use a web browser to open the page https://login.microsoft.com/device",
        }

    def authorized(self, query: dict[str, str]) -> str:
        """Where the browser is sent after the person has said yes."""
        code = f"4/code-{next(self.numbers)}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'state': query['state'], 'code': code, 'scope': query['scope']})}"

    def introspect(self, bearer: str) -> dict[str, Any]:
        user = self.access_tokens.get(bearer)
        return {"active": user is not None, **({"email": user, "username": user} if user else {})}


def _handler(stub: Stub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            octets = self.rfile.read(int(self.headers["Content-Length"]))
            form = {name: values[0] for name, values in parse_qs(octets.decode(), keep_blank_values=True).items()}
            path = urlsplit(self.path).path
            with stub.lock:
                stub.at_once += 1
                stub.most_at_once = max(stub.most_at_once, stub.at_once)
            time.sleep(stub.delay)
            with stub.lock:
                answer = stub.device(form) if path.endswith("/devicecode") else stub.token(form)
                stub.at_once -= 1
            self._say(*answer)

        def do_GET(self) -> None:
            split = urlsplit(self.path)
            if split.path.endswith("/introspect"):
                stub.introspecting.set()
                stub.gate.wait(20)
                self._say(200, stub.introspect(self.headers.get("Authorization", "").removeprefix("Bearer ")))
                return
            query = {name: values[0] for name, values in parse_qs(split.query).items()}
            self.send_response(302)
            self.send_header("Location", stub.authorized(query))
            self.end_headers()

        def _say(self, status: int, answer: Any) -> None:
            octets = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


@contextmanager
def provider(**settings: Any) -> Iterator[Stub]:
    """A running stub; see Stub for the settings."""
    stub = Stub(0, **settings)
    stub.gate.set()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub))
    server.daemon_threads = True
    stub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
