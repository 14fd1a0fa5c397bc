"""uvicorn as a part of the relay: one application on one socket; loaded by porter.py when somebody comes."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay.control import paper
from relay.control.access import AccessRules
from relay.control.api import make_api
from relay.control.metrics import metrics_route
from relay.control.site import make_site
from relay.control.watch import Watch

PATIENCE = 15.0  # seconds until a whole request must be there
MOST_CONNECTIONS = 60
MOST_PER_CLIENT = 20


class _Quiet(uvicorn.Server):
    """uvicorn without signal handlers (app.py has them) and without its ten wake-ups a second."""

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
        return _Impatient(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class _Impatient(H11Protocol):
    """Who connects and says nothing is sent away: nobody on the LAN may use up our sockets without a password."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        same = sum(1 for one in self.connections if isinstance(one, _Impatient) and one.address == self.address)
        if len(self.connections) > MOST_CONNECTIONS or (self.address and same > MOST_PER_CLIENT):
            transport.abort()
            return
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._silent)

    @property
    def address(self) -> str:
        return self.client[0] if self.client else ""

    def connection_lost(self, exc: Exception | None) -> None:
        if patience := getattr(self, "_patience", None):
            patience.cancel()
        super().connection_lost(exc)

    def _silent(self) -> None:
        if self.cycle is None:
            self.transport.close()


class Server:
    """Serves one ASGI application on one socket until stopped."""

    def __init__(self, application: Any, sock: socket.socket) -> None:
        settings = uvicorn.Config(
            application,
            http=_Impatient,
            backlog=16,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # whoever may write X-Forwarded-For could choose under which address it is counted
            timeout_keep_alive=15,
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

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.stopping.set()


def api_server(watch: Watch, sock: socket.socket) -> Server:
    """What answers on the UNIX socket."""
    return Server(make_api(watch, [metrics_route(watch)]), sock)


def page_server(watch: Watch, hostname: Callable[[], str], rules: AccessRules, sock: socket.socket) -> Server:
    """What answers on web.address, all templates loaded."""
    with contextlib.suppress(Exception):  # what is wrong shows at the first look
        paper.prepare()
    return Server(make_site(watch, hostname, rules), sock)
