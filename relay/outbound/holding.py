"""What the marks of `in_hand` say of a message; and what the relay itself holds for a person: killers, and damaged ones."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from relay import events
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound import event_log, trail
from relay.outbound.in_hand import InHand, Mark
from relay.outbound.storing import stored
from relay.spool.contract import Spool
from relay.spool.entry import Action, Claim, Order, Settlement, State, outcome


async def forget_relayed(in_hand: InHand, spool: Spool) -> None:
    """Drops the marks of messages that are relayed or gone: a mark may be older than the fate of its message."""
    for queue_id in in_hand.suspects():
        with contextlib.suppress(Exception):  # a spool that cannot be read now is no reason not to begin
            stored = await spool.entry(queue_id)
            if stored is None or all(one.state in (State.RELAYED, State.MERGED) for one in stored.recipients):
                in_hand.forget(queue_id)


def doubtful(claim: Claim, mark: Mark, upstreams: Iterable[str], now: datetime) -> Claim:
    """The claim; where the relay died before it could store an answer, with the upstream that may have taken the message."""
    name = mark.maybe_at(upstreams)
    if not name:
        return claim
    events.note("warned", f"{name} may have taken this message: the relay died meanwhile", queue_id=claim.entry.queue_id)
    return replace(
        claim,
        recipients=tuple(one if one.maybe_at else replace(one, maybe_at=name, maybe_since=now) for one in claim.recipients),
    )


async def hold(claim: Claim, spool: Spool, now: datetime) -> tuple[str, str]:
    """Holds a message that was in hand at two deaths, without reading it; a person decides.

    Returns the alarm's text and its key.
    """
    words = "it stopped the relay twice"
    answer = Answer(Stage.CONNECT, Reply(451, "4.3.0", words), fault=Fault.INTERNAL)
    outcomes = tuple(
        outcome(one, answer, "", state=State.HELD, due_at=now, maybe=(one.maybe_at, one.maybe_since or now))
        if one.maybe_at
        else outcome(one, answer, "", state=State.HELD, due_at=now)
        for one in claim.recipients
    )
    settlement = Settlement(outcomes, tuple(trail.ended([(one, None) for one in outcomes], now)))
    await stored(spool, claim, settlement)
    event_log.settled(claim, settlement)
    return await rest_held(claim, spool, words, now)


async def rest_held(claim: Claim, spool: Spool, words: str, now: datetime) -> tuple[str, str]:
    """Holds the recipients that were not due now, too; the alarm's text and its key."""
    queue_id, sender = claim.entry.queue_id, claim.entry.envelope.reverse_path or "<>"
    await spool.order(Order(Action.HOLD, (queue_id,), by_hand=False), now)
    text = (
        f"Message {queue_id} from {sender} is held: {words}. The rest goes on. `relay queue show {queue_id}` shows it,"
        f" `relay queue release {queue_id}` lets it try once more, `relay queue remove {queue_id}` drops it."
    )
    return text, f"{queue_id} is held"
