"""Messages as octets."""

import pytest

from relay.mail.message import HEADER_LIMIT, Field, Message, replaced


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"x",
        b"a: b",
        b"a: b\r\n\r\nbody",
        b"a: b\n\nbody\n",
        b" x\r\na: b\r\n\r\n",
        b"a:b\r\r\n\r\r\nbody",
        b"\n\n\n",
    ],
)
def test_a_message_is_the_octets_it_was_made_of(content):
    """Parsing loses nothing, however the content is cut into blocks."""
    for size in (1, 3, 1000):
        blocks = [content[place : place + size] for place in range(0, len(content), size)]
        assert b"".join(Message.parse(blocks)) == content
        assert b"".join(Message.parse(iter_again(blocks))) == content


def iter_again(blocks):
    class Again:
        def __iter__(self):
            return iter(blocks)

    return Again()


def test_the_header_section_is_bounded():
    """Beyond 256 KiB all is body, and a header line is not cut in two."""
    content = b"X-A: b\r\n" * (HEADER_LIMIT // 4)
    message = Message.parse([content])
    assert len(message.head) <= HEADER_LIMIT
    assert message.head.endswith(b"\r\n")
    assert b"".join(message) == content


def test_a_field_knows_its_name_and_unfolded_value():
    """Names are in lower case, values without folding; a line without a colon has no name."""
    field = Field(b"Subject : one\r\n two\r\n")
    assert (field.name, field.label, field.value) == ("subject", "Subject", b"one two")
    assert Field(b"no colon here\r\n").name == ""
    assert Field.of("To", "a@b.jp").raw == b"To: a@b.jp\r\n"


def test_fields_are_found_and_replaced_by_name():
    """A replaced field stands where the first of its name stood; a field without one goes where the caller says."""
    message = Message.parse([b"A: 1\r\nB: 2\r\nA: 3\r\n\r\nbody"])
    assert [field.raw for field in replaced(message.fields, Field.of("A", "9"))] == [b"A: 9\r\n", b"B: 2\r\n"]
    assert [field.name for field in replaced(message.fields, Field.of("D", "4"))] == ["a", "b", "a", "d"]
    assert [field.name for field in replaced(message.fields, Field.of("D", "4"), absent=0)] == ["d", "a", "b", "a"]
    assert [field.value for field in message.all("a")] == [b"1", b"3"]
    assert message.get("b").value == b"2"
    assert message.size == len(b"A: 1\r\nB: 2\r\nA: 3\r\n\r\nbody")


@pytest.mark.parametrize("size", [7, 1000, HEADER_LIMIT + 2, 10**9])
def test_a_header_of_the_longest_kind_is_found_in_blocks_of_any_size(size):
    """The empty line may stand just within the bound; one field more, and the lines beyond are body."""
    line = b"X-A: " + b"b" * 93 + b"\r\n"
    head = line * (HEADER_LIMIT // 100) + b"Y: " + b"c" * (HEADER_LIMIT % 100 - 5) + b"\r\n"
    assert len(head) == HEADER_LIMIT
    for more, kept in ((b"", HEADER_LIMIT + 2), (b"Z: d\r\n", HEADER_LIMIT)):
        content = head + more + b"\r\nbody"
        message = Message.parse([content[place : place + size] for place in range(0, len(content), size)])
        assert len(message.head) == kept
        assert b"".join(message) == content


def test_a_field_is_its_octets():
    """Two with the same octets are the same field; folds of any kind are undone in its value, other blanks are not."""
    assert Field(b"A: b\r\n") == Field(b"A: b\r\n") != Field(b"A: c\r\n")
    assert Field(b"A:b\n c\r\r\n\td\r\n").value == b"b c\td"
    assert Field(b"A: b  c \r\n").value == b"b  c"
    assert Field(b"no name\r\n more\r\n").value == b"no name more"
    assert Field.again("a", b"A: b\r\n") == Field(b"A: b\r\n")
