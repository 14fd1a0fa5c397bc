"""Letters for tests: circumstances that never change, and what a repaired letter must be whatever came in."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.message import Message
from relay.mail.policy import RepairPolicy
from relay.mail.repair import Repaired, repair
from relay.mail.repair_context import RepairContext

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ID = "q123abc456def0"
HOST = "relay.home.example"

NAS = Address("nas", "nas.example.test")

RIGHT = (
    b"Date: Sun, 22 Nov 2026 11:59:00 +0900\r\nMessage-ID: <1@nas.example.test>\r\n"
    b"From: NAS Status <nas@nas.example.test>\r\nTo: admin@example.jp\r\nSubject: ok\r\n"
)


def recent_date() -> str:
    """A Date of two hours ago by the real clock, for what a running relay gets: one that is days old is replaced."""
    return format_datetime(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2))


def about(sender: Address | None = NAS, *, repeated_id: bool = False, utf8: bool = False) -> RepairContext:
    envelope = Envelope(sender, (Address("admin", "example.jp"),), utf8=utf8)
    return RepairContext(ID, NOW, HOST, Origin("192.168.0.9", "nas"), envelope, repeated_id)


def repaired(content: bytes, circumstances: RepairContext | None = None, policy: RepairPolicy | None = None) -> Repaired:
    """Repairs octets that come in blocks of 61, so that no line end is safe from being split."""
    blocks = [content[place : place + 61] for place in range(0, len(content), 61)]
    return repair(blocks, circumstances or about(), policy or RepairPolicy())


def octets(message: Message) -> bytes:
    return b"".join(message)


def without_trace(message: Message) -> bytes:
    """The octets but for the Received field that repair puts in front."""
    assert message.fields[0].name == "received"
    return octets(message)[len(message.fields[0].raw) :]


def read(message: Message) -> email.message.EmailMessage:
    """The letter as Python's own parser understands it, decoded."""
    return email.message_from_bytes(octets(message), policy=email.policy.default)


def text_of(message: Message) -> str:
    """The letter's text as people see it, with LF for line ends."""
    content: str = read(message).get_content()
    return content.replace("\r\n", "\n")


def assert_sendable(content: bytes) -> None:
    """What every upstream may rely on."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    assert b"\0" not in content
    assert content.endswith(b"\r\n")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    head = content.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", head)
    for line in head.split(b"\r\n"):
        assert re.match(rb"[ \t]+\S|[!-9;-~]+:", line), line
