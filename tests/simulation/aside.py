"""What the product takes from the side, while a world is simulated: clocks, threads, sockets, the log, other processes.

Nothing of the relay's decisions is replaced.  `installed` puts everything back.
"""

import gc
import queue
import socket as real
import time
from asyncio import events as loops
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import relay.control.tcp
import relay.control.unix
import relay.daemon.relay
import relay.daemon.services
import relay.detached
import relay.inbound.listener
import relay.outbound.in_hand
import relay.outbound.notifier
import relay.outbound.runner
import relay.spool.queue_id
import relay.spool.sqlite.connections
import relay.spool.sqlite.writer
import relay.spool.waiting
import relay.upstream.connect
import relay.upstream.submission
from relay import crash_points, events
from relay.repeats import Repeats
from tests.simulation.kernel import Kernel, SimLoop
from tests.simulation.network import SimSocket


class Parked(BaseException):
    """A thread waits for an order: it is called again when there is one."""


class SimQueue:
    """A SimpleQueue whose reader is a SimThread."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._reader: SimThread | None = None

    def put(self, item: Any) -> None:
        self._items.append(item)
        if self._reader:
            self._reader.soon()

    def get(self) -> Any:
        if self._items:
            return self._items.popleft()
        self._reader = SimThread.current
        raise Parked


class SimThread:
    """Runs in place, at a moment that the seed picks.  One that waits for orders must keep nothing in its frame meanwhile."""

    current: "SimThread | None" = None

    def __init__(self, target: Callable[[], None], **_: Any) -> None:
        loop = loops._get_running_loop()
        assert isinstance(loop, SimLoop)
        self._loop, self._target, self._due = loop, target, False

    def start(self) -> None:
        self.soon()

    def soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_later(self._loop.kernel.dice.choice((0.0001, 0.001, 0.01)), self.run)

    def run(self) -> None:
        self._due = False
        before, SimThread.current = SimThread.current, self
        try:
            self._target()
        except Parked:
            pass
        finally:
            SimThread.current = before

    def join(self, *_: Any) -> None:
        self.run()


class _Sockets:
    """The module `socket` for the relay; `lookup` answers for the resolver."""

    def __init__(self, lookup: Callable[[str, int], Any]) -> None:
        self.socket, self.getaddrinfo = SimSocket, lambda host, port, **_: lookup(host, port)

    def __getattr__(self, name: str) -> Any:
        return getattr(real, name)

    @staticmethod
    def create_server(address: Any, **_: Any) -> SimSocket:
        return SimSocket(name=address)


def _watched(durable: Callable[[Any, Any], None], world: Any) -> Callable[[Any, Any], None]:
    def watched(self: Any, db: Any) -> None:
        world.committing(db)
        durable(self, db)

    return watched


BEATS: tuple[tuple[Any, str, Any, int], ...] = (
    (relay.outbound.runner, "_BEAT", relay.outbound.runner._BEAT, 1000),
    (relay.spool.waiting, "LONGEST_SLEEP", relay.spool.waiting.LONGEST_SLEEP, 1000),
    (relay.outbound.notifier, "_BEAT", relay.outbound.notifier._BEAT, 6),
    (relay.daemon.services, "SILENCE_EVERY", relay.daemon.services.SILENCE_EVERY, 1000),
    (relay.daemon.services, "CERTIFICATES_EVERY", relay.daemon.services.CERTIFICATES_EVERY, 1000),
)
"""How often the relay looks around when nothing happens, and how many times longer that may be made."""


def pace(stride: int) -> None:
    """Makes idle beats so many times longer: a wake-up that was forgotten shows the more."""
    for where, name, value, most in BEATS:
        setattr(where, name, value * min(stride, most))


@contextmanager
def installed(kernel: Kernel, world: Any) -> Iterator[None]:
    """`world` has lookup, heard, passed, free, boot, stride (how many times longer idle beats are)."""
    threads = SimpleNamespace(Thread=SimThread, Lock=relay.spool.sqlite.writer.threading.Lock)
    queues = SimpleNamespace(SimpleQueue=SimQueue, Empty=queue.Empty)
    sockets = _Sockets(world.lookup)

    async def nobody(*_: Any) -> list[Any]:
        return []

    with ExitStack() as stack:

        def put(where: Any, name: str, what: Any) -> None:
            stack.enter_context(patch.object(where, name, what))

        put(time, "monotonic", kernel.monotonic)
        put(time, "time", lambda: kernel.wall().timestamp())
        put(relay.detached, "threading", threads)
        put(relay.spool.sqlite.writer, "threading", threads)
        put(relay.spool.sqlite.writer, "queue", queues)
        put(relay.upstream.connect, "socket", sockets)
        put(relay.inbound.listener, "socket", sockets)
        put(relay.control.unix, "listen", lambda path: SimSocket())
        put(relay.control.tcp, "listen", lambda address: SimSocket())
        put(relay.spool.queue_id, "secrets", SimpleNamespace(randbits=kernel.dice.getrandbits))
        put(relay.spool.sqlite.connections, "free_octets", lambda path: world.free)
        put(relay.outbound.in_hand, "_boot_id", lambda: world.boot)
        put(relay.daemon.relay, "_freeze_for_collector", lambda: None)
        put(relay.daemon.services, "aside", nobody)
        put(events, "configure", lambda *_: None)
        put(events, "_say", world.heard)
        put(events, "_repeats", Repeats())
        put(crash_points, "passed", world.passed)
        put(relay.spool.sqlite.writer.Writer, "_durable", _watched(relay.spool.sqlite.writer.Writer._durable, world))
        gc.disable()
        stack.callback(gc.enable)
        for where, name, value, _ in BEATS:
            put(where, name, value)
        pace(world.stride)
        yield
