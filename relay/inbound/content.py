"""The content of one message while it comes in: small ones in memory, large ones in an unlinked file."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

IN_MEMORY = 256 * 1024
"""Octets that stay in memory; what is over goes to a file, so that a 50 MB scan costs a Pi a few hundred kB."""
_BLOCK = 64 * 1024
HEAD = 64 * 1024


class IncomingContent:
    """Octets as received; may be iterated more than once, by another thread too.

    `head` are the first 64 KiB.  `close` gives the file back; nothing can be read after it.
    """

    def __init__(self, state_dir: Path) -> None:
        self.size = 0
        self.head = bytearray()
        self._state_dir = state_dir
        self._blocks: list[bytes] = []
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    @property
    def digest(self) -> str:
        return self._sha256.hexdigest()

    def write(self, block: bytes) -> None:
        """Keeps a block.  Raises OSError when the disk will not take it."""
        if len(self.head) < HEAD:
            self.head += block[: HEAD - len(self.head)]
        self._sha256.update(block)
        self.size += len(block)
        if self._file is None and self.size > IN_MEMORY:
            self._spill()
        if self._file is None:
            self._blocks.append(block)
        else:
            self._file.write(block)

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
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        self._file = tempfile.TemporaryFile(dir=self._state_dir, prefix="incoming-")  # noqa: SIM115 - lives as long as the message
        self._file.writelines(self._blocks)
        self._blocks = []
