"""Everything a hostile or broken neighbour can do at once, to one real relay with its usual limits, while a NAS keeps sending.

attackers (127.0.1.x) ──> relay run ──> sink       the NAS (127.0.0.1) is served, memory stays small, replies stay true
"""

import random
import re
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.ledger import FULL, Ledger
from tests.support.aftermath import aftermath
from tests.support.device import untrusting
from tests.support.running import RelayProcess
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually

SENDER = "nas@isp.example"
MEMORY = 150_000  # kB
MEGABYTES = 200 if FULL else 60
PATIENCE = 20.0

FAKE_ENDS = [
    *(b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r.\n"),
    *(b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\r\n.\r\r\n", b"\r\n. \r\n", b"\r\n\x85.\x85\r\n", b"\xe2\x80\xa8.\xe2\x80\xa8"),
]


@dataclass
class Nas:
    """An ordinary device that never stops sending; what it heard and how long each message took."""

    port: int
    replies: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        while not self.over.wait(0.2):
            began = time.monotonic()
            with suppress(OSError):
                try:
                    with smtplib.SMTP("127.0.0.1", self.port, "nas", timeout=PATIENCE) as line:
                        line.sendmail(SENDER, "b@far.example", f"From: <{SENDER}>\r\nSubject: nas\r\n\r\nx\r\n")
                    self.replies.append("250")
                except smtplib.SMTPException as error:
                    self.replies.append(str(error))
            self.seconds.append(time.monotonic() - began)


@dataclass
class World:
    relay: RelayProcess
    upstream: Sink
    nas: Nas

    @property
    def memory(self) -> int:
        """The most that the relay has ever had resident, in kB."""
        status = Path(f"/proc/{self.relay.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("hostile")
    with sink(directory / "sink") as upstream:
        smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}
        relay = RelayProcess(directory, {"upstreams": {"sink": smarthost}, "limits": {"messages_per_minute": 10_000}})
        relay.start()
        nas = Nas(relay.port)
        working = threading.Thread(target=nas.work, daemon=True)
        working.start()
        try:
            yield World(relay, upstream, nas)
        finally:
            nas.over.set()
            working.join(30)
            relay.stop()


@pytest.fixture(autouse=True)
def unharmed(world: World, request: pytest.FixtureRequest, ledger: Ledger) -> Iterator[None]:
    """During each attack the NAS sends on, and afterwards all it sent has arrived and memory is small."""
    before = len(world.nas.replies)
    yield
    eventually(lambda: world.nas.replies[before:].count("250") >= 3, 60)
    replies, slowest = world.nas.replies[before:], max(world.nas.seconds[before:])
    eventually(lambda: not aftermath(world.relay.spool).queued, 60, world.relay.said)
    sent = world.nas.replies.count("250")
    arrived = eventually(lambda: found if (found := _from_the_nas(world.upstream)) >= sent else 0, 30)
    words = f"{replies.count('250')} of {len(replies)} x the NAS was served, {slowest:.1f} s at most; {world.memory // 1000} MB"
    ledger.enter(
        request.node.name.removeprefix("test_").replace("_", " "),
        promised=replies.count("250"),
        lost=max(sent - arrived, 0),
        words=words,
    )
    # when all places are taken by others who are quick, it hears so, and tries again
    assert all(reply == "250" or "limits.connections" in reply for reply in replies)
    assert world.memory < MEMORY
    assert world.relay.events("broken") == []


def _from_the_nas(upstream: Sink) -> int:
    return sum(one.header("Subject") == "nas" for one in upstream.taken())


class Line:
    """A socket of an attacker, from an address of its own; replies are read whole."""

    def __init__(self, world: World, source: str = "127.0.1.1", *, greeted: bool = True) -> None:
        self.sock = socket.create_connection(("127.0.0.1", world.relay.port), PATIENCE, (source, 0))
        self.file = self.sock.makefile("rb")
        self.greeting = self.reply() if greeted else ""

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    def reply(self) -> str:
        """The last line of the next reply; "" if the relay hung up."""
        with suppress(ConnectionError):
            while line := self.file.readline().decode("utf-8", "replace").rstrip():
                if not re.match(r"\d{3}-", line):
                    return line
        return ""

    def ask(self, octets: bytes) -> str:
        with suppress(ConnectionError):
            self.sock.sendall(octets)
        return self.reply()


def attacks_of(upstream: Sink) -> list[bytes]:
    return [one.octets for one in upstream.taken() if one.header("Subject") != "nas"]


def test_smuggling(world: World) -> None:
    """One DATA never becomes two messages, neither here nor upstream, however its end is feigned; all of it is CRLF."""
    before = len(attacks_of(world.upstream))
    inner = b"MAIL FROM:<evil@far.example>\r\nRCPT TO:<victim@far.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
    for number, fake in enumerate(FAKE_ENDS):
        with Line(world) as line:
            line.ask(b"EHLO x\r\n")
            assert line.ask(b"MAIL FROM:<a@far.example>\r\n").startswith("250")
            assert line.ask(b"RCPT TO:<b@far.example>\r\n").startswith("250")
            assert line.ask(b"DATA\r\n").startswith("354")
            reply = line.ask(b"Subject: outer %d\r\n\r\nhi%b%b%bhi\r\n.\r\n" % (number, fake, inner, fake))
            assert reply.startswith("250"), fake
            assert line.ask(b"QUIT\r\n").startswith("221"), fake
    eventually(lambda: not aftermath(world.relay.spool).queued, 60)
    eventually(lambda: len(attacks_of(world.upstream)) >= before + len(FAKE_ENDS), 30)
    arrived = attacks_of(world.upstream)[before:]
    assert len(arrived) == len(FAKE_ENDS)
    assert not any(re.search(rb"\r(?!\n)|(?<!\r)\n", octets) for octets in arrived)
    assert not any(one.forward_paths == ["victim@far.example"] for one in world.upstream.taken())


INJECTIONS = [
    b"EHLO x\rX-Evil: yes\r\n",
    b"EHLO x\x0bX-Evil: yes\r\n",
    b"MAIL FROM:<a@far.example>\rRCPT TO:<victim@far.example>\r\n",
    b"MAIL FROM:<a@far.example\rX-Evil: yes>\r\n",
    b'MAIL FROM:<"a\rX-Evil: yes"@far.example>\r\n',
    b"RCPT TO:<b@far.example>\rRCPT TO:<victim@far.example>\r\n",
    b"RCPT TO:<b@far.example\x00victim@far.example>\r\n",
    b"RCPT TO:<b@far.example> X=\rX-Evil:yes\r\n",
    b'RCPT TO:<"x> ORCPT=<victim"@far.example>\r\n',
]


def test_injection_of_headers_and_commands(world: World) -> None:
    """Control characters in commands become neither a header of ours, nor a command upstream, nor another recipient."""
    for octets in INJECTIONS:
        with Line(world) as line:
            line.ask(b"EHLO x\r\n")
            if octets.startswith(b"RCPT"):
                line.ask(b"MAIL FROM:<a@far.example>\r\n")
            assert re.match(r"[245]\d\d ", line.ask(octets))
            for command in (b"MAIL FROM:<a@far.example>\r\n", b"RCPT TO:<b@far.example>\r\n", b"DATA\r\n"):
                line.ask(command)
            line.ask(b"Subject: injected\r\n\r\nx\r\n.\r\n")
    eventually(lambda: not aftermath(world.relay.spool).queued, 60)
    for one in world.upstream.taken():
        assert not re.search(rb"(?m)^X-Evil", one.octets.partition(b"\r\n\r\n")[0])
        assert not any("victim@far.example" in path.split() for path in one.forward_paths)


def test_a_hundred_half_open_sessions(world: World) -> None:
    """All places are held by five addresses that say an octet now and then: who speaks gets the place of who does not."""
    with ExitStack() as stack:
        held = [stack.enter_context(Line(world, f"127.0.1.{number // 20 + 1}")) for number in range(100)]
        until = time.monotonic() + 7
        while time.monotonic() < until:
            for line in held:
                with suppress(OSError):
                    line.sock.send(b"E")
            time.sleep(0.3)
        served = world.nas.replies.count("250")
        eventually(lambda: world.nas.replies.count("250") >= served + 3, 60, world.relay.said)


def test_floods_of_connections(world: World) -> None:
    """More than `per_client` and `connections` hear 421 with the limit's name; whoever else comes is served."""
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(world)) for _ in range(26)]
        assert sum(line.greeting.startswith("220") for line in lines) == 20
        assert all("limits.per_client" in line.greeting for line in lines if not line.greeting.startswith("220"))
    for _ in range(500):
        Line(world, f"127.0.1.{random.randrange(2, 200)}", greeted=False).__exit__()


