"""Queue ids: what they promise."""

from datetime import UTC, datetime, timedelta

from relay.spool.entry import QUEUE_ID
from relay.spool.queue_id import new_queue_id

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


def test_ids_of_one_millisecond_are_all_different():
    """Many devices that send at the same moment never meet in one id."""
    assert len({new_queue_id(NOW) for _ in range(5_000)}) == 5_000


def test_ids_sort_by_time():
    """A later message has a greater id, and every id is one."""
    ids = [new_queue_id(NOW + timedelta(milliseconds=n * n)) for n in range(50)]
    assert ids == sorted(ids)
    assert all(QUEUE_ID.match(one) for one in ids)
