"""The result of one transaction with an upstream.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from relay.mail.address import Address
from relay.mail.reply import Answer, Fault, Reply, Stage


class TlsPolicy(Enum):
    """What says how TLS is to be used with a mail host that nobody has configured."""

    OPPORTUNISTIC = "opportunistic"  # RFC 7435: any certificate, and in clear where there is no TLS
    VERIFIED = "verified"  # the configuration demands a trusted certificate
    STS = "mta-sts"  # the domain's policy does; RFC 8461
    STS_TESTING = "mta-sts-testing"  # it would, and only wants to be told of
    DANE = "dane"  # the host's TLSA records name its certificate; RFC 7672
    DANE_TLS = "dane-tls"  # no TLSA record can be used: TLS with any certificate


_TLS_FAULTS: Mapping[Fault, str] = {
    Fault.NO_STARTTLS: "it offers no STARTTLS",
    Fault.TLS_NAME: "its certificate is for another name",
    Fault.TLS_EXPIRED: "its certificate, or an authority's, has expired",
    Fault.TLS_EARLY: "its certificate is not valid yet",
    Fault.TLS_TRUST: "its certificate is not from an authority that is trusted here",
    Fault.TLS_PIN: "its certificate is not the one in its TLSA records",
    Fault.TLS_OLD: "it has no TLS version, cipher or key that is safe",
    Fault.TLS_CLIENT: "it wants a certificate of ours",
    Fault.STS_HOST: "it is none of the hosts in the domain's MTA-STS policy",
    Fault.DNS: "its TLSA records cannot be looked up",
}
"""What was wrong with the TLS of a mail host, after its name."""


def tls_fault(fault: Fault | None) -> str:
    return _TLS_FAULTS.get(fault or Fault.TLS, "its TLS handshake failed")


@dataclass(frozen=True, slots=True)
class Conversation:
    """How the upstream was spoken to, for the trail: peer `address:port`, TLS version, AUTH mechanism ("" if none).

    `tls_policy`: why TLS was used as it was (None where the configuration names the host); `tls_verified`: the certificate
    was found to be right; `tls_fault`: what was wrong, because of which nothing was sent, or which did not count.
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
    tls_policy: TlsPolicy | None = None
    tls_verified: bool = False
    tls_fault: Fault | None = None


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
