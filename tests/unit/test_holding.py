"""What the relay holds by itself, and what it keeps of a message then."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from relay.outbound import holding
from relay.outbound.in_hand import InHand
from relay.spool.entry import Claim, Order, Recipient, Settlement, State
from tests.support.spooled import an_entry

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


class Written:
    """A spool that only keeps what it is told."""

    def __init__(self) -> None:
        self.settlements: list[Settlement] = []

    async def settle(self, _claim: Claim, settlement: Settlement) -> None:
        self.settlements.append(settlement)

    async def order(self, _order: Order, _now: datetime) -> int:
        return 1


def claimed(queue_id: str = "q" * 14) -> Claim:
    entry = an_entry(queue_id, NOW)
    due = tuple(Recipient(path, State.QUEUED, 1, NOW) for path in entry.envelope.forward_paths)
    return Claim(entry, due, 1)


async def test_a_message_that_is_held_keeps_who_may_have_taken_it() -> None:
    """Released, it must not go by another upstream than the one whose final reply was lost."""
    claim, spool = claimed(), Written()
    doubted = replace(claim.recipients[0], maybe_at="isp", maybe_since=NOW)
    stored: Any = spool
    await holding.hold(replace(claim, recipients=(doubted, *claim.recipients[1:])), stored, NOW)
    [settlement] = spool.settlements
    assert (settlement.outcomes[0].state, settlement.outcomes[0].maybe_at) == (State.HELD, "isp")
    assert {one.maybe_at for one in settlement.outcomes[1:]} <= {""}


async def test_nobody_is_doubted_without_a_mark() -> None:
    """A message that is tried for the first time, or whose upstream is not in the configuration any more."""
    claim = claimed()
    async with InHand().mark(claim.entry.queue_id) as mark:
        assert holding.doubtful(claim, mark, ["isp"], NOW) == claim
