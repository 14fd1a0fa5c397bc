"""Connections in memory between loops: octets in order, late by what the seed picks; servers that refuse or say nothing."""

import asyncio
import errno
import socket as real
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.simulation.kernel import Kernel, SimLoop


class SimSocket:
    """What the relay does with a socket before it hands it to the loop."""

    def __init__(self, family: int = real.AF_INET, kind: int = real.SOCK_STREAM, *_: Any, name: Any = ("0.0.0.0", 0)) -> None:
        self.family, self.type, self.name, self.closed = family, kind, name, False
        self.transport: Transport | None = None

    def setblocking(self, _: bool) -> None: ...
    def setsockopt(self, *_: Any) -> None: ...
    def fileno(self) -> int:
        return -1

    def getsockname(self) -> Any:
        return self.name

    def shutdown(self, _: int) -> None:
        if self.transport:
            self.transport.abort()

    def close(self) -> None:
        self.closed = True
        if self.transport and self.transport.protocol is None:
            self.transport.abort()


class Transport(asyncio.Transport):
    """One end.  Octets that come before there is a protocol, or while reading is paused, wait."""

    def __init__(self, kernel: Kernel, loop: SimLoop, here: Any, there: Any) -> None:
        super().__init__({"peername": there, "sockname": here})
        self.kernel, self.loop = kernel, loop
        self.protocol: Any = None
        self.peer: Transport
        self._inbox: deque[bytes | None] = deque()
        self._arrives, self._paused, self._closing, self.gone = 0.0, False, False, False
        loop.wired.add(self)

    def take(self, loop: SimLoop, protocol: Any) -> Any:
        self.protocol = protocol
        loop.call_soon(protocol.connection_made, self)
        loop.call_soon(self._pump)
        return protocol

    def accept(self, server: "Listening") -> None:
        if not self.gone:
            self.take(self.loop, server.factory())

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def is_closing(self) -> bool:
        return self._closing or self.gone

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self.loop.call_soon(self._pump)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, *_: Any, **__: Any) -> None: ...

    def write(self, data: Any) -> None:
        if data and not self.is_closing():
            self._send(bytes(data))

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._send(None)

    def _send(self, what: bytes | None) -> None:
        kernel = self.kernel
        self._arrives = max(self._arrives + 1e-6, kernel.now + kernel.dice.choice((0.0002, 0.001, 0.004, 0.03)))
        kernel.later(self.peer.loop, self._arrives, asyncio.Handle(self.peer.arrive, (what,), self.peer.loop))

    def arrive(self, what: bytes | None) -> None:
        self._inbox.append(what)
        self._pump()

    def _pump(self) -> None:
        protocol = self.protocol
        while self._inbox and protocol is not None and not (self._paused or self._closing or self.gone):
            octets = self._inbox.popleft()
            if octets is None:
                if not protocol.eof_received():
                    self.close()
            elif isinstance(protocol, asyncio.BufferedProtocol):
                self._fill(protocol, octets)
            else:
                protocol.data_received(octets)
            protocol = self.protocol

    def _fill(self, protocol: Any, octets: bytes) -> None:
        room = protocol.get_buffer(-1)
        piece, rest = octets[: len(room)], octets[len(room) :]
        room[: len(piece)] = piece
        if rest:
            self._inbox.appendleft(rest)
        protocol.buffer_updated(len(piece))

    def close(self) -> None:
        if not self.is_closing():
            self._closing = True
            self._send(None)
            self.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        if not self.gone:
            self._closing = True
            self._reset_peer()
            self.loop.call_soon(self._lose, None)

    def vanish(self) -> None:
        """The process is gone: nobody here is told."""
        if not self.gone:
            self.gone = True
            self._reset_peer()

    def _reset_peer(self) -> None:
        if not self.peer.gone:
            self._arrives = max(self._arrives + 1e-6, self.kernel.now + 0.001)
            reset = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
            self.kernel.later(self.peer.loop, self._arrives, asyncio.Handle(self.peer._lose, (reset,), self.peer.loop))

    def _lose(self, error: Exception | None) -> None:
        if not self.gone:
            self.gone = True
            self.loop.wired.discard(self)
            if self.protocol is not None:
                self.protocol.connection_lost(error)


class Listening:
    """What `loop.create_server` gives."""

    def __init__(self, network: "Network", port: int, loop: SimLoop, factory: Callable[[], Any]) -> None:
        self._network, self._port, self.loop, self.factory = network, port, loop, factory

    def close(self) -> None:
        if self._network.servers.get(self._port) is self:
            del self._network.servers[self._port]

    async def wait_closed(self) -> None: ...


class Network:
    """`servers` by port; `reach` says of a port how a connection to it ends: "" well, "refuse", "silent"."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.servers: dict[int, Listening] = {}
        self.reach: dict[int, Callable[[], str]] = {}
        self._port = 40_000

    def listen(self, loop: SimLoop, factory: Callable[[], Any], sock: Any) -> Listening:
        found = self.servers[sock.getsockname()[1]] = Listening(self, sock.getsockname()[1], loop, factory)
        return found

    async def connect(self, loop: SimLoop, sock: SimSocket, address: tuple[str, int]) -> None:
        """As `sock_connect`.  Raises ConnectionRefusedError."""
        found = loop.create_future()
        pause = self.kernel.dice.choice((0.001, 0.01, 0.05))
        how = self.reach.get(address[1], str)()

        def arrived() -> None:
            if found.done():
                return
            transport = None if how == "refuse" else self.dial(loop, address, "192.168.0.2")
            if transport is None:
                found.set_exception(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
            else:
                sock.transport = transport
                found.set_result(None)

        if how != "silent":
            self.kernel.after(loop, pause, arrived)
        await found

    def dial(self, loop: SimLoop, address: tuple[str, int], client: str) -> Transport | None:
        """Connects at once; None where nobody listens."""
        server = self.servers.get(address[1])
        if server is None or server.loop.dead:
            return None
        self._port = self._port + 1 if self._port < 60_000 else 40_001
        here = (client, self._port)
        ours, theirs = Transport(self.kernel, loop, here, address), Transport(self.kernel, server.loop, address, here)
        ours.peer, theirs.peer = theirs, ours
        server.loop.call_soon(theirs.accept, server)
        return ours
