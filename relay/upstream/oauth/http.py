"""One request to a token server, and its answer: a form POST.  RFC 6749 s5, RFC 8628 s3.  Blocks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.http_client import HttpAnswer, NoHttpAnswer, post
from relay.secret import Secret, unsaid

PATIENCE = 20.0
"""Seconds for a whole answer."""

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
class BadTokenResponse(Exception):
    """The answer is not one of OAuth 2.0; `text` says what came."""

    text: str


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
    from urllib.parse import urlencode, urlsplit

    host = urlsplit(url).hostname or url
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", "User-Agent": "relay"}
    try:
        answer = post(url, urlencode(form).encode(), headers, patience, _LARGEST)
        if not 200 <= answer.code < 300:
            return _refusal(answer, [form[name] for name in _SECRETS if name in form])
        return _object(answer.body)
    except BadTokenResponse as odd:
        return Denied("", f"{host} answers with {odd.text}", passing=True)
    except NoHttpAnswer as error:
        return Denied("", f"{host} cannot be reached: {error}", passing=True)


def _refusal(said: HttpAnswer, secrets: Sequence[str]) -> Denied:
    """A 4xx with an OAuth error is final; a proxy's page, or a 5xx, is temporary."""
    try:
        answer = _object(said.body)
    except BadTokenResponse:
        return Denied("", f"the token server answers {said.code} {said.reason}", passing=True)
    name: Any = answer.get("error")
    text: Any = answer.get("error_description") or answer.get("error_message")
    if isinstance(name, dict):  # Google's other form: {"error": {"code": 403, "status": "...", "message": "..."}}
        name, text = name.get("status"), name.get("message")
    name = _flat(name, secrets)
    passing = not name or name.lower() in _FOR_NOW or said.code >= 500 or said.code == 429
    return Denied(name, _flat(text, secrets) or f"HTTP {said.code}", passing)


def _object(octets: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(octets.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise BadTokenResponse("something else than JSON") from None
    if not isinstance(found, dict):
        raise BadTokenResponse("JSON that is no object")
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
