"""What watching costs: a page with 10,000 queued messages, accepting beside it, memory, and a search in 100,000.

    python bench/page.py            prints the figures; ends with 1 if a promise is not kept
    python bench/page.py --search   the search alone, with the spool in a file and in PostgreSQL

Promises: the first look after the start takes under 200 ms, each later one, of `/`, `/messages` or the last page of the
list, under 50 (median); what the first look loads needs under 9 MB, and nothing before it; accepting is less than a tenth
slower while ten pages are open; each search in 100,000 messages, and the count of what matches, answers within 100 ms (median).
"""

import argparse
import asyncio
import http.client
import smtplib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import searched
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import TrailLine
from tests.support.postgres import PostgresServer, binaries
from tests.support.running import RelayProcess, running
from tests.support.spooled import an_entry

QUEUED = 10_000
SEARCHED = 100_000
LIMIT_SEARCH_MS = 100.0
LIMIT_FIRST_MS, LIMIT_MS = 200.0, 50.0
LIMIT_MB = 9.0  # with what an idle relay has no use for any more, such as urllib and zipfile
LIMIT_RATIO = 1.1
WATCHERS, ASKS = 10, 3.0  # open pages, and after how many seconds each asks anew
ROUNDS = 15
ROUND_SECONDS = 3.0
PACE = 0.04  # seconds between two messages: a busy LAN, not a flood
LETTER = b"From: a@isp.example\r\nSubject: x\r\n\r\nhi"


async def fill(folder: Path, count: int) -> None:
    now = datetime.now(UTC)
    spool = await open_spool(SpoolSettings(f"sqlite:{folder}/spool.db", keep_free=0), now=lambda: datetime.now(UTC))

    async def put(number: int) -> None:
        at = now - timedelta(seconds=count - number)
        trail = (TrailLine(at, "accepted", "from a NAS", {"subject": f"Report {number}"}),)
        await spool.commit(an_entry(f"bench{number:08d}", at), trail)

    for start in range(0, count, 200):
        await asyncio.gather(*(put(number) for number in range(start, min(start + 200, count))))
    await spool.close()


def config(port: int, *, web: bool) -> dict[str, object]:
    isp = {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "a@isp.example"}
    found: dict[str, object] = {"upstreams": {"isp": isp}, "retry": {"delays": ["1h"], "rest": ["1h"]}}
    found["limits"] = {"messages_per_minute": 100_000}
    return {**found, "web": {"address": "127.0.0.1:0"}} if web else found


def get(relay: RelayProcess, path: str) -> float:
    """Milliseconds."""
    connection = http.client.HTTPConnection(relay.events("started")[-1]["web"], timeout=60)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path} answered {answer.status}")
    connection.close()
    return (time.perf_counter() - began) * 1000


def accept(device: smtplib.SMTP) -> list[float]:
    """Milliseconds from MAIL to the 250 of each message of one round."""
    times: list[float] = []
    over = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < over:
        began = time.perf_counter()
        device.sendmail("a@isp.example", "b@far.example", LETTER)
        times.append((time.perf_counter() - began) * 1000)
        time.sleep(PACE)
    return times


