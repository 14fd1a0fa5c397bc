"""What a message costs in each station of its way, each measured alone, in one process: where the processor time goes.

    python -m bench.parts [--messages 2000]

Together they are less than a message costs in the relay (`make bench ARGS="--scenario b"`): there they push one another out
of the processor's caches, and the event loop has something to do for each.
"""

import argparse
import asyncio
import gc
import resource
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

from bench.running import BUILD, PASSWORD, USER, Sink, build, certificate
from bench.smoke import letter
from relay import events
from relay.inbound.admission import ClientLimits, Listener, ListenTls, Recipients
from relay.inbound.listener import Inbound
from relay.inbound.server_state import ServerPolicy
from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.policy import RepairPolicy
from relay.mail.reply import Answer, Reply, Stage
from relay.mail.rewrite import Identity
from relay.outbound import event_log
from relay.outbound.attempt import Attempt
from relay.outbound.prepare import prepare
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Route, chain_for
from relay.outbound.upstream_state import UpstreamStates
from relay.secret import Secret
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolSettings
from relay.spool.entry import Claim, Entry, Heard, Recipient, Settlement, State, TrailLine
from relay.spool.queue_id import new_queue_id
from relay.upstream.dot_stuffing import stuffed
from relay.upstream.pool import Pools
from relay.upstream.report import Conversation, Report
from relay.upstream.settings import Login, SmtpServer, Tls, Upstream

SENDER, RECIPIENT = Address("nas", "isp.example"), Address("me", "example.net")
Work = Callable[[], Coroutine[Any, Any, None]]
Part = Callable[[Path, int, AsyncExitStack], Coroutine[Any, Any, Work]]
now = partial(datetime.now, UTC)


class Nowhere:
    """In the spool's place: takes everything and keeps nothing."""

    async def commit(self, _entry: Entry, _trail: tuple[TrailLine, ...] = ()) -> None:
        pass

    def arrive(self) -> None:
        return None

    def room(self) -> int:
        return 1 << 40

    async def kept_by_client(self) -> dict[str, int]:
        return {}

    async def heard(self, _since: datetime) -> list[Heard]:
        return []


def an_entry(number: int) -> Entry:
    content = (letter(number),)
    envelope = Envelope(SENDER, (RECIPIENT,))
    origin = Origin("127.0.0.1", "nas.example", "127.0.0.1:25")
    return Entry(f"q{number:013d}", now(), origin, envelope, len(content[0]), content, f"<{number}@x>", f"{number:064x}")


def a_claim(number: int) -> Claim:
    entry = an_entry(number)
    return Claim(entry, (Recipient(RECIPIENT, State.QUEUED, 0, entry.accepted_at),), 1)


def an_upstream(port: int = 587, ca: str = "") -> Upstream:
    identity = Identity(SENDER, frozenset({"isp.example"}))
    login = Login(username=USER, password=Secret(PASSWORD))
    return Upstream("sink", SmtpServer("127.0.0.1", port, Tls(ca_file=ca), login), identity)


async def session(work: Path, messages: int, over: AsyncExitStack) -> Work:
    """Greeting to 250 with twenty devices, without a disk."""
    limits = ClientLimits(connections=1000, per_client=1000, messages_per_minute=1_000_000)
    inbound = Inbound(
        ServerPolicy("relay.bench.test", limits, Recipients(), max_message=1_000_000),
        [Listener("127.0.0.1", 0, (ip_network("127.0.0.0/8"),), tls=ListenTls.OFF)],
        spool=cast(Spool, Nowhere()),
        may_route=lambda _sender, _recipient, _origin: None,
        now=now,
        new_queue_id=new_queue_id,
        state_dir=work,
    )
    await inbound.start()
    over.push_async_callback(inbound.stop, grace=0)
    words = [str(inbound.bound[0][1]), str(work / "sent"), "1", str(messages), "4096", "20", "1", "0", "0"]

    async def work_off() -> None:
        load = await asyncio.create_subprocess_exec(BUILD / "load", *words, stderr=asyncio.subprocess.DEVNULL)
        await load.wait()

    return work_off


