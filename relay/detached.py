"""Work beside the event loop: in a thread that the end of the process does not wait for, or in a process of its own.

What another host may delay without end runs in a thread here.  The loop's own threads serve the spool: on one core there
are five, and the stop waits for each of them.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_FOR_CHILDREN = frozenset(
    (
        *("HOME", "PATH", "TMPDIR", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "PYTHONDONTWRITEBYTECODE"),
        *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TZDIR"),
        *("OPENSSL_CONF", "SSL_CERT_DIR", "SSL_CERT_FILE"),
    )
)


def environment(*also: str, **set_to: str) -> dict[str, str]:
    """What a process that we start gets of ours: nothing that may be a secret.  `also`: beginnings of more names."""
    kept = {name: value for name, value in os.environ.items() if name in _FOR_CHILDREN or (also and name.startswith(also))}
    return {**kept, **set_to}


def give_way() -> None:
    """Devices and their mail go first.  Under a filter that forbids it, as the systemd unit's, the process stays as it is."""
    with suppress(OSError):
        os.nice(10)


async def apart(work: Callable[[], T]) -> T:
    """What `work()` returns or raises.  If the caller is cancelled, the work goes on and its result is dropped."""
    answer: Future[T] = Future()

    def run() -> None:
        if not answer.set_running_or_notify_cancel():
            return
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="apart", daemon=True).start()
    return await asyncio.wrap_future(answer)


class AbandonableThreads(ThreadPoolExecutor):
    """Threads that nobody waits for: the system's resolver cannot be interrupted, and may take half a minute to give up."""

    def submit(self, work: Callable[..., Any], /, *words: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work(*words, **named))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leaves the threads to end with the process."""
