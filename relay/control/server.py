"""uvicorn as a part of the relay: one application on one socket, started and stopped by app.py."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn


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
    """Serves one ASGI application on one socket until stopped."""

    def __init__(self, application: Any, sock: socket.socket) -> None:
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
            proxy_headers=False,  # whoever may write X-Forwarded-For could choose under which address it is counted
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


def listen(address: str) -> socket.socket:
    """A listening TCP socket at `host:port` or `[host]:port`.  Raises OSError."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if ":" in host:
        dual = host == "::" and socket.has_dualstack_ipv6()
        sock = socket.create_server((host, int(port)), family=socket.AF_INET6, dualstack_ipv6=dual, backlog=64)
    else:
        sock = socket.create_server((host, int(port)), backlog=64)
    sock.setblocking(False)
    return sock
