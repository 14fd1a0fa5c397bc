"""Waiting mail made due before its time, beside the runner's own work."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any

from relay import events
from relay.spool.contract import Spool
from relay.spool.entry import Action, Order

_CHUNK = 500


class MakeDue:
    """`due` is called when something has become due.  `tasks` are those under way."""

    def __init__(self, spool: Spool, now: Callable[[], datetime], due: Callable[[], None]) -> None:
        self._spool, self._now, self._due = spool, now, due
        self.tasks: set[asyncio.Task[None]] = set()

    def make_due(self, queue_ids: Sequence[str]) -> None:
        for start in range(0, len(queue_ids), _CHUNK):
            self.run(self._order(tuple(queue_ids[start : start + _CHUNK])))

    def make_all_due(self) -> None:
        self.run(self._order(None))

    async def _order(self, queue_ids: tuple[str, ...] | None) -> None:
        await self._spool.order(Order(Action.RETRY, queue_ids, by_hand=False), self._now())
        self._due()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Does it in its turn; what goes wrong is noted and stops nobody."""

        async def done() -> None:
            try:
                await work
            except Exception as error:
                events.note("broken", f"waiting mail could not be made due: {error}", error=type(error).__name__)

        task = asyncio.create_task(done())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
