"""Several relays, one queue in PostgreSQL: each message arrives once, whoever dies meanwhile.

N messages in the queue ──▶ three relays (killed, started, killed, ...) ──▶ sink, a process that survives
                       └── PostgreSQL (stopped, crashed, started)
"""

import asyncio
import random
import signal
import smtplib
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from tests.chaos.ledger import FULL
from tests.support.peers import free_port
from tests.support.postgres import PostgresServer, check_invariants
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.spooled import an_entry
from tests.support.waiting import eventually

MESSAGES, KILLS = (5000, 50) if FULL else (240, 6)
WINDOW = 1.5  # seconds between an upstream's 250 and the end of whoever should have recorded it; the machine may be busy
NAMES = ("one", "two", "three")


def now():
    return datetime.now(UTC)


def fill(url, count, first=0):
    """Puts messages into the queue, numbered from `first` on; their ids."""

    async def work():
        spool = await open_spool(SpoolSettings(url, keep_free=0), now=now)
        ids = [f"m{number:013d}" for number in range(first, first + count)]
        for start in range(0, count, 100):
            entries = [
                an_entry(one, now(), content=b"From: nas@isp.example\r\n\r\n%d\r\n" % hash(one)) for one in ids[start:][:100]
            ]
            await asyncio.gather(*map(spool.commit, entries))
        await spool.close()
        return ids

    return asyncio.run(work())


def relay(directory, url, upstream, name, **spool):
    directory = directory / name
    directory.mkdir()
    smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": "nas@isp.example"}
    shared = {"url": url, "name": name, "lease": "5s", "keep_free": "1MB", "state_dir": str(directory / "state"), **spool}
    listen = [{"address": f"127.0.0.1:{free_port()}", "networks": ["private"]}]
    return RelayProcess(directory, {"upstreams": {"sink": smarthost}, "spool": shared, "listen": listen})


@contextmanager
def running(relays):
    """Started now, stopped whatever happens."""
    try:
        for one in relays:
            one.start()
        yield relays
    finally:
        for one in relays:
            if one.running:
                one.stop(40)


def waiting(url):
    return PostgresServer.ask(url, "SELECT count(*) FROM message WHERE over_at IS NULL")[0][0]


def told(one):
    """The queue id, which is in the Message-ID that the relay gives where a device gave none."""
    return one.header("Message-ID").strip("<>").partition("@")[0]


def test_three_relays_deliver_each_message_once(tmp_path, postgres_server, ledger):
    """Nobody is disturbed: no message arrives twice, and each relay has its part in it.

    The leases are as long as by default: one of a few seconds would end in whoever gets no processor for as long.
    """
    url = postgres_server.lent()
    with sink(tmp_path / "sink", delay=0.02 if FULL else 0.04) as upstream:
        with running([relay(tmp_path, url, upstream, name, lease="60s") for name in NAMES]) as relays:
            ids = fill(url, MESSAGES)
            eventually(lambda: not waiting(url), 600 if FULL else 60, relays[0].said)
            eventually(lambda: sum(len(one.events("relayed")) for one in relays) >= len(ids), 30, "the logs lack some")
            shares = [len(one.events("relayed")) for one in relays]
        copies = Counter(map(told, upstream.taken()))
    doubled = sum(count > 1 for count in copies.values())
    ledger.enter(
        "nothing; three relays, one queue", promised=len(ids), lost=len(set(ids) - set(copies)), words=f"shares {shares}"
    )
    assert set(copies) == set(ids)
    assert doubled == 0
    assert sum(shares) == len(ids)
    assert min(shares) > 0
    assert check_invariants(url) == []


