"""One question to a token server, and what it answered: a form POST over urllib.  RFC 6749 s5, RFC 8628 s3.  Blocks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.secret import Secret, unsaid

if TYPE_CHECKING:  # else at the first question: nearly a megabyte that a relay without OAuth never needs
    import urllib.error
    import urllib.request

PATIENCE = 20.0
"""Seconds for one answer."""

_SECRETS = ("client_secret", "client_assertion", "refresh_token", "code", "code_verifier", "device_code")
_LARGEST = 1_000_000
_LONGEST_TEXT = 600
_FOR_NOW = frozenset({"temporarily_unavailable", "server_error", "slow_down", "internal_failure"})


@dataclass(frozen=True, slots=True)
class Granted:
    """Tokens.  Lifetimes in seconds from now, None if not told; `refresh_token` None: the old one goes on."""

    access_token: Secret
    refresh_token: Secret | None = None
    expires_in: int | None = None
    refresh_expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """No tokens: the error's name (RFC 6749 s5.2; "" if the server gave none), its words; `passing`: ask again later."""

    error: str
    text: str
    passing: bool

    def __str__(self) -> str:
        return f"{self.error}: {self.text}" if self.error and self.text else self.error or self.text


@dataclass(frozen=True, slots=True)
class Unreadable(Exception):
    """The answer is none that OAuth 2.0 knows; `text` says what came."""

    text: str


def _opener() -> "urllib.request.OpenerDirector":
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """A redirected POST would tell the secrets in it to somebody else."""

        def redirect_request(self, *_: Any) -> None:
            return None

    return urllib.request.build_opener(NoRedirect)


def ask_token(url: str, form: Mapping[str, str], patience: float = PATIENCE) -> Granted | Denied:
    """Asks for an access token.  Never raises for what a server or the network does."""
    answer = ask(url, form, patience)
    if isinstance(answer, Denied):
        return answer
    token = answer.get("access_token")
    if not isinstance(token, str) or not token or not token.isprintable():
        return Denied("", "the answer has no access token in it", passing=True)
    renewed = answer.get("refresh_token")
    return Granted(
        access_token=Secret(token),
        refresh_token=Secret(renewed) if isinstance(renewed, str) and renewed else None,
        expires_in=seconds(answer.get("expires_in")),
        # Google tells it for applications in testing, whose consent lasts seven days
        refresh_expires_in=seconds(answer.get("refresh_token_expires_in")),
    )


def ask(url: str, form: Mapping[str, str], patience: float = PATIENCE) -> Mapping[str, Any] | Denied:
    """POSTs a form; the JSON object of a 200, or why there is none."""
    import http.client
    import urllib.error
    import urllib.parse
    import urllib.request

    data = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(url, data, {"Accept": "application/json", "User-Agent": "relay"})  # noqa: S310
    host = urllib.parse.urlsplit(url).hostname or url
    try:
        with _opener().open(request, timeout=patience) as response:
            return _object(response.read(_LARGEST))
    except urllib.error.HTTPError as error:
        with error:
            return _refusal(error, [form[name] for name in _SECRETS if name in form])
    except Unreadable as odd:
        return Denied("", f"{host} answers with {odd.text}", passing=True)
    except urllib.error.URLError as error:
        return Denied("", f"{host} cannot be reached: {error.reason}", passing=True)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Denied("", f"{host} cannot be asked: {error}", passing=True)


def _refusal(error: "urllib.error.HTTPError", secrets: Sequence[str]) -> Denied:
    """A 4xx with an OAuth error is meant; a page of a proxy, or a 5xx, passes."""
    import http.client

    try:
        answer = _object(error.read(_LARGEST))
    except (Unreadable, OSError, http.client.HTTPException):
        return Denied("", f"the token server answers {error.code} {error.reason}", passing=True)
    name: Any = answer.get("error")
    text: Any = answer.get("error_description") or answer.get("error_message")
    if isinstance(name, dict):  # Google's other form: {"error": {"code": 403, "status": "...", "message": "..."}}
        name, text = name.get("status"), name.get("message")
    name = _flat(name, secrets)
    passing = not name or name.lower() in _FOR_NOW or error.code >= 500 or error.code == 429
    return Denied(name, _flat(text, secrets) or f"HTTP {error.code}", passing)


def _object(octets: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(octets.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise Unreadable("something else than JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("JSON that is no object")
    return found


def _flat(value: object, secrets: Sequence[str]) -> str:
    text = " ".join(unsaid(value, *secrets).split()) if isinstance(value, str) else ""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown if len(shown) <= _LONGEST_TEXT else shown[:_LONGEST_TEXT] + "..."


def seconds(value: object) -> int | None:
    """A lifetime; some servers write it as text, some leave it out."""
    try:
        found = int(float(value)) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
    return found if found is None or 0 < found < 10**9 else None
