"""Repair is cheap whatever comes: bounds far above what is needed, far below what a non-linear step would take."""

import time
from datetime import UTC, datetime

import pytest

from relay.mail.dsn import NotifiedMessage
from relay.mail.message import Field
from relay.mail.policy import RepairPolicy
from relay.mail.repair import repair
from tests.support.letters import about

MANY = 100_000
CASES = {
    "fields": b"".join(b"X-F%d: value\r\n" % number for number in range(MANY)),
    "no colon": b"w" * 256 * 1024,
    "lines without a colon": b"word\n" * MANY + b"Subject: x\n\n",
    "lines without a colon among fields": b"w\nX-A: v\n" * 26_000 + b"\n",
    "8-bit fields": b"".join(b"X-A: %d " % number + "監視レポート".encode("cp932") + b"\r\n" for number in range(10_000)),
    "names with unquoted commas": b"To: " + b", ".join(b"Doe, J %d <u%d@example.jp>" % (n, n) for n in range(6000)) + b"\r\n",
    "comments": b"From: " + b"(" * 2 * MANY + b"\r\n\r\n",
    "nested comments": b"To: " + b"(a " * 60_000 + b")" * 60_000 + b"\r\n\r\n",
    "recipients": b"To: " + b", ".join(b"user%d@example.jp" % number for number in range(8000)) + b"\r\n\r\n",
    "quotation marks": b"To: " + b'"' * 2 * MANY + b"\r\n\r\n",
    "encoded-words": b"To: " + b"=?utf-8?B?YQ==?= " * 12_000 + b"\r\n\r\n",
    "carriage returns": b"Subject: x\r\n\r\n" + b"\r" * 300_000,
    "continuations": b"Subject: x\r\n" + b" y\r\n" * 60_000 + b"\r\n",
    "parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5000 + b"--b--\r\n",
    "half a million parts": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * 500_000,
    "8-bit words": b"Subject: " + "語 ".encode() * 60_000 + b"\r\n\r\n",
    "folds of carriage returns": b"Subject: a" + b"\r" * 60_000 + b"\n b\r\n\r\n",
    "glued boundaries": b"Content-Type: multipart/mixed; boundary=bbbbbbbb\r\n\r\n--bbbbbbbb\r\n\r\n"
    + b"---bbbbbbbb\r\n" * 20_000,
}


@pytest.mark.parametrize("name", CASES)
def test_no_input_is_expensive(name):
    """Every pathological letter is repaired within seconds even on a slow machine; most take milliseconds."""
    content = CASES[name]
    blocks = [content[place : place + 65536] for place in range(0, len(content), 65536)]
    start = time.process_time()
    repair(blocks, about(), RepairPolicy())
    assert time.process_time() - start < 3


@pytest.mark.parametrize("subject", [b"a" + b"\r" * 60_000 + b"\n b", b"=?utf-8?B?YQ==?= " * 15_000, b"\r" * 60_000])
def test_no_subject_makes_a_notice_expensive(subject):
    """What is shown of a subject costs no more than what is shown of it."""
    letter = NotifiedMessage(
        "01x", datetime(2026, 11, 22, tzinfo=UTC), None, (), fields=(Field(b"Subject: " + subject + b"\r\n"),)
    )
    start = time.process_time()
    assert len(letter.subject) <= 120
    assert time.process_time() - start < 1
