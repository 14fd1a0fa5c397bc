"""The status page over reloads: who may look, and where it answers.

A reload takes over all of the new settings or none: an address that cannot be opened keeps the old one, with its password.
The order to reload may have come over the page itself: what the old address is answering comes to its end.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from socket import socket
from typing import TYPE_CHECKING

from relay import events
from relay.config.config_values import WebSettings
from relay.control import tcp
from relay.control.on_demand_server import OnDemandServer

if TYPE_CHECKING:
    from relay.control.access import AccessRules
    from relay.control.server import Server

_PATIENCE = 5.0
"""Seconds that a server which was stopped may take to give its port back, and at the stop of the relay to end its answers."""
_LOOK = 0.01

Load = Callable[[WebSettings, socket], "tuple[Server, AccessRules]"]
Rules = Callable[[WebSettings], "AccessRules"]


@dataclass(slots=True, eq=False)
class _OpenPage:
    """`rules` None: nobody has come yet, and nothing is loaded."""

    settings: WebSettings
    socket: socket
    server: OnDemandServer = field(init=False)
    task: asyncio.Task[None] = field(init=False)
    rules: "AccessRules | None" = None


class WebPage:
    """`load` makes the server when somebody comes; `rules` says who may look."""

    def __init__(self, load: Load, rules: Rules) -> None:
        self._load, self._rules = load, rules
        self._open: _OpenPage | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it answers."""
        return self._open.socket.getsockname()[:2] if self._open else None

    def begin(self, settings: WebSettings, sock: socket) -> None:
        """Answers on this socket from now on."""
        page = self._open = _OpenPage(settings, sock)
        page.server = OnDemandServer(sock, partial(self._loaded, page, asyncio.get_running_loop()))
        page.task = asyncio.create_task(page.server.serve())
        page.task.add_done_callback(_tell)

    def _loaded(self, page: _OpenPage, loop: asyncio.AbstractEventLoop, sock: socket) -> "Server":
        """Called in another thread, when somebody comes; a reload may come meanwhile."""
        server, rules = self._load(page.settings, sock)
        loop.call_soon_threadsafe(self._know, page, rules)  # before the first request is answered
        return server

    def _know(self, page: _OpenPage, rules: "AccessRules") -> None:
        page.rules = rules
        rules.become(self._rules(page.settings))

    async def serve(self) -> None:
        """Until `stop()`."""
        await self._stopping.wait()
        self._leave()
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_PATIENCE)

    def stop(self) -> None:
        self._stopping.set()

    async def change(self, new: WebSettings) -> str:
        """Returns "" if the new settings are in force, else why the old ones still are."""
        page = self._open
        if page and page.settings.address == new.address:
            page.settings = new
            if page.rules is not None:
                page.rules.become(self._rules(new))
            return ""
        try:
            sock = tcp.listen(new.address) if new.address else None
        except OSError as error:
            if page is None or _port(page.settings) != _port(new):
                return error.strerror or str(error)
            sock = await self._instead(page, new)
            if sock is None:
                return error.strerror or str(error)
        else:
            self._leave()
        if sock is not None:
            self.begin(new, sock)
        return ""

    async def _instead(self, page: _OpenPage, new: WebSettings) -> socket | None:
        """The old address is perhaps in the way of the new one: it is closed first, and opened again if that did not help."""
        self._leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while page.socket.fileno() >= 0:  # noqa: ASYNC110 - the server closes it first of all
                    await asyncio.sleep(_LOOK)
        with suppress(OSError):
            return tcp.listen(new.address)
        with suppress(OSError):
            self.begin(page.settings, tcp.listen(page.settings.address))
        return None

    def _leave(self) -> None:
        """The open page takes no one new from now on."""
        page, self._open = self._open, None
        if page is None:
            return
        page.server.stop()
        self._leaving.add(page.task)
        page.task.add_done_callback(self._leaving.discard)
        page.task.add_done_callback(lambda _: page.socket.close())


def _port(settings: WebSettings) -> str:
    return settings.address.rpartition(":")[2]


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        events.note("broken", f"the page has stopped, mail is relayed all the same: {error!r}")
