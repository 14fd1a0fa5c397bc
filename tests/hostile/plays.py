"""The attacks: each function is one try by client `number`, and raises OSError when the relay does not let it go on."""

import base64
import random
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from tests.hostile.scene import Line, Scene

Attack = Callable[[Scene, int, "Scale"], None]


@dataclass(frozen=True)
class Scale:
    """How much of everything: 1 in the short form."""

    size: int = 1
    long: bool = False

    @property
    def patience(self) -> float:
        """Seconds that a slow one goes on."""
        return 25.0 if self.long else 4.0


@dataclass(frozen=True)
class Play:
    """`clients` play it at a time; `field`: at which part of the relay."""

    kind: str
    attack: Attack
    clients: int = 5
    field: str = "listener"


def _mail(line: str | bytes, *, body: bytes = b"x") -> Attack:
    """A letter with one line that is hard to read."""
    head = line if isinstance(line, bytes) else line.encode()

    def attack(scene: Scene, number: int, scale: Scale) -> None:
        with Line(scene.relay.port, number) as device:
            device.letter(head + b"\r\n\r\n" + body)

    return attack


CUBIC = b"From x " + b"Mon " * 1_000 + b"00:00 " * 1_000 + b"x"
LONG_TO = b"To: " + b"a" * 240_000
QUOTES = b'To: "' + b'\\"' * 60_000
ENCODED = b"Subject: " + b"=?utf-8?q?" * 20_000
FOLDS = b"Subject: x" + b"\r\n \t" * 60_000 + b"x"
FIELDS = b"\r\n".join(b"X-%d: %s" % (number, b"y" * 20) for number in range(7_000))
PARTS = b"Content-Type: multipart/mixed; boundary=b" + b"".join(b";%d=x" % number for number in range(20_000))
NESTED = b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(3_000))


