"""One real relay under attack, the NAS that it must serve meanwhile, and what is measured.

attackers (127.0.x.y) ──> relay run ──> sink, and odd upstreams          the NAS is 127.0.0.1
"""

import base64
import json
import re
import smtplib
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.strange import DRIP, ECHO, GARBAGE, HUGE, SILENT, Strange
from tests.support.device import untrusting
from tests.support.peers import free_port
from tests.support.running import RelayProcess
from tests.support.sink import Sink, sink

SENDER = "nas@isp.example"
PATIENCE = 10.0
"""Seconds: what a NAS gives its relay to take a message, and a person to the page."""

MEMORY = 150_000  # kB
STRANGE = {"drip": DRIP, "huge": HUGE, "garbage": GARBAGE, "silent": SILENT, "echo": ECHO}
_RAW = re.compile("[\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\x1b")


@dataclass
class Nas:
    """Sends a message a second, and again where it is told to.

    How many it tried, how many were taken in time, and how long the slowest took.
    """

    port: Callable[[], int]
    tried: int = 0
    taken: int = 0
    slowest: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        while not self.over.wait(1.0):
            began = time.monotonic()
            self.tried += 1
            while (left := began + PATIENCE - time.monotonic()) > 0:
                with suppress(OSError, smtplib.SMTPException):
                    with smtplib.SMTP("127.0.0.1", self.port(), "nas", timeout=left) as line:
                        line.sendmail(SENDER, "b@far.example", f"From: <{SENDER}>\r\nSubject: nas\r\n\r\nx\r\n")
                    self.taken += 1
                    break
                time.sleep(0.3)  # told to try again, as by 421
            self.slowest = max(self.slowest, time.monotonic() - began)


@dataclass
class Row:
    """What came of one kind of attack."""

    kind: str
    tried: int
    died: int
    memory: int
    served: int
    asked: int
    slowest: float
    health: bool
    words: str = ""

    @property
    def good(self) -> bool:
        return not self.died and self.health and self.served == self.asked and self.memory < MEMORY and not self.words


@dataclass
class Scene:
    """The relay, kept alive as its service manager would; `deaths` counts how often that was needed."""

    relay: RelayProcess
    upstream: Sink
    nas: Nas
    web: int
    locked: int
    deaths: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def memory(self) -> int:
        """The most that it had resident since `forget_memory`, in kB."""
        with suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.relay.pid}/status").read_text())
            return int(found[1]) if found else 0
        return 0

    def forget_memory(self) -> None:
        with suppress(OSError):
            Path(f"/proc/{self.relay.pid}/clear_refs").write_text("5")

    def healthy(self) -> bool:
        """By `relay health`, as the container asks."""
        with suppress(subprocess.TimeoutExpired):
            return self.relay.command("health", seconds=20).returncode == 0
        return False

    def page_answers(self) -> bool:
        """To the person who has the password."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.web}/")
        asked.add_header("Authorization", "Basic " + base64.b64encode(b"me:owner-password").decode())
        with suppress(OSError):
            return bool(urllib.request.urlopen(asked, timeout=PATIENCE).status == 200)  # noqa: S310
        return False

    def look_after(self) -> None:
        """What systemd does: starts it anew when it has ended."""
        while not self.over.wait(0.3):
            if not self.relay.running:
                self.deaths += 1
                with suppress(AssertionError):
                    self.relay.start(self.relay.environment)

    def raw_controls(self) -> int:
        """Lines of the log with octets that steer a terminal."""
        return sum(1 for line in tuple(self.relay.lines) if _RAW.search(line))


@contextmanager
def scene(directory: Path) -> Iterator[Scene]:
    """A relay with its usual limits, two listeners, the page with a password, five odd upstreams."""
    with ExitStack() as stack:
        upstream = stack.enter_context(sink(directory / "sink"))
        strange = {name: stack.enter_context(Strange(what)) for name, what in STRANGE.items()}
        web, plain, locked = free_port(), free_port(), free_port()
        plain_tls: dict[str, Any] = {"tls": "none", "sender": SENDER}
        relay = RelayProcess(
            directory,
            {
                "listen": [
                    {"address": f"127.0.0.1:{plain}", "networks": ["private"]},
                    {
                        "address": f"127.0.0.1:{locked}",
                        "networks": ["private"],
                        "auth": "required",
                        "users": {"nas": "right-password"},
                    },
                ],
                "upstreams": {
                    "sink": {"host": "127.0.0.1", "port": upstream.port, **plain_tls},
                    **{name: {"host": "127.0.0.1", "port": one.port, **plain_tls} for name, one in strange.items()},
                },
                "routes": [*({"to": f"*@{name}.example", "via": [name]} for name in STRANGE), {"via": ["sink"]}],
                "web": {"address": f"127.0.0.1:{web}", "password": "owner-password"},
                "notices": {"webhook": f"http://127.0.0.1:{strange['drip'].port}/", "digest": "1s"},
            },
        )
        relay.start()
        at = Scene(relay, upstream, Nas(lambda: plain), web, locked)
        threads = [threading.Thread(target=work, daemon=True) for work in (at.nas.work, at.look_after)]
        for thread in threads:
            thread.start()
        try:
            yield at
        finally:
            at.nas.over.set()
            at.over.set()
            for thread in threads:
                thread.join(30)
            if relay.running:
                with suppress(AssertionError):
                    relay.stop(60)


class Line:
    """A device's socket, from an address of its own."""

    def __init__(self, port: int, number: int, *, patience: float = PATIENCE, hello: bool = True) -> None:
        source = f"127.0.{1 + number // 250 % 250}.{1 + number % 250}"
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port), patience, (source, 0))
        self.file = self.sock.makefile("rb")
        if hello:
            self.reply()
            self.ask(b"EHLO [192.168.0.9]\r\n")

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.file.close()
            self.sock.close()

    def reply(self) -> bytes:
        """The last line of the next reply.  Raises OSError when the relay hung up."""
        while True:
            line = self.file.readline(10_000)
            if not line:
                raise ConnectionResetError
            if line[3:4] != b"-":
                return line

    def ask(self, octets: bytes) -> bytes:
        self.sock.sendall(octets)
        return self.reply()

    def tls(self) -> None:
        self.ask(b"STARTTLS\r\n")
        self.sock = untrusting().wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")
        self.ask(b"EHLO [192.168.0.9]\r\n")

    def begin(self, to: str = "b@far.example", sender: str = "cam@isp.example") -> None:
        """As far as DATA."""
        self.ask(f"MAIL FROM:<{sender}>\r\n".encode())
        self.ask(f"RCPT TO:<{to}>\r\n".encode())
        self.ask(b"DATA\r\n")

    def letter(self, octets: bytes, to: str = "b@far.example") -> bytes:
        self.begin(to)
        self.sock.sendall(octets)
        return self.ask(b"\r\n.\r\n")


