"""Values to rows and back: nothing is lost, whatever a device said."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from relay.mail.address import Address
from relay.spool.entry import NoticeKind, PendingNotice, Recipient, State, TrailLine
from relay.spool.rows import BLOCK, blocks, micros, moment, notice_row, plain, recipient_row, row_notice, row_trail, trail_row

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
