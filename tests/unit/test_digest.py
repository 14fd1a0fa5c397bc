"""The digest as a mail: what it says, and that no subject or text of a device can break it."""

import email
import email.policy
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from relay.mail.digest import MOST_TEXT, Part, compose_digest
from relay.mail.message import Message

NOW = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
LAST = Message.parse((b"From: Door <cam@lan.example>\nTo: me@isp.example,\n you@isp.example\nSubject: x\n\nframe 7\n",))


def parts(*subjects: str) -> list[Part]:
    return [Part(f"q{number:013d}", NOW - timedelta(minutes=9 - number), subject) for number, subject in enumerate(subjects)]


def composed(subjects: list[str], last: Message | None = LAST, device: str = "door"):
    return compose_digest(
        parts(*subjects), last, device=device, hostname="relay.lan", queue_id="d1", now=NOW, zone=ZoneInfo("Asia/Tokyo")
    )


def test_it_says_how_many_from_when_to_when_and_each_subject() -> None:
    notice = composed(["Motion 1", "Motion 2", "Motion 1"])
    message = email.message_from_bytes(notice.content, policy=email.policy.default)
    assert (message["subject"], message["from"], message["message-id"]) == (
        "3 more: Motion 1",
        "Door <cam@lan.example>",
        "<d1.digest@relay.lan>",
    )
    assert message["to"] == "me@isp.example, you@isp.example"
    text = message.get_content().replace("\r\n", "\n")
    assert "The device door sent 3 more messages" in text
    assert "first  2026-11-22 11:01:00 JST" in text and "last   2026-11-22 11:03:00 JST" in text
    assert "    2 x  Motion 1\n" in text and "    1 x  Motion 2\n" in text
    assert "The last one (q0000000000002) says:\n\nframe 7" in text
    assert text == notice.text


def test_without_the_last_message_it_names_it() -> None:
    notice = composed(["Motion 1", "Motion 2"], None)
    assert b"From:" not in notice.content  # added on its way, like to any message
    assert "The last one is q0000000000001; there is no text in it that can be shown." in notice.text


def test_many_subjects_are_counted_together() -> None:
    notice = composed([f"Motion {chr(0x4E00 + number)}" for number in range(300)])
    assert "  100 x  100 other subjects" in notice.text


@pytest.mark.parametrize(
    "subject",
    ["", "=?utf-8?B?5YuV?=", "動体検知", "x" * 3000, "a\r\nBcc: evil@example.com", "\x00\x1b[31m", "\udc8f octets", "a\u2028b"],
)
def test_no_subject_breaks_the_mail(subject: str) -> None:
    notice = composed([subject, subject], device=subject or "door")
    head, _, body = notice.content.partition(b"\r\n\r\n")
    assert b"Bcc" not in [line.partition(b":")[0] for line in head.split(b"\r\n")]
    assert notice.content.isascii() and all(len(line) <= 998 for line in notice.content.split(b"\r\n"))
    assert b"\n" not in notice.content.replace(b"\r\n", b"")
    assert body


def test_lines_of_the_text_are_short_enough() -> None:
    long = Message.parse((b"From: a@b.example\r\n\r\n" + b"y" * 5000 + b"\r\n",))
    notice = composed(["a", "b"], long)
    assert max(map(len, notice.content.split(b"\r\n"))) <= 998
    assert notice.text.replace("\n", "").count("y") >= 5000


def test_a_long_text_is_cut_and_says_so() -> None:
    notice = composed(["a"], Message.parse((b"From: a@b.example\r\n\r\n" + b"y" * 3 * MOST_TEXT,)))
    assert notice.text.replace("\n", "").endswith("y" * MOST_TEXT + " [...]")


def test_a_picture_of_many_megabytes_is_not_read() -> None:
    read = []

    class Content:
        def __iter__(self):
            yield b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: text/plain\r\n\r\nfirst\r\n"
            yield b"--q\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            for number in range(1000):
                read.append(number)
                yield b"A" * 65_536

    assert composed(["a"], Message.parse(Content())).text.endswith("\n\nfirst\n")
    assert len(read) < 20


@pytest.mark.parametrize(
    "raw", [b"From: " + b"x" * 9000 + b"\r\n\r\n", b"From: a\r\r\n\tb@c.example\r\nTo: \xe5\x8b\x95\r\n\r\n"]
)
def test_odd_fields_of_the_last_message(raw: bytes) -> None:
    notice = composed(["a", "b"], Message.parse((raw,)))
    assert max(map(len, notice.content.split(b"\r\n"))) <= 4000
    assert b"\n" not in notice.content.replace(b"\r\n", b"") and b"\r" not in notice.content.replace(b"\r\n", b"")
