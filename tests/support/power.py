"""What a disk holds when the power fails: a process's writes and syncs, recorded by strace and replayed.

    trace = Trace(directory / "log")
    run [*trace.wrapper(), command ...]
    for loss in losses(trace.log, directory of the files): loss.promised, loss.lay(somewhere)

Strict: octets survive only if their file was synced after them, a name only if its directory was.  Beside that state each
loss has torn ones, in which some of the unsynced writes arrived, out of order and perhaps by half; and some of the names that
came, went or changed since their directory was synced, each for itself.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,fsync,fdatasync,ftruncate,fallocate,unlink,unlinkat,rename,"
    "renameat,renameat2,mkdir,mkdirat"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_FD = re.compile(r"^\w+\((\d+)<([^>]*)>")
_HEX = re.compile(r"\\x([0-9a-f]{2})")
_PROMISE = re.compile(rb"250 2\.0\.0 queued as ([0-9a-z]{14})")
_RELAYED = re.compile(rb'"event": "relayed"')
_QUEUE_ID = re.compile(rb'"queue_id": "([0-9a-z]{14})"')


def wrapper(log: Path) -> list[str]:
    """The words before a command whose writes are to be recorded.  -D: the child stays the command itself."""
    options = ["-D", "-f", "-y", "-xx", "--seccomp-bpf", "-s", "20000000"]
    return ["strace", *options, "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(log)]


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, octets), or (length, None): truncated
    end: int = 0  # of what was written one after the other

    def truncate(self) -> None:
        self.pending.append((0, None))
        self.end = 0

    def append(self, octets: bytes) -> None:
        self.pending.append((self.end, octets))
        self.end += len(octets)

    def sync(self, count: int) -> None:
        for change in self.pending[:count]:
            _apply(self.durable, change)
        del self.pending[:count]


def _apply(octets: bytearray, change: tuple[int, bytes | None]) -> None:
    place, data = change
    end = place if data is None else place + len(data)
    if len(octets) < end:
        octets.extend(bytes(end - len(octets)))
    if data is None:
        del octets[place:]
    else:
        octets[place:end] = data


@dataclass(frozen=True)
class Loss:
    """The disk as one moment leaves it, and what had been said to others until then."""

    promised: frozenset[str]
    relayed: frozenset[str]
    files: dict[str, bytes]

    def lay(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        for name, octets in self.files.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(octets)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


class _Disk:
    """The files in one directory and in the folders of content below it; `named` are those whose names are durable."""

    def __init__(self, directory: Path, dice: random.Random) -> None:
        self.directory, self.dice = str(directory), dice
        self.files: dict[str, _File] = {}
        self.named: dict[str, _File] = {}
        self.unsure: set[str] = set()
        """Folders whose own names are not durable yet, so that nothing in them is."""

    def name_of(self, path: str) -> str:
        """Its name if it is one of ours and survives at all: shared memory is made anew, the lock holds nothing."""
        name = path.removeprefix(f"{self.directory}/")
        inside = name != path and (_folder(name) == "" or _folder(name).endswith("-content"))
        return name if inside and not name.endswith(("-shm", ".lock", ".sock")) else ""

    def sync_names(self, path: str, files: dict[str, _File]) -> None:
        """The names of one directory are as they were when its sync began."""
        below = path.removeprefix(self.directory).lstrip("/")
        if path != self.directory and not self.name_of(path):
            return
        self.named = {name: file for name, file in self.named.items() if _folder(name) != below}
        self.named |= {name: file for name, file in files.items() if _folder(name) == below}
        if not below:
            self.unsure.clear()

    def snapshot(self) -> dict[str, bytes]:
        return {name: bytes(file.durable) for name, file in self.named.items() if _folder(name) not in self.unsure}

    def torn(self) -> dict[str, bytes]:
        """Some of what was written since the last sync got to the disk, in part even by half; and some of the names."""
        found = {}
        gone = {folder for folder in sorted(self.unsure) if self.dice.random() < 0.5}
        for name in sorted({*self.named, *self.files}):
            file = self.dice.choice((self.named, self.files)).get(name)
            if file is None or _folder(name) in gone:
                continue
            octets = bytearray(file.durable)
            for place, data in file.pending:
                if self.dice.random() < 0.5:
                    whole = data is None or self.dice.random() < 0.7
                    _apply(octets, (place, data if whole or data is None else data[: len(data) // 2]))
            found[name] = bytes(octets)
        return found


def calls(log: Path) -> Iterator[tuple[str, str, bool]]:
    """(process, call, whether it has ended), in order; a call that another thread's line interrupts comes twice."""
    open_calls: dict[str, str] = {}
    with log.open() as lines:
        for line in lines:
            found = _LINE.match(line.rstrip("\n"))
            if found is None:
                continue
            process, text = found.groups()
            if text.endswith("<unfinished ...>"):
                open_calls[process] = text.removesuffix("<unfinished ...>")
                yield process, open_calls[process], False
                continue
            if resumed := _RESUMED.match(text):
                text = open_calls.pop(process, "") + resumed[1]
            yield process, text, True


