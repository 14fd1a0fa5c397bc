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
from relay.control.queue_admin import MOST_LISTED, BadOrder, listing
from relay.control.status import RelayStatus
from relay.spool.contract import SpoolBroken
from relay.spool.entry import State

MAX_ORDER = 1_000_000  # octets of one order: 40,000 queue ids
_STATES = ", ".join(state.value for state in State)

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
    return [
        Route("/api/queue", _queue(watch)),
        Route("/api/queue/{queue_id}", _message(watch)),
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
        asked = request.query_params
        try:
            states = frozenset(State(word) for word in asked.getlist("state")) or None
            limit, skip = _number(asked.get("limit"), MOST_LISTED), _number(asked.get("skip"), 0)
        except ValueError:
            return wrong(f"state is one of {_STATES}; limit and skip are from 0 to {MOST_LISTED}")
        pieces = listing(watch.desk, states, limit, skip)
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
            return Json(await watch.desk.order(*_order(asked)))
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


def _order(asked: Any) -> tuple[str, list[str] | None, str]:
    """Action, ids (None: all) and upstream.  Raises BadOrder."""
    if not isinstance(asked, dict):
        raise BadOrder('an order is an object: {"action": ..., "ids": [...], "via": ...}')
    ids, via = asked.get("ids"), asked.get("via")
    if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
        raise BadOrder("ids is a list of queue ids, or null for all")
    if not isinstance(via, str | None) or not isinstance(asked.get("action"), str):
        raise BadOrder("action and via are words")
    return asked["action"], ids, via or ""


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
