"""The daemon's API: JSON over HTTP on a UNIX socket beside the spool (mode 0600)."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay import __version__
from relay.control.desk import LIST_LIMIT, BadOrder, Desk
from relay.spool.entry import State

Status = Callable[[], Awaitable[dict[str, Any]]]
MAX_ORDER = 1_000_000  # octets of one order: 40,000 queue ids


def make_api(desk: Desk, status: Status) -> Starlette:
    """The routes.  `status` tells how the relay is: {"ready": bool, "why": [...], "listening": [...], "upstreams": [...]}."""

    async def queue(request: Request) -> Response:
        wanted = request.query_params.getlist("state")
        try:
            states = frozenset(State(word) for word in wanted) or None
            limit = min(int(request.query_params.get("limit", LIST_LIMIT)), LIST_LIMIT)
        except ValueError:
            return _wrong("state is one of queued, held, relayed, failed, expired; limit is a number")
        return JSONResponse(await desk.queue(states, limit))

    async def message(request: Request) -> Response:
        story = await desk.message(request.path_params["queue_id"])
        return JSONResponse(story) if story else _wrong("no message has this id", 404)

    async def orders(request: Request) -> Response:
        if int(request.headers.get("content-length") or 0) > MAX_ORDER:
            return _wrong("the order is too long", 413)
        try:
            asked = await request.json()
            ids = asked.get("ids")
            if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
                raise BadOrder("ids is a list of queue ids, or null for all")
            return JSONResponse(await desk.order(str(asked.get("action", "")), ids, str(asked.get("via") or "")))
        except (BadOrder, ValueError, AttributeError) as error:
            return _wrong(str(error))

    async def relay(_: Request) -> Response:
        return JSONResponse({"version": __version__, "tally": await desk.tally(), **await status()})

    async def healthz(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def readyz(_: Request) -> Response:
        known = await status()
        return JSONResponse({"ready": known["ready"], "why": known["why"]}, 200 if known["ready"] else 503)

    return Starlette(
        routes=[
            Route("/api/queue", queue),
            Route("/api/queue/{queue_id}", message),
            Route("/api/orders", orders, methods=["POST"]),
            Route("/api/relay", relay),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        exception_handlers={HTTPException: _unknown},
    )


async def _unknown(_: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    return _wrong("there is no such page here" if code == 404 else str(error), code)


def _wrong(why: str, code: int = 400) -> JSONResponse:
    return JSONResponse({"error": why}, code)


class _Quiet(uvicorn.Server):
    """uvicorn without signal handlers (app.py has them) and without its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.stopping.wait()


class Server:
    """Serves one application on one socket until stopped."""

    def __init__(self, application: Starlette, sock: socket.socket) -> None:
        settings = uvicorn.Config(
            application,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=2,
            limit_concurrency=50,
        )
        self._server, self._sock = _Quiet(settings), sock

    async def serve(self) -> None:
        await self._server.serve(sockets=[self._sock])

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.stopping.set()
