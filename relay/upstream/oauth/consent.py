"""A person's consent: the device flow, and the authorisation code with PKCE.  RFC 8628, RFC 7636, RFC 8252.  Blocks."""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode, urlsplit

from relay.upstream.oauth.assertion import CannotSign
from relay.upstream.oauth.authorities import Authority, authority_for
from relay.upstream.oauth.errors import cure_for
from relay.upstream.oauth.http import Denied, Granted, ask, ask_token, seconds
from relay.upstream.oauth.tokens import identity_form
from relay.upstream.settings import OAuth

_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL, _SLOWER = 5, 5  # seconds, RFC 8628 s3.2 and s3.5
_LIFETIME = 900


class NoConsent(Exception):
    """There is no consent; the text has the provider's own text and what helps."""


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the person has to do: open `address` anywhere and type `code`.  `lifetime` and `interval` in seconds."""

    address: str
    code: str
    device_code: str
    lifetime: int
    interval: int


def start_device_flow(oauth: OAuth) -> DeviceCode:
    """Raises NoConsent."""
    authority = authority_for(oauth)
    if not authority.device_url:
        raise NoConsent(f"{authority.name} has no device flow for mail; use --flow code")
    answer = ask(authority.device_url, {"client_id": oauth.client_id, "scope": authority.scope})
    if isinstance(answer, Denied):
        raise NoConsent(_explained(authority, answer))
    address = answer.get("verification_uri") or answer.get("verification_url")  # Google's spelling
    code, device_code = answer.get("user_code"), answer.get("device_code")
    if not (address and code and device_code):
        raise NoConsent(f"{authority.name} gave no code to type; use --flow code")
    return DeviceCode(
        address=_printable(address),
        code=_printable(code),
        device_code=str(device_code),
        lifetime=seconds(answer.get("expires_in")) or _LIFETIME,
        interval=seconds(answer.get("interval")) or _INTERVAL,
    )


def await_device_flow(
    oauth: OAuth,
    device: DeviceCode,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Granted:
    """Asks until the person has consented.  Raises NoConsent."""
    authority, interval = authority_for(oauth), device.interval
    end = monotonic() + device.lifetime
    while monotonic() < end:
        sleep(interval)
        form = {**_identity(oauth, authority), "grant_type": _DEVICE_CODE, "device_code": device.device_code}
        answer = ask_token(authority.token_url, form)
        if isinstance(answer, Granted):
            return _complete(authority, answer)
        if answer.error == "slow_down":
            interval += _SLOWER
        elif answer.error == "authorization_pending":
            continue
        elif not answer.passing:
            raise NoConsent(_explained(authority, answer))
        else:
            interval += _SLOWER  # RFC 8628 s3.5: back off when the connection fails
    raise NoConsent(f"nobody typed the code within {device.lifetime // 60} minutes; start again")


@dataclass(frozen=True, slots=True)
class CodeFlow:
    """One consent by browser: `address` is what to open, `redirect` where the browser is sent with the code."""

    oauth: OAuth
    address: str
    redirect: str
    state: str
    verifier: str


def start_code_flow(oauth: OAuth, redirect: str, login_hint: str = "") -> CodeFlow:
    """Raises NoConsent."""
    authority = authority_for(oauth)
    if not authority.auth_url:
        raise NoConsent(f"no auth_url is known for {authority.name}; set oauth.auth_url")
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": oauth.client_id,
        "response_type": "code",
        "redirect_uri": redirect,
        "scope": authority.scope,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **dict(authority.extras),
        **({"login_hint": login_hint} if login_hint else {}),
    }
    joint = "&" if "?" in authority.auth_url else "?"
    return CodeFlow(oauth, f"{authority.auth_url}{joint}{urlencode(query)}", redirect, state, verifier)


def finish_code_flow(flow: CodeFlow, pasted: str) -> Granted:
    """`pasted` is the address that the browser ended at, or the bare code.  Raises NoConsent."""
    authority = authority_for(flow.oauth)
    form = {
        **_identity(flow.oauth, authority),
        "grant_type": "authorization_code",
        "code": _code_in(flow, authority, pasted.strip()),
        "redirect_uri": flow.redirect,
        "code_verifier": flow.verifier,
    }
    answer = ask_token(authority.token_url, form)
    if isinstance(answer, Denied):
        raise NoConsent(_explained(authority, answer))
    return _complete(authority, answer)


def _code_in(flow: CodeFlow, authority: Authority, pasted: str) -> str:
    if not pasted:
        raise NoConsent("nothing was pasted")
    if "=" not in pasted and "/" not in pasted.removeprefix("4/"):  # Google's codes begin with 4/
        return pasted
    try:
        split = urlsplit(pasted)
        found = parse_qs(split.query or split.fragment or pasted.lstrip("?"))
    except ValueError:  # brackets that do not close
        raise NoConsent("this is no address: paste the whole one that the browser ended at") from None
    if error := found.get("error", [""])[0]:
        raise NoConsent(
            _explained(authority, Denied(error, _printable(found.get("error_description", [""])[0]), passing=False))
        )
    if found.get("state", [""])[0] != flow.state:
        raise NoConsent("this address is of another login (its `state` differs): paste the one that this login ended at")
    if not (code := found.get("code", [""])[0]):
        raise NoConsent("there is no code in what was pasted: paste the whole address that the browser ended at")
    return code


def _identity(oauth: OAuth, authority: Authority) -> dict[str, str]:
    try:
        return identity_form(oauth, authority, datetime.now(UTC))
    except CannotSign as error:
        raise NoConsent(str(error)) from None


def _complete(authority: Authority, granted: Granted) -> Granted:
    """Raises NoConsent without a refresh token: the access token lasts an hour only."""
    if granted.refresh_token:
        return granted
    raise NoConsent(
        f"{authority.name} gave no refresh token: take the application out of the account's list of connected applications, "
        "then log in again (Microsoft: the scope must contain offline_access)"
    )


def _explained(authority: Authority, denied: Denied) -> str:
    """The provider's own text, then what to do."""
    return "\n".join(part for part in (f"{authority.name} says: {denied}", cure_for(denied)) if part)


def _printable(value: object) -> str:
    return "".join(char for char in str(value) if char.isprintable())[:400]
