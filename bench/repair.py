"""What repair costs: `python bench/repair.py [NAME...]` prints a table; the best of several runs, in processor time.

With `--check` it ends with 1 if a goal is missed.

Goals: 4 KB under 1 ms, any pathological header under 100 ms, and a cost that grows with the size of the body.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.policy import RepairPolicy
from relay.mail.recode import seven_bit
from relay.mail.repair import repair
from relay.mail.repair_context import RepairContext
from relay.mail.rewrite import Identity, rewrite

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
NAS = Address("nas", "nas.example.test")
ABOUT = RepairContext("q123abc456def0", NOW, "relay.home.example", Origin("192.168.0.9", "nas"), Envelope(NAS, (NAS,)))
ACCOUNT = Identity(Address("taro", "isp.example"), frozenset({"isp.example"}))
RIGHT = (
    b"Date: Sun, 22 Nov 2026 11:59:00 +0900\r\nMessage-ID: <1@nas.example.test>\r\n"
    b"From: NAS Status <nas@nas.example.test>\r\nTo: admin@example.jp\r\nSubject: ok\r\n"
)
TEXT = b"Disk 3 of volume 1 was checked; 0 errors were found in 4096 blocks.\r\n"
BASE64 = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\r\n"
ATTACHED = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bbbbbbbbbb\r\n\r\n--bbbbbbbbbb\r\n\r\nx\r\n--bbbbbbbbbb\r\n"
)
SCAN = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
KANJI = "監視レポート".encode("cp932")
HEADER = 256 * 1024

SMALL: dict[str, bytes] = {
    "4 KB, right": RIGHT + b"\r\n" + TEXT * 54,
    "4 KB, LF, no Date, Shift_JIS subject": b"From: nas\nSubject: " + KANJI + b"\n\n" + TEXT.replace(b"\r", b"") * 56,
    "4 KB, Shift_JIS text": RIGHT + b"\r\n" + (KANJI + b" ok\r\n") * 250,
}
EXTREME: dict[str, bytes] = {
    "26,000 lines without a colon among fields": b"w\nX-A: v\n" * 26_000 + b"\n",
    "1,500 parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 1500 + b"--b--\r\n",
}
PATHOLOGICAL: dict[str, bytes] = {
    "100,000 fields": b"".join(b"X-F%d: value\r\n" % number for number in range(100_000)) + b"\r\n",
    "256 KiB without a colon": b"w" * HEADER,
    "120,000 lines without a colon": b"w\n" * 120_000 + b"Subject: x\n\n",
    "256 KiB of raw 8-bit fields": b"".join(b"X-A: %d " % number + KANJI + b"\r\n" for number in range(10_500)) + b"\r\n",
    "256 KiB of raw UTF-8 fields": b"".join(b"X-%d: \xe6\xb8\xa9\xe5\xba\xa6\r\n" % number for number in range(16_000))
    + b"\r\n",
    "256 KiB of 8-bit words": b"Subject: " + "\u8a9e ".encode() * 64_000 + b"\r\n\r\n",
    "1,200 From fields": b"From: NAS <nas@nas.example.test>\r\n" * 1200 + b"\r\n",
    "deep comments": b"To: " + b"(a " * 60_000 + b")" * 60_000 + b"\r\n\r\n",
    "8,000 recipients": b"To: " + b", ".join(b"user%d@example.jp" % number for number in range(8000)) + b"\r\n\r\n",
    "6,000 names with unquoted commas": b"To: "
    + b", ".join(b"Doe, John %d <u%d@example.jp>" % (number, number) for number in range(6000))
    + b"\r\n\r\n",
    "8,000 recipients on the LAN": b"To: " + b", ".join(b"U <u%d@nas.local>" % number for number in range(8000)) + b"\r\n\r\n",
    "250,000 bare CRs": b"Subject: x\r\n\r\n" + b"\r" * 250_000,
    "60,000 continuations": b"Subject: x\r\n" + b" y\r\n" * 60_000 + b"\r\n",
    "12,000 encoded-words": b"To: " + b"=?utf-8?B?YQ==?= " * 12_000 + b"\r\n\r\n",
    "200,000 quotation marks": b"To: " + b'"' * 200_000 + b"\r\n\r\n",
}


@dataclass(frozen=True)
class Big:
    """`megabytes` of body behind a header, made anew at each reading."""

    head: bytes
    line: bytes
    tail: bytes
    megabytes: int

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        block = self.line * (65536 // len(self.line))
        for _ in range(self.megabytes * 1_000_000 // len(block)):
            yield block
        yield self.tail


def blocks(content: bytes) -> list[bytes]:
    return [content[place : place + 65536] for place in range(0, len(content), 65536)]


def best(work: Callable[[], object], seconds: float = 1.0) -> float:
    """Milliseconds of the quickest of as many runs as go into `seconds` (three at least)."""
    end, runs = time.monotonic() + seconds, []
    while len(runs) < 3 or time.monotonic() < end:
        start = time.process_time()
        work()
        runs.append(time.process_time() - start)
    return min(runs) * 1000


def whole(content: Iterable[bytes]) -> None:
    """Repair, and one reading of what comes out, as sending needs it."""
    for _ in repair(content, ABOUT, RepairPolicy()).message:
        pass


def small(content: bytes) -> None:
    repaired = repair([content], ABOUT, RepairPolicy())
    b"".join(rewrite(repaired.message, NAS, ACCOUNT).message)


def header(content: bytes) -> None:
    repaired = repair(blocks(content), ABOUT, RepairPolicy())
    rewrite(repaired.message, NAS, ACCOUNT)


def bodies() -> Iterator[tuple[str, Callable[[], object], float]]:
    for megabytes in (1, 10, 50):
        scan = Big(RIGHT + ATTACHED + SCAN, BASE64, b"--bbbbbbbbbb--\r\n", megabytes)
        yield f"{megabytes} MB attachment", lambda scan=scan: whole(scan), 0
    for megabytes in (1, 10, 50):
        bare = Big(RIGHT.replace(b"\r", b"") + b"\n", TEXT.replace(b"\r", b""), b"", megabytes)
        yield f"{megabytes} MB text, LF", lambda bare=bare: whole(bare), 0
    for megabytes in (1, 10):
        raw = Big(RIGHT + b"\r\n", KANJI * 5 + b"\r\n", b"", megabytes)
        message = repair(raw, ABOUT, RepairPolicy()).message
        yield f"{megabytes} MB Shift_JIS in seven bits", lambda message=message: sum(map(len, seven_bit(message))), 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python bench/repair.py", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only messages with this in their name (default: all)")
    parser.add_argument("--check", action="store_true", help="end with 1 if a goal is missed")
    options = parser.parse_args()
    rows: list[tuple[str, Callable[[], object], float]] = []
    rows += [(name, lambda content=content: small(content), 1) for name, content in SMALL.items()]
    rows += [(name, lambda content=content: header(content), 100) for name, content in PATHOLOGICAL.items()]
    rows += [(name, lambda content=content: header(content), 0) for name, content in EXTREME.items()]
    rows += bodies()
    wanted = [word.lower() for word in options.names]
    missed = 0
    print(f"{'message':42} {'ms':>9} {'goal':>6}")
    for name, work, goal in rows:
        if not wanted or any(word in name.lower() for word in wanted):
            cost = best(work, 0.5)
            print(f"{name:42} {cost:9.2f} {goal or '-':>6} {'over' if goal and cost > goal else ''}", flush=True)
            missed += bool(goal) and cost > goal
    if missed and options.check:
        sys.exit(1)


if __name__ == "__main__":
    main()