def hard_bodies(scene: Scene, number: int, scale: Scale) -> None:
    """Delimiters that are none, blanks behind them, runs of CR: more than a buffer each."""
    octets = 4_000_000 * scale.size
    shape = (b"--x" + b" " * 900 + b"y\r\n", b"--" + b"-" * 190 + b"\r\n", b"\r\n--", b" \t" * 400 + b"\r\n")[number % 4]
    with Line(scene.relay.port, number, patience=60) as device:
        device.letter(b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed\r\n\r\n" + shape * (octets // len(shape)))


def runs_of_cr(scene: Scene, number: int, scale: Scale) -> None:
    with Line(scene.relay.port, number, patience=60) as device:
        device.begin()
        device.sock.sendall(b"Subject: x\r\n\r\n")
        for _ in range(9 * scale.size):
            device.sock.sendall(b"\r" * 1_000_000)
        device.ask(b"\r\n.\r\n")


def huge_lines(scene: Scene, number: int, scale: Scale) -> None:
    with Line(scene.relay.port, number, patience=30) as device:
        for _ in range(10 * scale.size):
            device.sock.sendall(b"x" * 1_000_000)
        device.ask(b"\r\n")
        device.begin()
        for _ in range(10 * scale.size):
            device.sock.sendall(b"x" * 1_000_000)
        device.ask(b"\r\n.\r\n")


def drips_in_data(scene: Scene, number: int, scale: Scale) -> None:
    """Five addresses hold all places, and never stop saying a little."""
    with Line(scene.relay.port, number % 5, patience=60) as device:
        device.begin()
        _drip(device, scale)


def drips_in_commands(scene: Scene, number: int, scale: Scale) -> None:
    with Line(scene.relay.port, number % 5, patience=60, hello=False) as device:
        _drip(device, scale)


def _drip(device: Line, scale: Scale) -> None:
    until = time.monotonic() + scale.patience
    while time.monotonic() < until:
        device.sock.sendall(b"x")
        time.sleep(0.4)


def uploads_by_tls(scene: Scene, number: int, scale: Scale) -> None:
    block = random.Random(number).randbytes(45_000)
    letter = base64.encodebytes(block).replace(b"\n", b"\r\n")
    with Line(scene.relay.port, number, patience=120) as device:
        device.tls()
        device.letter(b"Subject: scan\r\n\r\n" + letter * (30 * (3 if scale.long else 1)))


def guesses(scene: Scene, number: int, scale: Scale) -> None:
    """Passwords for the locked listener; one session after another."""
    with Line(scene.locked, number % 3) as device:
        device.tls()
        for guess in range(10):
            said = base64.b64encode(b"\0nas\0wrong-%d" % guess)
            if device.ask(b"AUTH PLAIN " + said + b"\r\n").startswith(b"235"):
                raise AssertionError("let in")


def bad_commands(scene: Scene, number: int, scale: Scale) -> None:
    with Line(scene.relay.port, number) as device:
        for _ in range(30):
            device.sock.sendall(b"XYZZY\r\nMAIL\r\nRCPT TO:<>\r\nDATA\r\n\0\r\n" * 20)
        for _ in range(1000):
            device.reply()


def many_recipients(scene: Scene, number: int, scale: Scale) -> None:
    with Line(scene.relay.port, number) as device:
        device.ask(b"MAIL FROM:<a@isp.example>\r\n")
        for each in range(2_000):
            device.ask(b"RCPT TO:<u%d@far.example>\r\n" % each)


def control_octets(scene: Scene, number: int, scale: Scale) -> None:
    evil = ("\x1b[2J\x9b31m\u202eevil\u2066").encode()
    with Line(scene.relay.port, number, hello=False) as device:
        device.reply()
        device.ask(b"EHLO " + evil + b"\r\n")
        device.ask(b"MAIL FROM:<" + evil + b"@isp.example> BODY=8BITMIME SMTPUTF8\r\n")
        device.ask(b"RCPT TO:<" + evil + b"@echo.example>\r\n")
        device.ask(b"MAIL FROM:<a@isp.example>\r\n")
        device.ask(b"RCPT TO:<b@far.example>\r\n")
        device.ask(b"DATA\r\n")
        device.ask(b"Subject: " + evil + b"\r\nFrom: " + evil + b" <a@isp.example>\r\n\r\n" + evil + b"\r\n.\r\n")


def smuggling(scene: Scene, number: int, scale: Scale) -> None:
    fake = (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\r\n.\r\r\n", b"\r\n. \r\n")[number % 8]
    inner = b"MAIL FROM:<evil@far.example>\r\nRCPT TO:<victim@far.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
    with Line(scene.relay.port, number) as device:
        device.letter(b"Subject: outer\r\n\r\nhi" + fake + inner + fake + b"hi")


def noise(scene: Scene, number: int, scale: Scale) -> None:
    dice = random.Random(number * 7919 + int(time.monotonic() * 1000))
    with Line(scene.relay.port, number, hello=number % 2 == 0) as device:
        for _ in range(20):
            device.sock.sendall(dice.randbytes(dice.randrange(1, 20_000)))


def half_a_handshake(scene: Scene, number: int, scale: Scale) -> None:
    with Line(scene.relay.port, number) as device:
        device.ask(b"STARTTLS\r\n")
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        device.sock.sendall(hello if number % 2 else random.Random(number).randbytes(5000))
        time.sleep(scale.patience / 4)


def floods_of_connections(scene: Scene, number: int, scale: Scale) -> None:
    with ExitStack() as stack:
        for each in range(30):
            with suppress(OSError):
                stack.enter_context(Line(scene.relay.port, number + each * 7, hello=False))


def mad_camera(scene: Scene, number: int, scale: Scale) -> None:
    """As many messages as it can, from one address."""
    with Line(scene.relay.port, 7) as device:
        for _ in range(50):
            device.letter(b"Subject: motion\r\n\r\n" + b"x" * 2_000)


def to_strange_upstreams(scene: Scene, number: int, scale: Scale) -> None:
    """Mail by servers that drip, flood, hang, answer nonsense, or repeat the device's words."""
    name = ("drip", "huge", "garbage", "silent", "echo")[number % 5]
    with Line(scene.relay.port, number) as device:
        device.letter(b"Subject: strange\r\n\r\nx", to=f"spamhaus-helo-not-allowed-{number}@{name}.example")
        time.sleep(0.5)


def slow_requests(scene: Scene, number: int, scale: Scale) -> None:
    """A header that never ends, a body that never comes, a reader that never reads."""
    with _http(scene, number) as sock:
        head = b"GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if number % 3 == 0:
            sock.sendall(head % b"")
            until = time.monotonic() + scale.patience
            while time.monotonic() < until:
                sock.sendall(b"X-A: b\r\n")
                time.sleep(0.5)
        elif number % 3 == 1:
            sock.sendall(b"POST /api/v1/retry HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n")
            time.sleep(scale.patience)
        else:
            sock.sendall((head % b"static/x" + b"\r\n") * 2_000)
            time.sleep(scale.patience)


def page_guesses(scene: Scene, number: int, scale: Scale) -> None:
    said = base64.b64encode(b"me:wrong-%d" % number)
    with _http(scene, number) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Basic " + said + b"\r\n\r\n")
        if sock.recv(20).startswith(b"HTTP/1.1 200"):
            raise AssertionError("let in")


def _http(scene: Scene, number: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", scene.web), 10, (f"127.0.9.{1 + number % 5}", 0))


PLAYS = (
    Play("a first line that took cubic time", _mail(CUBIC), 5, "letter"),
    Play("a To of 240,000 letters", _mail(LONG_TO), 2, "letter"),
    Play("quotes, encoded words, folds without end", _mail(QUOTES + b"\r\n" + ENCODED + b"\r\n" + FOLDS), 2, "letter"),
    Play("thousands of fields and parameters", _mail(FIELDS + b"\r\n" + PARTS), 2, "letter"),
    Play("thousands of nested parts", _mail(b"Content-Type: multipart/mixed; boundary=b0", body=NESTED), 2, "letter"),
    Play("bodies that are hard to read", hard_bodies, 4, "letter"),
    Play("runs of CR", runs_of_cr, 5, "letter"),
    Play("huge lines", huge_lines, 4),
    Play("octets now and then, inside DATA", drips_in_data, 100),
    Play("octets now and then, as commands", drips_in_commands, 100),
    Play("uploads by TLS", uploads_by_tls, 12),
    Play("password guesses", guesses, 4),
    Play("floods of bad commands", bad_commands, 5),
    Play("recipients without end", many_recipients, 4),
    Play("control octets", control_octets, 4),
    Play("feigned ends of DATA", smuggling, 8),
    Play("noise", noise, 8),
    Play("half a TLS handshake", half_a_handshake, 10),
    Play("floods of connections", floods_of_connections, 4),
    Play("a camera gone mad", mad_camera, 4),
    Play("odd upstreams", to_strange_upstreams, 10, "page and upstreams"),
    Play("slow requests to the page", slow_requests, 30, "page and upstreams"),
    Play("password guesses at the page", page_guesses, 5, "page and upstreams"),
)
