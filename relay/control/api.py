"""The API: JSON for the command line, the page and programs; docs/openapi.yaml describes it.

The same routes answer on the UNIX socket beside the spool (mode 0600) and, behind access.py, on TCP.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from relay import __version__
from relay.control.content_answers import content_view, eml
from relay.control.content_reader import ContentReader, Looker, NoContent
from relay.control.queue_admin import MOST_LISTED, PAGE, BadOrder, listing
from relay.control.searching import Asked, BadSearch, said_by, understood
from relay.control.status import RelayStatus
from relay.spool.contract import SpoolBroken
from relay.spool.search import PageKey

MAX_ORDER = 1_000_000  # octets of one order: 40,000 queue ids
_FOUND = 50  # messages of one answer to a search

Endpoint = Callable[[Request], Awaitable[Response]]


class Json(JSONResponse):
    """JSON that is UTF-8 whatever text is in it: an answer with one odd letter is better than none."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


class TooLong(Exception):
    """The request's body is longer than an order may be."""


async def body_of(request: Request, most: int = MAX_ORDER) -> bytes:
    """The body, never more than `most` octets, whatever Content-Length said.  Raises TooLong."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise TooLong
    return bytes(body)


def make_api(watch: RelayStatus, more: Sequence[Route] = ()) -> Starlette:
    """The application for the UNIX socket: whoever may open the socket may do anything."""
    return Starlette(routes=[*api_routes(watch), *more], exception_handlers={HTTPException: unknown, SpoolBroken: unavailable})


def api_routes(watch: RelayStatus) -> list[Route]:
    reader = ContentReader(watch.desk, watch.now, watch.content)
    return [
        Route("/api/queue", _queue(watch)),
        Route("/api/queue/{queue_id}", _message(watch)),
        Route("/api/queue/{queue_id}/content", _content(reader, "content")),
        Route("/api/queue/{queue_id}/eml", _content(reader, "eml")),
        Route("/api/search", _search(watch)),
        Route("/api/orders", _orders(watch), methods=["POST"]),
        Route("/api/reload", _reload(watch), methods=["POST"]),
        Route("/api/relay", _relay(watch)),
        Route("/api/upstreams", _part(watch, "upstreams")),
        Route("/api/devices", _part(watch, "devices")),
        Route("/api/devices/known", _known_devices(watch)),
        Route("/api/devices/known/{name}", _device(watch)),
        Route("/api/findings", _findings(watch)),
        Route("/api/history", _history(watch)),
        Route("/api/version", _version),
        Route("/healthz", _healthz),
        Route("/readyz", _readyz(watch)),
    ]


def _queue(watch: RelayStatus) -> Endpoint:
    async def queue(request: Request) -> Response:
        said = request.query_params
        try:
            asked = understood(said.multi_items())
            limit, skip = _number(said.get("limit"), MOST_LISTED), _number(said.get("skip"), 0)
        except BadSearch as error:
            return wrong(str(error))
        except ValueError:
            return wrong(f"limit and skip are from 0 to {MOST_LISTED}")
        pieces = listing(watch.desk, asked.states, limit, skip, asked.search)
        first = await anext(pieces)  # a spool that cannot be read is told of by the status, before the list begins
        return StreamingResponse(_joined(first, pieces), media_type="application/json")

    return queue


async def _joined(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece


def _number(said: str | None, default: int) -> int:
    if said is None:
        return default
    if not (said.isascii() and said.isdigit()) or len(said) > 9 or int(said) > MOST_LISTED:
        raise ValueError(said)
    return int(said)


def _message(watch: RelayStatus) -> Endpoint:
    async def message(request: Request) -> Response:
        try:
            story = await watch.desk.message(request.path_params["queue_id"])
        except BadOrder as error:
            return wrong(str(error))
        return Json(story) if story else wrong("no message has this id", 404)

    return message


def _content(reader: ContentReader, what: str) -> Endpoint:
    async def content(request: Request) -> Response:
        how = "file" if what == "eml" else "api"
        try:
            item = await reader.item(request.path_params["queue_id"], Looker.of(request.scope), how)
            return eml(item) if what == "eml" else Json(content_view(item, await reader.shown(item)))
        except NoContent as error:
            return wrong(_NO_CONTENT[error.why], error.code)
        except BadOrder as error:
            return wrong(str(error))

    return content


_NO_CONTENT = {
    "off": "web.content is false: what messages say is not shown",
    "gone": "no message has this id",
    "dropped": "the content of this message is not kept any more",
    "damaged": "the stored content of this message is damaged",
    "busy": "too many look into messages now; try again in a moment",
}


def _search(watch: RelayStatus) -> Endpoint:
    async def search(request: Request) -> Response:
        said = request.query_params
        places = {name: PageKey.read(said[name]) for name in ("older_than", "newer_than") if name in said}
        try:
            asked, limit = understood(said.multi_items()), _number(said.get("limit"), _FOUND)
        except ValueError as error:
            return wrong(str(error))
        if limit > PAGE or None in places.values():
            return wrong(f"limit is up to {PAGE}; older_than or newer_than is what an answer before had as older or newer")
        page = await watch.desk.found(asked, max(limit, 1), **places)
        found = {"messages": page.messages, "newer": page.newer and str(page.newer), "older": page.older and str(page.older)}
        return Json({**found, **({"count": await watch.desk.counted(asked)} if "count" in said else {})})

    return search


def _known_devices(watch: RelayStatus) -> Endpoint:
    async def known_devices(_request: Request) -> Response:
        return Json(await watch.known_devices())

    return known_devices


def _device(watch: RelayStatus) -> Endpoint:
    async def device(request: Request) -> Response:
        found = await watch.device(request.path_params["name"])
        return Json(found) if found else wrong("no device has this name", 404)

    return device


async def posted(request: Request) -> Any:
    """The JSON that was sent, or the Response that refuses it.

    A form of a foreign page can be sent without asking; JSON cannot.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return wrong("an order is JSON: say Content-Type: application/json", 415)
    try:
        return json.loads(await body_of(request))
    except TooLong:
        return wrong("the order is too long", 413)
    except (ValueError, RecursionError) as error:
        return wrong(str(error))


