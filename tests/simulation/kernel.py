"""Virtual time for several event loops in one thread: what waits is never waited for, and a seed gives its order.

A loop is one process: the relay, or the world around it.  `kill` ends one as SIGKILL does, between two callbacks: nothing of
it runs any more, no `finally` and no `except`.  Callbacks of a loop run in the order that asyncio promises; what
comes at the same time from several sides (timers, octets, threads) comes in an order that the seed picks.
"""

import asyncio
import contextvars
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)

MOST_STEPS = 2_500_000
"""Callbacks in one world; the busiest has some 700,000."""


class Kernel:
    """The time of all loops, and their callbacks.  `now` is the monotonic clock; `wall()` is the clock that may be set."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.set_by = timedelta(0)
        self.steps = 0
        self.complaints: list[str] = []
        self._ready: deque[tuple[SimLoop, asyncio.Handle]] = deque()
        self._later: list[tuple[float, float, int, SimLoop, asyncio.Handle]] = []
        self._number = 0
        self._fuse: tuple[int, SimLoop, Callable[[], None]] | None = None

    def wall(self) -> datetime:
        return START + timedelta(seconds=self.now - 1000.0) + self.set_by

    def monotonic(self) -> float:
        return self.now

    def ready(self, loop: "SimLoop", handle: asyncio.Handle) -> None:
        self._ready.append((loop, handle))

    def later(self, loop: "SimLoop", when: float, handle: asyncio.Handle) -> None:
        self._number += 1
        heapq.heappush(self._later, (when, self.dice.random(), self._number, loop, handle))

    def after(self, loop: "SimLoop", seconds: float, work: Callable[..., Any], *words: Any) -> asyncio.TimerHandle:
        """As `loop.call_later`, also from another loop."""
        return loop.call_at(self.now + seconds, work, *words)

    def light(self, steps: int, loop: "SimLoop", bang: Callable[[], None]) -> None:
        """Calls `bang` after so many callbacks of that loop."""
        self._fuse = (steps, loop, bang)

    def run(self, until: float) -> None:
        """Runs everything that happens before `until`."""
        ready, later, running = self._ready, self._later, None
        while True:
            while ready:
                loop, handle = ready.popleft()
                if handle._cancelled or loop.dead:  # type: ignore[attr-defined]
                    continue
                self.steps += 1
                if self.steps > MOST_STEPS:
                    self.complaints.append("something goes round and round") if self.steps == MOST_STEPS + 1 else None
                    events._set_running_loop(None)
                    return
                if loop is not running:
                    running = loop
                    events._set_running_loop(loop)
                handle._run()
                if self._fuse is not None:
                    self._burn(loop)
            if not later or later[0][0] > until:
                self.now = max(self.now, until)
                events._set_running_loop(None)
                return
            when, _, _, loop, handle = heapq.heappop(later)
            if not (handle._cancelled or loop.dead):  # type: ignore[attr-defined]
                self.now = max(self.now, when)
                ready.append((loop, handle))

    def forget(self) -> None:
        self._ready.clear()
        self._later.clear()
        self._fuse = None

    def _burn(self, ran: "SimLoop") -> None:
        assert self._fuse is not None
        steps, loop, bang = self._fuse
        if loop.dead:
            self._fuse = None
        elif ran is loop:
            self._fuse = (steps - 1, loop, bang)
            if steps <= 1:
                self._fuse = None
                bang()


class SimLoop(asyncio.AbstractEventLoop):
    """One process.  `latency` gives the seconds that work in a thread takes: it is done in place, when they are over."""

    def __init__(self, kernel: Kernel, network: Any) -> None:
        self.kernel, self.network, self.dead = kernel, network, False
        self.tasks: set[asyncio.Task[Any]] = set()
        self._free_at: dict[int, float] = {}
        self.wired: set[Any] = set()

    # time and callbacks

    def time(self) -> float:
        return self.kernel.now

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.kernel._ready.append((self, handle))
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self.kernel.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.kernel.later(self, when, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    # futures, tasks, threads

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **named: Any) -> "asyncio.Task[Any]":  # type: ignore[override]
        task = asyncio.Task(coro, loop=self, **named)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
        """One executor of one thread does one thing after the other; the loop's own does them in any order."""
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except BaseException as error:
                failure: BaseException = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
                if not future.cancelled():
                    future.set_exception(failure)
            else:
                if not future.cancelled():
                    future.set_result(result)

        done = self.kernel.now + self.kernel.dice.choice((0.0001, 0.0005, 0.002, 0.02))
        if executor is not None:
            done = self._free_at[id(executor)] = max(done, self._free_at.get(id(executor), 0.0))
        self.call_at(done, work)
        return future

    async def shutdown_asyncgens(self) -> None: ...
    async def shutdown_default_executor(self, *_: Any) -> None: ...

    # the network

    async def sock_connect(self, sock: Any, address: Any) -> None:
        await self.network.connect(self, sock, address)

    async def sock_accept(self, sock: Any) -> Any:
        await self.create_future()  # nobody looks at the page

    async def create_connection(self, factory: Any, *_: Any, sock: Any = None, ssl: Any = None, **__: Any) -> Any:  # type: ignore[override]
        assert sock is not None and not ssl, "only connected sockets, and no TLS"
        protocol = sock.transport.take(self, factory())
        await asyncio.sleep(0)  # as asyncio does: when this returns, the protocol knows its transport
        return sock.transport, protocol

    async def create_server(self, factory: Any, *_: Any, sock: Any = None, **__: Any) -> Any:  # type: ignore[override]
        return self.network.listen(self, factory, sock)

    # the process

    def add_signal_handler(self, *_: Any) -> None: ...
    def remove_signal_handler(self, *_: Any) -> bool:
        return True

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return self.dead

    def get_exception_handler(self) -> Any:
        return None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            self.kernel.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    default_exception_handler = call_exception_handler

    def kill(self) -> None:
        """Nothing of this process runs any more; who is connected sees a reset."""
        self.dead = True
        for transport in list(self.wired):
            transport.vanish()
        self.wired.clear()
