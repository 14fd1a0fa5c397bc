"""An upstream that is away while mail piles up, and comes back: the queue drains, and memory does not follow its length.

10,000 messages in the spool ──> relay run ──> nobody ... ──> sink
"""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Entry
from relay.spool.queue_id import new_queue_id
from tests.chaos.ledger import FULL
from tests.support.peers import free_port
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.waiting import eventually

COUNT = 10_000 if FULL else 3_000
FEW = 300
GROWTH = 48  # MB that a queue of COUNT may cost more than one of FEW
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


def drain(directory: Path, count: int) -> dict[str, float]:
    """Lets `count` messages wait, opens the upstream, waits for all; the figures."""
    port = free_port()
    upstream = {"host": "127.0.0.1", "port": port, "tls": "none", "auth": "none", "sender": "taro@isp.example"}
    directory.mkdir()
    relay = RelayProcess(
        directory, {"upstreams": {"isp": upstream}, "retry": {"delays": ["1m"], "rest": ["5s"]}, "hostname": "relay.test"}
    )
    asyncio.run(fill(f"sqlite:{relay.spool}", count))
    relay.start()
    figures: dict[str, float] = {}
    try:
        relay.wait_for("rested")
        # every message has been put off once: nothing is due while the upstream rests
        eventually(lambda: not [one for one in relay.queue() if not one["recipients"][0]["said"]], 120, "some are not put off")
        began = time.monotonic()
        assert len(relay.queue()) == count
        figures["queue list, s"] = time.monotonic() - began
        figures["waiting, MB"] = memory(relay.pid)[0]
        with sink(directory / "behind", port=port) as behind:
            began = time.monotonic()
            eventually((behind.directory / "taken.jsonl").exists, 60, "nothing came")
            first = time.monotonic()
            relay.wait_for("relayed", count, seconds=600)
            figures["first after, s"] = first - began
            figures["all after, s"] = time.monotonic() - began
            figures["messages/s"] = count / max(time.monotonic() - first, 0.001)
            taken = Counter(message.header("Subject") for message in behind.taken())
        figures["most, MB"] = memory(relay.pid)[1]
        assert len(taken) == count
        assert set(taken.values()) == {1}, "none twice"
        assert relay.queue() == []
    finally:
        relay.stop()
    return figures


@pytest.mark.timeout(1200)
def test_a_long_queue_drains_when_the_upstream_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All arrive, each once; a queue many times as long costs next to no memory; it is listed within a second."""
    few, many = drain(tmp_path / "few", FEW), drain(tmp_path / "many", COUNT)
    with capsys.disabled():
        print()
        for count, figures in ((FEW, few), (COUNT, many)):
            print(f"drain {count:>6}: " + "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))
    assert many["most, MB"] - few["most, MB"] < GROWTH
    # a tenth of a millisecond a message, and the start of an interpreter that may have to wait for its turn
    assert many["queue list, s"] < 1.0 + 2 * few["queue list, s"]
