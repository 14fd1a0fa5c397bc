"""Where a header begins and ends, and which of its lines are fields."""

import pytest

from relay.mail.header_reader import HeaderSection, read_header
from relay.mail.message import HEADER_LIMIT

A_BLOCK = 5


def head_of(content: bytes) -> HeaderSection:
    """However it comes in blocks, it is the same head."""
    whole = read_header([content])
    if len(content) < 10_000:
        blocks = [content[place : place + A_BLOCK] for place in range(0, len(content), A_BLOCK)]
        assert read_header(blocks) == whole
    return whole


def parted(content: bytes) -> tuple[list[bytes], bytes]:
    head = head_of(content)
    return [field.raw for field in head.fields], content[head.length :]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b"\r\r\n"])
@pytest.mark.parametrize(
    ("lines", "fields", "text"),
    [
        (["Subject: x", "To: y", "", "text"], ["Subject: x", "To: y"], 1),
        (["Subject: x", " more", "\tand more", "", "text"], ["Subject: x\r\n more\r\n\tand more"], 1),
        (["Subject: x", " X", "", "text"], ["Subject: x\r\n X"], 1),
        (["Alarm: 1", "Subject: x", "Camera: 3", "", "text"], ["Alarm: 1", "Subject: x", "Camera: 3"], 1),
        (["Alarm: 1", "Subject: x", "A: 3", "B: 4", "", "t"], ["Alarm: 1", "Subject: x", "A: 3", "B: 4"], 1),
        (["Subject : x", "To\t: y", "", "text"], ["Subject: x", "To: y"], 1),
        (["Subject: a :b", "", "text"], ["Subject: a :b"], 1),
        ([" Subject: x", "To: y", "", "text"], ["Subject: x", "To: y"], 1),
        (["\tX-Mailer: x", "", "text"], ["X-Mailer: x"], 1),
        (["", " ", "Subject: x", "", "text"], ["Subject: x"], 1),
        (["From root@nas Sun Mar  3 09:15:00 2024", "Subject: x", "", "t"], ["Subject: x"], 1),
        ([">From root@nas", "Subject: x", "", "t"], ["Subject: x"], 1),
        (["", "From root@nas", "Subject: x", "", "t"], ["Subject: x"], 1),
        (["To: y", "oops", "Subject: x", "", "text"], ["To: y", "X-Removed-Line: oops", "Subject: x"], 1),
        (["To: y", "one", "two ", "Subject: x", "", "t"], ["To: y", "X-Removed-Line: one\r\n two", "Subject: x"], 1),
        (["To: y", "one", " two", "Subject: x", "", "t"], ["To: y", "X-Removed-Line: one\r\n two", "Subject: x"], 1),
        (
            ["To: y", "1", "A: b", "2", "Subject: x", "", "t"],
            ["To: y", "X-Removed-Line: 1", "A: b", "X-Removed-Line: 2", "Subject: x"],
            1,
        ),
        (["To: y", "Motion on CH1", "more"], ["To: y"], 2),
        (["To: y", "Alarm: 1", "http://x/y", "t"], ["To: y", "Alarm: 1"], 2),
        (["To: y", " ", "Subject: x", "", "text"], ["To: y", "Subject: x"], 1),
        (["To: y", " ", "\t", " more", "", "text"], ["To: y\r\n more"], 1),
        (["To: y", " ", "text: of it", "", "more"], ["To: y"], 3),
        (["To: y", "\t "], ["To: y"], 0),
        (["To: y"], ["To: y"], 0),
    ],
)
def test_a_header_is_read_whatever_its_line_ends(lines: list[str], fields: list[str], text: int, end: bytes) -> None:
    """Fields, their continuations, what is moved out of their way, and how many of the last lines are text."""
    octets = [line.encode() + end for line in lines]
    found, rest = parted(b"".join(octets))
    assert found == [field.encode() + b"\r\n" for field in fields]
    assert rest == b"".join(octets[len(octets) - text :])


@pytest.mark.parametrize(
    "content",
    [
        b"Disk failed\n",
        b"Alarm: motion\nTime: 10:15\n",
        b"",
        b"\n\n",
        b"http://x/y\n",
        b"\nSubject x\n",
        b": x\n",
        b"\0\0\n",
        b" \n text\n",
    ],
)
def test_text_without_a_header_is_all_text(content: bytes) -> None:
    """No field, not an octet taken, and it is said."""
    head = head_of(content)
    assert head.missing and head.fields == () and head.length == 0
    assert "made a header: the device sent none" in head.notes


