"""A log that nobody reads: the relay goes on as if somebody did.

device ──SMTP──▶ relay run ──▶ stdout, a pipe whose reader stands still
"""

import json
import smtplib
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.stations.test_commands import upstream_at
from tests.support.running import RelayProcess


class Unread(RelayProcess):
    """Its log is read until it has started, and then only while `reading` is set."""

    def __init__(self, directory: Path, config: dict[str, object]) -> None:
        super().__init__(directory, config)
        self.reading = threading.Event()
        self.reading.set()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            with suppress(ValueError):  # not JSON: the last line is cut short where the process ended in the middle of it
                self.log.append(json.loads(line))
                if self.log[-1]["event"] == "started":
                    self.reading.clear()
            self.reading.wait()

    def _closed(self, process: "subprocess.Popen[str]") -> None:
        self.reading.set()  # it has ended: what is left in the pipe may be read
        super()._closed(process)


def test_mail_is_taken_and_sigterm_works_while_nobody_reads_the_log(tmp_path: Path, unused_tcp_port: int) -> None:
    """More lines than a pipe holds: each message is accepted at once; SIGTERM ends it."""
    relay = Unread(tmp_path, {"upstreams": {"isp": upstream_at(unused_tcp_port)}})
    relay.start()
    try:
        longest = 0.0
        with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as device:
            for _ in range(120):
                began = time.monotonic()
                device.sendmail("a@isp.example", [f"{'x' * 60}{n}@far.example" for n in range(8)], b"Subject: x\r\n\r\nx\r\n")
                longest = max(longest, time.monotonic() - began)
        assert longest < 5
        assert len(relay.queue()) == 120
        relay.reading.set()
        relay.wait_for("accepted", 60)
        relay.reading.clear()
        assert relay.stop() == 0
    finally:
        if relay.running:
            relay.kill9()
