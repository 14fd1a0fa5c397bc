"""Moves everything from one spool to another: message by message, each once; may be interrupted and run again."""

from collections.abc import Callable
from datetime import datetime

from relay.spool.contract import Spool
from relay.spool.entry import Action, Order

_PAGE = 200


async def move(
    source: Spool, target: Spool, now: Callable[[], datetime], told: Callable[[int], None] = lambda moved: None
) -> int:
    """How many messages were moved.  Nobody else may work on the source meanwhile.

    A message is in the target, durably, before it leaves the source; one that is in the target already is only removed.
    Raises what either of them raises; run again, it goes on.
    """
    moved, seen = 0, set[str]()
    while page := [one.entry.queue_id for one in await source.entries(None, _PAGE) if one.entry.queue_id not in seen]:
        for queue_id in page:
            seen.add(queue_id)
            moved += await move_one(source, target, queue_id, now)
            told(moved)
    await _move_the_rest(source, target, now)
    return moved


async def move_one(source: Spool, target: Spool, queue_id: str, now: Callable[[], datetime]) -> bool:
    """False if it was gone."""
    item = await source.pack(queue_id)
    if item is None:
        return False
    await target.adopt(item)
    if item.notices:  # first: else a notice would be left behind alone, and told twice
        await source.notify(None, tuple(one.number for one in item.notices))
    await source.order(Order(Action.REMOVE, (queue_id,), by_hand=False), now())
    return True


async def _move_the_rest(source: Spool, target: Spool, now: Callable[[], datetime]) -> None:
    """Notices of messages that are gone, today's counts, senders that were refused."""
    day, notices = f"{now():%Y-%m-%d}", tuple(await source.pending_notices())
    sent, refused = await source.sent_today(day), await source.refused_senders()
    if notices or sent or refused:
        await target.adopt_told(notices, day, sent, refused)
    if notices:
        await source.notify(None, tuple(one.number for one in notices))
