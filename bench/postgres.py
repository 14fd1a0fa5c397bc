"""How fast one, two and three relays are on one queue in PostgreSQL, and one with its spool in a file, in one run.

    python -m bench.postgres [MESSAGES]

All of it on this machine: relays, database (with fsync), devices and an upstream that takes everything.  Accepting: devices
send over lines that stay open.  Forwarding: a queue that is full before the relays start; from the first message that the
upstream took to the last.
"""

import argparse
import asyncio
import smtplib
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Action, Order
from relay.spool.queue_id import new_queue_id
from tests.support.peers import free_port
from tests.support.postgres import PostgresServer
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.spooled import an_entry
from tests.support.waiting import eventually

DEVICES = 8
BODY = "From: nas@isp.example\r\nTo: b@far.example\r\nSubject: backup\r\n\r\n" + "all is well\r\n" * 150


def now() -> datetime:
    return datetime.now(UTC)


def fill(url: str, count: int) -> None:
    """A queue of messages of 2 kB."""

    async def work() -> None:
        spool = await open_spool(SpoolSettings(url, keep_free=0), now=now)
        for start in range(0, count, 100):
            ids = [new_queue_id(now()) for _ in range(min(100, count - start))]
            await asyncio.gather(*(spool.commit(an_entry(one, now(), content=BODY.encode())) for one in ids))
        await spool.order(Order(Action.HOLD), now())  # until all relays are there
        await spool.close()

    asyncio.run(work())


def relay(folder: Path, url: str, upstream: int, name: str) -> RelayProcess:
    folder = folder / name
    folder.mkdir()
    smarthost = {
        "host": "127.0.0.1",
        "port": upstream,
        "tls": "none",
        "sender": "nas@isp.example",
        "limits": {"connections": 8},
    }
    listen = [{"address": f"127.0.0.1:{free_port()}", "networks": ["private"]}]
    spool = {"url": url, "keep_free": "1MB", "state_dir": str(folder / "state")}
    shared = {"name": name} if url.startswith("postgres") else {}
    limits = {"messages_per_minute": 1_000_000}
    return RelayProcess(
        folder, {"upstreams": {"isp": smarthost}, "listen": listen, "spool": {**spool, **shared}, "limits": limits}
    )


def accepting(relays: list[RelayProcess], count: int) -> float:
    """Messages a second that devices were told 250 for."""

    def device(number: int) -> None:
        with smtplib.SMTP("127.0.0.1", relays[number % len(relays)].port, "nas", timeout=60) as line:
            for _ in range(count // DEVICES):
                line.sendmail("nas@isp.example", ["b@far.example"], BODY)

    devices = [threading.Thread(target=device, args=(number,)) for number in range(DEVICES)]
    began = time.perf_counter()
    for one in devices:
        one.start()
    for one in devices:
        one.join()
    return count / (time.perf_counter() - began)


def measured(url: str, how_many: int, count: int) -> tuple[float, float]:
    """Accepted and forwarded messages a second."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        held = [relay(folder, url, 9, f"in{number}") for number in range(how_many)]  # nobody answers on port 9
        for one in held:
            one.start()
            stack.callback(one.stop)
        accepted = accepting(held, count)
        stack.close()
        fill(url, count)
        upstream = stack.enter_context(sink(folder / "sink"))
        relays = [relay(folder, url, upstream.port, f"out{number}") for number in range(how_many)]
        for one in relays:
            one.start()
            stack.callback(one.stop)
        relays[0].command("queue", "release", "--all")
        relays[0].command("queue", "retry", "--all")
        eventually(lambda: upstream.count() >= 2 * count, 200, relays[0].said)
        times = sorted(one.at for one in upstream.taken())
        return accepted, (len(times) - 1) / (times[-1] - times[0])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.postgres", description=__doc__.partition("\n")[0])
    parser.add_argument("messages", type=int, nargs="?", default=1000, metavar="MESSAGES", help="default 1000")
    count = max(1, parser.parse_args().messages // DEVICES) * DEVICES
    server = PostgresServer.start()
    server.stop()
    server.go_on("fsync=on", "full_page_writes=on")
    print("| spool | relays | accepted a second | forwarded a second |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        places = [("a file (SQLite)", f"sqlite:{folder}/spool.db", 1)]
        places += [("PostgreSQL", server.database(), number) for number in (1, 2, 3)]
        for name, url, how_many in places:
            accepted, forwarded = measured(url, how_many, count)
            print(f"| {name} | {how_many} | {accepted:.0f} | {forwarded:.0f} |", flush=True)
    server.end()


if __name__ == "__main__":
    main()
