"""A message that a person hands in for one upstream, whatever the routes say.  On the UNIX socket alone."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay import events
from relay.control.api import Json, posted, wrong
from relay.control.handing_in import address_of, handed_in
from relay.control.queue_admin import BadOrder
from relay.control.status import RelayStatus
from relay.mail.envelope import Envelope
from relay.spool.contract import SpoolFull
from relay.spool.entry import Entry, TrailLine
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
    content = asked["content"].encode("utf-8", "replace")
    sender = address_of("from", asked["from"]) if asked["from"] else None
    envelope = Envelope(sender, (address_of("to", asked["to"]),))
    return handed_in(envelope, asked["via"], content, now(), new_id)
