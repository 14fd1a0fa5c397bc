"""Work that may hang for as long as a stranger likes, in a thread that the end of the process does not wait for.

The loop's own threads serve the spool: on one core there are five, and the stop waits for each of them.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def apart(work: Callable[[], T]) -> T:
    """What `work()` returns or raises.  Whoever is cancelled here leaves it to its own end, unheard."""
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
