"""A camera gone mad: nothing is lost, others are served, a person is told once.

camera (10,000 mails) ──> relay run ──> sink
"""

import smtplib
import time
from pathlib import Path

from relay.spool.sqlite.invariants import check_invariants
from tests.chaos.ledger import FULL, Ledger
from tests.support.aftermath import aftermath
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.waiting import eventually
from tests.support.webhook import pushes

SENDER = "nas@isp.example"
MAILS, A_MINUTE = (10_000, 300) if FULL else (600, 60)


def test_a_camera_with_ten_thousand_mails_is_slowed_down(tmp_path: Path, ledger: Ledger) -> None:
    """450 beyond `messages_per_minute`: what was promised arrives, others are served, and the owner is told once."""
    with sink(tmp_path / "sink") as upstream, pushes() as push:
        config = {
            "upstreams": {"sink": {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}},
            "limits": {"messages_per_minute": A_MINUTE},
            "notices": {"webhook": push.url, "digest": "1s"},
        }
        relay = RelayProcess(tmp_path, config).start()
        promised, slowed, began = 0, 0, time.monotonic()
        try:
            with smtplib.SMTP("127.0.0.1", relay.port, "camera", timeout=60, source_address=("127.0.0.7", 0)) as camera:
                for _ in range(MAILS):
                    code, _ = camera.mail("cam@isp.example")
                    if code == 250:
                        camera.rcpt("b@far.example")
                        code, _ = camera.data(b"Subject: motion\r\n\r\nx\r\n")
                        promised += code == 250
                        continue
                    assert code == 450
                    slowed += 1
                    if slowed % 500 == 0:  # a session of nothing but refusals is cut off one day; a camera connects again
                        camera.quit()
                        camera.connect("127.0.0.1", relay.port, source_address=("127.0.0.7", 0))
                        camera.helo("camera")
            minutes = 1 + int((time.monotonic() - began) / 60)
            with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=60) as nas:
                nas.sendmail(SENDER, "b@far.example", f"From: <{SENDER}>\r\nSubject: nas\r\n\r\nx\r\n")
            eventually(lambda: push.about("127.0.0.7"), 30, relay.said)
            eventually(lambda: not aftermath(relay.spool).queued, 120, relay.said)
            arrived = upstream.taken()
        finally:
            relay.stop()
    words = f"{slowed} x 450, told {len(push.about('127.0.0.7'))} x"
    ledger.enter(f"a camera with {MAILS} mails", promised=promised + 1, lost=promised + 1 - len(arrived), words=words)
    assert promised + slowed == MAILS
    assert A_MINUTE <= promised <= A_MINUTE * (minutes + 1)
    assert len(arrived) == promised + 1
    assert len(push.about("127.0.0.7")) == 1
    assert check_invariants(relay.spool) == []
