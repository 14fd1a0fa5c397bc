"""Has the relay become more wasteful?  Counts, not times: the same on a slow machine and on a busy one.

python -m bench.smoke            compares with bench/bounds.json, ends with 1 if a bound is passed   (make bench-smoke)
python -m bench.smoke --write    stores what was found, and bounds made from it
"""

import json
import os
import signal
import smtplib
import sys
import tempfile
import time
from pathlib import Path

from tests.support.running import RelayProcess
from tests.support.sink import sink

BOUNDS = Path(__file__).parent / "bounds.json"
FACTOR = 1.5
"""Wide enough for another Python and another order of events; not for a loop over lines."""
FIXED = {"commits": 2.5, "idle_calls": 1000.0, "modules": 500.0}
"""A third commit is one too many; of the timers now and then one falls into the seconds that are looked at; a web server
that nobody asked for is a hundred modules."""
MESSAGES = 15
LARGE = 5_000_000
IDLE_SECONDS = 4
SETTLED = 16
"""Seconds after its start when the relay has looked around once, as `relay doctor` does."""
MEANING = {
    "calls": "function calls, one message of 4 KB on a connection of its own",
    "statements": "SQL statements, the same message",
    "commits": "transactions, each one fsync, the same message",
    "written": "octets written to files and pipes (spool and log), the same message",
    "session_calls": "function calls, one message of 4 KB in a session of many",
    "large_calls": "function calls for one MB of a large message",
    "idle_calls": "function calls in a second of idleness",
    "modules": "Python modules in memory at the end",
}


def letter(number: int, size: int = 4096) -> bytes:
    head = f"From: nas@isp.example\r\nTo: me@example.net\r\nSubject: Backup {number}\r\nMessage-ID: <{number}@nas.example>\r\n"
    line = b"rsync: sent 1,234,567 bytes  received 8,910 bytes  total size is 99,999\r\n"
    date = time.strftime("Date: %a, %d %b %Y %H:%M:%S +0000\r\n\r\n", time.gmtime())
    return head.encode() + date.encode() + line * (size // len(line))


class Counted:
    """A relay whose doings are counted."""

    def __init__(self, directory: Path, upstream: int) -> None:
        isp = {"host": "127.0.0.1", "port": upstream, "tls": "none", "auth": "none", "sender": "nas@isp.example"}
        web = {"address": "127.0.0.1:0"}
        limits = {"messages_per_minute": 100_000}
        self.relay = RelayProcess(directory, {"upstreams": {"isp": isp}, "web": web, "limits": limits})
        self.relay.wrapper = [sys.executable, "-m", "bench.counted"]
        self._file = directory / "counts.json"
        self._sent = 0
        self.relay.start({"BENCH_COUNTS": str(self._file)})
        self.calm_at = time.monotonic() + SETTLED

    def counts(self) -> dict[str, int]:
        time.sleep(0.3)  # what follows the last event of the log
        self._file.unlink(missing_ok=True)
        os.kill(self.relay.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while not self._file.exists():
            if time.monotonic() > deadline:
                raise SystemExit(f"the relay does not tell its counts\n{self.relay.said()}")
            time.sleep(0.01)
        return dict(json.loads(self._file.read_text()))

    def send(self, count: int, *, size: int = 4096, apart: bool = True) -> dict[str, int]:
        """Sends one after the other, waiting for the end of each; what was counted meanwhile."""
        before = self.counts()
        device = smtplib.SMTP("127.0.0.1", self.relay.port, "nas.example", timeout=30)
        for _ in range(count):
            device.sendmail("nas@isp.example", "me@example.net", letter(self._sent, size))
            self._sent += 1
            if apart:
                device.quit()
            self.relay.wait_for("relayed", self._sent)
            if apart:
                device = smtplib.SMTP("127.0.0.1", self.relay.port, "nas.example", timeout=30)
        device.quit()
        after = self.counts()
        return {name: after[name] - before[name] for name in after}


def measure(directory: Path) -> dict[str, float]:
    """Each count once.  Raises AssertionError if a message is lost."""
    with sink(directory) as upstream:
        counted = Counted(directory, upstream.port)
        try:
            counted.send(5)  # what is made at the first message only
            # The least of three: what falls in between from time to time is not the message's.
            alone = [counted.send(MESSAGES) for _ in range(3)]
            found = {name: min(one[name] for one in alone) / MESSAGES for name in alone[0]}
            found["session_calls"] = min(counted.send(MESSAGES, apart=False)["calls"] for _ in range(3)) / MESSAGES
            found["large_calls"] = min(counted.send(1, size=LARGE)["calls"] for _ in range(2)) / (LARGE / 1e6)
            time.sleep(max(0.0, counted.calm_at - time.monotonic()))
            before = counted.counts()
            time.sleep(IDLE_SECONDS)
            after = counted.counts()
            found["idle_calls"] = (after["calls"] - before["calls"]) / IDLE_SECONDS
            found["modules"] = after["modules"]
            upstream.wait_for(5 + 6 * MESSAGES + 2)
        finally:
            counted.relay.stop()
    return {name: round(found[name], 2) for name in MEANING}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="relay-smoke-") as directory:
        found = measure(Path(directory))
    if "--write" in sys.argv:
        book = {name: {"found": count, "at most": FIXED.get(name, round(count * FACTOR, 1))} for name, count in found.items()}
        BOUNDS.write_text(json.dumps(book, indent=2) + "\n")
    bounds = json.loads(BOUNDS.read_text())
    passed = []
    for name, meaning in MEANING.items():
        most = bounds[name]["at most"]
        if found[name] > most:
            passed.append(name)
        grade = "TOO MANY" if name in passed else "ok"
        print(f"{found[name]:10,.1f}   at most {most:10,.1f}   {grade:8}  {meaning}")
    if passed:
        print("More work for the same mail.  If that is meant, say why and store it: python -m bench.smoke --write")
    return int(bool(passed))


if __name__ == "__main__":
    sys.exit(main())