@contextmanager
def live_pages(relay: RelayProcess) -> Iterator[None]:
    """Open pages, each of which asks now and then; their turns are spread."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(ASKS / WATCHERS):
            get(relay, "/")

    viewer = threading.Thread(target=look)
    viewer.start()
    try:
        yield
    finally:
        over.set()
        viewer.join()


def beside_pages(relay: RelayProcess) -> float:
    """The ratio of accepting beside live pages to accepting alone: medians of short rounds that take turns.

    Every second silent round counts as `control`: how far it is from the others tells how quiet the machine is.
    """
    times: dict[str, list[list[float]]] = {"alone": [], "watched": [], "control": []}
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as device:
        device.ehlo("bench")
        accept(device)  # the first messages meet a cold relay
        for number in range(ROUNDS):
            kinds = list(times)
            for kind in kinds[number % 3 :] + kinds[: number % 3]:
                with live_pages(relay) if kind == "watched" else nullcontext():
                    times[kind].append(accept(device))
    middle = {kind: statistics.median(map(statistics.median, rounds)) for kind, rounds in times.items()}
    late = {kind: statistics.median(statistics.quantiles(one, n=20)[-1] for one in rounds) for kind, rounds in times.items()}
    for words, found in (("median", middle), ("95th percentile", late)):
        print(
            f"accepting, {words} of {ROUNDS} rounds in turn: {found['alone']:.2f} ms alone, {found['watched']:.2f} ms with "
            f"{WATCHERS} live pages: ratio {found['watched'] / found['alone']:.2f} (alone against alone: "
            f"{found['control'] / found['alone']:.2f})"
        )
    return middle["watched"] / statistics.mean((middle["alone"], middle["control"]))


def settled(pid: int) -> None:
    """Waits until the relay has found that the upstream is away and put all of its mail off."""
    busy = -1.0
    while (now := sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))) - busy > 5:
        busy = now
        time.sleep(1.5)


def resident(pid: int) -> float:
    """MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def cost_of_imports() -> float:
    """What the first look loads, web server, control/ and templates beside everything else: MB, in fresh processes."""
    core = (
        "import relay.inbound.listener, relay.outbound.runner, relay.outbound.notifier"
        ", relay.spool.sqlite.sqlite_spool, relay.upstream.pool"
    )
    more = (
        "; import relay.control.site, relay.control.server, relay.control.unix, relay.control.reports"
        "; import relay.control.missing_devices"
        "; relay.control.rendering.prepare()"
    )
    show = "; print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmRSS')][0])"

    subprocess.run([sys.executable, "-m", "relay.control.rendering"], check=True)

    def measured(text: str) -> float:
        runs = [
            subprocess.run(  # noqa: S603 - ourselves
                [sys.executable, "-c", text + show], capture_output=True, text=True, check=True
            )
            for _ in range(5)
        ]
        return statistics.median(int(run.stdout) for run in runs) / 1024

    return measured(core + more) - measured(core)


def search(url: str, count: int) -> bool:
    """Whether each search is quick enough in a history of so many messages."""
    kept = True
    searched.fill(url, count)
    with tempfile.TemporaryDirectory() as name:
        spool = {"url": url, "keep_free": "1MB", "keep_history": "3650d"}
        with running(Path(name), {**config(9, web=True), "spool": spool}) as relay:
            settled(relay.pid)
            paths = [f"{place}?{one}" for one in searched.SEARCHES for place in ("/messages", "/messages/matching")]
            paths = [f"{path}&action=hold" if "matching" in path else path for path in paths]
            half = f"{int((time.time() - count * 30) * 1e6)}-{count // 2}"
            for path in ("/", *paths, f"/messages?older_than={half}", f"/messages?newer_than={half}", "/api/search?q=report"):
                first, times = get(relay, path), [get(relay, path) for _ in range(7)]
                median = statistics.median(times)
                good = median < LIMIT_SEARCH_MS
                kept &= good
                print(f"{path:78} first {first:6.1f} ms, median {median:6.1f} ms{'' if good else '   TOO SLOW'}")
    return kept


def searches(count: int) -> bool:
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        print(f"{count} messages in a file")
        kept &= search(f"sqlite:{folder}/spool.db", count)
    if binaries() is None:
        print("no PostgreSQL here: not measured with it")
        return kept
    server = PostgresServer.start()
    print(f"{count} messages in PostgreSQL")
    return search(server.database(), count) and kept


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python bench/page.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--search", action="store_true", help="measure the search only")
    parser.add_argument("--searched", type=int, default=SEARCHED, help="messages to search in")
    asked = parser.parse_args()
    if asked.search:
        return 0 if searches(asked.searched) else 1
    kept = searches(asked.searched)
    cost = cost_of_imports()
    kept &= cost < LIMIT_MB
    print(f"loaded by the first look: {cost:.1f} MB (promise: {LIMIT_MB:g})")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        asyncio.run(fill(folder / "spool", QUEUED))
        with running(folder, config(9, web=True)) as relay:
            settled(relay.pid)
            for path in (
                "/",
                "/messages",
                f"/messages?newer_than={int((time.time() - QUEUED) * 1e6)}-1",
                "/messages?state=queued",
                "/api/queue?limit=50",
                "/metrics",
            ):
                first = get(relay, path)
                kept &= first < LIMIT_FIRST_MS
                times = [get(relay, path) for _ in range(15)]
                median = statistics.median(times)
                kept &= median < LIMIT_MS
                print(f"{path:28} first {first:6.1f} ms, then median {median:6.1f} ms, worst {max(times):6.1f} ms")
            kept &= beside_pages(relay) <= LIMIT_RATIO
            print(f"relay with {QUEUED} queued, after all this: {resident(relay.pid):.1f} MB")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
