"""The relay dies at each point that only large content comes to, and is started again: no octet is lost or left over.

scanner ── 400 KB ──> relay ──> sink      x  at the point
"""

import signal
import smtplib
from contextlib import suppress
from pathlib import Path

import pytest

from relay.crash_points import CONTENT_POINTS
from relay.spool.sqlite.invariants import check_invariants
from tests.chaos.ledger import Ledger
from tests.support.aftermath import aftermath
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.waiting import eventually

SENDER, OWNER = "scan@isp.example", "me@far.example"
TABLE = {
    # point: (states after the crash, files in the folder)
    "content-written": ([], ["1.part"]),
    "content-named": ([], ["1.eml"]),
    "content-synced": ([], ["1.eml"]),
    "content-over": ([{OWNER: "relayed"}], ["1.eml"]),
}


def submit(port: int) -> bool:
    """Whether the scanner heard 250."""
    text = f"From: <{SENDER}>\r\nTo: <{OWNER}>\r\nSubject: scan\r\n\r\n" + "0123456789\r\n" * 34_000
    with suppress(OSError, smtplib.SMTPException):
        with smtplib.SMTP("127.0.0.1", port, "scan", timeout=20) as line:
            line.mail(SENDER)
            line.rcpt(OWNER)
            return line.data(text)[0] == 250
    return False


def files(spool: Path) -> list[str]:
    return sorted(one.name for one in Path(f"{spool}-content").iterdir())


def test_the_table_has_every_point() -> None:
    assert tuple(TABLE) == CONTENT_POINTS


@pytest.mark.parametrize("point", TABLE)
def test_a_crash_leaves_a_file_that_a_row_knows_or_that_is_swept(point: str, tmp_path: Path, ledger: Ledger) -> None:
    """What was promised arrives once; a file that belongs to nothing goes, and its number is used again."""
    states, left = TABLE[point]
    with sink(tmp_path / "sink") as upstream:
        smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}
        relay = RelayProcess(tmp_path, {"upstreams": {"sink": smarthost}})
        relay.start({"RELAY_DIE_AT": point})
        first = submit(relay.port)
        assert relay.death() == -signal.SIGKILL
        assert first == bool(states)
        assert (list(aftermath(relay.spool).states.values()), files(relay.spool)) == (states, left)
        relay.start()
        try:
            assert files(relay.spool) == []
            assert submit(relay.port)
            eventually(lambda: not aftermath(relay.spool).queued and not files(relay.spool), 30, relay.said)
        finally:
            relay.stop()
        taken = upstream.taken()
    ledger.enter(f"death at {point}", promised=1 + first, lost=1 + first - len(taken))
    assert len(taken) == 1 + first
    assert check_invariants(relay.spool) == []
