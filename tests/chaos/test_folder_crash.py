"""The relay dies, or the power fails, at every point of writing files into a folder.

scanner ──> relay (dies at a named point) ──> a folder          then it is started again
scanner ──> relay, recorded by strace     ──> a folder          each moment: what is on the disk, in the worst case
"""

import base64
import re
import signal
import smtplib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.crash_points import POINTS
from tests.chaos.ledger import Ledger
from tests.support import power, tools
from tests.support.aftermath import aftermath
from tests.support.running import RelayProcess
from tests.support.waiting import eventually

WHOLE = {"page 1.pdf": b"%PDF-1 " + b"1" * 200_000, "page 2.pdf": b"%PDF-2 " + b"2" * 70_000}
AT = [one for one in POINTS if one.startswith(("file-", "send-", "settle-"))]


def scan() -> bytes:
    parts = [
        f'--b\r\nContent-Type: application/pdf; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'.encode()
        + base64.encodebytes(octets).replace(b"\n", b"\r\n")
        for name, octets in WHOLE.items()
    ]
    head = b"From: <scanner@isp.example>\r\nSubject: Scan\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + b"".join(parts) + b"--b--\r\n"


def submit(port: int) -> None:
    with suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", port, "scanner", timeout=20) as line:
        line.sendmail("scanner@isp.example", ["scans@isp.example"], scan())


def seen(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if not one.name.startswith(".")}


def a_relay(directory: Path) -> tuple[RelayProcess, Path]:
    folder = directory / "scans"
    folder.mkdir()
    return RelayProcess(directory, {"upstreams": {"scans": {"folder": str(folder)}}}), folder


@pytest.mark.parametrize("point", AT)
def test_a_death_leaves_whole_files_and_no_double(point: str, tmp_path: Path, ledger: Ledger) -> None:
    """Under its name each file is whole or not there; after the restart each is there once, and nothing else."""
    relay, folder = a_relay(tmp_path)
    relay.start({"RELAY_DIE_AT": point})
    submit(relay.port)
    assert relay.death() == -signal.SIGKILL
    left = seen(folder)
    assert all(WHOLE[name] == octets for name, octets in left.items())
    assert (len(left) == 2) == (point in ("file-synced", "send-answered", "settle-inside", "settle-durable"))
    assert (len(left) == 1) == (point == "file-named")
    relay.start()
    try:
        eventually(lambda: not aftermath(relay.spool).queued, 30, relay.said)
        [(queue_id, states)] = aftermath(relay.spool).states.items()
        marks = [line["text"] for line in relay.show(queue_id)["trail"] if line["event"] == "warned"]
    finally:
        relay.stop()
    # who takes files out of the folder meanwhile, as Paperless does, gets them twice
    names = point in ("file-written", "file-named", "file-synced", "send-answered", "settle-inside")
    assert ["scans may have taken this message" in mark for mark in marks] == [True] * names
    assert set(states.values()) == {"relayed"}
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == WHOLE
    ledger.enter(f"death at {point}, into a folder", promised=1, lost=0, doubled=0, words=f"{len(left)} of 2 were there")


@dataclass
class _Inode:
    """The octets that were written, and those that were synced."""

    written: bytes = b""
    synced: bytes = b""


@dataclass
class _Directory:
    """Names as the running system has them, and as the disk has."""

    names: dict[str, _Inode] = field(default_factory=dict)
    durable: dict[str, _Inode] = field(default_factory=dict)

    def follow(self, verb: str, text: str, folder: str) -> None:
        name = Path(place).name if (place := _target(text)).startswith(f"{folder}/") else ""
        quoted = [octets.decode(errors="replace") for octets in power._octets(text)] if verb != "write" else []
        if verb == "openat" and "O_CREAT" in text:
            made = power._path(text.rpartition(" = ")[2].partition("<")[2].removesuffix(">"))
            if made.startswith(f"{folder}/"):
                self.names[Path(made).name] = _Inode()
        elif verb == "write" and name:
            self.names[name].written += power._octets(text)[0][: int(text.rpartition(" = ")[2])]
        elif verb == "fsync" and name:
            self.names[name].synced = self.names[name].written
        elif verb == "fsync" and place == folder:
            self.durable = dict(self.names)
        elif verb == "renameat2" and place == folder:
            self.names[quoted[-1]] = self.names.pop(quoted[0])
        elif verb == "unlinkat" and place == folder:
            self.names.pop(quoted[0], None)

    def worst(self) -> Iterator[dict[str, bytes]]:
        """What the next start may find: names and octets that were synced, or names that got to the disk before their time."""
        for names in (self.durable, self.names):
            yield {name: inode.synced for name, inode in names.items() if not name.startswith(".")}


def _target(text: str) -> str:
    found = power._FD.match(text)
    return power._path(found[2]) if found else ""


def test_a_power_cut_at_any_moment_leaves_no_half_file(tmp_path: Path, ledger: Ledger) -> None:
    """After every call that changes the folder: each name has a whole file; what was logged as relayed is all there."""
    tools.strace()
    relay, folder = a_relay(tmp_path)
    log = tmp_path / "log"
    relay.wrapper = [word.replace(power.CALLS, f"{power.CALLS},linkat,unlinkat") for word in power.wrapper(log)]
    relay.start()
    try:
        submit(relay.port)
        eventually(lambda: relay.events("relayed"), 60, relay.said)
    finally:
        relay.stop(60)
    disk, moments, told = _Directory(), 0, False
    for _, text, ended in power.calls(log):
        verb = text.partition("(")[0]
        if not ended or re.search(r" = -1\b", text):
            continue
        disk.follow(verb, text, str(folder))
        told = told or (verb in ("write", "sendto") and any(b'"event": "relayed"' in one for one in power._octets(text)[:1]))
        for there in disk.worst():
            assert all(WHOLE[name] == octets for name, octets in there.items()), (text[:200], there.keys())
            assert not told or set(there) == set(WHOLE)
        moments += 1
    assert told
    assert set(disk.durable) == set(WHOLE)
    ledger.enter("power loss while files are written", times=moments, promised=1, lost=0)
