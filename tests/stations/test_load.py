"""Big, many and side by side, through the real process to a real sink.

device(s) ──> relay run ──> sink
"""

import hashlib
import smtplib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.letters import recent_date
from tests.support.running import RelayProcess, running
from tests.support.sink import Sink, sink

MOST_MEMORY = 100_000_000  # octets, at the highest


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Sink]:
    with sink(tmp_path / "sink") as upstream:
        yield upstream


@pytest.fixture
def relay(tmp_path: Path, behind: Sink) -> Iterator[RelayProcess]:
    upstream = {"host": "127.0.0.1", "port": behind.port, "tls": "none", "sender": "nas@isp.example"}
    limits = {"messages_per_minute": 100_000, "per_client": 100}
    with running(tmp_path, {"upstreams": {"isp": upstream}, "limits": limits}) as one:
        yield one


def peak_memory(relay: RelayProcess) -> int:
    """The highest resident set of the relay so far, in octets."""
    status = Path(f"/proc/{relay.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def letter(name: str, body: bytes = b"body\r\n") -> bytes:
    head = f"From: <nas@isp.example>\r\nTo: <me@far.example>\r\nSubject: {name}\r\nMessage-ID: <{name}@nas.example>\r\n"
    return f"{head}Date: {recent_date()}\r\n\r\n".encode() + body


def submit(relay: RelayProcess, names: list[str]) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=60) as device:
        device.ehlo("nas")
        for name in names:
            device.mail("nas@isp.example")
            device.rcpt("me@far.example")
            code, said = device.data(letter(name))
            assert code == 250, said


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory is read from /proc")
def test_fifty_megabytes_pass_through_little_memory(relay: RelayProcess, behind: Sink) -> None:
    """A message of nearly 50 MB arrives unaltered, and the relay never holds 100 MB."""
    line = b"0123456789abcdef" * 4 + b"\r\n"
    body = line * (49_900_000 // len(line))
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=100) as device:
        device.ehlo("nas")
        device.mail("nas@isp.example")
        device.rcpt("me@far.example")
        code, said = device.data(letter("big", body))
    assert code == 250, said
    (taken,) = behind.wait_for(1, seconds=60)
    arrived = taken.octets.partition(b"\r\n\r\n")[2]
    assert hashlib.sha256(arrived).hexdigest() == hashlib.sha256(body).hexdigest()
    assert peak_memory(relay) < MOST_MEMORY


def test_a_thousand_messages_in_one_session(relay: RelayProcess, behind: Sink) -> None:
    """One device that never hangs up gets all its mail through, each once."""
    names = [f"m{number}" for number in range(1000)]
    submit(relay, names)
    arrived = [taken.header("Subject") for taken in behind.wait_for(1000, seconds=90)]
    assert sorted(arrived) == sorted(names)


def test_fifty_devices_at_once(relay: RelayProcess, behind: Sink) -> None:
    """Fifty devices that send side by side are all served, and each message arrives once."""
    groups = [[f"d{device}-{number}" for number in range(4)] for device in range(50)]
    devices = [threading.Thread(target=submit, args=(relay, names)) for names in groups]
    for device in devices:
        device.start()
    for device in devices:
        device.join(90)
    arrived = [taken.header("Subject") for taken in behind.wait_for(200, seconds=60)]
    assert sorted(arrived) == sorted(name for names in groups for name in names)
