"""Requests by which a push service tells whether it knows the account, and which change nothing there.  Pure.

Each is made of the request with which the library would send: the same server, the same login.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit


class Proof(Enum):
    """What is known of a notification URL without sending."""

    NOTHING = ""
    SERVER = "server"  # the service answers; its login was not tried
    LOGIN = "login"  # it takes the token or the password; whether it knows the topic, channel or room was not tried
    TARGET = "target"  # it takes the token, and knows whom a message is for


@dataclass(frozen=True, slots=True)
class CheckCall:
    """A request in place of the library's; the headers stay.  `kind` is the body's content type.

    `proves`: what an answer of 2xx, or one of `good`, shows.  `unclear` answers show nothing.  `optional`: a refusal is
    none of the account.
    """

    method: str
    url: str
    proves: Proof
    body: bytes = b""
    kind: str = ""
    good: frozenset[int] = frozenset()
    unclear: frozenset[int] = frozenset()
    optional: bool = False


@dataclass(frozen=True, slots=True, repr=False)  # all of it may be a secret
class LibraryRequest:
    """The request that the library is about to send."""

    method: str
    url: str
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def json(self) -> Mapping[str, Any]:
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def form(self) -> Mapping[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace")))

    def at(self, path: str, query: Mapping[str, Any] | None = None) -> str:
        """Another path of the same server."""
        bare = urlsplit(self.url)
        return bare._replace(path=path, query=urlencode(query or {}), fragment="").geturl()


def check_call(service: str, request: LibraryRequest) -> CheckCall | None:
    """The harmless request that stands for this one; None where the service has none."""
    made = _CALLS.get(service)
    return made(request) if made else None


def _ntfy(request: LibraryRequest) -> CheckCall | None:
    """https://docs.ntfy.sh: /TOPIC/auth tells whether one may read it.  A login that may only write is refused with 403."""
    topic = request.json.get("topic")
    if not isinstance(topic, str):
        return None
    path = f"{request.path.rstrip('/')}/{quote(topic, safe='')}/auth"
    return CheckCall("GET", request.at(path), Proof.LOGIN, unclear=frozenset({403, 404, 405}))


def _gotify(request: LibraryRequest) -> CheckCall | None:
    """https://gotify.net/api-docs: an application's token may do nothing but send, and a message without text is refused.

    The token is looked at before that.
    """
    empty = CheckCall("POST", request.url, Proof.TARGET, b"{}", "application/json", good=frozenset({400}))
    return empty if request.path.endswith("/message") else None


def _telegram(request: LibraryRequest) -> CheckCall:
    """https://core.telegram.org/bots/api: getChat answers as sending does if the token is wrong or the chat is not known."""
    bot, chat = request.path.rpartition("/")[0], request.json.get("chat_id")
    if chat is None:
        return CheckCall("GET", request.at(f"{bot}/getMe"), Proof.LOGIN)
    return CheckCall("GET", request.at(f"{bot}/getChat", {"chat_id": chat}), Proof.TARGET)


def _pushover(request: LibraryRequest) -> CheckCall | None:
    """https://pushover.net/api#validate."""
    wanted = {name: value for name, value in request.form.items() if name in ("token", "user", "device")}
    if wanted.get("device") == "ALL_DEVICES":
        del wanted["device"]
    if not wanted.keys() >= {"token", "user"}:
        return None
    form = urlencode(wanted).encode()
    return CheckCall("POST", request.at("/1/users/validate.json"), Proof.TARGET, form, "application/x-www-form-urlencoded")


def _discord(request: LibraryRequest) -> CheckCall:
    """https://discord.com/developers/docs/resources/webhook: GET with the token in the path."""
    return CheckCall("GET", request.at(request.path), Proof.TARGET)


def _slack(request: LibraryRequest) -> CheckCall | None:
    """https://api.slack.com/methods/auth.test, for a bot.  An incoming webhook can be asked nothing."""
    return CheckCall("POST", request.at("/api/auth.test"), Proof.LOGIN) if request.path.startswith("/api/") else None


def _matrix(request: LibraryRequest) -> CheckCall | None:
    """https://spec.matrix.org: what the library only reads may go as it is; whoami needs the access token.

    A login by password would make a new device of the account, so only its ways are asked for.
    """
    head, mark, api = request.path.partition("/_matrix/client/")
    if request.method == "GET":
        known = api.endswith("/account/whoami")
        return CheckCall("GET", request.url, Proof.LOGIN if known else Proof.SERVER, optional=not known)
    version = api.partition("/")[0]
    return CheckCall("GET", request.at(f"{head}{mark}{version}/login"), Proof.SERVER) if api.endswith("/login") else None


_CALLS: Mapping[str, Callable[[LibraryRequest], CheckCall | None]] = {
    "ntfy": _ntfy,
    "Gotify": _gotify,
    "Telegram": _telegram,
    "Pushover": _pushover,
    "Discord": _discord,
    "Slack": _slack,
    "Matrix": _matrix,
}
"""By the library's name of the service."""
