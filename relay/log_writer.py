"""Writes the log in a thread, so that a reader that is slow, or hangs, stops nothing else.

events ──line──▶ lines that wait (bounded) ──thread──▶ stdout
                 └─ no room: dropped and counted; the count is told as soon as something could be written
"""

import os
import queue
import select
import threading
from collections import deque
from collections.abc import Callable

ROOM = 1_000_000
"""Octets that may wait for the reader."""
PATIENCE = 1.0
"""Seconds in which the last lines must be gone when the process ends."""
PACE = 0.02
"""Seconds from one writing to the next.  Each takes the interpreter from whoever is at work, so lines go together."""


class LogWriter:
    """A file to write text to, without ever waiting.

    `lost` is told, by the thread, how many lines were dropped.  `idle` is called when everything is written; it gives the
    seconds after which it wants to be called again (None: after the next line).
    """

    def __init__(self, descriptor: int, lost: Callable[[int], None], idle: Callable[[], float | None]) -> None:
        self._descriptor = os.dup(descriptor)  # ours, whatever becomes of the other one
        self._room = select.poll()
        self._room.register(self._descriptor, select.POLLOUT)
        self._lost, self._idle = lost, idle
        self._lines: deque[bytes] = deque()
        self._size = self._dropped = 0  # of what waits and what is being written; lines since the count was told last
        self._lock = threading.RLock()  # the collector may run here, and what it ends may log: in this thread, again
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # rung at the first line and at the end; a Condition is dear
        self._closing = False
        self._ending = threading.Lock()  # held until the end; an Event is dear, too
        self._ending.acquire()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        octets = text.encode("utf-8", "backslashreplace")
        size = len(octets)
        with self._lock:
            if self._size + size > ROOM:
                self._dropped += 1
                return
            self._size += size
            first = not self._lines
            self._lines.append(octets)
        if first:
            self._bell.put(None)

    def flush(self) -> None:
        """Nothing: the thread writes as soon as it can."""

    def close(self, patience: float = PATIENCE) -> None:
        """Waits until everything is written, but not for long: a reader that hangs must not keep the process."""
        self._closing = True
        if self._ending.locked():
            self._ending.release()
        self._bell.put(None)
        self._thread.join(patience)

    def _run(self) -> None:
        while True:
            pause = self._idle() if not self._lines else 0.0
            try:  # noqa: SIM105 - `suppress` costs three calls each time
                self._bell.get(timeout=pause)
            except queue.Empty:
                pass
            closing = self._closing  # read before the lines are taken: what was written before the end is among them
            with self._lock:
                lines, self._lines = self._lines, deque()
            if lines:
                self._written(lines)
            if closing:
                os.close(self._descriptor)
                return
            if lines:
                self._ending.acquire(timeout=PACE)

    def _written(self, lines: deque[bytes]) -> None:
        octets = memoryview(b"".join(lines))
        size, done = len(octets), True
        try:
            while octets:
                try:
                    octets = octets[os.write(self._descriptor, octets) :]
                except BlockingIOError:  # a program that shares the terminal or the pipe has made it so
                    self._room.poll()
        except OSError:
            done = False  # a full disk, or a reader that is gone: the lines are lost
        with self._lock:
            self._size -= size
            self._dropped += 0 if done else len(lines)
            dropped, self._dropped = (self._dropped, 0) if done else (0, self._dropped)
        if dropped:
            self._lost(dropped)
