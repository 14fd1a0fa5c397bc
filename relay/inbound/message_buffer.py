"""The content of one message while it comes in: small content in memory, large content in the spool or an unlinked file."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from relay.inbound.connection import WIDE
from relay.spool.contract import AcceptingSpool, Streaming

IN_MEMORY = 256 * 1024
"""Octets of a message that stay in memory; larger content goes to the disk, so a 50 MB scan takes a megabyte or two."""
FOR_ALL = 16 * 1024 * 1024
"""Octets in memory of all messages that come in."""
_BLOCK = 64 * 1024
"""Octets that each message may keep in memory even when it is short: fewer are not worth a write."""
HEAD = 64 * 1024


class MemoryBudget:
    """How many octets of all messages that come in are in memory.

    Over the budget nobody is refused; clients wait until what they sent is on the disk.  Pure.
    """

    def __init__(self, octets: int = FOR_ALL) -> None:
        self.octets = octets
        self.used = 0
        self.messages = 0

    @property
    def over(self) -> bool:
        return self.used > self.octets

    def has(self, octets: int) -> bool:
        """Whether each message may bring so many octets at once."""
        return self.used + self.messages * octets <= self.octets


class MessageBuffer:
    """The octets as received.  May be iterated more than once, also by another thread, unless the spool has them.

    `head` has the first 64 KiB.  `close` frees everything that is not an entry's by then; nothing can be read after it.
    """

    def __init__(self, state_dir: Path, spool: AcceptingSpool, memory: MemoryBudget) -> None:
        self.size = 0
        self.head = bytearray()
        self._memory = memory
        self._held = 0
        self._counted = 1
        memory.messages += 1
        self._state_dir = state_dir
        self._spool = spool
        self._arriving: Streaming | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._blocks: list[bytes] = []
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()

    @property
    def large(self) -> bool:
        """Whether it must go to the disk, which may take its time."""
        return self.size > IN_MEMORY or self._keeping is not None or self.pressed

    @property
    def pressed(self) -> bool:
        """Whether the memory is used up: what is here must be on the disk before more is read."""
        return self._memory.over and self._held >= _BLOCK

    @property
    def roomy(self) -> bool:
        """Whether the memory has room for a large block."""
        return self._memory.has(WIDE)

    @property
    def digest(self) -> str:
        return self._sha256.hexdigest()

    @property
    def stored(self) -> int:
        """Octets that are in the spool already."""
        return self._arriving.stored if self._arriving else 0

    @property
    def source(self) -> Iterable[bytes]:
        """The content for the spool's entry."""
        return self._arriving or self

    def look(self, piece: bytes) -> None:
        """Counts a piece that will be written next."""
        octets = len(piece)
        self.size += octets
        self._held += octets
        self._memory.used += octets
        self._sha256.update(piece)
        if len(self.head) < HEAD:
            self.head += piece[: HEAD - len(self.head)]

    def write(self, pieces: list[bytes]) -> None:
        """Takes the pieces out of the list and keeps them in memory."""
        self._blocks += pieces
        pieces.clear()

    async def write_large(self, pieces: list[bytes], *, whole: bool) -> None:
        """Takes the pieces out of the list and stores them while the next ones come; `whole`: nothing follows.

        Raises OSError, SpoolFull or SpoolBroken if these or earlier pieces cannot be stored.
        """
        if self._keeping is None:
            self._arriving = self._spool.arrive()
        else:
            await self._keeping
        self._keeping = asyncio.create_task(self._keep(pieces.copy(), whole=whole))
        self._keeping.add_done_callback(_mark_seen)
        pieces.clear()
        if whole or self.pressed:
            await self._keeping

    async def _keep(self, pieces: list[bytes], *, whole: bool) -> None:
        pieces[:0], self._blocks = self._blocks, []
        octets = sum(map(len, pieces))
        if self._arriving:
            whole = whole and not self._memory.over  # up to a megabyte would wait in memory for its entry
            await self._arriving.add(pieces, whole=whole)
        else:
            await asyncio.to_thread(self._to_file, pieces)
        if not (whole and self._arriving):
            self._hold(-min(octets, self._held))

    def _hold(self, octets: int) -> None:
        self._held += octets
        self._memory.used += octets

    def __iter__(self) -> Iterator[bytes]:
        if self._file is None:
            yield from self._blocks
            return
        self._file.flush()
        place = 0
        while block := os.pread(self._file.fileno(), _BLOCK, place):
            yield block
            place += len(block)

    def close(self) -> None:
        self._blocks = []
        self.let_go()
        if self._arriving:
            self._arriving.drop()
        if self._file is not None:
            self._file.close()

    def let_go(self) -> None:
        """Takes it out of the memory budget."""
        self._hold(-self._held)
        self._memory.messages -= self._counted
        self._counted = 0

    def _to_file(self, pieces: list[bytes]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._state_dir, prefix="incoming-")  # noqa: SIM115 - as long as the message
        self._file.writelines(pieces)


def _mark_seen(task: "asyncio.Task[None]") -> None:
    """Marks the task's error as seen: if nobody waits for the task, the content was dropped before."""
    if not task.cancelled():
        task.exception()
