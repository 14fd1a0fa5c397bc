"""The table of what a crash leaves, line by line: the relay dies at each named point, is started again, and all is well.

device -> b@ (taken by the upstream) and nobody@ (refused: the sender gets a notice)
"""

import signal
import smtplib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.crash_points import POINTS
from relay.spool.sqlite.invariants import check_invariants
from tests.chaos.ledger import Ledger
from tests.support.aftermath import Aftermath, aftermath
from tests.support.running import RelayProcess
from tests.support.sink import Taken, sink
from tests.support.waiting import eventually

GOOD, BAD, SENDER = "b@far.example", "nobody@far.example", "nas@isp.example"


@dataclass(frozen=True)
class Line:
    """A line of the table: what lies in the spool after the crash, whether the device heard 250, and what arrives in the end.

    `states` "": the message is not there; `notices`: (failures to be told, notices in the queue) after the crash.
    """

    states: str
    notices: tuple[int, int]
    promised: bool | None  # None: either may come first
    copies: int
    told: int


NOT_THERE = Line("", (0, 0), promised=False, copies=0, told=0)
WAITING = Line("queued", (0, 0), promised=True, copies=1, told=1)
TABLE = {
    "accept-received": NOT_THERE,
    "accept-inside": NOT_THERE,
    "accept-durable": Line("queued", (0, 0), promised=False, copies=1, told=1),
    "accept-promised": WAITING,
    "claim-leased": Line("queued", (0, 0), promised=None, copies=1, told=1),
    "send-prepared": Line("queued", (0, 0), promised=None, copies=1, told=1),
    "send-answered": Line("queued", (0, 0), promised=True, copies=2, told=1),
    "settle-inside": Line("queued", (0, 0), promised=True, copies=2, told=1),
    "settle-durable": Line("half", (0, 0), promised=True, copies=1, told=1),
    "notice-composed": Line("over", (1, 0), promised=True, copies=1, told=1),
    "notice-inside": Line("over", (1, 0), promised=True, copies=1, told=1),
    "notice-durable": Line("over", (0, 1), promised=True, copies=1, told=1),
}
STATES = {"": [], "queued": [{GOOD: "queued", BAD: "queued"}], "over": [{GOOD: "relayed", BAD: "failed"}]}
STATES["half"] = [{GOOD: "relayed", BAD: "queued"}]  # what is certain is stored at once, before the next is asked


def submit(port: int) -> str:
    """The queue id that the device heard; "" if the relay died first."""
    text = f"From: <{SENDER}>\r\nTo: <{GOOD}>\r\nSubject: backup\r\n\r\ndone\r\n"
    with suppress(OSError, smtplib.SMTPException):
        with smtplib.SMTP("127.0.0.1", port, "nas", timeout=20) as line:
            line.mail(SENDER)
            line.rcpt(GOOD)
            line.rcpt(BAD)
            code, said = line.data(text)
            return said.decode().split()[-1] if code == 250 else ""
    return ""


def heard_in_the_end(taken: list[Taken]) -> tuple[list[str], list[Taken]]:
    """The Message-IDs of the copies that arrived, and the notices."""
    copies = [one.header("Message-ID") for one in taken if one.forward_paths == [GOOD]]
    return copies, [one for one in taken if one.reverse_path == "" and one.forward_paths == [SENDER]]


def nothing_waits(found: Aftermath) -> bool:
    return not found.pending and not found.queued


def test_the_table_has_every_point() -> None:
    """No point is named that is not tried (those of files in test_folder_crash.py), and none is tried that has no name."""
    assert list(TABLE) == [point for point in POINTS if not point.startswith("file-")]


@pytest.mark.parametrize("point", TABLE)
def test_a_crash_leaves_what_the_table_says(point: str, tmp_path: Path, ledger: Ledger) -> None:
    """Dead at this point: the spool is sound and as the table has it; after the restart each copy and notice arrives."""
    line = TABLE[point]
    with sink(tmp_path / "sink", delay=0.05) as upstream:
        smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}
        relay = RelayProcess(tmp_path, {"upstreams": {"sink": smarthost}, "notices": {"to": SENDER}})
        relay.start({"RELAY_DIE_AT": point})
        promised = submit(relay.port)
        assert relay.death() == -signal.SIGKILL
        found = aftermath(relay.spool)
        assert check_invariants(relay.spool) == []
        assert list(found.states.values()) == STATES[line.states]
        assert (found.pending, len(found.notices)) == line.notices
        if line.promised is not None:
            assert bool(promised) == line.promised
        if promised:
            assert promised in found.states
        relay.start()
        try:
            eventually(lambda: nothing_waits(aftermath(relay.spool)), 30, relay.said)
        finally:
            relay.stop()
        taken = upstream.taken()
    copies, notices = heard_in_the_end(taken)
    ledger.enter(
        f"death at {point}",
        promised=int(bool(promised)),
        lost=int(bool(promised) and not copies),
        doubled=max(len(copies) - 1, 0),
        words=f"{len(copies)} copies, {len(notices)} notices",
    )
    assert (len(copies), len(notices), len(taken)) == (line.copies, line.told, line.copies + line.told)
    assert len(set(copies)) <= 1  # who gets it twice gets the same Message-ID, and can tell
    assert check_invariants(relay.spool) == []