def nobody_reads(directory: Path, upstream: Sink) -> tuple[int, int, int]:
    """A relay whose log goes into a pipe that nobody empties, while strangers make it say much.

    How many messages a NAS had taken and relayed, of how many, and how many lines were provoked.
    """
    directory.mkdir()
    port = free_port()
    relay = RelayProcess(
        directory,
        {
            "listen": [{"address": f"127.0.0.1:{port}", "networks": ["private"]}],
            "upstreams": {"sink": {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}},
        },
    )
    line = ["python", "-m", "relay", "run", "--config", str(relay.config_file)]
    process = subprocess.Popen([relay.python, *line[1:]], cwd=relay.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _until_listening(port)
        provoked = 0
        for number in range(600):
            with suppress(OSError), Line(port, number, patience=2) as device:
                device.ask(b"MAIL FROM:<x@y.example>\r\n")
                for _ in range(5):
                    device.ask(b"RCPT TO:<" + b"x" * 400 + b"@>\r\n")
                    provoked += 1
            if process.poll() is not None or provoked < number:
                break
        taken, before = 0, upstream.count()
        for _ in range(3):
            with suppress(OSError, smtplib.SMTPException):
                with smtplib.SMTP("127.0.0.1", port, "nas", timeout=PATIENCE) as nas:
                    nas.sendmail(SENDER, "b@far.example", "Subject: unread\r\n\r\nx\r\n")
                taken += 1
        until = time.monotonic() + PATIENCE
        while upstream.count() < before + taken and time.monotonic() < until:
            time.sleep(0.1)
        return min(taken, upstream.count() - before), 3, provoked
    finally:
        process.kill()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def _until_listening(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)


def table(rows: list[Row]) -> list[str]:
    """For people: one line for each kind."""
    head = ("kind", "tried", "survived", "peak memory", "served meanwhile", "")
    cells = [head]
    for row in rows:
        survived = "yes" if not row.died and row.health else f"no, died {row.died} times" if row.died else "no health"
        served = f"{row.served} of {row.asked}, {row.slowest:.1f} s at most"
        cells.append((row.kind, str(row.tried), survived, f"{row.memory / 1000:.0f} MB", served, row.words))
    widths = [max(len(row[column]) for row in cells) for column in range(6)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def as_json(rows: list[Row]) -> str:
    return json.dumps([row.__dict__ for row in rows], indent=1)
