"""The disk fails under a running relay: devices hear 452, nothing promised is lost, it heals itself, a person is told once.

device -> relay run (its disk: full | read-only | EIO at writes, at syncs) -> sink
"""

import smtplib
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.spool.sqlite.invariants import check_invariants
from tests.chaos.ledger import FULL, Ledger
from tests.support import faults
from tests.support.aftermath import aftermath
from tests.support.running import RelayProcess
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually
from tests.support.webhook import Pushes, pushes

SENDER = "nas@isp.example"


@dataclass
class Device:
    """Sends numbered mail; `replies` are those to MAIL or the content, `promised` the queue ids it heard."""

    relay: RelayProcess
    replies: list[str] = field(default_factory=list)
    promised: list[str] = field(default_factory=list)

    def send(self, octets: int = 300) -> str:
        with smtplib.SMTP("127.0.0.1", self.relay.port, "nas", timeout=60) as line:
            code, said = line.mail(SENDER)
            if code == 250:
                line.rcpt("b@far.example")
                body = "0123456789\r\n" * (octets // 12)
                code, said = line.data(f"From: <{SENDER}>\r\nSubject: {len(self.replies)}\r\n\r\n{body}")
            self.replies.append(f"{code} {said.decode()}")
            if code == 250:
                self.promised.append(said.decode().split()[-1])
            with suppress(smtplib.SMTPException):
                line.quit()
        return self.replies[-1]


def configured(directory: Path, spool: Path, upstream: Sink, push: Pushes) -> RelayProcess:
    return RelayProcess(
        directory,
        {
            "upstreams": {"sink": {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}},
            "notices": {"webhook": push.url, "digest": "1s"},
            "spool": {"url": f"sqlite:{spool}/spool.db", "keep_free": "4MB"},
        },
    )


def copies(upstream: Sink) -> Counter[str]:
    return Counter(one.header("Message-ID").strip("<>").partition("@")[0] for one in upstream.taken())


def lost_and_doubled(upstream: Sink, device: Device) -> tuple[int, int]:
    found = copies(upstream)
    return sum(not found[one] for one in device.promised), sum(found[one] > 1 for one in device.promised)


FAULTS: dict[str, tuple[Callable[[int], AbstractContextManager[None]], str]] = {
    "read-only file system": (lambda pid: faults.failing(pid, faults.WRITES, "EROFS"), "cannot be written"),
    "EIO at every write": (lambda pid: faults.failing(pid, "pwrite64", "EIO"), "cannot be written"),
    "EIO at every fsync": (lambda pid: faults.failing(pid, faults.SYNCS, "EIO"), "cannot be written"),
    "ENOSPC at every write": (lambda pid: faults.failing(pid, "pwrite64", "ENOSPC"), "spool"),
}


@pytest.mark.parametrize("fault", FAULTS if FULL else ["read-only file system", "EIO at every fsync"])
def test_a_medium_that_fails_and_heals(fault: str, tmp_path: Path, ledger: Ledger) -> None:
    """While it fails every device hears 452; after it mail flows without a restart, and a person was told once."""
    breaking, told = FAULTS[fault]
    with sink(tmp_path / "sink") as upstream, pushes() as push:
        relay = configured(tmp_path, tmp_path / "spool", upstream, push).start()
        device = Device(relay)
        try:
            assert device.send().startswith("250")
            upstream.wait_for(1)
            eventually(lambda: not aftermath(relay.spool).queued)
            with breaking(relay.pid):
                during = [device.send(octets) for octets in (400_000, 300, 400_000)]
                eventually(lambda: push.about(told), 20, relay.said)
            assert [reply[:3] for reply in during] == ["452"] * 3
            eventually(lambda: device.send().startswith("250"), 20, relay.said)
            assert device.send().startswith("250")
            upstream.wait_for(len(device.promised))
            eventually(lambda: not aftermath(relay.spool).queued, 30, relay.said)
        finally:
            relay.stop()
        lost, doubled = lost_and_doubled(upstream, device)
    ledger.enter(
        fault, promised=len(device.promised), lost=lost, doubled=doubled, words=f"452 to devices, told {len(push.bodies)} x"
    )
    assert (lost, doubled) == (0, 0)
    assert len(push.about(told)) == 1
    assert check_invariants(relay.spool) == []


def spoken_to(port: int) -> bool:
    """Whether a connection to this port is open."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(line[2].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


def test_a_medium_that_fails_between_the_upstreams_250_and_the_settlement(tmp_path: Path, ledger: Ledger) -> None:
    """What was sent is remembered in memory until it can be written: not lost, not sent again."""
    with sink(tmp_path / "sink", delay=3) as upstream, pushes() as push:
        relay = configured(tmp_path, tmp_path / "spool", upstream, push).start()
        device = Device(relay)
        try:
            assert device.send().startswith("250")
            eventually(lambda: spoken_to(upstream.port))  # before that, a write that fails keeps the relay from calling
            with faults.failing(relay.pid, faults.WRITES, "EIO"):
                upstream.wait_for(1)
                relay.wait_for("broken")
                assert aftermath(relay.spool).queued == 1
            eventually(lambda: not aftermath(relay.spool).queued, 30, relay.said)
            assert device.send().startswith("250")
            upstream.wait_for(2)
            eventually(lambda: not aftermath(relay.spool).queued, 30, relay.said)
        finally:
            relay.stop()
        lost, doubled = lost_and_doubled(upstream, device)
    ledger.enter(
        "EIO when a fate is to be stored", promised=2, lost=lost, doubled=doubled, words="kept in memory, then written"
    )
    assert (lost, doubled) == (0, 0)


def test_a_disk_that_is_full_to_the_last_octet(tmp_path: Path, ledger: Ledger) -> None:
    """Somebody else fills the disk while mail waits: 452, told once; room again, and all goes out, once."""
    with faults.small_disk(tmp_path / "spool", "24m") as disk, sink(tmp_path / "sink") as upstream, pushes() as push:
        relay = configured(tmp_path, disk, upstream, push)
        held = {**relay.config["upstreams"]["sink"], "port": 1}
        relay.configure({**relay.config, "upstreams": {"sink": held}})
        relay.start()
        device = Device(relay)
        try:
            while device.send(400_000).startswith("250"):
                pass
            assert device.replies[-1].startswith("452 4.3.1")
            faults.take_all_that_is_left(disk / "ballast")
            assert device.send().startswith("452 4.3.1")
            relay.configure({**relay.config, "upstreams": {"sink": {**held, "port": upstream.port}}})
            relay.reload()
            assert device.send().startswith("452 4.3.1")
            (disk / "ballast").unlink()
            eventually(lambda: not aftermath(relay.spool).queued, 60, relay.said)
            eventually(lambda: device.send().startswith("250"), 20, relay.said)
            upstream.wait_for(len(device.promised))
            eventually(lambda: not aftermath(relay.spool).queued, 30, relay.said)
            eventually(lambda: push.about("spool is full"), 20, relay.said)  # within the digest of what was told before it
        finally:
            relay.stop()
        lost, doubled = lost_and_doubled(upstream, device)
        sound = check_invariants(relay.spool)
    refused = sum(reply.startswith("452") for reply in device.replies)
    words = f"452 x {refused}, told {len(push.about('spool is full'))} x"
    ledger.enter("a full disk", promised=len(device.promised), lost=lost, doubled=doubled, words=words)
    assert (lost, doubled) == (0, 0)
    assert len(push.about("spool is full")) == 1
    assert sound == []