def _orders(watch: RelayStatus) -> Endpoint:
    async def orders(request: Request) -> Response:
        if isinstance(asked := await posted(request), Response):
            return asked
        try:
            action, ids, via, search = _order(asked)
            if search is not None:
                return Json(await watch.desk.order_matching(action, search, via))
            return Json(await watch.desk.order(action, ids, via))
        except ValueError as error:
            return wrong(str(error))

    return orders


def _reload(watch: RelayStatus) -> Endpoint:
    async def reload(request: Request) -> Response:
        if isinstance(asked := await posted(request), Response):
            return asked
        if not isinstance(asked, dict):
            return wrong("the order to reload is an object: {}")
        return Json(await asyncio.shield(watch.reload()))  # it may move the page that this came over

    return reload


def _order(asked: Any) -> tuple[str, list[str] | None, str, Asked | None]:
    """Action, ids (None: all), upstream, and what is searched for instead of ids.  Raises BadOrder, BadSearch."""
    if not isinstance(asked, dict):
        raise BadOrder('an order is an object: {"action": ..., "ids": [...], "via": ...}')
    ids, via, search = asked.get("ids"), asked.get("via"), asked.get("search")
    if search is not None and (ids is not None or not isinstance(search, dict)):
        raise BadOrder("search is an object, instead of ids")
    if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
        raise BadOrder("ids is a list of queue ids, or null for all")
    if not isinstance(via, str | None) or not isinstance(asked.get("action"), str):
        raise BadOrder("action and via are words")
    return asked["action"], ids, via or "", None if search is None else understood(said_by(search))


def _relay(watch: RelayStatus) -> Endpoint:
    async def relay(_: Request) -> Response:
        return Json(await watch.relay())

    return relay


def _part(watch: RelayStatus, name: str) -> Endpoint:
    async def part(_: Request) -> Response:
        return Json({name: (await watch.status()).get(name, [])})

    return part


def _findings(watch: RelayStatus) -> Endpoint:
    async def findings(_: Request) -> Response:
        return Json({"findings": watch.findings()})

    return findings


def _history(watch: RelayStatus) -> Endpoint:
    async def history(_: Request) -> Response:
        return Json(await watch.desk.history())

    return history


async def _version(_: Request) -> Response:
    return Json({"version": __version__})


async def _healthz(_: Request) -> Response:
    return Json({"ok": True})


def _readyz(watch: RelayStatus) -> Endpoint:
    async def readyz(_: Request) -> Response:
        known = await watch.status()
        return Json({"ready": known["ready"], "why": known["why"]}, 200 if known["ready"] else 503)

    return readyz


async def unavailable(_request: Request, error: Exception) -> Response:
    """The spool cannot be read: nothing is wrong with what was asked."""
    return Json({"error": f"the spool cannot be read now: {error}"}, 503)


async def unknown(_: Request, error: Exception) -> Response:
    """No such page, or no such method."""
    code = error.status_code if isinstance(error, HTTPException) else 500
    answer = wrong("there is no such page here" if code == 404 else str(error), code)
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


def wrong(why: str, code: int = 400) -> Json:
    return Json({"error": why}, code)
