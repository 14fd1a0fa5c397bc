"""A message that a person hands in for one upstream, whatever the routes say.  On the UNIX socket alone."""

import hashlib
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay import events
from relay.control.api import Json, posted, wrong
from relay.control.queue_admin import BadOrder
from relay.control.status import RelayStatus
from relay.inbound.admission import header_facts
from relay.mail.address import Address, BadAddress, parse_address
from relay.mail.envelope import Envelope, Origin
from relay.spool.contract import SpoolFull
from relay.spool.entry import Detail, Entry, TrailLine
from relay.spool.queue_id import new_queue_id


def submit_route(watch: RelayStatus) -> Route:
    async def submit(request: Request) -> Response:
        if isinstance(asked := await posted(request), Response):
            return asked
        try:
            entry, line = _read(asked, watch.desk.upstreams, watch.now, new_queue_id)
            await watch.desk.submit(entry, line)
        except SpoolFull:
            return wrong("the spool is full", 503)
        except ValueError as error:
            return wrong(str(error))
        events.note("accepted", queue_id=entry.queue_id, client=entry.origin.client, upstream=entry.via, size=entry.size)
        return Json({"id": entry.queue_id})

    return Route("/api/messages", submit, methods=["POST"])


def _read(
    asked: Any, upstreams: Collection[str], now: Callable[[], datetime], new_id: Callable[[datetime], str]
) -> tuple[Entry, TrailLine]:
    """The message and the first line of its trail.  Raises BadOrder."""
    keys = ("from", "to", "via", "content")
    if not isinstance(asked, dict) or not all(isinstance(asked.get(key), str) for key in keys):
        raise BadOrder('a message is an object: {"from": ..., "to": ..., "via": ..., "content": ...}')
    if asked["via"] not in upstreams:
        raise BadOrder(f"no upstream is named {asked['via']!r}; there are {', '.join(upstreams)}")
    at, content = now(), asked["content"].encode("utf-8", "replace")
    sender = _address("from", asked["from"]) if asked["from"] else None
    facts = header_facts(content, "")
    entry = Entry(
        queue_id=new_id(at),
        accepted_at=at,
        origin=Origin(client="127.0.0.1", helo="localhost", protocol="HTTP"),
        envelope=Envelope(sender, (_address("to", asked["to"]),)),
        size=len(content),
        content=(content,),
        message_id=facts.message_id,
        digest=hashlib.sha256(content).hexdigest(),
        via=asked["via"],
    )
    details: dict[str, Detail] = {"size": entry.size, "subject": facts.subject}
    return entry, TrailLine(at, "accepted", f"handed in on this machine, {entry.size} octets", details)


def _address(key: str, text: str) -> Address:
    try:
        found = parse_address(text)
    except BadAddress as error:
        raise BadOrder(f"{key}: {error}") from None
    if not found.qualified:
        raise BadOrder(f"{key}: {text} has no domain")
    return found