def test_megabytes_without_a_line_end(world: World) -> None:
    """In a command: 500; in DATA: 552, and the line goes on.  Nothing of it is kept."""
    block = b"x" * 1_000_000
    with Line(world) as line:
        line.ask(b"EHLO x\r\n")
        for _ in range(MEGABYTES):
            line.sock.sendall(block)
        assert line.ask(b"\r\n").startswith("500 5.5.6")
        line.ask(b"MAIL FROM:<a@far.example>\r\n")
        line.ask(b"RCPT TO:<b@far.example>\r\n")
        assert line.ask(b"DATA\r\n").startswith("354")
        for _ in range(MEGABYTES):
            line.sock.sendall(block)
        assert line.ask(b"\r\n.\r\n").startswith("552 5.3.4")
        assert line.ask(b"NOOP\r\n").startswith("250")


def test_ten_thousand_recipients(world: World) -> None:
    """The first 500 are taken, the others hear 452 4.5.3, until their number is beyond any reason: 421."""
    with Line(world) as line:
        line.ask(b"EHLO x\r\n")
        line.ask(b"MAIL FROM:<a@far.example>\r\n")
        replies = []
        for number in range(10_000):
            replies.append(line.ask(b"RCPT TO:<u%d@far.example>\r\n" % number))
            if not replies[-1].startswith(("250", "452 4.5.3")):
                break
        assert sum(reply.startswith("250") for reply in replies) == 500
        assert sum(reply.startswith("452 4.5.3") for reply in replies) >= 100
        assert len(replies) == 10_000 or replies[-1].startswith("421 4.7.0")


