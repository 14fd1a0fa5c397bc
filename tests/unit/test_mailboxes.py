"""Mailboxes in header fields: what is right is known, what is not is read all the same, and all is written so that it is."""

import email.policy
import re
from itertools import pairwise

import pytest

from relay.mail.address import Address
from relay.mail.mailboxes import (
    Mailbox,
    count_regular,
    count_with_utf8,
    fold_list,
    has_group,
    is_regular,
    read_mailboxes,
    with_commas,
    write_mailbox,
    write_name,
)

JP = "example.jp"


def seen(text: str) -> list[tuple[str, str]]:
    return [(box.name, str(box.address) if box.address else "") for box in read_mailboxes(text)]


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (b"a@b.jp", 1),
        (b" a@b.jp , c@d.jp", 2),
        (b'NAS One <a@b.jp>, "x, y" <c@[192.0.2.1]> (room 2),=?utf-8?q?z?= <e@f.jp>', 3),
        (b'"quoted local"@b.jp', 1),
        (b"Team: a@b.jp, B <c@d.jp>; , e@f.jp", 2),
        (b"undisclosed-recipients:;", 1),
        (b"a@b.jp,", 0),
        (b"a@b.jp, ", 0),
        (b",a@b.jp", 0),
        (b"a@b.jp c@d.jp", 0),
        (b"a@b.jp; c@d.jp", 0),
        (b"<a@b.jp", 0),
        (b"a@b.jp>", 0),
        (b"a..b@c.jp", 0),
        (b"a@b.jp (", 0),
        (b"a, b@c.jp", 0),
        (b'"=?utf-8?q?x?=" <a@b.jp>', 0),
        (b"=?utf-8?q?x=0Ay?= <a@b.jp>", 0),
        (b"\xe9 <a@b.jp>", 0),
        (b"root", 0),
        (b"", 0),
        (b"a@b.jp, " * 400 + b"c@d.jp", 401),
        (b"x" * 901 + b"@b.jp", 0),
        (b"a@b.jp, " + b"x" * 890 + b"@b.jp", 2),
        (b"'a@b.jp'", 0),
        (b"o'brien@b.jp, 'x y' <e@f.jp>", 2),
    ],
)
def test_a_regular_list_is_counted(value: bytes, count: int) -> None:
    """As RFC 5322 s3.4 lets it be sent, no word of it too long to be folded; else it has none."""
    assert count_regular(value) == count
    assert is_regular(value) is (count > 0)


def test_where_no_group_may_stand_it_does_not_count() -> None:
    """In From and Sender."""
    assert count_regular(b"Team: a@b.jp;", groups=False) == 0
    assert count_regular(b"A <a@b.jp>, c@d.jp", groups=False) == 2


@pytest.mark.parametrize(
    ("value", "plain", "local"),
    [
        ("a@b.jp, c@d.jp", True, 2),
        ("太郎@b.jp", True, 1),
        ("NAS <太郎@b.jp>, c@d.jp", True, 2),
        ("太郎 <taro@b.jp>", True, 0),
        ("taro@例.jp", True, 0),
        ("太郎@b.jp,", False, 0),
        ("Team: 太郎@b.jp;", False, 1),
        ("太郎\u0085@b.jp", False, 0),
        ("NAS <" + "太" * 299 + "@b.jp>", False, 0),  # its octets do not fit into a line
    ],
)
def test_with_smtputf8_addresses_may_be_in_utf_8(value: str, plain: bool, local: int) -> None:
    """RFC 6532; where repair judges, only before the @: names have encoded-words, domains have A-labels."""
    assert is_regular(value.encode(), utf8=True) is plain
    assert count_with_utf8(value.encode()) == local
    assert not is_regular(value.encode() + b"\xff", utf8=True) and count_with_utf8(value.encode() + b"\xff") == 0
    assert is_regular(value.encode()) is value.isascii()


@pytest.mark.parametrize(
    ("value", "group"),
    [
        (b"Team: a@b.jp;", True),
        (b"a@b.jp, x:;", True),
        (b'"a: b" <a@b.jp>', False),
        (b'"a\\": b" <a@b.jp>', False),
        (b"a@b.jp (at: home)", False),
        (b"<a@[IPv6:::1]>", False),
        (b"a@b.jp", False),
    ],
)
def test_a_group_has_a_colon_of_its_own(value: bytes, group: bool) -> None:
    """One in quotation marks, brackets or a comment makes none."""
    assert has_group(value) is group


