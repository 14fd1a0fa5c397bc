"""The relay dies at each point on the way to a digest, and is started again: nothing is lost, and there is one digest.

camera ── five equal messages ──> relay (storm: same_within 1s) ──> sink      x  at the point
"""

import asyncio
import signal
import smtplib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.crash_points import DIGEST_POINTS
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import State, StoredEntry
from relay.spool.sqlite.invariants import check_invariants
from tests.chaos.ledger import Ledger
from tests.support.postgres import check_invariants as check_postgres
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.waiting import eventually

MAILS = 5
SENDER, OWNER = "cam@isp.example", "me@far.example"


def submit(port: int) -> list[str]:
    """The queue ids that the camera heard before the relay died."""
    heard = []
    with suppress(OSError, smtplib.SMTPException):
        with smtplib.SMTP("127.0.0.1", port, "cam", timeout=20) as line:
            for number in range(MAILS):
                line.mail(SENDER)
                line.rcpt(OWNER)
                code, said = line.data(f"From: <{SENDER}>\r\nTo: <{OWNER}>\r\nSubject: Motion {number}\r\n\r\nframe\r\n")
                assert code == 250, said
                heard.append(said.decode().split()[-1])
    return heard


def stored(url: str) -> dict[str, StoredEntry]:
    async def read() -> list[StoredEntry]:
        spool = await open_spool(SpoolSettings(url, keep_free=0), now=lambda: datetime.now(UTC))
        try:
            return await spool.entries(None, 1000, trail=True)
        finally:
            await spool.close()

    return {one.entry.queue_id: one for one in asyncio.run(read())}


@pytest.mark.parametrize(
    ("point", "backend"),
    [*((point, "PostgreSQL") for point in DIGEST_POINTS), ("weigh-inside", "a file"), ("digest-inside", "a file")],
)
def test_a_crash_neither_loses_nor_doubles_a_digest(
    point: str, backend: str, tmp_path: Path, ledger: Ledger, request: pytest.FixtureRequest
) -> None:
    """Every promised message was sent by itself once, or is one of those that the one digest counts."""
    url = f"sqlite:{tmp_path}/spool/spool.db"
    spool = {"url": url, "keep_free": "1MB"}
    if backend == "PostgreSQL":
        url = request.getfixturevalue("postgres_server").database()
        spool = {"url": url, "keep_free": "1MB", "state_dir": str(tmp_path / "state")}
    with sink(tmp_path / "sink") as upstream:
        smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}
        devices = {"camera": {"client": "127.0.0.1", "storm": {"same_within": "1s", "per_hour": 30}}}
        relay = RelayProcess(tmp_path, {"upstreams": {"sink": smarthost}, "devices": devices, "spool": spool})
        relay.start({"RELAY_DIE_AT": point})
        promised = submit(relay.port)
        assert relay.death() == -signal.SIGKILL
        wrong = check_postgres(url) if backend == "PostgreSQL" else check_invariants(relay.spool)
        assert wrong == []
        after = stored(url)
        assert set(promised) <= set(after)
        relay.start()
        promised += submit(relay.port)
        relay.wait_for("merged", seconds=30)
        eventually(lambda: not relay.queue(), 30, relay.said)  # a digest is made of what waits
        relay.stop()
        taken = upstream.taken()
    found = stored(url)
    assert all(one.state.over for each in found.values() for one in each.recipients)
    digests = {name: one.entry.merges for name, one in found.items() if one.entry.merges}
    ends = {name: found[name].recipients[0] for name in promised}
    merged = [one.merged_into for one in ends.values() if one.state is State.MERGED]
    subjects = [one.header("Subject") for one in taken]
    assert sum(subject.endswith("more: Motion 4") for subject in subjects) == len(digests)
    unheard = [name for name, one in found.items() if name not in promised and not one.entry.merges]  # its 250 did not come
    counted = merged + [one.merged_into for name in unheard if (one := found[name].recipients[0]).merged_into]
    assert {name: counted.count(name) for name in digests} == digests
    alone = [name for name, one in found.items() if not one.entry.merges and one.recipients[0].state is State.RELAYED]
    assert len(taken) == len(digests) + len(alone)
    assert len(digests) <= 2  # of those before the crash, and of those after it, if a second lay between
    ledger.enter(f"death at {point}, in {backend}", promised=len(promised), words=f"{len(digests)} digests of {len(counted)}")


ON_ITS_WAY = {"send-prepared": 0, "send-answered": 1, "settle-inside": 2}
"""How often its upstream has taken it by then."""


def test_a_digest_on_its_way_is_the_only_one_however_often_the_relay_dies(
    tmp_path: Path, ledger: Ledger, request: pytest.FixtureRequest
) -> None:
    """Once at each step, one after the other; it comes again where its answer was not stored, with its Message-ID.

    In PostgreSQL; for a file tests/chaos/test_storm_steps.py plays these steps, and all before and after them.
    """
    url = request.getfixturevalue("postgres_server").database()
    with sink(tmp_path / "sink") as upstream:
        smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}
        config = {
            "upstreams": {"sink": smarthost},
            "devices": {"camera": {"client": "127.0.0.1", "storm": {"same_within": "4s"}}},
            "spool": {"url": url, "keep_free": "1MB", "state_dir": str(tmp_path / "state")},
        }
        relay = RelayProcess(tmp_path, config)
        relay.start({"RELAY_DIE_AT": "digest-durable"})
        promised = submit(relay.port)
        assert len(promised) == MAILS
        assert relay.death() == -signal.SIGKILL
        for point, times in ON_ITS_WAY.items():
            relay.start({"RELAY_DIE_AT": point})
            assert relay.death() == -signal.SIGKILL, point
            assert upstream.count() == 1 + times
            assert check_postgres(url) == []
        relay.start()
        eventually(lambda: not relay.queue(), 30, relay.said)
        relay.stop()
        taken = upstream.taken()
    found = stored(url)
    (digest,) = [name for name, one in found.items() if one.entry.merges]
    assert set(found) == {*promised, digest}
    ends = [(one.state, one.merged_into) for name in promised for one in found[name].recipients]
    alone = ends.index((State.RELAYED, ""))  # of messages that come at once, any may be weighed first
    assert [*ends[:alone], *ends[alone + 1 :]] == [(State.MERGED, digest)] * (MAILS - 1)
    assert found[digest].entry.merges == MAILS - 1
    assert [one.state for one in found[digest].recipients] == [State.RELAYED]
    last = max({*range(MAILS)} - {alone})
    assert [one.header("Subject") for one in taken] == [f"Motion {alone}", *[f"4 more: Motion {last}"] * 3]
    assert len({one.header("Message-ID") for one in taken}) == 2
    ledger.enter("deaths while a digest is sent, in PostgreSQL", times=4, promised=MAILS, doubled=1, words="1 digest")
