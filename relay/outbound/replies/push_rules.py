"""What push services answer: the HTTP status is the fault, whatever the words.  Pure."""

from relay.mail.reply import Fault
from relay.outbound.replies.rule import Blame, Rule, passes


def _rule(name: str, blame: Blame, fault: Fault, cause: str, remedy: str) -> Rule:
    return Rule(name, blame, ("",), cause, remedy, faults=frozenset({fault}))


PUSH: tuple[Rule, ...] = (
    _rule(
        "push-account",
        Blame.LOGIN,
        Fault.PUSH_ACCOUNT,
        "The push service refuses the token, or does not know the topic, chat or channel of the notification URL.",
        "Make a new token at the service, or correct the URL in `push` or `push_file`; `relay doctor` asks the service about "
        "it, where that can be asked. A bot must have been written to, or invited, by whom it is to write to.",
    ),
    _rule(
        "push-rate",
        Blame.RATE,
        Fault.PUSH_RATE,
        "The push service got too many messages in a short time, or the day's share is used up.",
        passes("set `limits: {per_minute: ...}` for this upstream, or let fewer mails go there."),
    ),
    _rule(
        "push-refused",
        Blame.MESSAGE,
        Fault.PUSH_REFUSED,
        "The push service does not take this message: it is too large for it, or has something in it that it does not allow.",
        "The service's own words say what. Another upstream behind it in the route (`via: [phone, isp]`) gets what it refuses.",
    ),
    _rule(
        "push-trouble",
        Blame.UPSTREAM,
        Fault.PUSH_TROUBLE,
        "The push service is in trouble itself, or its answer makes no sense.",
        passes("look whether the service works for others, and whether the URL is right."),
    ),
)