def _octets(text: str) -> list[bytes]:
    """The quoted arguments of a call (strace -xx: all of them in hexadecimal)."""
    return [bytes.fromhex("".join(_HEX.findall(quoted))) for quoted in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', text)]


def losses(log: Path, directory: Path, *, seed: int = 1, torn: int = 1) -> Iterator[Loss]:
    """Every state that a loss of power could leave: after each sync, with all that was promised until the next one ends."""
    disk = _Disk(directory, random.Random(seed))
    promised: set[str] = set()
    relayed: set[str] = set()
    began: dict[str, tuple[int, dict[str, _File]]] = {}
    last: dict[str, bytes] = {}
    for process, text, ended in calls(log):
        verb = text.partition("(")[0]
        if verb in ("fsync", "fdatasync"):
            name = _target(text, disk)
            if not ended:
                began[process] = len(disk.files[name].pending) if name in disk.files else 0, dict(disk.files)
                continue
            before = began.pop(process, None)
            if not text.endswith(" = 0"):
                continue
            for number in range(torn + 1):
                files = disk.torn() if number else last
                yield Loss(frozenset(promised), frozenset(relayed), files)
            _sync(text, name, disk, before)
            last = disk.snapshot()
        elif ended:
            _follow(verb, text, disk, promised, relayed)
    yield Loss(frozenset(promised), frozenset(relayed), last)


def _target(text: str, disk: _Disk) -> str:
    found = _FD.match(text)
    return disk.name_of(_path(found[2])) if found else ""


def _path(text: str) -> str:
    return bytes.fromhex("".join(_HEX.findall(text))).decode().removesuffix(" (deleted)") if "\\x" in text else text


def _sync(text: str, name: str, disk: _Disk, before: tuple[int, dict[str, _File]] | None) -> None:
    if name in disk.files:
        file = disk.files[name]
        file.sync(len(file.pending) if before is None else before[0])
    elif found := _FD.match(text):
        disk.sync_names(_path(found[2]), dict(disk.files) if before is None else before[1])


def _follow(verb: str, text: str, disk: _Disk, promised: set[str], relayed: set[str]) -> None:
    result = text.rpartition(" = ")[2]
    if result.startswith("-1"):
        return
    if verb == "openat":
        name = disk.name_of(_path(result.partition("<")[2].removesuffix(">")))
        if name and "O_CREAT" in text:
            disk.files.setdefault(name, _File())
            if "O_TRUNC" in text:
                disk.files[name].truncate()
    elif verb == "unlink":
        disk.files.pop(disk.name_of(_octets(text)[0].decode()), None)
    elif verb == "rename":
        old, new = (disk.name_of(octets.decode()) for octets in _octets(text))
        if old in disk.files and new:
            disk.files[new] = disk.files.pop(old)
    elif verb == "mkdir":
        disk.unsure.add(disk.name_of(_octets(text)[0].decode()))
    elif verb in ("pwrite64", "ftruncate"):
        if name := _target(text, disk):
            numbers = re.findall(r", (\d+)", text.rpartition(")")[0])
            data = _octets(text)[0][: int(result)] if verb == "pwrite64" else None
            disk.files[name].pending.append((int(numbers[-1]), data))
    elif verb == "write" and (name := _target(text, disk)):
        disk.files[name].append(_octets(text)[0][: int(result)])
    elif verb in ("write", "sendto"):
        _listen(text, promised, relayed)
    elif _target(text, disk):
        raise AssertionError(f"a call whose effect is not known here: {text[:200]}")


def _listen(text: str, promised: set[str], relayed: set[str]) -> None:
    for octets in _octets(text)[:1]:
        promised.update(found.decode() for found in _PROMISE.findall(octets))
        for line in octets.splitlines():
            if _RELAYED.search(line):
                relayed.update(found.decode() for found in _QUEUE_ID.findall(line))