@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_a_byte_order_mark_is_no_part_of_a_name(bom: bytes) -> None:
    """It goes, and is counted as read."""
    assert parted(bom + b"Subject: x\r\n\r\ntext") == ([b"Subject: x\r\n"], b"text")


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"To: y\r\nMotion on CH1\r\n", "added the empty line between header and text: the device sent none"),
        (b"To: y\r\n \r\nMotion\r\n", "took a line of blanks for the end of the header"),
        (b"To: y\r\n \r\nSubject: x\r\n\r\n", "removed a line of blanks inside the header"),
        (b"To : y\r\n\r\n", "removed the blank between a field name and its colon"),
        (b"\tTo: y\r\nCc: z\r\n\r\n", "removed the blanks before the first header line"),
        (b"\r\nTo: y\r\n\r\n", "removed blank lines before the header"),
        (b"From x y\r\nTo: y\r\n\r\n", "removed the mbox line before the header"),
        (b"To: y\r\noops\r\nCc: z\r\n\r\n", "moved a header line without a colon to X-Removed-Line"),
        (b"\xef\xbb\xbfTo: y\r\n\r\n", "removed the byte order mark before the header"),
        (b"To: y\r\n\r\n", ""),
        (b"To: y\r\n", ""),
    ],
)
def test_each_change_is_named_and_no_other(content: bytes, note: str) -> None:
    """The trail tells a person what the relay did to the letter: these words, once."""
    assert head_of(content).notes == ((note,) if note else ())


def test_nul_octets_go_and_are_counted() -> None:
    """What is left is a field; the body begins where it began."""
    for content in (b"Sub\0ject: x\0\r\n\r\nte\0xt", b"To: y\r\n\0one\r\n\0two\r\nSubject: x\r\n\r\nte\0xt"):
        fields, body = parted(content)
        assert b"\0" not in b"".join(fields) and fields[-1] == b"Subject: x\r\n"
        assert body == b"te\0xt"
        assert head_of(content).notes.count("removed NUL octets from the header") == 1


@pytest.mark.parametrize(
    "name", ["X-Foo", "Content-Foo", "List-Foo", "Resent-Foo", "ARC-Foo", "Subject", "mime-version", "Importance"]
)
def test_a_known_name_makes_a_header(name: str) -> None:
    """Those of RFC 5322 and its kin, and whole families of them; one of another kind alone does not."""
    assert parted(name.encode() + b": x\n\ntext") == ([name.encode() + b": x\r\n"], b"text")
    assert head_of(b"Alarm-" + name.encode() + b": x\n\ntext").missing


def test_a_clean_header_is_left_octet_for_octet() -> None:
    """Also one that ends with its last field, and one whose folds are many."""
    for head in (b"Subject: x\r\n", b"Subject: x\r\n y\r\n\tz\r\nX-A:  b \r\n", b"A: b\r\nSubject:\r\n"):
        for tail in (b"", b"\r\n", b"\r\ntext", b"\r\n\r\n\r\n"):
            found = head_of(head + tail)
            assert b"".join(field.raw for field in found.fields) == head
            assert (found.length, found.notes) == (len(head) + (2 if tail else 0), ())


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_header_beyond_all_bounds_ends_at_a_line(end: bytes) -> None:
    """What lies behind the bound is body: no field is cut in two, and no octet lost."""
    content = (b"X-A: " + b"b" * 90 + end) * 4000 + end + b"text"
    head = head_of(content)
    assert HEADER_LIMIT - 100 < head.length <= HEADER_LIMIT
    assert content[head.length :].startswith(b"X-A: b")
    assert all(field.raw == b"X-A: " + b"b" * 90 + b"\r\n" for field in head.fields)
    assert len(head.fields) * len(b"X-A: " + b"b" * 90 + end) == head.length


def test_many_lines_that_are_no_fields_are_one() -> None:
    """A hundred thousand of them between two fields are looked at once."""
    content = b"To: y\r\n" + b"junk\r\n" * 20_000 + b"Subject: x\r\n\r\ntext"
    fields, body = parted(content)
    assert [field.partition(b":")[0] for field in fields] == [b"To", b"X-Removed-Line", b"Subject"]
    assert fields[1].count(b"junk") == 20_000 and body == b"text"


@pytest.mark.parametrize("blanks", [1, 3, 48])
def test_lines_of_blanks_are_looked_beyond(blanks: int) -> None:
    """A field behind them belongs to the header, text does not."""
    assert parted(b"To: y\r\n" + b" \r\n" * blanks + b"Subject: x\r\n\r\nt") == ([b"To: y\r\n", b"Subject: x\r\n"], b"t")
    fields, body = parted(b"To: y\r\n" + b" \r\n" * blanks + b"some text\r\n\r\nt")
    assert fields == [b"To: y\r\n"] and body.endswith(b"some text\r\n\r\nt")


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n"])
@pytest.mark.parametrize("first", [b"Subject: a", b"X-Camera: a"])
@pytest.mark.parametrize("cr", [b"\r", b"\r\r", b"\r \r"])
def test_a_bare_cr_in_a_field_begins_no_other(end: bytes, first: bytes, cr: bytes) -> None:
    """What a device copied from somebody into a field stays in that field, wherever the field stands."""
    blanks = b" " * len(cr)
    field = first + cr + b"Bcc: evil@x.example" + cr
    for before, after in ((b"", b"To: y" + end), (b"To: y" + end, b""), (b"To: y" + end, b"Cc: z" + end)):
        fields, text = parted(before + field + end + after + end + b"a\rtext" + end)
        mended = first + blanks + b"Bcc: evil@x.example"
        assert [one.rstrip() for one in fields] == [
            *([b"To: y"] if before else []),
            mended,
            *([after.rstrip()] if after else []),
        ]
        assert text == b"a\rtext" + end
