"""Before there is a server: what makes pages is loaded when somebody comes who needs it.

A household looks at the page now and then, a health check every three minutes.  Until the first look the relay watches a
socket instead of keeping a web server in 8 MB of memory; a health check is answered here, and needs none.

accept ─▶ first words ─┬─ nothing, gone ──────────▶ closed
                       ├─ GET /api/relay (UNIX) ──▶ answered here
                       └─ anything else ──────────▶ the server is loaded, and takes over socket and guest
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from socket import MSG_PEEK, socket
from typing import TYPE_CHECKING, Any

from relay import events

if TYPE_CHECKING:
    from relay.control.server import Server

PATIENCE = 1.0
"""Seconds for a guest's first words; who says nothing until then may say it to the server."""

_FULL = 1.0  # seconds until it is tried again when nobody can be accepted, for want of descriptors
_MOST = 4096  # octets of a request that is answered here
_ASKED = b"GET /api/relay HTTP/1."


class OnDemandServer:
    """Minds one listening socket until `stop()`.  `load` imports and makes the server, in a thread of its own.

    `standing` gives what `/api/relay` answers, where that needs no permission: on the UNIX socket.
    """

    def __init__(
        self, sock: socket, load: Callable[[socket], "Server"], standing: Callable[[], Awaitable[dict[str, Any]]] | None = None
    ) -> None:
        self._sock, self._load, self._standing = sock, load, standing
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    async def serve(self) -> None:
        """Until `stop()`.  A server that cannot be loaded is told of, and costs the guest only: mail goes on."""
        self._task = asyncio.current_task()
        if self._stopped:
            return
        while self._server is None:
            guest = await self._guest()
            try:
                if not await self._served(guest):
                    self._server = await self._loaded()
                    if self._server is None:
                        guest.close()
            except OSError:
                guest.close()
            except BaseException:
                guest.close()
                raise
        await self._server.serve(guest)

    async def _loaded(self) -> "Server | None":
        try:
            return await asyncio.to_thread(self._load, self._sock)
        except Exception as error:  # files that are gone, too
            events.note("broken", f"the page cannot be loaded, mail is relayed all the same: {error!r}")
            return None

    def stop(self) -> None:
        self._stopped = True
        if self._server is not None:
            self._server.stop()
        elif self._task is not None:
            self._task.cancel()

    async def _guest(self) -> socket:
        while True:
            try:
                return (await asyncio.get_running_loop().sock_accept(self._sock))[0]
            except OSError:
                await asyncio.sleep(_FULL)

    async def _served(self, guest: socket) -> bool:
        """Whether the guest needs no server (any more).  Raises OSError for a line that broke."""
        said = await _first_words(guest)
        if said == b"":
            guest.close()
            return True
        if self._standing is None or not (said and said.startswith(_ASKED) and said.endswith(b"\r\n\r\n")):
            return False
        try:
            known = json.dumps(await self._standing(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        except Exception:
            return False  # the server has words for it
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(known)}\r\nconnection: close\r\n\r\n"
        guest.recv(len(said))  # what is left unread would reset the line
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(guest, head.encode() + known)
        guest.close()
        return True


async def _first_words(guest: socket) -> bytes | None:
    """What the guest has said, left unread; empty if it is gone, None if it says nothing for a while."""
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(guest, heard.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
    except TimeoutError:
        return None
    finally:
        loop.remove_reader(guest)
    return guest.recv(_MOST, MSG_PEEK)
