"""The power fails after any sync: what was synced by then, and nothing else, is enough to keep every promise.

device -> relay run, recorded by strace -> sink          each sync: lay out what was synced, open the spool, look
"""

import asyncio
import hashlib
import shutil
import smtplib
from datetime import UTC, datetime
from pathlib import Path

from relay.spool.contract import ContentDamaged, SpoolSettings
from relay.spool.entry import State
from relay.spool.sqlite.invariants import check_invariants
from relay.spool.sqlite.sqlite_spool import SqliteSpool
from tests.chaos.ledger import FULL, Ledger
from tests.support import power, tools
from tests.support.aftermath import aftermath
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.waiting import eventually

SENDER = "nas@isp.example"
ROUNDS, LARGE = 12 if FULL else 1, 1_500_000  # large enough to be in a file


def submit(port: int, octets: int, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, "nas", timeout=60) as line:
        text = f"From: <{SENDER}>\r\nSubject: {octets}\r\n\r\n" + "0123456789\r\n" * (octets // 12)
        line.sendmail(SENDER, recipients, text)


def work(relay: RelayProcess) -> None:
    """Mail of several sizes, one of it refused upstream, so that every kind of transaction is written."""
    for _ in range(ROUNDS):
        submit(relay.port, 500, "b@far.example")
        submit(relay.port, LARGE, "b@far.example", "c@far.example")
        submit(relay.port, 90_000, "b@far.example", "nobody@far.example")
    eventually(lambda: not (found := aftermath(relay.spool)).queued and not found.pending, 60, relay.said)


async def examine(directory: Path, loss: power.Loss) -> tuple[set[str], list[str]]:
    """Opens the spool as a start after the power failure does: promised ids that are missing, and what else is wrong."""
    settings = SpoolSettings(f"sqlite:{directory}/spool.db", keep_free=0)
    spool = await SqliteSpool.open(directory / "spool.db", settings, lambda: datetime.now(UTC))
    try:
        stored = {one.entry.queue_id: one for one in await spool.entries(limit=100_000)}
        wrong = []
        for queue_id in loss.relayed & set(stored):
            if not any(one.state is State.RELAYED for one in stored[queue_id].recipients):
                wrong.append(f"{queue_id} was logged as relayed, which is forgotten")
        for queue_id, one in stored.items():
            if any(recipient.state is not State.RELAYED for recipient in one.recipients):
                entry = (await spool.entry(queue_id)).entry
                try:
                    content = b"".join(entry.content)
                except ContentDamaged as damage:
                    wrong.append(f"{queue_id}: {damage}")
                else:
                    if len(content) != entry.size or (entry.digest and hashlib.sha256(content).hexdigest() != entry.digest):
                        wrong.append(f"{queue_id} is not whole")
    finally:
        await spool.close()
    return set(loss.promised) - set(stored), wrong + check_invariants(directory / "spool.db")


def test_what_was_synced_keeps_every_promise(tmp_path: Path, ledger: Ledger) -> None:
    """At each sync, and with stray writes beside it: the spool opens, its invariants hold, every promised id is there."""
    tools.strace()
    log = tmp_path / "log"
    with sink(tmp_path / "sink") as upstream:
        smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}
        relay = RelayProcess(tmp_path, {"upstreams": {"sink": smarthost}, "notices": {"to": SENDER, "digest": "1s"}})
        relay.wrapper = power.wrapper(log)
        relay.start()
        try:
            work(relay)
        finally:
            relay.stop(60)
    lost: set[str] = set()
    wrong: list[str] = []
    moments, promised = 0, 0
    for loss in power.losses(log, relay.spool.parent, torn=3 if FULL else 1):
        place = tmp_path / "after" / str(moments)
        loss.lay(place)
        missing, troubles = asyncio.run(examine(place, loss))
        lost |= missing
        wrong += troubles
        moments, promised = moments + 1, len(loss.promised)
        shutil.rmtree(place)
    ledger.enter("power loss, at every sync", times=moments, promised=promised, lost=len(lost))
    assert promised == 3 * ROUNDS
    assert moments > 10 * ROUNDS
    assert wrong == []
    assert lost == set()
