"""A push to somebody's phone or chat: one JSON POST that ntfy, Gotify, Slack, Mattermost and Discord show well.

ntfy and Gotify read `title` and `message`, Slack and Mattermost `text`, Discord `content`.
"""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from relay.detached import apart
from relay.http_client import NoHttpAnswer, post

TIMEOUT = 10.0  # seconds for one try, the whole answer included
PAUSES: tuple[float, ...] = (2.0, 10.0)
"""Seconds between the tries."""

_SHOWN = 3000  # characters; ntfy cuts at 4,096 octets, Discord refuses over 2,000
_DISCORD = 1900


class WebhookFailed(Exception):
    """The push did not get through; the text says why."""


def body_of(title: str, message: str, **facts: Any) -> dict[str, Any]:
    """What is posted: the text under the names that services look for, and `facts` for programs."""
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


def request_of(url: str, body: Mapping[str, Any]) -> tuple[str, bytes, dict[str, str]]:
    """URL, body and headers of the POST.  ntfy takes JSON at its root only, the topic in it; else its templates help."""
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", "User-Agent": "lan-mail-relay"}
    topic = parts.path.strip("/")
    if "ntfy" in (parts.hostname or "") and topic and "/" not in topic:
        parts = parts._replace(path="/", fragment="")
        body = {"topic": topic, **body}
    else:
        headers |= {"X-Template": "yes", "X-Title": "{{.title}}", "X-Message": "{{.message}}"}
    login, at, place = parts.netloc.rpartition("@")
    if at:
        parts = parts._replace(netloc=place, fragment="")
        headers["Authorization"] = "Basic " + _basic(login)
    return urlunsplit(parts), json.dumps(body, ensure_ascii=True).encode(), headers


def _basic(userinfo: str) -> str:
    return base64.b64encode(unquote(userinfo).encode()).decode()


def push(url: str, body: Mapping[str, Any]) -> None:
    """One try.  Blocks for at most TIMEOUT seconds; raises WebhookFailed."""
    try:
        answer = post(*request_of(url, body), TIMEOUT, 1000)
    except (NoHttpAnswer, ValueError) as error:
        raise WebhookFailed(f"the webhook cannot be reached: {error}") from error
    if not 200 <= answer.code < 300:
        raise WebhookFailed(f"the webhook answered {answer.code} {answer.reason}")


async def tell(url: str, body: Mapping[str, Any], *, pauses: Sequence[float] = PAUSES) -> None:
    """Posts in a thread, again after each of `pauses` (seconds).  Raises WebhookFailed when the last try failed too."""
    for pause in (*pauses, None):
        try:
            async with asyncio.timeout(2 * TIMEOUT):  # names are looked up, and dead addresses dialled, before TIMEOUT counts
                await apart(partial(push, url, body))
            return
        except WebhookFailed:
            if pause is None:
                raise
        except TimeoutError:
            if pause is None:
                raise WebhookFailed("the webhook cannot be reached in time") from None
        await asyncio.sleep(pause)
