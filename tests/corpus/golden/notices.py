"""Notices and alarms, each octet of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

from relay.mail.address import Address, parse_address
from relay.mail.dsn import Notice, NotifiedMessage, RecipientStatus, compose, compose_alarm
from relay.mail.message import Message

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
TOKYO = datetime(2026, 11, 22, 12, 4, 5, tzinfo=timezone(timedelta(hours=9)))
BOSS = Address("boss", "example.jp")
GONE = RecipientStatus(
    parse_address("gone@host.example"),
    failed=True,
    code=550,
    status="5.1.1",
    said="<gone@host.example>: no such user",
    upstream="isp",
    remote="mail.isp.example",
    attempts=1,
    tried_at=NOW,
    cause="There is no such recipient.",
    remedy="Correct the address.",
)
LATE = replace(GONE, failed=False, code=451, status="4.7.1", said="greylisted", retry_until=NOW + timedelta(days=5))
EXPIRED = replace(GONE, expired=True, code=0, status="", said="nobody answers", remote="", attempts=12, cause="", remedy="")
TOLD = {
    "refused": (GONE,),
    "late": (LATE,),
    "given up": (EXPIRED,),
    "given up after an answer": (replace(EXPIRED, code=451, status="", said="later (#4.3.2)"),),
    "refused, late and given up": (GONE, replace(LATE, recipient=parse_address("late@host.example")), EXPIRED),
    "never tried": (replace(EXPIRED, upstream="", attempts=0, tried_at=None),),
    "under another name": (replace(GONE, original=parse_address("root@nas"), remote="[192.0.2.1]"),),
    "status of another class": (replace(GONE, status="4.2.0"), replace(GONE, status="", code=452), replace(GONE, code=354)),
    "words with controls": (replace(GONE, said="no\x1b[2J\r\nSubject: x\u2028 完了 \ud800", cause="完了。", remedy=""),),
    "words without end": (replace(GONE, said="so " * 900, cause="Why " * 60, remedy="What " * 60),),
    "one long word": (replace(GONE, said="x" * 3000, remedy="y" * 200),),
    "to a person in UTF-8": (replace(GONE, recipient=Address("監視", "例え.jp"), original=Address("監視", "nas")),),
    "to an odd address": (replace(GONE, recipient=Address("a b\x07", "host.example")),),
}
HEADERS = {
    "plain": b"From: root@nas\r\nSubject: backup\r\nMessage-ID: <1@nas.example>\r\n\r\n",
    "none": b"",
    "no id": b"Subject: \r\nMessage-ID: 1\r\n\r\n",
    "words": b"Subject: =?utf-8?b?44OQ44OD44Kv44Ki44OD44OX?=\r\nMessage-ID: <1@nas\xe9>\r\nX-Raw: \x83\x4a\r\n\r\n",
    "raw Shift_JIS": "Subject: 監視カメラの停止\r\nX-A: a\x07b\x00\tc\r\n d\r\n\r\n".encode("cp932"),
    "long": b"Subject: " + b"word " * 60 + b"\r\nX-A: " + b"x" * 1200 + b"\r\nX-B: " + b"y z " * 6000 + b"\r\n\r\n",
    "escapes": "Subject: 監視\r\n\r\n".encode("iso-2022-jp"),
}
ALARMS = {
    "plain": ("Mail relay: something needs you", "isp refuses the login. " * 9 + "\n\nSecond.\n"),
    "words": ("完了 =?x", "監視カメラの " * 20 + "\n- a\n- b"),
    "controls": ("a\r\nBcc: b\x07", "a\x1bb\rc \ud800\n\n\n"),
    "long": ("subject " * 60, "x" * 300),
    "encoded": ("=?utf-8?Q?a?=", ""),
}
HOSTS = ("relay.home.example", "監視 relay", "")


def letter(told: tuple[RecipientStatus, ...], header: bytes = HEADERS["plain"], **other: object) -> NotifiedMessage:
    made = NotifiedMessage("01jabc", NOW, Address("root", "nas"), told, "192.168.0.9", Message.parse([header]).fields)
    return replace(made, **other)  # type: ignore[arg-type]


def _composed(*letters: NotifiedMessage, host: str = HOSTS[0], now: datetime = NOW) -> Notice:
    return compose(letters, to=BOSS, hostname=host, queue_id="01jq", now=now)


def _alarm(subject: str, text: str, host: str) -> Notice:
    return compose_alarm(subject, text, to=BOSS, hostname=host, queue_id="01jq", now=NOW)


def notices() -> Iterator[tuple[str, Callable[[], Notice]]]:
    """Name, and what composes the notice of that name."""
    for name, told in TOLD.items():
        yield name, partial(_composed, letter(told))
    for name, header in HEADERS.items():
        yield f"header: {name}", partial(_composed, letter((GONE,), header))
    yield "from nobody, by nobody", partial(_composed, letter((GONE,), sender=None, client=""))
    yield "in Tokyo", partial(_composed, letter((GONE,), accepted_at=TOKYO), now=TOKYO)
    japanese = letter((EXPIRED,), HEADERS["raw Shift_JIS"], queue_id="01jabd")
    yield "of two messages", partial(_composed, letter((GONE, LATE)), japanese)
    yield "of two that are late", partial(_composed, letter((LATE,)), letter((LATE,), HEADERS["none"], queue_id="01jabd"))
    for host in HOSTS[1:]:
        yield f"of the host {host!r}", partial(_composed, letter((GONE,)), host=host)
    for name, (subject, text) in ALARMS.items():
        for host in HOSTS if name == "plain" else HOSTS[:1]:
            yield f"alarm: {name} of {host!r}", partial(_alarm, subject, text, host)
