"""Messages: parsing is the identity."""

from hypothesis import given
from hypothesis import strategies as st

from relay.mail.line_ends import blocks, crlf
from relay.mail.message import Message

ATOMS = st.sampled_from([b"a", b":", b"\r", b"\n", b" ", b"\t", b"\r\n", b"Date: x", b"\0", b"\xff", b"\r\n\r\n"])
CONTENT = st.one_of(st.binary(max_size=200), st.lists(ATOMS, max_size=40).map(b"".join))


@given(CONTENT, st.integers(1, 50))
def test_parsing_loses_nothing(content, size):
    """The octets of a parsed message are those that were parsed, in whatever blocks they came."""
    cut = [content[place : place + size] for place in range(0, len(content), size)]
    message = Message.parse(cut)
    assert b"".join(message) == content
    assert b"".join(message) == content
    assert message.fields == Message.parse([content]).fields


@given(CONTENT, st.integers(1, 50))
def test_blocks_never_matter_for_line_ends(content, size):
    """Line ends come out the same however the content was cut, and nothing but CRLF is left."""
    cut = [content[place : place + size] for place in range(0, len(content), size)]
    assert b"".join(blocks(cut)) == content
    mended = b"".join(map(crlf, blocks(cut)))
    assert mended == crlf(content)
    assert mended.count(b"\r") == mended.count(b"\n") == mended.count(b"\r\n")
    assert crlf(mended) == mended
