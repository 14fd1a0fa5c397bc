"""What Microsoft Graph's answers are as replies: the code and stage that mail has for the same thing.

Source: learn.microsoft.com "Microsoft Graph throttling guidance", beside those of `graph_codes.py`.  What they mean to a
person is in `outbound/replies/graph_rules.py`.  Pure.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from relay.mail.reply import Answer, Fault, Reply, Stage, readable
from relay.upstream import graph_codes
from relay.upstream.http_session import HttpResponse

_LOGIN = (Stage.AUTH, 535, "5.7.8")
_DENIED = (Stage.AUTH, 550, "5.7.1")
_SENDER = (Stage.MAIL, 550, "5.7.60")
_QUOTA = (Stage.MAIL, 550, "5.1.90")
_FULL = (Stage.MAIL, 452, "4.2.2")
_BUSY = (Stage.MAIL, 450, "4.7.0")
_AWAY = (Stage.MAIL, 451, "4.3.2")
_SIZE = (Stage.CONTENT, 552, "5.3.4")
_FORM = (Stage.CONTENT, 554, "5.6.0")
_UNKNOWN = (Stage.CONTENT, 554, "5.0.0")
_RECIPIENT = (Stage.RCPT, 550, "5.1.3")

_KNOWN = (
    (_LOGIN, graph_codes.TOKEN),
    (_DENIED, graph_codes.DENIED),
    (_DENIED, graph_codes.MAILBOX),
    (_SENDER, graph_codes.SEND_AS),
    (_QUOTA, graph_codes.QUOTA),
    (_FULL, graph_codes.FULL),
    (_BUSY, graph_codes.BUSY),
    (_AWAY, graph_codes.AWAY),
    (_SIZE, graph_codes.SIZE),
    (_FORM, graph_codes.FORM),
    (_RECIPIENT, graph_codes.RECIPIENT),
)
_CODES = {code: place for place, codes in _KNOWN for code in codes.split()}

_BY_STATUS: dict[int, tuple[Stage, int, str]] = {
    401: _LOGIN,
    403: _DENIED,
    404: _DENIED,
    408: _AWAY,
    413: _SIZE,
    423: _AWAY,
    425: _AWAY,
    429: _BUSY,
    507: _FULL,
    509: _BUSY,
}

_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,1000})"')
_LONGEST_WAIT = 86_400.0


def relayed(response: HttpResponse) -> Answer:
    """The answer to a message that Graph has taken."""
    return Answer(Stage.CONTENT, Reply(250, "2.0.0", f"{response.status} {response.reason}{_trace(response)}".strip()))


def refusal(response: HttpResponse, *, sending: bool) -> Answer:
    """The answer where Graph says no.  `sending`: to the request that would have sent the message."""
    code, words = _error(response)
    stage, number, status = _place(code.lower(), response.status)
    said = f"{code}: {words}" if code else words or response.reason
    text = f"{said} (HTTP {response.status}{_trace(response, '; ')})"
    answer = Answer(stage, Reply(number, status, readable(text)))
    if sending and response.status in (502, 504):
        # the gateway got no answer that it understands, or none in time; what is behind it may have the message
        answer = replace(answer, stage=Stage.CONTENT, fault=Fault.UNANSWERED)
    return replace(answer, retry_after=retry_after(response))


def _place(code: str, status: int) -> tuple[Stage, int, str]:
    """An error without a name is not Graph's: a firewall's page must not fail a message."""
    if not code:
        return _BY_STATUS[status] if status in (401, 413, 429) else _AWAY
    otherwise = _UNKNOWN if 400 <= status < 500 else _AWAY
    return _CODES.get(code) or _BY_STATUS.get(status, otherwise)


def code_of(response: HttpResponse) -> str:
    """Graph's own name of the error, in small letters; "" if it says none."""
    return _error(response)[0].lower()


def retry_after(response: HttpResponse) -> float | None:
    """For how many seconds the server wants to be left alone (RFC 9110 s10.2.3); None if it does not say."""
    said = response.headers.get("retry-after", "").strip()
    if not said or (response.status < 500 and response.status not in (408, 423, 425, 429)):
        return None
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", said):
        return min(float(said), _LONGEST_WAIT)
    try:
        until, now = _moment(said), _moment(response.headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return min(max((until - now).total_seconds(), 0.0), _LONGEST_WAIT)


def _moment(text: str) -> datetime:
    found = parsedate_to_datetime(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def identity(response: HttpResponse) -> str:
    """The id of what was made, "" if the answer has none.  A draft's answer repeats its text, which may be cut off here."""
    found = _object(response.body).get("id")
    if isinstance(found, str):
        return found
    match = _ID.search(response.body)
    return match[1].decode("utf-8", "replace") if match else ""


def text_of(response: HttpResponse, key: str) -> str:
    """A text at the top of the answer, "" if there is none."""
    found = _object(response.body).get(key)
    return found if isinstance(found, str) else ""


def addressees(response: HttpResponse) -> dict[str, frozenset[str]]:
    """Of a list of messages: whom each is to, in small letters, by its id."""
    rows = [row for row in _list(_object(response.body).get("value")) if isinstance(_of(row, "id"), str)]
    return {row["id"]: frozenset(_addresses(row)) for row in rows}


def _addresses(row: Any) -> Iterator[str]:
    for one in (one for key in _RECIPIENTS for one in _list(_of(row, key))):
        address = _of(_of(one, "emailAddress"), "address")
        if isinstance(address, str):
            yield address.lower()


_RECIPIENTS = ("toRecipients", "ccRecipients", "bccRecipients")


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def is_page(response: HttpResponse) -> bool:
    """Whether it is a page for people: a firewall answers in Graph's place, perhaps with 200."""
    return response.headers.get("content-type", "").lower().startswith("text/html")


def _error(response: HttpResponse) -> tuple[str, str]:
    """Code and message of an error answer; its text where it is no JSON, such as a proxy's page."""
    found = _object(response.body).get("error")
    if not isinstance(found, dict):
        page = response.body[:500].decode("utf-8", "replace")
        return "", " ".join(re.sub(r"<[^>]{0,200}>", " ", page).split())[:300]
    code, words = found.get("code"), found.get("message")
    return (code if isinstance(code, str) else ""), " ".join(str(words or "").split())


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _trace(response: HttpResponse, before: str = ", ") -> str:
    """The number that Microsoft's support asks for."""
    found = response.headers.get("request-id", "")
    return f"{before}request-id {found}" if re.fullmatch(r"[0-9A-Za-z-]{1,60}", found) else ""
