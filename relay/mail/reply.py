"""A server's reply and the stage at which it came, or a fault that we found ourselves.

RFC 5321 s4.2, RFC 2034, RFC 3463.  Pure.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_LONGEST = 4000  # characters of a reply that are kept; real ones have a few hundred
_QMAIL_STATUS = re.compile(r"\(#([245]\.\d{1,3}\.\d{1,3})\)\s*$")


class Stage(Enum):
    """The steps of a submission, in the order in which they are taken."""

    CONNECT = "connect"
    TLS = "tls"
    HELLO = "hello"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    CONTENT = "content"

    def before(self, other: "Stage") -> bool:
        return _ORDER[self] < _ORDER[other]


_ORDER = {stage: place for place, stage in enumerate(Stage)}


def readable(text: str) -> str:
    """A server's text, safe to judge, show and store: bounded, without invalid octets and control characters."""
    return _CONTROL.sub("\ufffd", text[:_LONGEST].encode("utf-8", "replace").decode())


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: three-digit code, enhanced status ("" if none was given) and the text, lines joined by a blank."""

    code: int
    status: str
    text: str

    @staticmethod
    def of(code: int, text: str) -> "Reply":
        """Reads the enhanced status where RFC 2034 puts it (first in the text) or where qmail does (last, `(#5.7.1)`).

        The status must begin with the code's first digit, else it is another server's status, quoted in the text.
        """
        return _read(code, text[:_LONGEST])

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600

    def __str__(self) -> str:
        status = "" if not self.status or self.status in self.text else f"{self.status} "
        return f"{self.code} {status}{self.text}".rstrip()


@lru_cache(maxsize=64)  # most replies are the same for every message
def _read(code: int, text: str) -> Reply:
    flat = " ".join(readable(text).split())
    first = _STATUS.match(flat)
    if first and first[1][0] == str(code)[0]:
        rest = flat[first.end() :].lstrip(" -")
        if first[1] not in rest:
            return Reply(code, first[1], rest)
        # in a multi-line reply each line repeats the status (RFC 2034 s4)
        return Reply(code, first[1], re.sub(rf"(?:(?<=\s)|^){re.escape(first[1])}[ -]", "", rest).strip())
    last = _QMAIL_STATUS.search(flat)
    if last and last[1][0] == str(code)[0]:
        return Reply(code, last[1], flat)
    return Reply(code, "", flat)


class Fault(Enum):
    """What this relay found itself: the reply's text is ours, not a server's."""

    NO_HOST = "no-host"  # the name does not exist, or has no address
    DNS = "dns"  # the DNS gave no answer
    NULL_MX = "null-mx"  # RFC 7505
    BARRED = "barred"  # a domain's mail host is in the LAN, or is this machine: no place for direct delivery
    REFUSED = "refused"  # nothing listens on that port
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"
    HUNG_UP = "hung-up"
    GARBAGE = "garbage"  # no SMTP reply
    TLS = "tls"  # any trouble with TLS that has no name of its own below
    TLS_NAME = "tls-name"
    TLS_EXPIRED = "tls-expired"
    TLS_EARLY = "tls-early"  # a certificate that is not valid yet
    TLS_TRUST = "tls-trust"
    TLS_PIN = "tls-pin"
    TLS_OLD = "tls-old"  # no version or cipher in common, a key too small
    TLS_CLIENT = "tls-client"  # the server wants a certificate of ours
    TLS_FILE = "tls-file"  # ca_file, client_cert or client_key cannot be used
    TLS_MODE = "tls-mode"  # one side began with TLS, the other without
    NO_STARTTLS = "no-starttls"
    STS = "mta-sts"  # the recipient's domain demands TLS that its mail host has not (RFC 8461)
    STS_HOST = "mta-sts-host"  # a mail host that the domain's policy does not name
    DANE = "dane"  # the mail host has not the certificate that the DNS says (RFC 7672), or what it says is not known
    MX_TLS = "mx-tls"  # the configuration demands verified TLS with every mail host
    NO_MECHANISM = "no-mechanism"
    TOKEN = "token"  # noqa: S105 - nobody has consented yet
    TOKEN_DENIED = "token-denied"  # noqa: S105 - the token server gives none any more
    TOKEN_SERVER = "token-server"  # noqa: S105 - it could not be asked
    TOKEN_STORE = "token-store"  # noqa: S105 - tokens cannot be kept on the disk
    TOKEN_RENEWED = "token-renewed"  # noqa: S105 - refused before its time, and there is a new one
    TOKEN_NEW = "token-new"  # noqa: S105 - a new one was refused; the words are the server's
    POP = "pop"
    TOO_BIG = "too-big"
    SMTPUTF8 = "smtputf8"
    ADDRESS = "address"  # it cannot be written in a command
    DKIM = "dkim"  # the message is to be signed, and the key cannot be used
    FOLDER_MISSING = "folder-missing"
    FOLDER_RIGHTS = "folder-rights"  # it may not be written, or the file system is read-only
    FOLDER_FULL = "folder-full"
    FOLDER_IO = "folder-io"  # the disk or the share fails, or does not answer
    UNROUTED = "unrouted"
    REJECTED = "rejected"  # by a rule of the configuration
    UNANSWERED = "unanswered"  # the upstream's answer for this recipient is not known
    RESTS = "rests"  # the upstream is left alone for now: it is in trouble, or a limit of it is reached
    PERMISSION = "permission"  # the account may do less than this message needs
    PUSH_ACCOUNT = "push-account"  # a push service refuses the token, or does not know the target
    PUSH_RATE = "push-rate"  # HTTP 429
    PUSH_REFUSED = "push-refused"  # it refuses this message
    PUSH_TROUBLE = "push-trouble"  # it is in trouble itself, or answers what nobody understands
    QUIET = "quiet"  # the device's quiet hours
    DIGEST = "digest"  # it is like others of the device, and waits to become one message with them
    INTERNAL = "internal"  # an error inside the relay


POSTPONED = (Fault.QUIET, Fault.DIGEST)
"""Why a message waits on purpose."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply and the stage at which it came.

    `lost`: the connection ended there, and the reply is ours (4.4.x).  `fault`: what we found; None if a mail server answered.
    `retry_after`: for how many seconds the server wants nothing more from this account; None if it does not say.
    `known`: all of the message was there from an earlier try, and this one added nothing.
    """

    stage: Stage
    reply: Reply
    lost: bool = False
    fault: Fault | None = None
    retry_after: float | None = None
    known: bool = False

    def __str__(self) -> str:
        return f"{self.stage.value}: {self.reply}"
