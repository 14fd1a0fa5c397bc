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
    """The states of recipients that this order is for.

    A message that waits may be released to another upstream if it is named or searched for; one that was merged only if it is
    named, since an order for all would let a storm loose.
    """
    states = APPLIES[order.action]
    if order.action is not Action.RELEASE or order.queue_ids is None:
        return states
    waiting = order.via and (order.sought is None or State.QUEUED in order.sought)
    return (*states, *((State.MERGED,) if order.named else ()), *((State.QUEUED,) if waiting else ()))


def spared(order: Order) -> frozenset[State]:
    """A message with a recipient in one of these states is not removed: nobody searched for what still waits."""
    if order.action is not Action.REMOVE or order.sought is None:
        return frozenset()
    return frozenset({State.QUEUED, State.HELD}) - order.sought


def at_any_hour(order: Order) -> bool:
    """Whether the messages go by themselves from now on, whatever the manners of their device: a person named them."""
    return order.by_hand and order.of_named and order.action in (Action.RETRY, Action.RELEASE)


def told_of(order: Order, now: datetime) -> TrailLine:
    """The line for the trail of each message that a person's order applied to."""
    event, text = _TOLD[order.action]
    return TrailLine(now, event, f"{text}, by {order.via}" if order.via else text, {"via": order.via} if order.via else {})
