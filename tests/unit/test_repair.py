"""Repairs of the header, one story each."""

from datetime import timedelta

import pytest

from relay.mail.address import Address
from relay.mail.policy import RepairPolicy
from tests.support.letters import HOST, ID, NOW, RIGHT, about, assert_sendable, octets, read, repaired, text_of, without_trace

SIGNED = b"DKIM-Signature: v=1; a=rsa-sha256; d=nas.example.test; s=k; h=date:from:to:subject; bh=x; b=y\r\n"


def notes(result, word):
    return [note for note in result.notes if word in note]


def test_what_is_right_stays_as_it_is():
    """A right letter leaves octet for octet, with our Received in front and nothing to note."""
    content = RIGHT + b"X-Odd:   two  blanks \r\n\r\nbody\r\n trailing \r\n\r\n"
    result = repaired(content)
    assert without_trace(result.message) == content
    assert result.notes == ()
    assert not result.eight_bit
    assert result.size == len(octets(result.message))


def test_a_date_with_foreign_octets_is_written_anew():
    """A byte order mark before the day is no part of any date; what is left is read, and stays so."""
    once = octets(repaired(RIGHT.replace(b"Date:", b"Date:\xef\xbb\xbf") + b"\r\nx\r\n").message)
    assert b"\r\nDate: Sun, 22 Nov 2026 11:59:00 +0900\r\n" in once
    assert without_trace(repaired(once).message) == once


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("From: NAS <nas@\u4f8b\u3048\u3002jp\u3002>", b"From: NAS <nas@xn--r8jz45g.jp>"),
        ("From: NAS <nas@\xae\xb9\xaf\u4f8b>", b"From: NAS <nas@nas.example.test>"),
        ("Date: Sun, 22 Nov 2026 02:59:60 +0000", b"Date: Sun, 22 Nov 2026 02:59:59 +0000"),
        ('Content-Type: multipart/mixed; boundary="b', b"Content-Type: multipart/mixed; boundary=b"),
    ],
)
def test_what_readers_stumble_over_is_written_anew(line, expected):
    """Ideographic full stops in a domain, a leap second, a quotation mark that is never closed: mended, and once."""
    name = line.partition(":")[0].encode()
    kept = [field for field in RIGHT.splitlines(keepends=True) if not field.startswith(name + b":")]
    head = b"".join(kept) + line.encode() + b"\r\nMIME-Version: 1.0\r\n"
    once = octets(repaired(head + b"\r\n--b\r\n\r\nx\r\n--b--\r\n").message)
    assert b"\r\n" + expected + b"\r\n" in once
    assert without_trace(repaired(once).message) == once


def test_the_nas_of_the_field_notes():
    """Bare LF, no Date, no Message-ID, a raw Shift_JIS subject: all mended, all named."""
    raw = "From: admin@example.jp\nTo: admin@example.jp\nSubject: 監視カメラ異常\n\nvoltage low\n".encode("cp932")
    result = repaired(raw)
    assert_sendable(octets(result.message))
    letter = read(result.message)
    assert letter["Subject"] == "監視カメラ異常"
    assert letter["Date"].datetime == NOW
    assert letter["Message-ID"] == f"<{ID}@{HOST}>"
    assert "added Date: the device sent none" in result.notes
    assert notes(result, "Message-ID")
    assert notes(result, "CRLF")
    assert notes(result, "Subject")


@pytest.mark.parametrize(
    ("value", "original"),
    [("", False), ("yesterday", True), ("Sat, 01 Jan 2000 09:00:05 +0900", True), ("Fri, 01 Jan 2106 00:00:00 +0000", True)],
)
def test_a_date_that_cannot_be_right_is_replaced(value, original):
    """The hour of arrival takes its place; what the device said is kept beside it."""
    result = repaired(RIGHT.replace(b"Sun, 22 Nov 2026 11:59:00 +0900", value.encode()) + b"\r\nx\r\n")
    letter = read(result.message)
    assert letter.get_all("Date")[0].datetime == NOW
    assert letter["X-Original-Date"] == (value if original else None)


