"""What is measured.  Each scenario takes a peer and a directory on the disk under test, and gives figures by name.

*accept*: from connect to the 250 after the final dot.  *end to end*: from connect until the sink has read the final dot.
"""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.peers import Peer
from bench.processes import MB, Device
from bench.running import Delivery, Running

Figures = dict[str, float]
FAULTS = ("lost", "twice", "altered", "refused")


@dataclass(frozen=True)
class Setting:
    work: Path
    tls: bool = True
    scale: float = 1.0

    def messages(self, count: int) -> int:
        return max(2, round(count * self.scale))


@dataclass(frozen=True)
class Scenario:
    key: str
    title: str
    measure: Callable[[Peer, Setting], Figures]
    columns: dict[str, str]
    """Figure to heading, in the order of the table."""


def _part(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def figures(delivery: Delivery, size: int) -> Figures:
    """Latencies in ms, rates per second, CPU in ms per message, faults."""
    good = [one for one in delivery.sent if one.code == 250]
    first = {number: when for _, number, when, *_ in reversed(delivery.arrived)}
    accept = [(one.accepted - one.start) / 1e6 for one in good]
    whole = [(first[one.number] - one.start) / 1e6 for one in good if one.number in first]
    begin = min(one.start for one in delivery.sent)
    accepting = (max(one.accepted for one in good) - begin) / 1e9
    arriving = (max(first.values()) - begin) / 1e9
    count = len(good)
    return {
        "accept_p50_ms": _part(accept, 0.5),
        "accept_p99_ms": _part(accept, 0.99),
        "e2e_p50_ms": _part(whole, 0.5),
        "e2e_p99_ms": _part(whole, 0.99),
        "accept_per_s": count / accepting,
        "e2e_per_s": len(first) / arriving,
        "e2e_mb_per_s": len(first) * size / 1e6 / arriving,
        "cpu_ms": delivery.cpu_s * 1000 / count,
        "harness_cpu_ms": delivery.harness_cpu_s * 1000 / count,
        "foreign_pct": max(0.0, delivery.foreign_cpu_s / arriving * 100),
        "upstream_connections": delivery.connections,
        **delivery.check(),
    }


def one_sender(peer: Peer, setting: Setting) -> Figures:
    with Running(peer, setting.work, tls=setting.tls) as running:
        running.warm_up()
        return figures(running.deliver(setting.messages(200), 4096, gap_ms=25), 4096)


def twenty_senders(peer: Peer, setting: Setting) -> Figures:
    with Running(peer, setting.work, tls=setting.tls) as running:
        running.warm_up()
        return figures(running.deliver(setting.messages(5000), 4096, 20), 4096)


def large(peer: Peer, setting: Setting) -> Figures:
    with Running(peer, setting.work, tls=setting.tls) as running:
        running.warm_up()
        found = figures(running.deliver(setting.messages(20), 10_000_000, 2), 10_000_000)
        return {**found, "peak_rss_mb": processes.peak_rss_mb(running.pid)}


def one_session(peer: Peer, setting: Setting) -> Figures:
    with Running(peer, setting.work, tls=setting.tls) as running:
        running.warm_up()
        return figures(running.deliver(setting.messages(1000), 4096, per_connection=0), 4096)


def backlog(peer: Peer, setting: Setting) -> Figures:
    count = setting.messages(10_000)
    with Running(peer, setting.work, tls=setting.tls, upstream=False) as running:
        run, sent = running.send(count, 4096, 20, per_connection=50)
        begin, accepted = min(one.start for one in sent), max(one.accepted for one in sent)
        _settle(running)
        listing = []
        for _ in range(3):
            began = time.monotonic()
            command = running.peer.list_queue(running.place)
            subprocess.run(command, cwd=peer.home, stdout=subprocess.DEVNULL, check=True, timeout=120)
            listing.append(time.monotonic() - began)
        waiting, memory = peer.waiting(running.place), processes.pss_mb(running.pid)
        running.sink.start()
        cpu, busy, began = processes.cpu_seconds(running.pid), processes.busy_seconds(), time.monotonic_ns()
        subprocess.run(peer.retry_all(running.place), cwd=peer.home, stdout=subprocess.DEVNULL, check=True, timeout=120)
        arrived = running.await_arrival(run, count)
        cpu, sink = processes.cpu_seconds(running.pid) - cpu, running.sink.cpu_seconds()
        foreign = processes.busy_seconds() - busy - cpu - sink
        delivery = Delivery(sent, arrived, cpu, sink, foreign, running.sink.arrived.connections)
        return {
            "accept_per_s": len(sent) / ((accepted - begin) / 1e9),
            "waiting": waiting,
            "list_ms": statistics.median(listing) * 1000,
            "queued_pss_mb": memory,
            "drain_per_s": len(arrived) / ((max(one[2] for one in arrived) - began) / 1e9),
            "first_s": (min(one[2] for one in arrived) - began) / 1e9,
            "drained_pss_mb": processes.pss_mb(running.pid),
            "peak_rss_mb": processes.peak_rss_mb(running.pid),
            "cpu_ms": delivery.cpu_s * 1000 / count,
            "foreign_pct": max(0.0, foreign * 1e11 / (max(one[2] for one in arrived) - began)),
            **delivery.check(),
        }


def _settle(running: Running, seconds: float = 60) -> None:
    """Waits until the peer has noticed that its upstream is away, and is quiet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = processes.cpu_seconds(running.pid)
        time.sleep(1)
        if processes.cpu_seconds(running.pid) - before < 0.03:
            return


def idle(peer: Peer, setting: Setting) -> Figures:
    starts = []
    for _ in range(2):
        with Running(peer, setting.work, tls=setting.tls) as running:
            starts.append(running.start_s)
    with Running(peer, setting.work, tls=setting.tls) as running:
        starts.append(running.start_s)
        running.warm_up()
        time.sleep(3)
        wakes, cpu, began = processes.wake_ups(running.pid), processes.cpu_seconds(running.pid), time.monotonic()
        time.sleep(setting.messages(20))
        took = time.monotonic() - began
        return {
            "start_s": statistics.median(starts),
            "pss_mb": processes.pss_mb(running.pid),
            "processes": len(processes.family(running.pid)),
            "wake_ups_per_s": (processes.wake_ups(running.pid) - wakes) / took,
            "idle_cpu_ms_per_s": (processes.cpu_seconds(running.pid) - cpu) * 1000 / took,
        }


@contextmanager
def own_disk(work: Path) -> Iterator[Path | None]:
    """A file system of its own, so that nobody else's writes are counted; None where that cannot be made."""
    image, place = work / "disk.img", work / "disk"
    place.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(1024 * MB)
    made = False
    try:
        for words in (["mkfs.ext4", "-q", "-F", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
            made = subprocess.run(words, capture_output=True, check=False).returncode == 0
            if not made:
                break
        yield place if made else None
    finally:
        if made:
            subprocess.run(["umount", place], check=False)
        image.unlink()


def wear(peer: Peer, setting: Setting) -> Figures:
    found: Figures = dict.fromkeys(FAULTS, 0)
    with own_disk(setting.work) as disk, Running(peer, disk or setting.work, tls=setting.tls, delay_ms=0) as running:
        assert running.syncs is not None
        running.warm_up()
        for prefix, senders, count in (("", 1, setting.messages(300)), ("many_", 20, setting.messages(1000))):
            os.sync()
            time.sleep(0.3)
            device, octets = Device.under(disk) if disk else None, processes.written_octets(running.pid)
            before = running.syncs.counts()[0]
            delivery = running.deliver(count, 4096, senders)
            time.sleep(0.5)
            found[f"{prefix}syncs"] = (running.syncs.counts()[0] - before) / count
            os.sync()
            found[f"{prefix}written_kb"] = (processes.written_octets(running.pid) - octets) / 1024 / count
            if disk and device:
                found[f"{prefix}device_kb"] = (Device.under(disk).octets - device.octets) / 1024 / count
            for fault, times in delivery.check().items():
                found[fault] += times
    return found


def slow_disk(peer: Peer, setting: Setting, delay_ms: float = 15) -> Figures:
    with Running(peer, setting.work, tls=setting.tls, delay_ms=delay_ms) as running:
        assert running.syncs is not None
        running.warm_up(5)
        alone = figures(running.deliver(setting.messages(60), 4096, gap_ms=100), 4096)
        calls, flushes = running.syncs.counts()
        count = setting.messages(1000)
        many = figures(running.deliver(count, 4096, 20), 4096)
        later, flushed = running.syncs.counts()
        return {
            **many,
            **{fault: many[fault] + alone[fault] for fault in FAULTS},
            "alone_accept_p50_ms": alone["accept_p50_ms"],
            "alone_e2e_p50_ms": alone["e2e_p50_ms"],
            "alone_e2e_p99_ms": alone["e2e_p99_ms"],
            "syncs": (later - calls) / count,
            "flushes": (flushed - flushes) / count,
        }


_LATENCY = {"accept_p50_ms": "accept p50 ms", "accept_p99_ms": "p99", "e2e_p50_ms": "end to end p50 ms", "e2e_p99_ms": "p99"}
_RATES = {"accept_per_s": "accept/s", "e2e_per_s": "end to end/s", "cpu_ms": "CPU ms/msg", "harness_cpu_ms": "harness ms/msg"}

SCENARIOS = {
    scenario.key: scenario
    for scenario in (
        Scenario("a", "one sender, 4 KB, a new connection each, 25 ms apart", one_sender, {**_LATENCY, "cpu_ms": "CPU ms/msg"}),
        Scenario("b", "20 senders, 4 KB, a new connection each", twenty_senders, {**_RATES, "e2e_p50_ms": "end to end p50 ms"}),
        Scenario(
            "c",
            "10 MB, 2 senders",
            large,
            {"e2e_mb_per_s": "MB/s", "peak_rss_mb": "peak RSS MB (largest process)", "cpu_ms": "CPU ms/msg"},
        ),
        Scenario("d", "one session of 1,000 messages, 4 KB", one_session, {**_RATES, "accept_p50_ms": "accept p50 ms"}),
        Scenario(
            "e",
            "10,000 queued while the upstream is down, then drained",
            backlog,
            {
                "accept_per_s": "accept/s",
                "list_ms": "list ms",
                "queued_pss_mb": "PSS queued MB",
                "drain_per_s": "drain/s",
                "drained_pss_mb": "PSS drained MB",
                "cpu_ms": "CPU ms/msg",
            },
        ),
        Scenario(
            "f",
            "idle",
            idle,
            {"start_s": "start to 220 s", "pss_mb": "PSS MB", "processes": "processes", "wake_ups_per_s": "wake-ups/s"},
        ),
        Scenario(
            "g",
            "wear of the disk, per 4 KB message: alone, then with 20 senders",
            wear,
            {
                "syncs": "fsyncs",
                "device_kb": "device KB",
                "written_kb": "written KB",
                "many_syncs": "20: fsyncs",
                "many_device_kb": "20: device KB",
                "many_written_kb": "20: written KB",
            },
        ),
        Scenario(
            "s",
            "a slow disk: 15 ms more for each flush; one sender, then 20",
            slow_disk,
            {
                "alone_accept_p50_ms": "alone: accept p50 ms",
                "alone_e2e_p50_ms": "end to end p50 ms",
                "e2e_per_s": "20: end to end/s",
                "flushes": "flushes/msg",
            },
        ),
    )
}
