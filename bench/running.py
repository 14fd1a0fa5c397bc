"""One peer between load and sink, started afresh; and the check that each message arrived once and unaltered."""

import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench import processes
from bench.peers import Peer, Place

ROOT = Path(__file__).parents[1]
NATIVE = Path(__file__).parent / "native"
BUILD = ROOT / "build" / "bench"
USER, PASSWORD = "relay", "s3cret-of-the-bench"
NEEDED = "The measurements need a C compiler with OpenSSL and zlib: apt install gcc libc6-dev libssl-dev zlib1g-dev openssl"
STALL = 45.0  # seconds without an arrival: what is missing then is lost


def build() -> None:
    """Compiles load, sink and syncs.so into build/bench.  Raises SystemExit with what to install.

    From here on SIGTERM ends us as Ctrl-C does: no peer is left behind.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    BUILD.mkdir(parents=True, exist_ok=True)
    sources = sorted(NATIVE.iterdir())
    newest = max(source.stat().st_mtime for source in sources)
    for name, words in {
        "sink": ["-lssl", "-lcrypto", "-lz", "-lpthread"],
        "load": ["-lz", "-lpthread"],
        "syncs.so": ["-shared", "-fPIC", "-ldl", "-lpthread"],
    }.items():
        target = BUILD / name
        if target.exists() and target.stat().st_mtime >= newest:
            continue
        source = NATIVE / f"{name.removesuffix('.so')}.c"
        try:
            subprocess.run(["cc", "-O2", "-Wall", "-o", target, source, *words], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{NEEDED}\n({error})") from error


def certificate(work: Path) -> tuple[Path, Path]:
    """The sink's own, which is its own authority too."""
    cert, key = work / "sink.pem", work / "sink-key.pem"
    if not cert.exists():
        words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=sink.bench.test"
        names = "subjectAltName=DNS:sink.bench.test,DNS:localhost,IP:127.0.0.1"
        subprocess.run([*words.split(), "-addext", names, "-keyout", key, "-out", cert], check=True, capture_output=True)
        cert.chmod(0o644)
    return cert, key


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def greeted(port: int, seconds: float = 60.0) -> float:
    """Seconds until a connection is greeted with 220.  Raises TimeoutError."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                if line.recv(512).startswith(b"220"):
                    took = time.monotonic() - began
                    line.sendall(b"QUIT\r\n")
                    line.recv(512)
                    return took
        except OSError:
            pass
        time.sleep(0.002)
    raise TimeoutError(f"nobody greets on port {port} within {seconds:.0f} s")


@dataclass(frozen=True)
class Sent:
    number: int
    start: int
    accepted: int
    code: int
    tries: int
    length: int
    crc: str


@dataclass
class Arrived:
    """What the sink wrote, read as it grows."""

    file: Path
    messages: list[tuple[str, int, int, int, str]] = field(default_factory=list)  # run, number, when, length, crc
    connections: int = 0
    _read: int = 0

    def refresh(self) -> None:
        with self.file.open("rb") as lines:
            lines.seek(self._read)
            text = lines.read()
        text = text[: text.rfind(b"\n") + 1]
        self._read += len(text)
        for line in text.decode().splitlines():
            kind, *words = line.split()
            if kind == "m":
                self.messages.append((words[0], int(words[1]), int(words[2]), int(words[3]), words[4]))
            else:
                self.connections += 1


class Sink:
    def __init__(self, work: Path, memory: Path, *, tls: bool) -> None:
        self.port = free_port()
        self._words = [str(BUILD / "sink"), str(self.port), str(memory / "arrived")]
        (memory / "arrived").write_text("")
        if tls:
            auth = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
            self._words += [*map(str, certificate(work)), auth]
        self.arrived = Arrived(memory / "arrived")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._words)
        greeted(self.port, 10)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def cpu_seconds(self) -> float:
        return processes.cpu_seconds(self.process.pid) if self.process else 0.0


class Syncs:
    """The page that syncs.so shares with us: how slow a flush is, how many there were."""

    def __init__(self, file: Path, delay_ms: float) -> None:
        self._file = file
        file.write_bytes(struct.pack("<q", int(delay_ms * 1e6)).ljust(4096, b"\0"))
        file.chmod(0o666)
        self.environment = {"LD_PRELOAD": str(BUILD / "syncs.so"), "BENCH_SYNCS": str(file)}

    def counts(self) -> tuple[int, int]:
        """Calls of fsync and fdatasync so far, and flushes of the device they were joined into."""
        calls, flushes = struct.unpack_from("<qq", self._file.read_bytes(), 8)
        return calls, flushes


@dataclass
class Delivery:
    """One load, all of it: what was sent, what arrived, what it cost."""

    sent: list[Sent]
    arrived: list[tuple[str, int, int, int, str]]
    cpu_s: float
    harness_cpu_s: float
    foreign_cpu_s: float
    connections: int

    def check(self) -> dict[str, int]:
        """Faults by name; all 0 if each message arrived exactly once and unaltered."""
        want = {one.number: one for one in self.sent if one.code == 250}
        times = Counter(number for _, number, *_ in self.arrived)
        strange = sum(run == "?" for run, *_ in self.arrived)
        return {
            "lost": sum(number not in times for number in want),
            "twice": sum(count - 1 for count in times.values()) if not strange else 0,
            "altered": strange
            + sum(
                (want[number].length, want[number].crc) != (length, crc)
                for _, number, _, length, crc in self.arrived
                if number in want
            ),
            "refused": sum(one.code != 250 for one in self.sent),
        }


class Running:
    """A peer that runs, with its sink.  `delay_ms`: flushes are counted, and take so much longer; None: neither."""

    def __init__(
        self, peer: Peer, work: Path, *, tls: bool = True, upstream: bool = True, delay_ms: float | None = None
    ) -> None:
        self.peer = peer
        self.directory = work / peer.name
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        shared = Path("/dev/shm")  # noqa: S108  (what load and sink write must not reach the disk that is measured)
        self.memory = Path(tempfile.mkdtemp(prefix="relay-bench-", dir=shared if shared.is_dir() else None))
        self.memory.chmod(0o755)
        self.sink = Sink(work, self.memory, tls=tls)
        self.port = free_port()
        ca = certificate(work)[0] if tls else None
        self.place = Place(self.directory, self.port, self.sink.port, ca, USER, PASSWORD)
        self.syncs = None if delay_ms is None else Syncs(self.memory / "syncs", delay_ms)
        self._upstream = upstream
        self._runs = int(time.time() * 10) & 0xFFFFFF
        self.process: subprocess.Popen[bytes] | None = None
        self.start_s = self._settled = 0.0

    def __enter__(self) -> "Running":
        try:
            if self._upstream:
                self.sink.start()
            self.peer.prepare(self.place, self.syncs.environment if self.syncs else {})
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.sink.stop()
        shutil.rmtree(self.memory, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        with (self.directory / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.peer.command(self.place),
                cwd=self.peer.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(self.syncs.environment if self.syncs else {})},
            )
        try:
            self.start_s = greeted(self.port)
            self._settled = time.monotonic() + self.peer.settles_s
        except TimeoutError as error:
            raise SystemExit(
                f"{self.peer.name} did not start:\n{(self.directory / 'output.log').read_text()[-2000:]}"
            ) from error

    def stop(self) -> None:
        if self.process:
            processes.end(self.process.pid)
            self.process.wait(10)
            self.process = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def load(
        self, messages: int, size: int, senders: int, per_connection: int = 1, gap_ms: float = 0, hold: int = 0
    ) -> tuple["subprocess.Popen[bytes]", Path, str]:
        """Starts the load; (process, file, run)."""
        self._runs += 1
        run, file = f"{self._runs:x}", self.memory / f"sent-{self._runs:x}"
        words = [self.port, file, run, messages, size, senders, per_connection, int(gap_ms * 1000), hold]
        return subprocess.Popen([BUILD / "load", *map(str, words)], stderr=subprocess.DEVNULL), file, run

    def send(
        self, messages: int, size: int = 4096, senders: int = 1, seconds: float = 280, **how: float
    ) -> tuple[str, list[Sent]]:
        """Sends and says what became of each, as far as the peer's answer goes."""
        process, file, run = self.load(messages, size, senders, **how)  # type: ignore[arg-type]
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        sent = []
        for line in file.read_text().splitlines():
            number, start, accepted, code, tries, length, crc = line.split()
            sent.append(Sent(int(number), int(start), int(accepted), int(code), int(tries), int(length), crc))
        return run, sent

    def await_arrival(self, run: str, count: int, seconds: float = 280) -> list[tuple[str, int, int, int, str]]:
        """Waits for `count` messages of a run, and a moment more for one that comes twice."""
        arrived, deadline, last = self.sink.arrived, time.monotonic() + seconds, time.monotonic()
        seen = found = 0
        while True:
            arrived.refresh()
            found += sum(one[0] in (run, "?") for one in arrived.messages[seen:])
            if len(arrived.messages) > seen:
                seen, last = len(arrived.messages), time.monotonic()
            if found >= count or time.monotonic() > min(deadline, last + STALL):
                break
            time.sleep(0.01)
        time.sleep(0.3)
        arrived.refresh()
        return [one for one in arrived.messages if one[0] in (run, "?")]

    def deliver(self, messages: int, size: int = 4096, senders: int = 1, **how: float) -> Delivery:
        """Sends `messages` and waits until the sink has them."""
        cpu, sink, busy = processes.cpu_seconds(self.pid), self.sink.cpu_seconds(), processes.busy_seconds()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = self.sink.arrived.connections
        run, sent = self.send(messages, size, senders, **how)
        arrived = self.await_arrival(run, sum(one.code == 250 for one in sent))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime + self.sink.cpu_seconds() - sink
        cpu = processes.cpu_seconds(self.pid) - cpu
        foreign = processes.busy_seconds() - busy - cpu - own
        return Delivery(sent, arrived, cpu, own, foreign, self.sink.arrived.connections - lines)

    def warm_up(self, messages: int = 10) -> None:
        """Sends a few messages, and waits for the end of what a peer does once after its start."""
        if any((faults := self.deliver(messages, 2000).check()).values()):
            raise SystemExit(f"{self.peer.name} does not deliver: {json.dumps(faults)}\n{self.said()}")
        time.sleep(max(0.0, self._settled - time.monotonic()))

    def said(self) -> str:
        """The last of what it printed and logged."""
        logs = [file for file in (self.directory / "output.log", self.directory / "mail.log") if file.exists()]
        return "\n".join(file.read_text(errors="replace")[-1500:] for file in logs)
