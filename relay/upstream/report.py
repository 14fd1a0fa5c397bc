"""The result of one transaction with an upstream.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from relay.mail.address import Address
from relay.mail.reply import Answer, Fault, Reply, Stage


@dataclass(frozen=True, slots=True)
class Conversation:
    """How the upstream was spoken to, for the trail: peer `address:port`, TLS version, AUTH mechanism ("" if none).

    `took` in seconds; `max_size` the SIZE it announced (0: none); `eight_bit`: whether it offers 8BITMIME (None: not known);
    `notes` what was done for it, in plain words.
    """

    peer: str = ""
    tls: str = ""
    mechanism: str = ""
    took: float = 0.0
    max_size: int = 0
    eight_bit: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """An Answer for every forward-path of the transaction, and how it went.

    `left` are those that the transaction had no room for: they have no answer and may go in a further one.
    `unsuited`: nothing was sent, since the session turned out to lack 8BITMIME; prepared anew for that it may be.
    """

    answers: Mapping[Address, Answer]
    conversation: Conversation = Conversation()
    left: tuple[Address, ...] = ()
    unsuited: bool = False

    def noting(self, notes: tuple[str, ...]) -> "Report":
        """The same with more notes on what was done for the message."""
        if not notes:
            return self
        return replace(self, conversation=replace(self.conversation, notes=(*notes, *self.conversation.notes)))


def too_big(name: str, limit: int, size: int) -> Answer:
    """Our own refusal of what an upstream cannot take; nothing was sent."""
    words = f"{name} takes at most {limit / 1e6:.1f} MB, this message has {size / 1e6:.1f} MB"
    return Answer(Stage.MAIL, Reply(552, "5.3.4", words), fault=Fault.TOO_BIG)