def test_noise(world: World) -> None:
    """Octets without sense, on fresh connections and in the middle of a dialog: refused or cut off, never a surprise."""
    dice = random.Random(5321)
    for number in range(40):
        with Line(world, f"127.0.1.{number + 1}", greeted=number % 2 == 0) as line:
            with suppress(OSError):
                if number % 4 == 0:
                    line.sock.sendall(b"EHLO x\r\nMAIL FROM:<a@far.example>\r\nRCPT TO:<b@far.example>\r\n")
                line.sock.sendall(dice.randbytes(dice.randrange(1, 100_000)))


def test_tls_garbage(world: World) -> None:
    """A ClientHello in the clear, garbage after STARTTLS, a handshake that is never ended: each is let go of."""
    with Line(world, greeted=False) as line:
        with suppress(OSError):
            line.sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
    stalled = []
    for number in range(20):
        line = Line(world, "127.0.1.9")
        line.ask(b"EHLO x\r\n")
        assert line.ask(b"STARTTLS\r\n").startswith("220")
        if number < 10:
            with suppress(OSError):
                line.sock.sendall(random.Random(number).randbytes(5000))
            line.__exit__()
        else:
            stalled.append(line)
    with Line(world, "127.0.1.10") as line:
        line.ask(b"EHLO x\r\n")
        assert line.ask(b"STARTTLS\r\n").startswith("220")
        with untrusting().wrap_socket(line.sock) as wrapped:
            wrapped.sendall(b"NOOP\r\n")
            assert wrapped.recv(100).startswith(b"250")
    for line in stalled:
        line.__exit__()
