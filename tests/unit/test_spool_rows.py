"""Values to rows and back: nothing is lost, whatever a device said."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.address import Address
from relay.spool.entry import NoticeKind, PendingNotice, Recipient, State, TrailLine
from relay.spool.rows import (
    BLOCK,
    blocks,
    micros,
    moment,
    notice_row,
    packed,
    plain,
    recipient_row,
    row_notice,
    row_trail,
    trail_row,
    unpacked,
)

NOW = datetime(2026, 11, 22, 3, 4, 5, 678901, tzinfo=UTC)


@given(st.lists(st.integers(0, 3 * BLOCK), max_size=6))
def test_blocks_are_full_but_the_last(sizes):
    """However content is cut on the way in, its octets stay in order, and rows are of one size."""
    pieces = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    rows = list(blocks(pieces))
    assert b"".join(rows) == b"".join(pieces)
    assert all(len(row) == BLOCK for row in rows[:-1])
    assert all(rows)


@given(st.datetimes(timezones=st.just(timezone(timedelta(hours=9)))))
def test_moments_are_kept_to_the_microsecond(when):
    """A time in any zone comes back as the same moment, in UTC."""
    assert moment(micros(when)) == when
    assert moment(micros(when)).tzinfo is UTC


@given(st.text(st.characters(codec=None)))
def test_plain_text_can_always_be_encoded(text):
    """Lone surrogates become visible escapes, all other text stays as it is."""
    stored = plain(text)
    stored.encode("utf-8")
    if text.isprintable():
        assert stored == text


def test_a_notice_survives_its_row():
    """The recipient is kept as it stood, in words and numbers."""
    recipient = Recipient(
        Address("a b", "例え.jp"), State.FAILED, 3, NOW, "isp", "rcpt", 550, "5.1.1", 'no "such" user', "gmail"
    )
    notice = PendingNotice("q" * 14, NoticeKind.FAILED, Address("boss", "example.jp"), recipient, NOW, number=7)
    assert row_notice((7, *notice_row(notice).values())) == notice


def test_a_trail_line_survives_its_row():
    """Details keep their types; text may hold anything."""
    line = TrailLine(NOW, "deferred", "421 あとで\udc8f", {"code": 421, "took": 0.5, "lost": True, "tls": None})
    assert row_trail(*trail_row(line)) == line


def test_a_recipient_is_found_by_its_key():
    """The domain's case makes no other recipient, the local part's does."""
    keys = [
        recipient_row(Recipient(Address(local, domain), State.QUEUED, 0, NOW))["key"]
        for local, domain in (("a", "X.jp"), ("a", "x.jp"), ("A", "x.jp"))
    ]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("block", [b"a line of a log\r\n" * 200, b"short", bytes(range(256)) * 16, b"x" * BLOCK, b""])
def test_a_block_comes_back_as_it_was(block):
    """Deflated or not: text is, what is short, dense or long is not."""
    stored, deflated = packed(block)
    assert unpacked(stored, deflated) == block
    assert deflated == int(block.startswith((b"a line", b"\0\1")))
    assert len(stored) <= len(block)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"\0" + data[1:], lambda data: data[:9] + b"?" + data[10:]]
)
def test_a_damaged_block_is_told_of(damage):
    """Half a block is never taken for a whole one."""
    stored, deflated = packed(b"a line of a log\r\n" * 200)
    with pytest.raises(ValueError, match=r"."):
        unpacked(damage(stored), deflated)
