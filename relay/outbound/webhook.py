"""A push to somebody's phone or chat: one JSON POST that ntfy, Gotify, Slack, Mattermost and Discord show well.

`title` and `message` are what ntfy and Gotify read, `text` what Slack and Mattermost do, `content` Discord's word.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from relay.apart import apart

if TYPE_CHECKING:  # else with the first push: 1 MB that a relay without a webhook never needs
    import urllib.request

TIMEOUT = 10.0  # seconds for one try
PAUSES: tuple[float, ...] = (2.0, 10.0)
"""Seconds between the tries."""

_SHOWN = 3000  # characters; ntfy cuts at 4,096 octets, Discord refuses over 2,000
_DISCORD = 1900


class WebhookFailed(Exception):
    """The push did not get through; the text says why."""


@cache
def _opener() -> "urllib.request.OpenerDirector":
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        """A redirected POST would arrive as an empty GET and look like a success."""

        def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
            return None

    return urllib.request.build_opener(NoRedirects)


def body_of(title: str, message: str, **facts: Any) -> dict[str, Any]:
    """What is posted: the words for people under the names that services look for, and `facts` for programs."""
    shown = message if len(message) <= _SHOWN else message[:_SHOWN] + " ..."
    chat = f"{title}\n{shown}"
    return {
        "title": title,
        "message": shown,
        "text": chat,
        "content": chat if len(chat) <= _DISCORD else chat[:_DISCORD] + " ...",
        "priority": 4,
        "tags": ["warning"],
        **facts,
    }


def request_of(url: str, body: Mapping[str, Any]) -> "urllib.request.Request":
    """The POST for a URL.  ntfy takes JSON at its root only, with the topic in it; elsewhere its templates help it."""
    import urllib.request

    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", "User-Agent": "lan-mail-relay"}
    topic = parts.path.strip("/")
    if "ntfy" in (parts.hostname or "") and topic and "/" not in topic:
        url = urlunsplit((parts.scheme, parts.netloc, "/", parts.query, ""))
        body = {"topic": topic, **body}
    else:
        headers |= {"X-Template": "yes", "X-Title": "{{.title}}", "X-Message": "{{.message}}"}
    netloc = parts.netloc.rpartition("@")
    if netloc[1]:
        url = urlunsplit((parts.scheme, netloc[2], urlsplit(url).path, parts.query, ""))
        headers["Authorization"] = "Basic " + _basic(netloc[0])
    data = json.dumps(body, ensure_ascii=True).encode()
    return urllib.request.Request(url, data, headers, method="POST")  # noqa: S310 - the scheme is checked by post


def _basic(userinfo: str) -> str:
    return base64.b64encode(unquote(userinfo).encode()).decode()


def post(url: str, body: Mapping[str, Any]) -> None:
    """One try.  Blocks for at most about TIMEOUT seconds; raises WebhookFailed."""
    import urllib.error

    if urlsplit(url).scheme not in ("http", "https"):
        raise WebhookFailed("the webhook is no http or https URL")
    try:
        with contextlib.closing(_opener().open(request_of(url, body), timeout=TIMEOUT)) as answer:
            answer.read(1000)
    except urllib.error.HTTPError as error:
        with error:
            raise WebhookFailed(f"the webhook answered {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise WebhookFailed(f"the webhook cannot be reached: {getattr(error, 'reason', error)}") from error


async def tell(url: str, body: Mapping[str, Any], *, pauses: Sequence[float] = PAUSES) -> None:
    """Posts in a thread, again after each of `pauses` (seconds).  Raises WebhookFailed when the last try failed too."""
    for pause in (*pauses, None):
        try:
            await apart(partial(post, url, body))
            return
        except WebhookFailed:
            if pause is None:
                raise
            await asyncio.sleep(pause)
