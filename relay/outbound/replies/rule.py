"""What a row of the table of replies is.  Pure."""

from dataclasses import dataclass
from enum import Enum

from relay.mail.reply import Fault, Stage


class Blame(Enum):
    """Whom a reply is about."""

    NOBODY = "nobody"
    UNCERTAIN = "uncertain"  # the message may have been taken
    UPSTREAM = "upstream"  # the server itself, the way to it, or what it and we said to each other
    GREYLIST = "greylist"
    RATE = "rate"  # too fast, too many at once
    QUOTA = "quota"  # the account has sent all that it may, or is barred from sending
    LOGIN = "login"
    REPUTATION = "reputation"  # the address of our line
    SENDER = "sender"
    RELAY_DENIED = "relay-denied"
    RECIPIENT = "recipient"
    MESSAGE = "message"


OPENING = frozenset({Stage.CONNECT, Stage.TLS, Stage.HELLO})
AUTH = frozenset({Stage.AUTH})
MAIL = frozenset({Stage.MAIL})
RCPT = frozenset({Stage.RCPT})
CONTENT = frozenset({Stage.CONTENT})
ENVELOPE = MAIL | RCPT
TRANSACTION = MAIL | RCPT | CONTENT
EVERYWHERE = frozenset(Stage)


def passes(otherwise: str, after: str = "an hour") -> str:
    """The remedy for what mostly passes by itself: how long to wait, and what to do then."""
    return f"It is tried again by itself. If it is still so after {after}: {otherwise}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of reply: whom it is about, and what it means to a person.

    It applies at `stages` where one of `words` is found in `code status words`, with the words as `words.plain` gives them,
    and nothing of `unless`.
    A rule with `faults` is about what the relay found itself; one that is `lost` about a connection that ended.
    `passing`: the reply says itself that it passes, even with a number that says "for good".
    """

    name: str
    blame: Blame
    words: tuple[str, ...]
    cause: str
    remedy: str
    stages: frozenset[Stage] = EVERYWHERE
    faults: frozenset[Fault] = frozenset()
    lost: bool = False
    passing: bool = False
    unless: str = ""

    @property
    def pattern(self) -> str:
        return "|".join(self.words)
