"""The content of one message while it comes in: small ones in memory, large ones in the spool or in an unlinked file."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from relay.spool.contract import AcceptingSpool, Streaming

IN_MEMORY = 256 * 1024
"""Octets that stay in memory; what is over goes to a disk, so that a 50 MB scan costs a Pi a megabyte or two."""
FOR_ALL = 16 * 1024 * 1024
"""Octets in memory of all messages that come in."""
_BLOCK = 64 * 1024
"""What a message may keep in memory however little there is: a disk is not asked for less."""
HEAD = 64 * 1024


class MemoryBudget:
    """How many octets the messages that come in have in memory, all together.

    Nobody is refused: over it a device waits until what it sent is on a disk.  Pure.
    """

    def __init__(self, octets: int = FOR_ALL) -> None:
        self.octets = octets
        self.used = 0

    @property
    def over(self) -> bool:
        return self.used > self.octets


class MessageBuffer:
    """Octets as received; may be iterated more than once, by another thread too, unless the spool has them.

    `head` are the first 64 KiB.  `close` gives all of it back, but for what became an entry's; nothing can be read after it.
    """

    def __init__(self, state_dir: Path, spool: AcceptingSpool, memory: MemoryBudget) -> None:
        self.size = 0
        self.head = bytearray()
        self._memory = memory
        self._held = 0
        self._state_dir = state_dir
        self._spool = spool
        self._arriving: Streaming | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._blocks: list[bytes] = []
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()

    @property
    def large(self) -> bool:
        """Whether it is too much for the memory: a disk may take its time."""
        return self.size > IN_MEMORY or self._keeping is not None or self.pressed

    @property
    def pressed(self) -> bool:
        """Whether the memory is used up: what is here must be on a disk before more is read."""
        return self._memory.over and self._held >= _BLOCK

    @property
    def digest(self) -> str:
        return self._sha256.hexdigest()

    @property
    def stored(self) -> int:
        """Octets that take up room in the spool already."""
        return self._arriving.stored if self._arriving else 0

    @property
    def source(self) -> Iterable[bytes]:
        """What an entry is to be made of."""
        return self._arriving or self

    def look(self, piece: bytes) -> None:
        """Counts a piece, which is to be written afterwards."""
        self.size += len(piece)
        self._hold(len(piece))
        self._sha256.update(piece)
        if len(self.head) < HEAD:
            self.head += piece[: HEAD - len(self.head)]

    def write(self, pieces: list[bytes]) -> None:
        """Takes the pieces out of the list and keeps them in memory."""
        self._blocks += pieces
        pieces.clear()

    async def write_large(self, pieces: list[bytes], *, whole: bool) -> None:
        """Takes the pieces out of the list and keeps them while the next ones come; `whole`: nothing follows.

        Raises OSError, SpoolFull or SpoolBroken when a disk will not take these or those before.
        """
        if self._keeping is None:
            self._arriving = self._spool.arrive()
        else:
            await self._keeping
        self._keeping = asyncio.create_task(self._keep(pieces.copy(), whole=whole))
        self._keeping.add_done_callback(_heard)
        pieces.clear()
        if whole or self.pressed:
            await self._keeping

    async def _keep(self, pieces: list[bytes], *, whole: bool) -> None:
        pieces[:0], self._blocks = self._blocks, []
        octets = sum(map(len, pieces))
        if self._arriving:
            whole = whole and not self._memory.over  # else up to a megabyte would wait in memory for its entry
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
        """It does not count as memory any more."""
        self._hold(-self._held)

    def _to_file(self, pieces: list[bytes]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._state_dir, prefix="incoming-")  # noqa: SIM115 - as long as the message
        self._file.writelines(pieces)


def _heard(task: "asyncio.Task[None]") -> None:
    """Whoever waits for the task hears of its error; if nobody does, the content was given up before."""
    if not task.cancelled():
        task.exception()
