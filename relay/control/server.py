"""uvicorn as a part of the relay: one application on one socket; loaded by on_demand_server.py when somebody comes."""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay.control import rendering
from relay.control.access import KNOWN, AccessRules
from relay.control.api import make_api
from relay.control.care_api import care_routes
from relay.control.metrics import metrics_route
from relay.control.site import make_site
from relay.control.status import RelayStatus
from relay.control.submit import submit_route
from relay.networks import group_of

REQUEST = 15.0
"""Seconds in which a whole request must come, header and body; the time between two requests of a connection, too."""
ANSWER = 60.0
"""Seconds in which a client must have taken the whole answer, or for a large one, so much that it earns more of them."""
EARNED = 10.0
"""Seconds for each buffer (48 KB or more) that was taken: a large file comes over a slow line, too."""
MOST_CONNECTIONS = 40
MOST_PER_CLIENT = 12  # a browser opens six
MOST_PER_PROXY = 30  # a proxy that vouches for people opens six for each

# uvicorn is pinned to one version: the classes below use insides of it that it may change in any other.
# tests/unit/test_pinned.py tells whether a new version still has them.


class _Quiet(uvicorn.Server):
    """uvicorn without signal handlers (daemon/relay.py has them) and without its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()
        self.guest: socket.socket | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        if self.guest is not None:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, self.guest)
            self.guest = None
        await self.stopping.wait()

    def _protocol(self) -> asyncio.Protocol:
        return _Bounded(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class _Bounded(H11Protocol):
    """A connection with a deadline for each request and answer, which gives its place up when places are short.

    On the UNIX socket (no address) there are no bounds: whoever may open it may stop the relay as well.
    """

    _timer: asyncio.TimerHandle | None = None
    since = 0.0
    fresh = True  # nothing has come since the connection began or the last answer ended

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.group = group_of(self.client[0]) if self.client else ""
        if self.group:
            self._set_deadline(REQUEST)
            crowd = [one for one in self.connections if isinstance(one, _Bounded) and not one.transport.is_closing()]
            if surplus := _one_too_many(crowd, self):
                surplus.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.fresh:
            self.fresh = False
            self._set_deadline(REQUEST)
        before = self.answering
        super().data_received(data)
        if self.answering and not before:
            self._set_deadline(ANSWER)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.answering and self._timer:
            self._set_deadline(min(ANSWER, self._timer.when() - self.loop.time() + EARNED))

    def on_response_complete(self) -> None:
        self.fresh = True
        self._set_deadline(REQUEST)  # what is left of a body that was refused early has no more time than a request
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    @property
    def answering(self) -> bool:
        """Whether a whole request is there, and its answer is not out."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    @property
    def known(self) -> bool:
        """Whether the last request came with the right password."""
        return self.cycle is not None and KNOWN in self.cycle.scope

    @property
    def vouched(self) -> bool:
        """Whether a proxy vouched for who sent the last request."""
        return self.cycle is not None and self.cycle.scope.get(KNOWN) == "proxy"

    def _set_deadline(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        if self.group and not self.transport.is_closing():
            self.since = self.loop.time()
            self._timer = self.loop.call_later(seconds, self.transport.abort)


def _one_too_many(crowd: list[_Bounded], newest: _Bounded) -> _Bounded | None:
    """Who must go, so that the newest has a place: of its own address if that has too many, else of the one that has most.

    A connection with the password goes last, a request that is complete before that, and among equals the oldest.
    Strangers who fill all places therefore lose them to the next who comes: to the owner of the password, too.
    """
    neighbours = [one for one in crowd if one.group == newest.group]
    if len(neighbours) > (MOST_PER_PROXY if any(one.vouched for one in neighbours) else MOST_PER_CLIENT):
        crowd = neighbours
    elif len(crowd) <= MOST_CONNECTIONS:
        return None
    unknown = Counter(one.group for one in crowd if not one.known)
    others = [one for one in crowd if one is not newest]
    return min(others, key=lambda one: (one.known, -unknown[one.group], one.answering, one.since), default=newest)


class Server:
    """Serves one ASGI application on one socket until stopped."""

    def __init__(self, application: Any, sock: socket.socket) -> None:
        settings = uvicorn.Config(
            application,
            http=_Bounded,
            backlog=16,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # whoever may write X-Forwarded-For could choose under which address it is counted
            timeout_keep_alive=int(REQUEST),
            timeout_graceful_shutdown=2,
        )
        self._server, self._sock = _Quiet(settings), sock
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # strangers' noise is no event of ours

    async def serve(self, guest: socket.socket | None = None) -> None:
        """Until `stop()`.  `guest` is a connection that was accepted before, not a word of it read: ours from here on."""
        self._server.guest = guest
        try:
            await self._server.serve(sockets=[self._sock])
        finally:
            if self._server.guest is not None:  # stopped before its turn came
                self._server.guest.close()
            for one in tuple(self._server.server_state.connections):  # came while it stopped; nobody would answer there
                if isinstance(one, _Bounded):
                    one.transport.abort()

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.stopping.set()


def api_server(watch: RelayStatus, sock: socket.socket) -> Server:
    """What answers on the UNIX socket."""
    return Server(make_api(watch, [metrics_route(watch), submit_route(watch), *care_routes(watch, trusted=True)]), sock)


def page_server(watch: RelayStatus, hostname: Callable[[], str], rules: AccessRules, sock: socket.socket) -> Server:
    """What answers on web.address, all templates loaded."""
    with contextlib.suppress(Exception):  # what is wrong shows at the first look
        rendering.prepare()
    return Server(make_site(watch, hostname, rules), sock)
