"""Notices: the words on top, the facts below, for one failure and for many."""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest

from relay.mail.address import Address, parse_address
from relay.mail.dsn import Notice, NotifiedMessage, RecipientStatus, compose, compose_alarm, status_of
from relay.mail.message import Field, Message

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
BOSS = Address("boss", "example.jp")
HEADER = (
    b"From: root@nas\r\nSubject: =?utf-8?b?44OQ44OD44Kv44Ki44OD44OX?=\r\nMessage-ID: <1@nas.example>\r\nX-Raw: \x83\x4a\r\n\r\n"
)
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
LETTER = NotifiedMessage("01jabc", NOW, Address("root", "nas"), (GONE,), "192.168.0.9", Message.parse([HEADER]).fields)


def composed(*letters: NotifiedMessage) -> tuple[Notice, EmailMessage, list[Any]]:
    notice = compose(letters, to=BOSS, hostname="relay.home.example", queue_id="01jq", now=NOW)
    mail = email.message_from_bytes(notice.content, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    return notice, mail, list(mail.get_payload())  # type: ignore[arg-type]


def test_a_person_reads_what_happened_why_and_what_to_do() -> None:
    """The first part names message, device, recipient, cause, cure, the upstream's own words, and the way to send it again."""
    _, _, parts = composed(LETTER)
    text = " ".join(parts[0].get_content().split())
    for words in (
        'The message "バックアップ" from root@nas, sent by the device 192.168.0.9, taken in on 2026-11-22 03:04 UTC',
        "could not be delivered to: gone@host.example",
        "Why: There is no such recipient.",
        "What to do: Correct the address.",
        "isp said: 550 5.1.1 <gone@host.example>: no such user",
        "`relay queue release 01jabc`",
    ):
        assert words in text


def test_of_a_digest_it_says_how_many_messages_are_kept() -> None:
    _, _, parts = composed(replace(LETTER, merges=37))
    text = " ".join(parts[0].get_content().split())
    assert "(a digest of this relay, of 37 messages of the device; each of them is kept, too)" in text


def test_a_program_reads_the_facts() -> None:
    """message/delivery-status as RFC 3464 wants it, field by field."""
    _, _, parts = composed(LETTER)
    about, group = parts[1].get_payload()
    assert dict(about.items()) == {
        "Reporting-MTA": "dns; relay.home.example",
        "X-Relay-Queue-ID": "01jabc",
        "Arrival-Date": "Sun, 22 Nov 2026 03:04:05 +0000",
    }
    assert dict(group.items()) == {
        "Final-Recipient": "rfc822; gone@host.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mail.isp.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 <gone@host.example>: no such user",
        "Last-Attempt-Date": "Sun, 22 Nov 2026 03:04:05 +0000",
    }


def test_the_header_marks_it_as_automatic() -> None:
    """No vacation program answers it (RFC 3834), and mail programs put it beside the original."""
    notice, mail, _ = composed(LETTER)
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["From"] == '"Mail relay on relay.home.example" <postmaster@relay.home.example>'
    assert mail["To"] == "boss@example.jp"
    assert mail["In-Reply-To"] == "<1@nas.example>"
    assert mail["Subject"] == notice.subject == "Not delivered: バックアップ (to gone@host.example)"
    assert mail.get_param("report-type") == "delivery-status"


def test_the_original_header_comes_back() -> None:
    """The third part is the device's header, its raw octets made readable, its body left out."""
    _, _, parts = composed(LETTER)
    assert parts[2].get_content_type() == "text/rfc822-headers"
    assert parts[2].get_content().startswith("From: root@nas\r\nSubject: =?utf-8?b?")
    assert "X-Raw: =?utf-8?B?44Kr?=" in parts[2].get_content()


def test_a_huge_original_header_is_bounded() -> None:
    """A notice stays small whatever the device put into its header."""
    fields = Message.parse([b"".join(b"X-%d: %s\r\n" % (n, b"x" * 900) for n in range(250)) + b"\r\n"]).fields
    notice, _, _ = composed(replace(LETTER, fields=fields))
    assert len(notice.content) < 25_000


def test_a_delay_says_until_when() -> None:
    """A late message has the action `delayed` and the end of trying, and is not called undelivered."""
    notice, _, parts = composed(replace(LETTER, told=(LATE,)))
    group = parts[1].get_payload()[1]
    assert (group["Action"], group["Status"]) == ("delayed", "4.7.1")
    assert group["Will-Retry-Until"] == "Fri, 27 Nov 2026 03:04:05 +0000"
    assert notice.subject == "Late: バックアップ (to gone@host.example)"
    text = " ".join(parts[0].get_content().split())
    assert "is late; it has not yet been delivered to" in text and "until 2026-11-27 03:04 UTC" in text
    assert "could not be delivered" not in text


def test_several_messages_make_one_notice() -> None:
    """A digest names every message and recipient; each group says which message it is about."""
    other = replace(
        LETTER, queue_id="01jdef", fields=(), told=(GONE, replace(GONE, recipient=parse_address("two@host.example")))
    )
    notice, _, parts = composed(LETTER, other)
    assert notice.subject == "Not delivered: 2 messages"
    assert [part.get_content_type() for part in parts] == ["text/plain", "message/delivery-status"]
    groups = parts[1].get_payload()[1:]
    assert [group["X-Relay-Queue-ID"] for group in groups] == ["01jabc", "01jdef", "01jdef"]
    assert groups[2]["Final-Recipient"] == "rfc822; two@host.example"
    assert "two@host.example" in parts[0].get_content()


def test_statuses_fit_their_action() -> None:
    """A failure is never reported with a passing status, nor a delay with a final one; running out of time is 5.4.7."""
    assert status_of(replace(GONE, status="4.2.2")) == "5.0.0"
    assert status_of(replace(GONE, status="")) == "5.0.0"
    assert status_of(replace(LATE, status="5.7.8")) == "4.0.0"
    assert status_of(replace(GONE, expired=True, status="4.4.1")) == "5.4.7"


def test_international_addresses_are_spelled_in_seven_bits() -> None:
    """RFC 6533: what no 7-bit field can hold is written as code points, with the type utf-8."""
    told = replace(GONE, recipient=Address("太郎", "例.example"), original=Address("taro", "host.example"))
    notice, _, parts = composed(replace(LETTER, told=(told,)))
    group = parts[1].get_payload()[1]
    assert group["Final-Recipient"] == "utf-8; \\x{592A}\\x{90CE}@\\x{4F8B}.example"
    assert group["Original-Recipient"] == "rfc822; taro@host.example"
    assert notice.content.isascii()


def test_the_null_sender_and_no_answer_are_told_too() -> None:
    """Without a sender, a subject or any answer the notice still makes sense, and says whose words it has."""
    told = RecipientStatus(parse_address("a@b.example"), failed=True, expired=True, attempts=7, said="everybody rests")
    notice, _, parts = composed(NotifiedMessage("01jabc", NOW, None, (told,)))
    text = " ".join(parts[0].get_content().split())
    assert "without a subject from nobody (<>)" in text
    assert "It was tried 7 times" in text and "The relay said: everybody rests" in text
    group = parts[1].get_payload()[1]
    assert group["Diagnostic-Code"] == "x-relay; everybody rests" and group["Remote-MTA"] is None
    assert notice.subject == "Not delivered: a message without a subject (to a@b.example)"


def test_what_is_quoted_cannot_end_the_part_it_is_in() -> None:
    """The boundary hangs on the content itself: nobody can have written it into the content before."""
    first, _, _ = composed(LETTER)
    boundary = first.content.split(b'boundary="')[1].split(b'"')[0].decode()
    told = replace(GONE, said=f"--{boundary}-- --{boundary}")
    _, mail, parts = composed(replace(LETTER, told=(told,)))
    assert len(parts) == 3 and mail.get_boundary() != boundary


def test_an_alarm_is_a_plain_letter() -> None:
    """What is about no single message is told in a few wrapped lines."""
    alarm = compose_alarm("Something needs you", "isp refuses the login. " * 9, to=BOSS, hostname="nas", queue_id="1", now=NOW)
    mail = email.message_from_bytes(alarm.content, policy=email.policy.default)
    assert mail["Subject"] == "Something needs you" and mail["From"] == "Mail relay on nas <postmaster@nas>"
    assert max(map(len, alarm.text.splitlines())) <= 76


@pytest.mark.parametrize("charset", ["cp932", "euc-jp", "utf-8"])
def test_a_subject_of_a_device_can_be_read(charset: str) -> None:
    """What the device wrote in its own charset is shown as it meant it, in the text and in the header that goes back."""
    raw = b"Subject: " + "ディスク障害の警告".encode(charset) + b"\r\n"
    letter = NotifiedMessage("01x", NOW, None, (GONE,), fields=(Field(raw),))
    assert letter.subject == "ディスク障害の警告"
    notice = compose([letter], to=BOSS, hostname="relay.test", queue_id="01y", now=NOW)
    *_, original = email.message_from_bytes(notice.content, policy=email.policy.default).iter_parts()
    kept = email.message_from_string(original.get_content(), policy=email.policy.default)
    assert kept["Subject"] == "ディスク障害の警告"
