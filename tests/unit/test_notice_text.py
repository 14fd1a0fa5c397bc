"""What a notice says: for a person who reads it, and for the server that must carry it."""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from relay.mail.address import Address
from relay.mail.dsn import Notice, NotifiedMessage, RecipientStatus, compose, compose_alarm, status_of
from relay.mail.message import Field
from tests.unit.test_dsn import BOSS, GONE, LATE, LETTER, NOW, composed


def text(*letters: NotifiedMessage) -> str:
    return " ".join(composed(*letters)[0].text.split())


def group(told: RecipientStatus, **letter: object) -> dict[str, str]:
    _, _, parts = composed(replace(LETTER, told=(told,), **letter))  # type: ignore[arg-type]
    return dict(parts[1].get_payload()[1].items())


def test_a_message_with_both_fates_tells_both() -> None:
    """Who is given up and who is waited for, each under its own words; the failure is in the subject."""
    words = text(replace(LETTER, told=(LATE, GONE)))
    assert words.index("could not be delivered to: gone@host.example") < words.index(
        "is late; it has not yet been delivered to:"
    )
    assert "The relay goes on trying until 2026-11-27 03:04 UTC." in words
    assert composed(replace(LETTER, told=(LATE, GONE)))[0].subject.startswith("Not delivered: ")
    assert (
        "`relay queue release 01jabc` sends it once more to the same address, with `--via NAME` by another upstream." in words
    )


def test_a_late_message_is_not_offered_to_be_sent_again() -> None:
    """It is on its way still; its story can be read."""
    words = text(replace(LETTER, told=(LATE,)))
    assert words.endswith("`relay queue show 01jabc` tells its whole story.") and "queue release" not in words


def test_the_facts_of_a_late_recipient() -> None:
    """Delayed, with the end of trying; a failure has none, whatever it once was to be retried until."""
    assert group(LATE)["Will-Retry-Until"] == "Fri, 27 Nov 2026 03:04:05 +0000"
    assert "Will-Retry-Until" not in group(replace(GONE, retry_until=NOW))
    assert "Last-Attempt-Date" not in group(replace(GONE, tried_at=None))
    assert "Remote-MTA" not in group(replace(GONE, remote=""))
    assert group(replace(GONE, remote="mail.例.example"))["Remote-MTA"] == "dns; mail.xn--fsq.example"
    assert "Diagnostic-Code" not in group(replace(GONE, code=0, said=""))


@pytest.mark.parametrize(
    ("told", "shown", "diagnostic"),
    [
        (GONE, "isp said: 550 5.1.1 <gone@host.example>: no such user", "smtp; 550 5.1.1 <gone@host.example>: no such user"),
        (replace(GONE, said="no (#5.1.1)"), "isp said: 550 no (#5.1.1)", "smtp; 550 no (#5.1.1)"),
        (replace(GONE, said="", status=""), "isp said: 550", "smtp; 550"),
        (
            replace(GONE, code=0, status="", said="nobody was called"),
            "isp said: nobody was called",
            "x-relay; nobody was called",
        ),
        (
            replace(GONE, code=0, status="4.4.1", said="refused", upstream=""),
            "The relay said: 4.4.1 refused",
            "x-relay; refused",
        ),
    ],
)
def test_the_words_of_the_upstream_are_told_with_their_numbers_once(told: RecipientStatus, shown: str, diagnostic: str) -> None:
    """In the text and in the facts."""
    assert shown in text(replace(LETTER, told=(told,)))
    assert group(told)["Diagnostic-Code"] == diagnostic


def test_endless_words_are_cut() -> None:
    """600 characters for a person, 2000 for a program, in lines that any server takes."""
    told = replace(GONE, said="w" * 3000)
    notice, _, _ = composed(replace(LETTER, told=(told,)))
    assert notice.text.replace("\n", "").replace(" ", "").count("w" * 500) == 1
    assert "w" * 600 not in notice.text.replace("\n      ", "")
    diagnostic = group(told)["Diagnostic-Code"].replace(" ", "")
    assert 1900 < diagnostic.count("w") < 2000
    assert max(map(len, notice.content.split(b"\r\n"))) <= 998


def test_no_word_of_a_server_can_move_a_line() -> None:
    """Control characters and line ends in what was said become blanks, in the text and in the facts."""
    told = replace(GONE, said="no\r\nsuch\x07 \u2028user\x1b[1m é", cause="a\nb", remedy="c\x00d", status="")
    notice, _, _ = composed(replace(LETTER, told=(told,)))
    words = " ".join(notice.text.split())
    assert "550 no such user [1m é" in words and "Why: a b" in words and "What to do: c d" in words
    assert group(told)["Diagnostic-Code"] == "smtp; 550 no such user [1m \\xe9"


