"""Notices, whatever the upstream and the device said: any mail program can read them, and nobody is left out."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.address import Address
from relay.mail.dsn import NotifiedMessage, RecipientStatus, compose, compose_alarm
from relay.mail.message import Message

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
WORDS = st.text(max_size=80) | st.sampled_from(
    ["550 no\r\nBcc: x@y.z", "\r\n.\r\n", "--=_notice_", "x" * 3000, "日本語 " * 200, "\ud800"]
)
LOCALS = st.text('abcAB0.+-_ "\\日本', min_size=1, max_size=12) | st.just("gone")
ADDRESSES = st.builds(Address, LOCALS, st.sampled_from(["host.example", "例え.example", "x.example"]))
TOLD = st.builds(
    RecipientStatus,
    recipient=ADDRESSES,
    failed=st.booleans(),
    expired=st.booleans(),
    code=st.sampled_from([0, 421, 450, 550, 554]),
    status=st.sampled_from(["", "5.1.1", "4.4.1", "5.7.60", "nonsense"]),
    said=WORDS,
    upstream=st.sampled_from(["", "isp"]),
    remote=st.sampled_from(["", "mail.isp.example", "[192.0.2.1]", "[IPv6:2001:db8::1]"]),
    attempts=st.integers(0, 40),
    tried_at=st.sampled_from([None, NOW]),
    retry_until=st.sampled_from([None, NOW + timedelta(days=5)]),
    cause=WORDS,
    remedy=WORDS,
    original=st.none() | ADDRESSES,
)
HEADERS = st.lists(st.tuples(st.sampled_from([b"Subject", b"From", b"Message-ID"]), st.binary(max_size=60)), max_size=4)
LETTERS = st.builds(
    lambda sender, told, client, header: NotifiedMessage(
        "01jabcdefghijk",
        NOW,
        sender,
        tuple(told),
        client,
        Message.parse([b"".join(name + b": " + value + b"\r\n" for name, value in header) + b"\r\n"]).fields,
    ),
    st.none() | ADDRESSES,
    st.lists(TOLD, min_size=1, max_size=4),
    st.sampled_from(["", "192.168.0.9"]),
    HEADERS,
)


def parsed(octets: bytes) -> EmailMessage:
    mail = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def unwritten(typed: str) -> str:
    """An address out of a delivery-status field, its RFC 6533 spelling undone."""
    kind, _, address = typed.partition(";")
    assert kind in ("rfc822", "utf-8")
    return re.sub(r"\\x\{([0-9A-F]+)\}", lambda found: chr(int(found[1], 16)), address.strip())


@settings(max_examples=100)
@given(st.lists(LETTERS, min_size=1, max_size=3))
def test_a_notice_parses_back_and_names_everybody(letters: list[NotifiedMessage]) -> None:
    """Every recipient has one group with its action; the text for people names each of them as well."""
    notice = compose(letters, to=Address("boss", "example.jp"), hostname="relay.home.example", queue_id="01jq", now=NOW)
    mail = parsed(notice.content)
    parts = mail.get_payload()
    assert mail.get_content_type() == "multipart/report" and not mail.defects
    assert [part.get_content_type() for part in parts[:2]] == ["text/plain", "message/delivery-status"]  # type: ignore[union-attr]
    assert len(parts) == (3 if len(letters) == 1 else 2)
    about, *groups = parts[1].get_payload()  # type: ignore[union-attr]
    assert about["Reporting-MTA"] == "dns; relay.home.example"
    told = [told for letter in letters for told in letter.told]
    squeezed = [re.sub(r"\s+", " ", str(each.recipient)) for each in told]
    assert [re.sub(r"\s+", " ", unwritten(group["Final-Recipient"])) for group in groups] == squeezed
    assert [group["Action"] for group in groups] == ["failed" if each.failed else "delayed" for each in told]
    assert all(re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", group["Status"]) for group in groups)
    text = re.sub(r"\s+", " ", parts[0].get_content())  # type: ignore[union-attr]
    assert all(recipient in text for recipient in squeezed)


@settings(max_examples=100)
@given(st.lists(LETTERS, min_size=1, max_size=2))
def test_a_notice_passes_any_server(letters: list[NotifiedMessage]) -> None:
    """Seven bits, CRLF, lines of at most 998 octets, no control octets, and no field that the words brought along."""
    notice = compose(letters, to=Address("boss", "example.jp"), hostname="relay.home.example", queue_id="01jq", now=NOW)
    assert notice.content.isascii()
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", notice.content)
    assert max(map(len, notice.content.split(b"\r\n"))) <= 998
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", notice.content.split(b"\r\n\r\n")[0])
    names = {field.name for field in Message.parse([notice.content]).fields}
    wanted = {"date", "from", "to", "subject", "message-id", "auto-submitted", "mime-version", "content-type"}
    assert wanted <= names <= wanted | {"in-reply-to"}
    assert "\n" not in notice.subject


@settings(max_examples=100)
@given(WORDS, WORDS)
def test_an_alarm_passes_any_server(subject: str, text: str) -> None:
    """The same holds for a message that is about no letter."""
    alarm = compose_alarm(subject, text, to=Address("boss", "example.jp"), hostname="nas", queue_id="01jq", now=NOW)
    assert alarm.content.isascii() and max(map(len, alarm.content.split(b"\r\n"))) <= 998
    assert parsed(alarm.content).get_content().splitlines()[-1] == "The mail relay on nas"
