"""What an operator's orders apply to, and their trail lines.  Pure."""

from datetime import datetime

from relay.spool.entry import Action, Order, State, TrailLine

APPLIES = {
    Action.RETRY: (State.QUEUED,),
    Action.HOLD: (State.QUEUED,),
    Action.RELEASE: (State.HELD, State.FAILED, State.EXPIRED),
    Action.REMOVE: tuple(State),
    Action.ACKNOWLEDGE: (State.FAILED, State.EXPIRED),
}
"""The states of recipients that each order is for; ACKNOWLEDGE only of messages that need attention."""

_TOLD = {
    Action.RETRY: ("woke", "ordered to be tried again at once"),
    Action.HOLD: ("held", "held by order"),
    Action.RELEASE: ("released", "released by order"),
    Action.ACKNOWLEDGE: ("acknowledged", "a person has seen this failure"),
}


def applies(order: Order) -> tuple[State, ...]:
    """The states of recipients that this order is for.  A named message that waits may be released to another upstream."""
    states = APPLIES[order.action]
    waits_too = order.action is Action.RELEASE and order.via and order.queue_ids is not None
    return (*states, State.QUEUED) if waits_too else states


def told_of(order: Order, now: datetime) -> TrailLine:
    """The line for the trail of each message that a person's order applied to."""
    event, text = _TOLD[order.action]
    return TrailLine(now, event, f"{text}, by {order.via}" if order.via else text, {"via": order.via} if order.via else {})