def test_the_text_keeps_to_76_characters() -> None:
    """And hyphens are no place to break an address or a host name."""
    name = "a-long-host-name-with-hyphens.example"
    told = replace(GONE, cause="It says so-and-so. " * 20, remedy=f"see {name} or {name} or {name}")
    notice, _, _ = composed(replace(LETTER, told=(told,)))
    assert max(map(len, notice.text.splitlines())) <= 76
    assert not any(line != line.rstrip() for line in notice.text.splitlines())
    assert notice.text.count(name) == 3 and "so-\n" not in notice.text


def test_who_sent_it_and_when() -> None:
    """The device is named if it is known, nobody if there is no sender, and the hour in its own zone."""
    letter = replace(LETTER, accepted_at=datetime(2026, 11, 22, 12, 4, tzinfo=timezone(timedelta(hours=9), "JST")), client="")
    assert 'The message "バックアップ" from root@nas, taken in on 2026-11-22 12:04 JST' in text(letter)
    assert "from nobody (<>), sent by the device 192.168.0.9, taken in" in text(replace(LETTER, sender=None))
    assert "This is the mail relay on relay.home.example." in text(LETTER)


@pytest.mark.parametrize(
    ("others", "words"),
    [(0, "(to gone@host.example)"), (1, "(to gone@host.example and 1 more)"), (9, "(to gone@host.example and 9 more)")],
)
def test_the_subject_tells_how_many(others: int, words: str) -> None:
    """The first of them by name."""
    told = (GONE, *(replace(GONE, recipient=Address(f"r{number}", "host.example")) for number in range(others)))
    assert composed(replace(LETTER, told=told))[0].subject == f"Not delivered: バックアップ {words}"


def test_one_failure_among_many_late_ones_is_what_counts() -> None:
    """A digest with any failure says so; one without says late."""
    late = replace(LETTER, told=(LATE,))
    assert composed(late, late, LETTER)[0].subject == "Not delivered: 3 messages"
    assert composed(late, late)[0].subject == "Late: 2 messages"


@pytest.mark.parametrize(
    ("status", "failed", "reported"),
    [
        ("5.1.1", True, "5.1.1"),
        ("5.999.999", True, "5.999.999"),
        ("5.1.1 x", True, "5.0.0"),
        ("5.1", True, "5.0.0"),
        ("2.0.0", True, "5.0.0"),
        ("4.2.2", False, "4.2.2"),
        ("5.2.2", False, "4.0.0"),
        ("", False, "4.0.0"),
    ],
)
def test_a_status_is_one_of_its_class(status: str, failed: bool, reported: str) -> None:
    """And well formed, or there is the one that says nothing."""
    assert status_of(replace(GONE, status=status, failed=failed)) == reported


HEADER = (
    b"Received: from a\r\n\tby b\r\n",
    b"oops, no field\r\n",
    b"Subject: ok\n",
    b"X-Raw: \xe3\x81\x82 x\r\r\n more\r\n",
    b"X-Bell: a\x07b\r\n",
    b"X-Long: " + b"y" * 2000 + b"\r\n",
    b"X-Blank: a\r\n \r\n b\r\n",
)


def test_what_comes_back_of_the_header_passes_anywhere() -> None:
    """Its fields in their order, each line fit for any server; what is no field is left out, and the ones behind it are not."""
    notice, _, parts = composed(replace(LETTER, fields=tuple(map(Field, HEADER))))
    back = parts[2].get_payload()
    assert back.splitlines()[:3] == ["Received: from a", "\tby b", "Subject: ok"]
    assert [line.partition(":")[0] for line in back.splitlines() if line[:1].isupper()] == [
        "Received", "Subject", "X-Raw", "X-Bell", "X-Long", "X-Blank"
    ]  # fmt: skip
    assert "X-Raw: =?utf-8?B?44GC?= x\n more\n" in back.replace("\r\n", "\n") and "X-Bell: a?b" in back
    assert "X-Blank: a\n b\n" in back.replace("\r\n", "\n")
    assert "oops" not in back
    assert notice.content.isascii() and max(map(len, notice.content.split(b"\r\n"))) <= 998
    assert " [...]" in back


def test_what_comes_back_is_bounded_field_by_field() -> None:
    """20 kB of it: the fields up to there whole, and none of those behind."""
    fields = tuple(Field(b"X-%03d: " % number + b"x" * 90 + b"\r\n") for number in range(400))
    back = composed(replace(LETTER, fields=fields))[2][2].get_payload()
    lines = back.strip().splitlines()
    assert lines == [field.raw.decode().strip() for field in fields[: len(lines)]]
    assert 20_000 - 100 < sum(len(line) + 2 for line in lines) <= 20_000


@pytest.mark.parametrize(("length", "whole"), [(998, True), (999, False)])
def test_a_line_that_comes_back_is_as_long_as_it_may_be(length: int, whole: bool) -> None:
    """Or it is cut, and it shows."""
    line = b"X-Long: " + b"y" * (length - len(b"X-Long: "))
    back = composed(replace(LETTER, fields=(Field(line + b"\r\n"),)))[2][2].get_payload()
    assert (back.strip() == line.decode()) is whole
    assert back.strip().endswith(" [...]") is not whole