@pytest.mark.parametrize(
    ("value", "mended"),
    [
        ("a@b.jp; c@d.jp;", "a@b.jp, c@d.jp"),
        ("a@b.jp\r\n c@d.jp", "a@b.jp, c@d.jp"),
        ("A <a@b.jp>;; c@d.jp ,", "A <a@b.jp>, c@d.jp"),
        ("a@b.jp c@d.jp", None),
        ('"a;b" <a@b.jp>; c@d.jp', None),
        ("Team: a@b.jp; c@d.jp", None),
        ("é@b.jp; c@d.jp", None),
        ("a (x; y); b", None),
    ],
)
def test_commas_where_firmware_puts_something_else(value: str, mended: str | None) -> None:
    """If that alone makes the list right; nothing is guessed where a semicolon may belong to a name or a group."""
    assert with_commas(value) == mended


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("a@b.jp; c@d.jp", [("", "a@b.jp"), ("", "c@d.jp")]),
        ('"A, x" <a@b.jp>; c@d.jp', [("A, x", "a@b.jp"), ("", "c@d.jp")]),
        ('"A" a@b.jp; "C" c@d.jp', [("A", "a@b.jp"), ("C", "c@d.jp")]),
        ("Smith, John <j@b.jp>, c@d.jp", [("Smith, John", "j@b.jp"), ("", "c@d.jp")]),
        ("NAS: Backup, Server [01] <a@b.jp>", [("NAS: Backup, Server [01]", "a@b.jp")]),
        ("MAX nas@b.jp", [("MAX", "nas@b.jp")]),
        ("nas@b.jp XEROX", [("XEROX", "nas@b.jp")]),
        ("From: nas@b.jp", [("", "nas@b.jp")]),
        ("a@b.jp c@d.jp", [("", "a@b.jp"), ("", "c@d.jp")]),
        ("a@b.jp (Room 2)", [("Room 2", "a@b.jp")]),
        ("(Room 2) <a@b.jp>", [("Room 2", "a@b.jp")]),
        ("root (Cron (Daemon))", [("Cron (Daemon)", "root")]),
        ("(only words)", [("only words", "")]),
        ("NAS-01", [("NAS-01", "")]),
        ("ups, a@b.jp", [("ups", ""), ("", "a@b.jp")]),
        ("ups; a@b.jp", [("ups", ""), ("", "a@b.jp")]),
        ("<a@b.jp", [("", "a@b.jp")]),
        ("A <<a@b.jp>>", [("A", "a@b.jp")]),
        ("A <not> <a@b.jp>", [("A", "a@b.jp")]),
        ("A <a@b.jp> <not>", [("A not", "a@b.jp")]),
        ("<mailto:a@b.jp>", [("", "a@b.jp")]),
        ("<@r1:a@b.jp>", [("", "a@b.jp")]),
        ("NAS <a@[IPv6:fe80::1]>", [("NAS", "a@[IPv6:fe80::1]")]),
        ("<@r1:a@[IPv6:fe80::1]>", [("", "a@[IPv6:fe80::1]")]),
        ("<=?utf-8?Q?nas?=@b.jp>", [("", "nas@b.jp")]),
        ("<.a..b.@c.jp>", [("", '".a..b."@c.jp')]),
        ('"a..b"@c.jp', [("", '"a..b"@c.jp')]),
        ("<a@例え.jp>", [("", "a@xn--r8jz45g.jp")]),
        ("<a@例え。jp。>", [("", "a@xn--r8jz45g.jp")]),
        ("A <a@" + "é" * 70 + ".jp>", [("A", "")]),
        ("A <" + "a" * 256 + "@b.jp>", [("A", "a" * 256 + "@b.jp")]),
        ("A <" + "a" * 257 + "@b.jp>", [("A", "")]),
        ("A <>", [("A", "")]),
        ("A <...@b.jp>", [("A", '"..."@b.jp')]),
        ("A (b \\\\) c) <a(x)@b.jp(y (z))>", [("A", "a@b.jp")]),
        ("'a@b.jp', SMTP:c@d.jp", [("", "a@b.jp"), ("", "c@d.jp")]),
        ("<a@fa\u00df.jp>", [("", "a@xn--fa-hia.jp")]),
        ('"say \\"hi\\"" <a@b.jp>', [('say "hi"', "a@b.jp")]),
        ('"unclosed <a@b.jp>', [("unclosed", "a@b.jp")]),
        ("=?utf-8?B?5rip5bqm?= <a@b.jp>", [("温度", "a@b.jp")]),
        ("x\x07y\x1b <a@b.jp>", [("xy", "a@b.jp")]),
        ("n" * 400 + " <a@b.jp>", [("n" * 300, "a@b.jp")]),
        ("(" * 200 + "a@b.jp" + ")" * 200, [("a@b.jp", "")]),
        ("(x(" * 80 + " a@b.jp ", [("x" + " x" * 79, "a@b.jp")]),
        (",,;", []),
        ("", []),
    ],
)
def test_whatever_a_device_wrote_is_read(text: str, boxes: list[tuple[str, str]]) -> None:
    """Every address that can be made out, with the name that stands beside it."""
    assert seen(text) == boxes


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("NAS  One <a@b.jp>", "NAS  One"),
        ('"N.A.S." <a@b.jp>', '"N.A.S."'),
        ("=?utf-8?q?z?= <a@b.jp>", "=?utf-8?q?z?="),
        ("N.A.S. <a@b.jp>", ""),
        ("NAS [1] <a@b.jp>", ""),
        ("=?utf-8?q?z=0A?= <a@b.jp>", ""),
        ("word " * 40 + "<a@b.jp>", ("word " * 40).strip()),
        ("word " * 61 + "<a@b.jp>", ""),
        ("x" * 75 + " <a@b.jp>", "x" * 75),
        ("x" * 76 + " <a@b.jp>", ""),
        ("é <a@b.jp>", ""),
    ],
)
def test_a_name_goes_on_as_it_was_written_where_it_may(text: str, phrase: str) -> None:
    """If every reader understands it so, and each of its words fits into a line."""
    [box] = read_mailboxes(text)
    assert box.phrase == phrase


