"""An upstream that is away while mail piles up, and comes back: the queue drains, and memory does not follow its length.

10,000 messages in the spool ──> relay run ──> nobody ... ──> sink
"""

import asyncio
import os
import resource
import sqlite3
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Entry
from relay.spool.queue_id import new_queue_id
from tests.chaos.ledger import FULL, Ledger
from tests.support.peers import free_port
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.waiting import eventually

COUNT = 10_000 if FULL else 1_200
FEW = 300
REST = {FEW: "4s", COUNT: "60s" if FULL else "8s"}
"""Long enough to put everything off, and then to look at a queue that only waits."""

GROWTH = 24  # MB that a queue of COUNT may cost while it waits, and while it drains
LINE = b"All disks are fine, nothing to be seen here, good night and until tomorrow.\r\n"


async def fill(url: str, count: int) -> None:
    """Messages of 4 kB, accepted as the relay itself accepts them."""
    now = datetime.now(UTC)
    spool = await open_spool(SpoolSettings(url, keep_free=0), now=lambda: now)
    sender, path = Address("taro", "isp.example"), Address("b", "far.example")

    async def accept(number: int) -> None:
        content = b"From: taro@isp.example\r\nSubject: waits-%d\r\n\r\n" % number + LINE * 50
        entry = Entry(new_queue_id(now), now, Origin("192.168.0.9"), Envelope(sender, (path,)), len(content), [content])
        await spool.commit(entry)

    for start in range(0, count, 500):
        await asyncio.gather(*(accept(number) for number in range(start, min(start + 500, count))))
    await spool.close()


def memory(pid: int) -> tuple[float, float]:
    """Resident now and at most so far, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {name: int(value.split()[0]) / 1000 for name, _, value in (line.partition(":") for line in lines) if "kB" in value}
    return found["VmRSS"], found["VmHWM"]


def processor(pid: int) -> float:
    """Seconds of computing by the relay and by the commands that this test has run: what a busy machine does not change."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    commands = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") + commands.ru_utime + commands.ru_stime


def at_rest(pid: int) -> bool:
    """Whether the relay computes next to nothing: else its own work would be taken for that of the list."""
    spent = processor(pid)
    time.sleep(0.5)
    return processor(pid) - spent < 0.05


def untouched(spool: Path) -> int:
    """Recipients that nobody has been asked about yet: all others wait for the upstream to wake."""
    with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM recipient WHERE said = ''").fetchone()[0])


def drain(directory: Path, count: int) -> dict[str, float]:
    """Lets `count` messages wait, opens the upstream, waits for all; the figures."""
    port = free_port()
    upstream = {"host": "127.0.0.1", "port": port, "tls": "none", "auth": "none", "sender": "taro@isp.example"}
    directory.mkdir()
    relay = RelayProcess(
        directory,
        {"upstreams": {"isp": upstream}, "retry": {"delays": ["1m"], "rest": [REST[count]]}, "hostname": "relay.test"},
    )
    asyncio.run(fill(f"sqlite:{relay.spool}", count))
    relay.start()
    figures: dict[str, float] = {}
    try:
        relay.wait_for("rested")
        eventually(lambda: untouched(relay.spool) == 0, 120, "some were never put off")
        eventually(lambda: at_rest(relay.pid), 120, "it never comes to rest")
        figures["waiting, MB"] = memory(relay.pid)[0]
        began, spent = time.monotonic(), processor(relay.pid)
        assert len(relay.queue()) == count
        figures["queue list, s"] = time.monotonic() - began
        figures["of it computing, s"] = processor(relay.pid) - spent
        figures["after the list, MB"] = memory(relay.pid)[0]
        with sink(directory / "behind", port=port) as behind:
            began = time.monotonic()
            eventually((behind.directory / "taken.jsonl").exists, 120, "nothing came")
            first = time.monotonic()
            relay.wait_for("relayed", count, seconds=600)
            figures["first after, s"] = first - began
            figures["all after, s"] = time.monotonic() - began
            figures["messages/s"] = count / max(time.monotonic() - first, 0.001)
            taken = Counter(message.header("Subject") for message in behind.taken())
        figures["most, MB"] = memory(relay.pid)[1]
        figures["lost"], figures["twice"] = count - len(taken), sum(copies > 1 for copies in taken.values())
        assert relay.queue() == []
    finally:
        relay.stop()
    return figures


@pytest.mark.timeout(1200)
def test_a_long_queue_drains_when_the_upstream_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ledger: Ledger
) -> None:
    """All arrive, each once; a queue many times as long costs next to no memory; it is listed within a second."""
    few, many = drain(tmp_path / "few", FEW), drain(tmp_path / "many", COUNT)
    with capsys.disabled():
        print()
        for count, figures in ((FEW, few), (COUNT, many)):
            print(f"drain {count:>6}: " + "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))
    for count, figures in ((FEW, few), (COUNT, many)):
        lost, twice = int(figures["lost"]), int(figures["twice"])
        words = f"all came within {figures['all after, s']:.0f} s; {figures['most, MB']:.0f} MB at most"
        ledger.enter(f"an upstream away, {count} waiting", promised=count, lost=lost, doubled=twice, words=words)
        assert (lost, twice) == (0, 0)
    assert many["waiting, MB"] - few["waiting, MB"] < GROWTH
    assert many["most, MB"] - many["after the list, MB"] < GROWTH
    assert many["of it computing, s"] - few["of it computing, s"] < 1.0
