"""What the processes of a peer cost, read from /proc: all that descend from one process.

CPU time and octets written of those that have ended count too: the kernel adds them to the parent that collects them.
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
MB = 1024 * 1024


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, ...; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def family(root: int) -> list[int]:
    """`root` and all its descendants that live."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  (a Path for each process is slow)
        if entry.isdigit() and (fields := _stat(int(entry))) and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root] if _stat(root) else []
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    return sum(int(ticks) for pid in family(root) for ticks in _stat(pid)[11:15]) / TICK


def _lines(pid: int, name: str) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def _kilobytes(pid: int, name: str, key: str) -> int:
    return int(_lines(pid, name).get(key, "0 kB").split()[0])


def pss_mb(root: int) -> float:
    """Memory, shared pages counted in part: the sum over all processes is true."""
    return sum(_kilobytes(pid, "smaps_rollup", "Pss") for pid in family(root)) / 1024


def peak_rss_mb(root: int) -> float:
    """The highest RSS that the largest process of the family ever had."""
    return max((_kilobytes(pid, "status", "VmHWM") for pid in family(root)), default=0) / 1024


def written_octets(root: int) -> int:
    """Octets that the family made the file system write; without its journal and metadata."""
    return sum(int(_lines(pid, "io").get("write_bytes", "0")) for pid in family(root))


def wake_ups(root: int) -> int:
    """Voluntary context switches of all threads: each is a sleep that ended."""
    total = 0
    for pid in family(root):
        try:
            threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
        except OSError:
            continue
        total += sum(int(_lines(pid, f"task/{thread}/status").get("voluntary_ctxt_switches", "0")) for thread in threads)
    return total


def end(root: int, seconds: float = 15) -> None:
    """Ends the family: SIGTERM to its head, then to those that outlive it, SIGKILL after `seconds`.  Only these processes."""
    members = family(root)
    deadline, told = time.monotonic() + seconds, set[int]()
    while left := [pid for pid in members if _alive(pid)]:
        late = time.monotonic() > deadline
        for pid in left if late else [root] if root in left else left:
            if late or pid not in told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        _collect(root)
        time.sleep(0.02)
    _collect(root, wait=True)


def _alive(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def _collect(pid: int, *, wait: bool = False) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0 if wait else os.WNOHANG)


@dataclass(frozen=True)
class Device:
    """What a block device was asked to write since it is there."""

    octets: int
    flushes: int

    @classmethod
    def under(cls, directory: Path) -> "Device":
        number = directory.stat().st_dev
        fields = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").read_text().split()
        return cls(int(fields[6]) * 512, int(fields[15]) if len(fields) > 15 else 0)


def busy_seconds() -> float:
    """What all processes together used of all processors since the machine started."""
    fields = [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICK
