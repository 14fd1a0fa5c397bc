"""A wrong clock under the real relay, by libfaketime: jumps of a day, and a Pi that starts in 1970 and is set later.

device -> relay run (its clock is moved while it runs) -> sink
"""

import os
import smtplib
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from relay.spool.sqlite.invariants import check_invariants
from tests.chaos.ledger import FULL, Ledger
from tests.support import tools
from tests.support.aftermath import aftermath
from tests.support.peers import free_port
from tests.support.running import RelayProcess
from tests.support.sink import Taken, sink
from tests.support.waiting import eventually

SENDER = "nas@isp.example"
DAY = timedelta(days=1)


class FalseClock:
    """The relay's wall clock: the real one and an offset that may change at any time; monotonic time stays true."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self._library = tools.faketime()
        self.offset = timedelta()
        self.set(self.offset)

    def set(self, offset: timedelta) -> None:
        self.offset = offset
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset.total_seconds():+.0f}\n")
        new.rename(self._file)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


def submit(port: int, subject: str) -> str:
    with smtplib.SMTP("127.0.0.1", port, "nas", timeout=60) as line:
        line.mail(SENDER)
        line.rcpt("b@far.example")
        code, said = line.data(f"From: <{SENDER}>\r\nSubject: {subject}\r\n\r\nx\r\n")
        assert code == 250, said
        return said.decode().split()[-1]


def arrived(taken: list[Taken], promised: dict[str, str]) -> tuple[int, int]:
    """How many promised messages did not arrive, and how many did so twice."""
    ids = [one.header("Message-ID").strip("<>").partition("@")[0] for one in taken]
    return sum(ids.count(one) == 0 for one in promised), sum(ids.count(one) > 1 for one in promised)


def config(port: int) -> dict[str, object]:
    """Five days until giving up, ten seconds of waiting: what a jump must not confuse."""
    return {
        "upstreams": {"sink": {"host": "127.0.0.1", "port": port, "tls": "none", "sender": SENDER}},
        "retry": {"delays": ["2s", "3s"], "rest": ["1s", "2s"], "rest_login": "5s", "give_up_after": "5d", "warn_after": "4h"},
    }


STARTS_IN_1970 = -(datetime.now(UTC) - datetime(1970, 1, 1, 0, 1, tzinfo=UTC))
JUMPS = {
    "a day forward": (timedelta(), DAY),
    "a day back": (timedelta(), -DAY),
    "1970, then set": (STARTS_IN_1970, timedelta()),
    "a year ahead, then set": (timedelta(days=365), timedelta()),
}


@pytest.mark.parametrize("jump", JUMPS if FULL else ["1970, then set", "a year ahead, then set"])
def test_a_jump_of_the_clock_expires_nothing_and_makes_no_storm(jump: str, tmp_path: Path, ledger: Ledger) -> None:
    """Mail that waits for its upstream while the clock jumps: not expired, not hammered, relayed soon after, dated right."""
    before, after = JUMPS[jump]
    clock = FalseClock(tmp_path)
    clock.set(before)
    port = free_port()  # nobody listens there until the clock has jumped
    relay = RelayProcess(tmp_path, config(port))
    relay.start(clock.environment)
    promised: dict[str, str] = {}
    try:
        promised[submit(relay.port, "before")] = "before"
        relay.wait_for("deferred", 1)
        clock.set(after)
        promised[submit(relay.port, "after")] = "after"
        tries, since = len(relay.events("deferred")) + len(relay.events("rested")), time.monotonic()
        eventually(lambda: len(relay.events("deferred")) + len(relay.events("rested")) > tries + 1, 40, relay.said)
        tries = len(relay.events("deferred")) + len(relay.events("rested")) - tries
        seconds = time.monotonic() - since
        with sink(tmp_path / "sink", port=port) as upstream:
            eventually(lambda: not aftermath(relay.spool).queued, 60, relay.said)
            taken = upstream.wait_for(2)
    finally:
        relay.stop()
    lost, doubled = arrived(taken, promised)
    dates = {one.header("Subject"): parsedate_to_datetime(one.header("Date")) for one in taken}
    ledger.enter(f"clock: {jump}", promised=2, lost=lost, doubled=doubled, words=f"{tries} tries in {seconds:.0f} s, expired 0")
    assert (lost, doubled) == (0, 0)
    assert relay.events("expired") == []
    assert relay.events("failed") == []
    assert tries <= 4 + 4 * seconds  # two messages, an upstream that rests a second or two: no storm
    assert all(abs(date - clock.now()) < timedelta(minutes=5) for date in dates.values())
    assert check_invariants(relay.spool) == []


def test_a_restart_in_1970_and_back_keeps_what_waits(tmp_path: Path, ledger: Ledger) -> None:
    """The battery is dead: accepted today, restarted in 1970, clock set while it runs; all arrives once."""
    clock = FalseClock(tmp_path)
    port = free_port()
    relay = RelayProcess(tmp_path, config(port))
    relay.start(clock.environment)
    promised = {submit(relay.port, "today"): "today"}
    relay.wait_for("deferred", 1)
    relay.kill9()
    clock.set(STARTS_IN_1970)
    relay.start(clock.environment)
    try:
        promised[submit(relay.port, "1970")] = "1970"
        with sink(tmp_path / "sink", port=port) as upstream:
            upstream.wait_for(1, 40)
            clock.set(timedelta())
            upstream.wait_for(2, 60)
            eventually(lambda: not aftermath(relay.spool).queued, 30, relay.said)
            taken = upstream.taken()
    finally:
        relay.stop()
    lost, doubled = arrived(taken, promised)
    ledger.enter("clock: restart in 1970", promised=2, lost=lost, doubled=doubled, words="no expiry")
    assert (lost, doubled) == (0, 0)
    assert relay.events("expired") == []
    assert check_invariants(relay.spool) == []


def test_the_clock_can_be_falsified_here(tmp_path: Path) -> None:
    """The library does what the tests above rely on: another day in the log than ours."""
    clock = FalseClock(tmp_path)
    clock.set(-30 * DAY)
    relay = RelayProcess(tmp_path, config(1)).start(clock.environment)
    relay.stop()
    started = datetime.fromisoformat(relay.events("started")[0]["timestamp"])
    assert abs(started - clock.now()) < timedelta(minutes=5)
    assert os.environ.get("LD_PRELOAD") is None