@pytest.mark.timeout(1500 if FULL else 150)
def test_relays_that_are_killed_and_a_database_that_restarts_lose_nothing(tmp_path, postgres_server, ledger):
    """Twice arrives only what an upstream took in the last moments of a relay or a database."""
    url = postgres_server.lent()
    dice, ends = random.Random(5321), []
    with sink(tmp_path / "sink", delay=0.1) as upstream:
        with running([relay(tmp_path, url, upstream, name) for name in NAMES]) as relays:
            ids = []
            for number in range(KILLS):
                ids += fill(url, MESSAGES // KILLS, len(ids))
                time.sleep(dice.uniform(0.1, 0.8))
                if number % 3 == 2:
                    began = time.time()
                    postgres_server.stop(dice.choice([signal.SIGINT, signal.SIGQUIT]))
                    time.sleep(dice.uniform(0, 0.5))
                    postgres_server.go_on()
                    ends.append((began, time.time()))
                else:
                    victim = dice.choice(relays)
                    ends.append((time.time(),) * 2)
                    victim.kill9()
                    victim.start()
            eventually(lambda: not waiting(url), 600 if FULL else 90, relays[0].said)
        taken = upstream.taken()
    copies, at = Counter(map(told, taken)), {}
    for one in taken:
        at.setdefault(told(one), []).append(one.at)
    doubled = {queue_id: times[:-1] for queue_id, times in at.items() if len(times) > 1}
    unexplained = [
        (queue_id, moment)
        for queue_id, times in doubled.items()
        for moment in times
        if not any(begin - WINDOW < moment < end + WINDOW for begin, end in ends)
    ]
    ledger.enter(
        "relays killed, PostgreSQL restarted",
        times=len(ends),
        promised=len(ids),
        lost=len(set(ids) - set(copies)),
        doubled=len(doubled),
        words=f"twice only within {WINDOW} s of an end",
    )
    assert set(copies) == set(ids)
    assert unexplained == []
    assert check_invariants(url) == []


def submit(port):
    """What the device hears at the end of its message, and how long it waited for that."""
    with smtplib.SMTP("127.0.0.1", port, "nas", timeout=30) as line:
        line.mail("nas@isp.example")
        line.rcpt("b@far.example")
        began = time.monotonic()
        code, said = line.data("Subject: scan\r\n\r\nhello\r\n")
        return code, said.decode(), time.monotonic() - began


def test_devices_hear_451_at_once_while_the_database_is_away(tmp_path, postgres_server):
    """And are served again as soon as it is back; what was accepted before goes out."""
    url = postgres_server.lent()
    with sink(tmp_path / "sink") as upstream, running([relay(tmp_path, url, upstream, "one")]) as (one,):
        assert submit(one.port)[0] == 250
        postgres_server.stop()
        try:
            for _ in range(3):
                code, said, seconds = submit(one.port)
                assert (code, said[:5]) == (451, "4.3.2"), one.said()
                assert seconds < 5
            status = one.command("health", "--json")
            assert status.returncode == 1
            assert "cannot be reached" in status.stdout + status.stderr
        finally:
            postgres_server.go_on()
        eventually(lambda: submit(one.port)[0] == 250, 60, one.said)
        upstream.wait_for(2, 30)


def test_with_a_fallback_devices_notice_nothing(tmp_path, postgres_server, ledger):
    """Taken while the database is away, through a kill -9 too; afterwards each message arrives once, from the shared queue."""
    url = postgres_server.lent()
    with sink(tmp_path / "sink") as upstream:
        one = relay(tmp_path, url, upstream, "one", fallback=f"sqlite:{tmp_path}/one/fallback.db")
        with running([one]):
            promised = [submit(one.port)[1].split()[-1] for _ in range(3)]
            upstream.wait_for(3, 30)
            eventually(lambda: not waiting(url), 30, one.said)
            postgres_server.stop()
            try:
                promised += [submit(one.port)[1].split()[-1] for _ in range(5)]
                one.kill9()
                one.start()
                promised += [submit(one.port)[1].split()[-1] for _ in range(5)]
            finally:
                postgres_server.go_on()
            upstream.wait_for(13, 60)
            eventually(lambda: not waiting(url), 30, one.said)
            shown = one.show(promised[4])
        copies = Counter(map(told, upstream.taken()))
    assert [line["text"] for line in shown["trail"] if line["event"] == "warned"] == [
        "taken by one while the database was away"
    ]
    ledger.enter("PostgreSQL away, a fallback beside it", promised=len(promised), doubled=sum(copies.values()) - len(promised))
    assert copies == Counter(promised)