async def spool(work: Path, messages: int, over: AsyncExitStack) -> Work:
    """Stored, claimed, settled; twenty at a time share transactions."""
    kept = await open_spool(SpoolSettings(f"sqlite:{work}/spool.db", keep_free=0), now=now)
    over.push_async_callback(kept.close)
    numbers = iter(range(10 * messages))

    async def one() -> None:
        entry = an_entry(next(numbers))
        line = TrailLine(entry.accepted_at, "accepted", "from 127.0.0.1", {"client": "127.0.0.1", "size": entry.size})
        await kept.commit(entry, (line,))
        claim = await kept.claim(now())
        if claim:
            await kept.settle(claim, decided(claim, UpstreamStates()))
            await kept.release(claim)

    async def some(count: int) -> None:
        for _ in range(count):
            await one()

    async def work_off() -> None:
        await asyncio.gather(*(some(messages // 20) for _ in range(20)))

    return work_off


async def letters(_work: Path, messages: int, _over: AsyncExitStack) -> Work:
    """Repair, trace, rewriting, dots."""
    claim, upstream = a_claim(1), an_upstream()

    async def work_off() -> None:
        for _ in range(messages):
            made = prepare(claim, claim.recipients, upstream, hostname="relay.example", policy=RepairPolicy())
            b"".join(stuffed(made.outgoing.content))

    return work_off


def decided(claim: Claim, standing: UpstreamStates) -> Settlement:
    """Route, attempt, verdict, trail: what the runner decides about a message that is taken at once."""
    entry, hour = claim.entry, now()
    upstreams = {"sink": an_upstream()}
    path = entry.envelope.reverse_path
    chosen = {one.address: chain_for((Route(via=("sink",)),), path, one.address, entry.origin) for one in claim.recipients}
    attempt = Attempt(claim, chosen, upstreams, now=hour)
    step = attempt.next_step(lambda name, who: standing.pause(upstreams[name], who, entry.queue_id, hour))
    if step is None:
        raise SystemExit("nobody is to be called")
    number = standing.begin(step, entry.queue_id, hour)
    answer = Answer(Stage.CONTENT, Reply(250, "2.0.0", "ok"))
    said = {one.address: answer for one in step.recipients}
    report = Report(said, Conversation(peer="127.0.0.1", tls="TLSv1.3", mechanism="PLAIN", took=0.1))
    standing.end(number, step, report, RetrySchedule(), hour)
    attempt.record(step, report, hour)
    return attempt.settle(RetrySchedule(), hour + timedelta(seconds=1))


async def decisions(_work: Path, messages: int, _over: AsyncExitStack) -> Work:
    """Route, attempt, verdict, trail and the lines of the log."""
    claim, standing = a_claim(1), UpstreamStates()

    async def work_off() -> None:
        for _ in range(messages):
            event_log.settled(claim, decided(claim, standing))

    return work_off


async def submission(work: Path, messages: int, over: AsyncExitStack) -> Work:
    """MAIL to the reply after the dot, over TLS sessions that are kept; four at a time."""
    sink = Sink(work, work, tls=True)
    sink.start()
    over.callback(sink.stop)
    upstream = an_upstream(sink.port, str(certificate(work)[0]))
    claim, pools = a_claim(1), Pools(hostname="relay.example")
    over.push_async_callback(pools.close)
    made = prepare(claim, claim.recipients, upstream, hostname="relay.example", policy=RepairPolicy())

    async def some(count: int) -> None:
        for _ in range(count):
            report = await pools.submit(upstream, replace(made.outgoing))
            if not all(answer.reply.positive for answer in report.answers.values()):
                raise SystemExit(f"the sink refused: {report.answers}")

    async def work_off() -> None:
        await asyncio.gather(*(some(messages // 4) for _ in range(4)))

    return work_off


PARTS = (session, spool, letters, decisions, submission)


async def measured(
    part: Callable[[Path, int, AsyncExitStack], Coroutine[Any, Any, Work]], messages: int
) -> tuple[float, float]:
    """Microseconds of the processor for a message: ours, and the kernel's for us; the best of three."""
    found = []
    with tempfile.TemporaryDirectory(prefix="relay-parts-", dir="/var/tmp") as work:
        async with AsyncExitStack() as over:
            work_off = await part(Path(work), messages, over)
            await work_off()
            for _ in range(3):
                gc.collect()
                before = resource.getrusage(resource.RUSAGE_SELF)
                await work_off()
                after = resource.getrusage(resource.RUSAGE_SELF)
                found.append([(after.ru_utime - before.ru_utime) / messages, (after.ru_stime - before.ru_stime) / messages])
    ours, kernels = min(found, key=sum)
    return ours * 1e6, kernels * 1e6


def _line(name: str, ours: float, kernels: float, what: str) -> str:
    return f"{name:11} {ours:5.0f} us + kernel {kernels:4.0f} us   {what}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.parts", description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=2000)
    messages = parser.parse_args().messages
    build()
    table, sys.stdout = sys.stdout, tempfile.TemporaryFile("w", encoding="utf-8")  # noqa: SIM115 - for the lines of the log
    events.configure("json")
    print("Microseconds of the processor for one message of 4 KB; each station measured alone, in one process:\n", file=table)
    together = (0.0, 0.0)
    for part in PARTS:
        ours, kernels = asyncio.run(measured(part, messages))
        together = together[0] + ours, together[1] + kernels
        what = " ".join((part.__doc__ or "").split())
        print(_line(part.__name__, ours, kernels, what), file=table, flush=True)
    print(_line("together", *together, f"{sum(together):.0f} us; in the relay, side by side, a message costs more"), file=table)
    sys.stdout = table
    return 0


if __name__ == "__main__":
    sys.exit(main())
