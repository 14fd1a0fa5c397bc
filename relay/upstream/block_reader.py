"""Reads content for a request: small content in the event loop, large content in one thread, and no more than is sent."""

import asyncio
from binascii import b2a_base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from relay.mail.outgoing import Blocks
from relay.upstream.dot_stuffing import gathered

T = TypeVar("T")

_BLOCK = 131_072
_SMALL = 262_144  # octets that may be read in the event loop; more may wait for a disk


class BlockReader:
    """All readings of one message.

    Large content is read in a thread of its own, always the same: it may come from a database connection.
    """

    def __init__(self, size: int, reading: Callable[[Blocks], Blocks]) -> None:
        self._reading = reading
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="content") if size > _SMALL else None

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, called where content is read."""
        if self._thread is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def blocks(self, octets: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
        """The octets, some at a time."""
        pieces = self._reading(_pieces(octets))
        try:
            while block := await self.run(lambda: gathered(pieces, _BLOCK)):
                yield block
        finally:  # nobody waits for a reading that is under way
            if self._thread is None:
                pieces.close()
            else:
                self._thread.submit(pieces.close)

    def close(self) -> None:
        """Nothing is read any more, once every stream of blocks is closed."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)


def _pieces(octets: Iterable[bytes]) -> Blocks:
    yield from octets


class Flow:
    """A stream of octets that is taken in portions of a known size."""

    def __init__(self, blocks: AsyncIterator[bytes]) -> None:
        self._blocks, self._held = blocks, b""

    async def take(self, size: int) -> bytes:
        """Exactly `size` octets.  Raises ValueError if the stream ends before."""
        taken = bytearray()
        while len(taken) < size:
            block = self._held or await anext(self._blocks, b"")
            if not block:
                raise ValueError("the content is shorter than it was when it was measured")
            room = size - len(taken)
            taken += block[:room]
            self._held = block[room:]
        return bytes(taken)


def in_base64(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """One long line of base64."""
    held = b""
    for block in blocks:
        octets = held + block
        end = len(octets) - len(octets) % 3
        held = octets[end:]
        yield b2a_base64(octets[:end], newline=False)
    yield b2a_base64(held, newline=False)