def test_a_date_in_another_format_is_rewritten():
    """The moment stays the device's."""
    result = repaired(RIGHT.replace(b"Sun, 22 Nov 2026 11:59:00 +0900", b"2026-11-21T10:00:00+09:00") + b"\r\nx\r\n")
    assert b"\r\nDate: Sat, 21 Nov 2026 10:00:00 +0900\r\n" in octets(result.message)


def test_date_skew_is_the_policys():
    """Two days late is still the device's word; with a smaller skew it is not."""
    content = RIGHT.replace(b"Sun, 22 Nov 2026 11:59:00 +0900", b"Fri, 20 Nov 2026 12:00:00 +0900") + b"\r\nx\r\n"
    assert repaired(content).notes == ()
    assert notes(repaired(content, policy=RepairPolicy(date_skew=timedelta(hours=2))), "Date")


def test_of_two_dates_the_plausible_one_stays():
    """A clock that lost its battery wrote the other."""
    content = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" + RIGHT + b"\r\nx\r\n"
    assert read(repaired(content).message).get_all("Date") == ["Sun, 22 Nov 2026 11:59:00 +0900"]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("<a.b@c>", "<a.b@c>"),
        ("a@nas", "<a@nas>"),
        ("12345", None),
        ("<>", None),
        ("", None),
        ("<a b@c>", None),
        ("<a@b@c>", None),
    ],
)
def test_message_ids(value, kept):
    """A good one stays, one without brackets gets them, any other is ours."""
    result = repaired(RIGHT.replace(b"<1@nas.example.test>", value.encode()) + b"\r\nx\r\n")
    assert [field.value.decode() for field in result.message.all("message-id")] == [kept or f"<{ID}@{HOST}>"]


def test_a_repeated_message_id_is_replaced():
    """Gmail slows down devices that use one id for all their mail; a signed one must stay."""
    content = RIGHT + b"\r\nx\r\n"
    assert notes(repaired(content, about(repeated_id=True)), "before")
    signed = SIGNED.replace(b"h=date", b"h=message-id:date") + content
    assert repaired(signed, about(repeated_id=True)).notes == ()


@pytest.mark.parametrize(
    ("value", "sender", "expected"),
    [
        (None, "nas@nas.example.test", ("", "nas@nas.example.test")),
        ("NAS-01", "nas@nas.example.test", ("NAS-01", "nas@nas.example.test")),
        ("NAS <nas@example.jp", "x@example.jp", ("NAS", "nas@example.jp")),
        ("NAS: Backup, Server [01] <nas@example.jp>", "x@example.jp", ("NAS: Backup, Server [01]", "nas@example.jp")),
        ("a@example.jp, b@example.jp", "x@example.jp", ("", "a@example.jp")),
        ("root (Cron Daemon)", None, ("Cron Daemon", f"root@{HOST}")),
        (None, None, ("", f"device@{HOST}")),
        ("監視カメラ", "cam@example.jp", ("監視カメラ", "cam@example.jp")),
        ("監視, サーバ <cam@example.jp>", "x@example.jp", ("監視, サーバ", "cam@example.jp")),
        ('"=?utf-8?B?TkFT?=\r\n =?utf-8?B?MQ==?=" <nas@example.jp>', "x@example.jp", ("NAS1", "nas@example.jp")),
        ("ilo-srv.@example.jp", "x@example.jp", ("", "ilo-srv.@example.jp")),
    ],
)
def test_from_has_one_address(value, sender, expected):
    """Whatever stood there, one mailbox comes out, and the name is kept."""
    lines = RIGHT.split(b"\r\n")
    lines[2:3] = [b"From: " + value.encode("utf-8")] if value is not None else []
    path = Address(*sender.split("@")) if sender else None
    result = repaired(b"\r\n".join(lines) + b"\r\nx\r\n", about(path))
    mailboxes = read(result.message)["From"].addresses
    assert [(mailbox.display_name, mailbox.addr_spec) for mailbox in mailboxes] == [expected]
    assert_sendable(octets(result.message))


