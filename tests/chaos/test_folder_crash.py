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
    # who takes files out of the folder meanwhile, as Paperless does, may get them twice; what is all there still, nobody does
    unsure = point in ("file-written", "file-named")
    assert ["scans may have taken this message" in mark for mark in marks] == [True] * unsure
    assert set(states.values()) == {"relayed"}
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == WHOLE
    ledger.enter(f"death at {point}, into a folder", promised=1, lost=0, doubled=0, words=f"{len(left)} of 2 were there")


@dataclass
class _Inode:
    """The octets that were written, and those that were synced."""

    written: bytes = b""
    synced: bytes = b""


@dataclass
class _Disk:
    """Paths below `root` as the running system has them, and as the disk has: files, and folders (None)."""

    root: str
    names: dict[str, _Inode | None] = field(default_factory=dict)
    durable: dict[str, _Inode | None] = field(default_factory=dict)

    def follow(self, verb: str, text: str) -> None:
        place = _target(text)
        quoted = [octets.decode(errors="replace") for octets in power._octets(text)] if verb != "write" else []
        if verb == "openat" and "O_CREAT" in text:
            made = power._path(text.rpartition(" = ")[2].partition("<")[2].removesuffix(">"))
            if made.startswith(f"{self.root}/"):
                self.names[made] = _Inode()
        elif place != self.root and not place.startswith(f"{self.root}/"):
            return
        elif verb == "write" and (inode := self.names[place]):
            inode.written += power._octets(text)[0][: int(text.rpartition(" = ")[2])]
        elif verb == "fsync" and (inode := self.names.get(place)):
            inode.synced = inode.written
        elif verb == "fsync":
            here = {path: inode for path, inode in self.names.items() if str(Path(path).parent) == place}
            elsewhere = {path: inode for path, inode in self.durable.items() if str(Path(path).parent) != place}
            self.durable = {**elsewhere, **here}
        elif verb == "mkdirat":
            self.names[f"{place}/{quoted[0]}"] = None
        elif verb in ("renameat", "renameat2"):
            self.names[f"{place}/{quoted[-1]}"] = self.names.pop(f"{place}/{quoted[0]}")
        elif verb == "linkat":
            self.names[f"{place}/{quoted[-1]}"] = self.names[f"{place}/{quoted[0]}"]
        elif verb == "unlinkat":
            self.names.pop(f"{place}/{quoted[0]}", None)

    def worst(self) -> Iterator[dict[str, bytes]]:
        """What the next start may find: names and octets that were synced, or names that got to the disk before their time."""
        for names in (self.durable, self.names):
            yield {
                Path(path).name: inode.synced
                for path, inode in names.items()
                if inode is not None and not Path(path).name.startswith(".") and self._reached(path, names)
            }

    def _reached(self, path: str, names: dict[str, _Inode | None]) -> bool:
        above = str(Path(path).parent)
        return above == self.root or (above in names and self._reached(above, names))


def _target(text: str) -> str:
    """What the call's first argument is: an open file, or the folder in which it does something."""
    found = power._FD.match(text)
    return power._path(found[2]) if found else ""


DEVICES = {"hall scanner": {"client": "127.0.0.1"}}
CALLS = f"{power.CALLS},linkat,unlinkat,mkdirat"
NO_RENAME = ["-e", "inject=renameat2:error=EINVAL"]


@pytest.mark.parametrize(
    ("below", "save", "injected", "naming"),
    [("", "attachments", [], "renameat2"), ("{device}/in", "both", NO_RENAME, "linkat")],
    ids=["renamed", "linked in folders that are made"],
)
def test_a_power_cut_at_any_moment_leaves_no_half_file(
    tmp_path: Path, ledger: Ledger, below: str, save: str, injected: list[str], naming: str
) -> None:
    """After every call that changes the folder: each name has a whole file; all are there before the spool has the fate."""
    tools.strace()
    relay, folder = a_relay(tmp_path)
    scans = {"folder": f"{folder}/{below}".rstrip("/"), "save": save}
    relay.configure({**relay.config, "upstreams": {"scans": scans}, "devices": DEVICES})
    log = tmp_path / "log"
    wrapper = [word.replace(power.CALLS, CALLS) for word in power.wrapper(log)]
    relay.wrapper = [wrapper[0], *injected, *wrapper[1:]]
    relay.start()
    try:
        submit(relay.port)
        eventually(lambda: relay.events("relayed"), 60, relay.said)
    finally:
        relay.stop(60)
    whole = {one.name: one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    assert {name: octets for name, octets in whole.items() if name != "Scan.eml"} == WHOLE
    assert ("Scan.eml" in whole) == (save == "both")
    disk, moments, told, verbs = _Disk(str(folder)), 0, False, set()
    for _, text, ended in power.calls(log):
        verb = text.partition("(")[0]
        if verb == "pwrite64" and b"saved page 1.pdf" in power._octets(text)[0]:
            told = True  # the fate is about to be on the disk
        if not ended or re.search(r" = -1\b", text):
            continue
        disk.follow(verb, text)
        verbs.add(verb)
        for there in disk.worst():
            assert all(whole[name] == octets for name, octets in there.items()), (text[:200], there.keys())
        assert not told or next(disk.worst()) == whole
        moments += 1
    assert told
    assert naming in verbs
    assert ("mkdirat" in verbs) == bool(below)
    ledger.enter("power loss while files are written", times=moments, promised=1, lost=0)
