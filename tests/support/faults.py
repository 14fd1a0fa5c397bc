"""Faults of the disk under a running relay: a file system that is full, system calls that fail.

with failing(relay.pid, "pwrite64,fsync,fdatasync,ftruncate", "EROFS"): ...      as if remounted read-only
with small_disk(directory, "24m"): ...
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support import tools

WRITES = "pwrite64,ftruncate,fallocate,fsync,fdatasync,unlink"
SYNCS = "fsync,fdatasync"


@contextmanager
def failing(pid: int, calls: str, error: str, *, seconds: float = 10) -> Iterator[None]:
    """Every thread of the process finds these calls failing as long as this lasts."""
    tools.strace()
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}", "-e", "signal=none"]
    tracer = subprocess.Popen(["strace", "-f", "-p", str(pid), "-o", os.devnull, *inject], stderr=subprocess.PIPE)
    try:
        _until_traced(pid, tracer, seconds)
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)
        if tracer.stderr:
            tracer.stderr.close()


def _until_traced(pid: int, tracer: "subprocess.Popen[bytes]", seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not all(_traced(status) for status in Path(f"/proc/{pid}/task").glob("*/status")):
        if tracer.poll() is not None:
            said = tracer.stderr.read().decode() if tracer.stderr else ""
            pytest.skip(f"processes cannot be traced here: {said.strip()}")
        assert time.monotonic() < deadline, "strace never got hold of the relay"
        time.sleep(0.02)


def _traced(status: Path) -> bool:
    with suppress(OSError):
        return "TracerPid:\t0\n" not in status.read_text()
    return True  # the thread has ended


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own; skips where none can be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def take_all_that_is_left(ballast: Path) -> None:
    """Somebody else's data: not an octet stays free."""
    with ballast.open("wb", buffering=0) as file:
        for block in (65_536, 1):
            with suppress(OSError):
                while file.write(b"x" * block):
                    pass