def test_further_authors_get_the_answers():
    """Of several addresses in From the others go to Reply-To; with a Sender field they may stay."""
    content = RIGHT.replace(b"NAS Status <nas@nas.example.test>", b"a@example.jp, b@example.jp") + b"\r\nx\r\n"
    assert read(repaired(content).message)["Reply-To"] == "b@example.jp"
    assert repaired(b"Sender: a@example.jp\r\n" + content).notes == ()


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("To: a@b.jp; c@d.jp;", "a@b.jp, c@d.jp"),
        ("To: a@b.jp,, c@d.jp,", "a@b.jp, c@d.jp"),
        ("To: undisclosed-recipients:;", "undisclosed-recipients:;"),
        ("To: Smith, John <j@b.jp>", '"Smith, John" <j@b.jp>'),
        ("To: ", "undisclosed-recipients:;"),
    ],
)
def test_recipient_lists(field, expected):
    """Lists that people and firmware write become lists that parsers read."""
    content = RIGHT.replace(b"To: admin@example.jp", field.encode()) + b"\r\nx\r\n"
    assert [field.value.decode() for field in repaired(content).message.all("to")] == [expected]


def test_envelope_recipients_are_never_told():
    """Nobody in the header means undisclosed recipients, and Bcc goes."""
    content = RIGHT.replace(b"To: admin@example.jp\r\n", b"Bcc: secret@example.jp\r\nReturn-Path: <x@y.jp>\r\n") + b"\r\nx\r\n"
    out = octets(repaired(content).message)
    assert b"secret" not in out
    assert b"Return-Path" not in out
    assert b"To: undisclosed-recipients:;" in out


def test_doubled_fields_become_one():
    """Lists are joined, of others the first that says something stays."""
    content = RIGHT + b"To: b@example.jp\r\nSubject: second\r\nContent-Type: garbage\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    letter = read(repaired(content).message)
    assert [address.addr_spec for address in letter["To"].addresses] == ["admin@example.jp", "b@example.jp"]
    assert letter.get_all("Subject") == ["ok"]
    assert letter.get_all("Content-Type") == ["text/plain"]


@pytest.mark.parametrize(
    "before",
    [b"\xef\xbb\xbf", b"\r\n", b"\r\n\n\r\n", b"From root@nas Sun Mar  3 09:15:00 2024\r\n", b">From x y\r\n", b" ", b"\0"],
)
def test_what_stands_before_the_header_goes(before):
    """BOM, blank lines, mbox lines, an indented first field."""
    result = repaired(before + RIGHT + b"\r\nx\r\n")
    assert without_trace(result.message) == RIGHT + b"\r\nx\r\n"


def test_a_line_without_a_colon_is_kept_aside():
    """The fields after it stay fields."""
    content = RIGHT.replace(b"To:", b"WARNING disk1\r\nTo:") + b"\r\nx\r\n"
    letter = read(repaired(content).message)
    assert letter["X-Removed-Line"] == "WARNING disk1"
    assert letter["To"] == "admin@example.jp"


@pytest.mark.parametrize(
    "content", [b"Disk 1 failed\nReplace it\n", b"Alarm: motion\nTime: 10:15\nDevice: 4\n", b"http://x/y\n"]
)
def test_text_without_a_header_gets_one(content):
    """Not a letter of the text is lost, and the Subject names the device."""
    result = repaired(content)
    letter = read(result.message)
    assert text_of(result.message) == content.decode()
    assert letter["Subject"] == "Message from nas"
    assert letter["To"] == "undisclosed-recipients:;"


def test_a_missing_blank_line_is_added():
    """The first line that cannot be a field begins the text."""
    result = repaired(b"Subject: alarm\r\nMotion on CH1 now\r\nsecond\r\n")
    assert text_of(result.message) == "Motion on CH1 now\nsecond\n"


def test_only_control_octets_leave_the_header():
    """NUL, BEL, VT and escapes go; the words stay."""
    result = repaired(RIGHT.replace(b"Subject: ok", b"Subject: o\0\x07\x0bk \x1b[31m") + b"\r\nx\r\n")
    assert read(result.message)["Subject"] == "ok [31m"