def alarm(subject: str, words: str, hostname: str = "relay.test") -> tuple[Notice, email.message.EmailMessage]:
    notice = compose_alarm(subject, words, to=BOSS, hostname=hostname, queue_id="01q", now=NOW)
    return notice, email.message_from_bytes(notice.content, policy=email.policy.default)  # type: ignore[return-value]


def test_an_alarm_in_any_letters() -> None:
    """Its paragraphs stay, each wrapped; subject and text are read as they were meant, on seven bits."""
    notice, mail = alarm("温度\r\nBcc: x " + "z" * 300, "Erste Zeile für Ärger.\n\nzweite " + "wort " * 40 + "\n")
    assert notice.content.isascii() and not mail.defects
    assert mail["Subject"] == notice.subject and notice.subject.startswith("温度 Bcc: x zzz") and len(notice.subject) == 200
    body = mail.get_content().replace("\r\n", "\n")
    assert body == notice.text and body.startswith("Erste Zeile für Ärger.\n\nzweite wort")
    assert body.endswith("wort\n\n-- \nThe mail relay on relay.test\n")
    assert max(map(len, body.splitlines())) <= 76
    assert (mail["To"], mail["Message-ID"], mail["Date"]) == (
        "boss@example.jp",
        "<01q.notice@relay.test>",
        "Sun, 22 Nov 2026 03:04:05 +0000",
    )
    assert mail["Auto-Submitted"] == "auto-replied"


@pytest.mark.parametrize(
    ("subject", "sent"), [("plain", b"Subject: plain\r\n"), ("=?utf-8?q?x?=", b"Subject: =?utf-8?B?PT91dGYtOD9xP3g/PQ==?=\r\n")]
)
def test_a_subject_says_what_it_says(subject: str, sent: bytes) -> None:
    """Words that would be decoded are encoded."""
    assert sent in alarm(subject, "x")[0].content


@pytest.mark.parametrize(
    ("hostname", "host"),
    [
        ("relay.test", "relay.test"),
        ("例.test", "xn--fsq.test"),
        ("a b\r\nc", "abc"),
        ("", "localhost"),
        ("é" * 80 + ".test", "localhost"),
    ],
)
def test_a_host_name_is_fit_for_a_field(hostname: str, host: str) -> None:
    """In A-labels, without blanks; and one that cannot be said is nobody's."""
    notice, mail = alarm("x", "y", hostname)
    assert mail["From"].addresses[0].addr_spec == f"postmaster@{host}"
    assert notice.message_id == f"<01q.notice@{host}>"
    report = compose([LETTER], to=BOSS, hostname=hostname, queue_id="01q", now=NOW)
    assert b"Reporting-MTA: dns; " + host.encode() + b"\r\n" in report.content
    assert report.message_id == f"<01q.notice@{host}>"


@pytest.mark.parametrize(
    ("said", "kept"),
    [(b"<1@nas.example>", True), (b"<1@nas example>", False), (b"1@nas.example", False), (b"<\xe9@x>", False), (b"", False)],
)
def test_an_answer_to_an_id_that_is_one(said: bytes, kept: bool) -> None:
    """Mail programs put the notice beside the original; a malformed id is not repeated, and a digest answers nobody."""
    letter = replace(LETTER, fields=(Field(b"Message-ID: " + said + b"\r\n"),))
    assert (composed(letter)[1]["In-Reply-To"] == said.decode("latin-1")) is kept
    assert composed(letter, letter)[1]["In-Reply-To"] is None


@pytest.mark.parametrize(
    ("address", "typed"),
    [
        (Address("a+b=c", "d.example"), "rfc822; a+b=c@d.example"),
        (Address("é+=\\ X", "d.example"), 'utf-8; "\\x{E9}\\x{2B}\\x{3D}\\x{5C}\\x{5C}\\x{20}X"@d.example'),
    ],
)
def test_an_address_with_its_type(address: Address, typed: str) -> None:
    """RFC 6533: what the type utf-8 spells out, and what it leaves."""
    assert group(replace(GONE, recipient=address))["Final-Recipient"] == typed


def test_the_hour_of_a_message_taken_in() -> None:
    """With its queue id, where there is one message; in a digest each group has the id."""
    _, _, parts = composed(LETTER)
    assert parts[1].get_payload()[0]["X-Relay-Queue-ID"] == "01jabc"
    _, _, parts = composed(LETTER, replace(LETTER, queue_id="01jdef"))
    assert parts[1].get_payload()[0]["X-Relay-Queue-ID"] is None
    assert [each["X-Relay-Queue-ID"] for each in parts[1].get_payload()[1:]] == ["01jabc", "01jdef"]
    assert datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC) == NOW