@pytest.mark.parametrize(
    ("name", "written", "quoted"),
    [
        ("NAS One", "NAS One", '"NAS One"'),
        ("N.A.S.", '"N.A.S."', '"N.A.S."'),
        ('say "hi" \\ there', '"say \\"hi\\" \\\\ there"', '"say \\"hi\\" \\\\ there"'),
        ("two  blanks", '"two  blanks"', '"two  blanks"'),
        ("温度", "=?utf-8?B?5rip5bqm?=", "=?utf-8?B?5rip5bqm?="),
        ("=?x", "=?utf-8?B?PT94?=", "=?utf-8?B?PT94?="),
    ],
)
def test_a_name_is_written_so_that_it_is_read_again(name: str, written: str, quoted: str) -> None:
    """As words, in quotation marks, or as an encoded-word."""
    assert (write_name(name), write_name(name, bare=False)) == (written, quoted)
    for spelled in (written, quoted):
        field = email.policy.default.header_factory("To", f"{spelled} <a@b.jp>")
        assert not field.defects and field.addresses[0].display_name == name


def test_a_mailbox_without_a_name_is_its_address() -> None:
    """So is one whose name only repeats it."""
    box = Mailbox("", Address("a", JP))
    assert write_mailbox(box) == write_mailbox(Mailbox("a@example.jp", box.address)) == "a@example.jp"
    assert write_mailbox(Mailbox("A", box.address)) == "A <a@example.jp>"


@pytest.mark.parametrize("length", range(8, 40))
def test_a_list_is_folded_after_commas(length: int) -> None:
    """No line over 76 characters and the comma, as many addresses in each as fit, and unfolded it is the list."""
    boxes = [f"{'abcdefgh'[number % 8] * (length - 7)}@b.test" for number in range(15)]
    field = fold_list("To", boxes).decode()
    lines = field.removesuffix("\r\n").split("\r\n")
    assert "".join(lines) == "To: " + ", ".join(boxes)
    assert max(len(line.removesuffix(",")) for line in lines) <= 76
    assert all(len(line) + len(after.split(",")[0]) > 76 for line, after in pairwise(lines))
    assert all(line.endswith(",") for line in lines[:-1])


def test_a_long_name_in_encoded_words_is_folded_between_them() -> None:
    """A word each is short enough; an address that is too long for a line stands in one alone."""
    name = write_name("温度警報" * 12)
    field = fold_list("To", [f"{name} <a@b.jp>", "x" * 80 + "@b.jp", "c@d.jp"]).decode()
    lines = field.removesuffix("\r\n").split("\r\n")
    assert max(len(line) for line in lines if "xxx" not in line) <= 76
    assert lines[-2:] == [f" {'x' * 80}@b.jp,", " c@d.jp"]
    assert re.sub(r"\r\n(?= )", "", field) == f"To: {name} <a@b.jp>, {'x' * 80}@b.jp, c@d.jp\r\n"


@pytest.mark.parametrize("text", ["=?iso-8859-1?B?LcO4jtTO@vm", "<=?utf-8?q?nas@vm>", "NAS <=?utf-8?q?nas@vm>"])
def test_the_beginning_of_a_name_in_code_is_no_address(text: str) -> None:
    """Written as an address it would be read, and mended, as a name."""
    assert [one.address for one in read_mailboxes(text) if one.address] == []