def test_long_lines_are_folded():
    """At blanks or commas where there are some, as encoded-words where there are none; nothing is cut."""
    many = ", ".join(f"user{number}@example.jp" for number in range(90))
    serial = "AB12" * 600
    result = repaired(RIGHT.replace(b"admin@example.jp", many.encode()) + f"X-Serial: {serial}\r\n\r\nx\r\n".encode())
    letter = read(result.message)
    assert_sendable(octets(result.message))
    assert len(letter["To"].addresses) == 90
    assert str(letter["X-Serial"]).replace(" ", "") == serial


def test_encoded_words_with_a_false_label_are_relabelled():
    """PHPMailer says ISO-8859-1 and writes UTF-8."""
    content = RIGHT.replace(b"Subject: ok", b"Subject: =?iso-8859-1?B?44GK5ZWP44GE5ZCI44KP44Gb?=") + b"\r\nx\r\n"
    assert read(repaired(content).message)["Subject"] == "お問い合わせ"


def test_a_signed_letter_keeps_what_is_signed():
    """Of a DKIM-signed letter only what could not be sent is changed."""
    signed = SIGNED + RIGHT.replace(b"22 Nov 2026", b"22 Nov 2020").replace(b"Sun,", b"Sun,") + b"Content-Type: text/plain\r\n"
    content = signed + b"MIME-Version: 1.0\r\n\r\n\xe3\x81\x82\r\n"
    result = repaired(content)
    assert without_trace(result.message) == content
    assert result.eight_bit


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("author", [b"\x1b$BFrom: NAS", b"\x1b$B4F;k%5!<%P\x1bFrom: NAS", b"NAS\x07", b"\x80"])
def test_a_signed_field_that_cannot_be_sent_is_mended_as_any_other(author, utf8):
    """Escape sequences, control and 8-bit octets go, which ends the signature; the address stays, and all is right then."""
    content = SIGNED + RIGHT.replace(b"NAS Status <", author + b" <") + b"\r\nx\r\n"
    sent = octets(repaired(content, about(utf8=utf8)).message)
    assert_sendable(sent)
    assert b"<nas@nas.example.test>" in sent or b"From: nas@nas.example.test" in sent
    again = repaired(sent, about(utf8=utf8))
    assert (without_trace(again.message), again.notes) == (sent, ())


def test_an_address_that_needs_smtputf8_stays_where_it_was_asked_for():
    """Else the name stays and the address is the envelope's."""
    content = RIGHT.replace(b"NAS Status <nas@nas.example.test>", "装置 <装置@example.jp>".encode()) + b"\r\nx\r\n"
    kept = repaired(content, about(utf8=True))
    assert kept.utf8
    assert "<装置@example.jp>".encode() in octets(kept.message)
    other = repaired(content)
    assert not other.utf8
    assert read(other.message)["From"].addresses[0].addr_spec == "nas@nas.example.test"


@pytest.mark.parametrize(
    "value", [b"x\r\nBcc: a@b.jp", b"=?utf-8?B?DQpCY2M6IGFAYi5qcA==?=", b"\x85Bcc: a@b.jp", b"a\rBcc: a@b.jp"]
)
def test_no_value_becomes_a_field(value):
    """Neither raw nor encoded line ends in a value make another field of ours."""
    device = repaired(b"From: " + value + b" \xff <a@b.jp>\r\nX-A: " + value + b"\xff\r\n\r\nx\r\n")
    names = [field.name for field in device.message.fields]
    assert "bcc" not in names
    assert_sendable(octets(device.message))


def test_the_policy_hides_the_device():
    """With `hide_client` the letter tells nobody outside what the device is called and where it is."""
    content = RIGHT + b"\r\nx\r\n"
    hidden = octets(repaired(content, policy=RepairPolicy(hide_client=True)).message)
    assert b"192.168.0.9" not in hidden and b"from nas" not in hidden
    assert b"from nas ([192.168.0.9])" in octets(repaired(content).message)
