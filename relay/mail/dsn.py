"""Failure and delay notices (DSNs): text for people first, then the fields for machines.

One notice may be about several recipients and several messages.  Its envelope, with the null reverse-path, is made
elsewhere.  RFC 3464, RFC 6522, RFC 6533, RFC 3834.  Pure.
"""

import base64
import hashlib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from functools import cached_property

from relay.mail.address import Address
from relay.mail.charset import decode, vote
from relay.mail.encoded_words import encode_text, encode_word, fold, readable
from relay.mail.mailboxes import write_name
from relay.mail.message import Field
from relay.mail.policy import RepairPolicy

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\Z")
_MESSAGE_ID = re.compile(rb"<[!-;=?A-~]+@[!-;=?-~]+>\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")
_WIDTH = 76
_HEADER_BOUND = 20_000
"""Octets of the original's header section that go back with a notice."""


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """The result for one recipient.  `code` 0: no server answered, and `said` is ours; `retry_until` only for delays.

    `remote` is the upstream as a host name or `[address]`, `upstream` its name in the configuration; `cause` and
    `remedy` are sentences; `original` is the recipient as the device gave it, if an alias changed it.  Not `quoted`:
    `said` is the relay's own text.  `maybe_at` is an upstream that may have delivered the message all the same.
    """

    recipient: Address
    failed: bool
    expired: bool = False
    code: int = 0
    status: str = ""
    said: str = ""
    upstream: str = ""
    remote: str = ""
    attempts: int = 0
    tried_at: datetime | None = None
    retry_until: datetime | None = None
    cause: str = ""
    remedy: str = ""
    original: Address | None = None
    quoted: bool = True
    maybe_at: str = ""


_SUBJECT_READ = 2000  # octets of a subject that are decoded; a notice shows its beginning


@dataclass(frozen=True)
class NotifiedMessage:
    """A message that a notice is about: its identity, its header fields, and the results for its recipients.

    `about`: the message was itself a notice of this relay, about the messages with these queue ids.  `merges`: it was a
    digest of this relay, of so many messages of a device.
    """

    queue_id: str
    accepted_at: datetime
    sender: Address | None
    told: tuple[RecipientStatus, ...]
    client: str = ""
    fields: tuple[Field, ...] = field(default=(), repr=False)
    about: tuple[str, ...] = ()
    merges: int = 0

    def value(self, name: str) -> bytes:
        return next((each.value for each in self.fields if each.name == name), b"")

    @property
    def subject(self) -> str:
        """The decoded subject, one line of at most 120 characters; "" if there is none."""
        return readable(decode(self.value("subject")[:_SUBJECT_READ], self.charset))[:120]

    @cached_property
    def charset(self) -> str:
        """The charset of raw 8-bit text in the header; all fields vote."""
        return vote((each.raw for each in self.fields), RepairPolicy().fallback_charset)


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice ready to be queued: its octets (CRLF, 7 bit), and its subject and text for other channels."""

    content: bytes
    subject: str
    text: str
    message_id: str


def compose(messages: Sequence[NotifiedMessage], *, to: Address, hostname: str, queue_id: str, now: datetime) -> Notice:
    """One notice about all these messages.  Each must have at least one recipient in `told`."""
    subject = _subject(messages)
    text = _text(messages, hostname)
    parts = [text_part(text), _part(b"message/delivery-status", _status(messages, hostname))]
    if len(messages) == 1:  # a part may hold only one header section (RFC 6522 s4)
        parts.append(_part(b"text/rfc822-headers", _header_of(messages[0])))
    message_id = f"<{queue_id}.notice@{ascii_host(hostname) or 'localhost'}>"
    head = _head(subject, to, hostname, message_id, now)
    if len(messages) == 1 and _MESSAGE_ID.match(messages[0].value("message-id")):
        head += fold("In-Reply-To", messages[0].value("message-id").decode("ascii"))
    return Notice(_report(head, parts), subject, text, message_id)


def compose_alarm(subject: str, text: str, *, to: Address, hostname: str, queue_id: str, now: datetime) -> Notice:
    """A message of our own that is not about one message, such as that an upstream refuses the login."""
    message_id, subject = f"<{queue_id}.notice@{ascii_host(hostname) or 'localhost'}>", one_line(subject)[:200]
    body = f"{_wrap(text)}\n\n-- \nThe mail relay on {hostname}\n"
    content = _head(subject, to, hostname, message_id, now) + text_part(body)
    return Notice(content, subject, body, message_id)


def _head(subject: str, to: Address, hostname: str, message_id: str, now: datetime) -> bytes:
    name, host = write_name(f"Mail relay on {one_line(hostname)}", bare=False), ascii_host(hostname) or "localhost"
    return b"".join(
        [
            fold("Date", format_datetime(now)),
            fold("From", f"{name} <postmaster@{host}>"),
            fold("To", str(to)),
            fold("Subject", subject if subject.isascii() and "=?" not in subject else encode_word(subject)),
            fold("Message-ID", message_id),
            fold("Auto-Submitted", "auto-replied"),
            fold("MIME-Version", "1.0"),
        ]
    )


def _report(head: bytes, parts: Sequence[bytes]) -> bytes:
    """A multipart/report.  Its boundary is a hash of the parts, so that no quoted text can contain it."""
    boundary = "=_notice_" + hashlib.sha256(b"".join(parts)).hexdigest()[:32]
    kind = fold("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"')
    mark = b"--" + boundary.encode()
    return head + kind + b"\r\n" + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _part(kind: bytes, octets: bytes) -> bytes:
    return b"Content-Type: " + kind + b"\r\n\r\n" + octets


def text_part(text: str) -> bytes:
    """A part of plain text, with its header fields; its lines are short enough."""
    octets = text.replace("\n", "\r\n").encode("utf-8", "replace")
    if octets.isascii():
        return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + octets
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + base64.encodebytes(octets).replace(b"\n", b"\r\n")


def _subject(messages: Sequence[NotifiedMessage]) -> str:
    failed = any(told.failed for message in messages for told in message.told)
    what = "Not delivered" if failed else "Late"
    if len(messages) > 1:
        return f"{what}: {len(messages)} messages"
    name = f"{what}: {messages[0].subject or 'a message without a subject'}"
    others = len(messages[0].told) - 1
    return one_line(f"{name} (to {messages[0].told[0].recipient}{f' and {others} more' if others else ''})")


def _text(messages: Sequence[NotifiedMessage], hostname: str) -> str:
    lines = [f"This is the mail relay on {hostname}.", ""]
    for message in messages:
        lines += _message_text(message)
    return "\n".join(_CONTROL.sub(" ", line).rstrip() for line in lines).rstrip() + "\n"


def _message_text(message: NotifiedMessage) -> list[str]:
    sender = str(message.sender) if message.sender else "nobody (<>)"
    origin = f", sent by the device {message.client}" if message.client else ""
    title = f'"{message.subject}"' if message.subject else "without a subject"
    lines = wrapped(f"The message {title} from {sender}{origin}, taken in on {_when(message.accepted_at)}")
    if message.about:
        ids = f"{', '.join(message.about[:10])}{' and more' if len(message.about) > 10 else ''}"
        lines += wrapped(f"(a notice of this relay itself, about {ids}: what it tells has reached nobody yet)")
    if message.merges:
        lines += wrapped(f"(a digest of this relay, of {message.merges} messages of the device; each of them is kept, too)")
    for failed, says in ((True, "could not be delivered to:"), (False, "is late; it has not yet been delivered to:")):
        told = [each for each in message.told if each.failed is failed]
        if told:
            lines += [says, "", *(line for each in told for line in _told_text(each))]
    if any(each.failed for each in message.told):
        lines += wrapped(
            f"The message is kept for some time. `relay queue show {message.queue_id}` tells its whole story, "
            f"`relay queue release {message.queue_id}` sends it once more to the same address, "
            "with `--via NAME` by another upstream."
        )
    else:
        lines += wrapped(f"`relay queue show {message.queue_id}` tells its whole story.")
    return [*lines, ""]


def _told_text(told: RecipientStatus) -> list[str]:
    lines = [f"  {told.recipient}"]
    if told.expired:
        lines += _item("What happened", f"It was tried {told.attempts} times and is given up now.")
    if told.cause:
        lines += _item("Why", told.cause)
    if told.remedy:
        lines += _item("What to do", told.remedy)
    words = " ".join(word for word in (str(told.code) if told.code else "", _shown_status(told), told.said) if word)
    if words:
        who = f"{told.upstream or 'The relay'} said" if told.quoted else "The relay found"
        lines += _item(who, (words if told.quoted else told.said)[:600])
    if told.maybe_at:
        lines += _item("Perhaps delivered", f"{told.maybe_at} got the whole message, but its final reply was lost.")
    if told.retry_until:
        lines += _item("How it goes on", f"The relay goes on trying until {_when(told.retry_until)}.")
    return [*lines, ""]


def _shown_status(told: RecipientStatus) -> str:
    return "" if told.status in told.said else told.status


def _item(label: str, words: str) -> list[str]:
    return textwrap.wrap(
        one_line(words), _WIDTH, initial_indent=f"    {label}: ", subsequent_indent="      ", break_on_hyphens=False
    ) or [f"    {label}:"]


def wrapped(words: str) -> list[str]:
    """The words in lines of a mail."""
    return textwrap.wrap(one_line(words), _WIDTH, break_on_hyphens=False)


def _wrap(text: str) -> str:
    return "\n".join("\n".join(wrapped(paragraph)) for paragraph in text.split("\n")).strip()


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()


def _status(messages: Sequence[NotifiedMessage], hostname: str) -> bytes:
    """The fields of message/delivery-status: those of the message, then a group for each recipient (RFC 3464 s2)."""
    about = [fold("Reporting-MTA", "dns; " + (ascii_host(hostname) or "localhost"))]
    if len(messages) == 1:
        about.append(fold("X-Relay-Queue-ID", messages[0].queue_id))
        about.append(fold("Arrival-Date", format_datetime(messages[0].accepted_at)))
    groups = [b"".join(about)]
    for message in messages:
        extra = [] if len(messages) == 1 else [fold("X-Relay-Queue-ID", message.queue_id)]
        groups += [b"".join([*_recipient_fields(told), *extra]) for told in message.told]
    return b"\r\n".join(groups)


def _recipient_fields(told: RecipientStatus) -> list[bytes]:
    fields = []
    if told.original:
        fields.append(fold("Original-Recipient", _typed(told.original)))
    fields.append(fold("Final-Recipient", _typed(told.recipient)))
    fields.append(fold("Action", "failed" if told.failed else "delayed"))
    fields.append(fold("Status", status_of(told)))
    if told.remote:
        fields.append(fold("Remote-MTA", "dns; " + ascii_host(told.remote)))
    if told.code and told.quoted:
        words = " ".join(word for word in (str(told.code), _shown_status(told), told.said) if word)
        fields.append(_diagnostic("smtp", words))
    elif told.said:
        fields.append(_diagnostic("x-relay", told.said))
    if told.tried_at:
        fields.append(fold("Last-Attempt-Date", format_datetime(told.tried_at)))
    if told.retry_until and not told.failed:
        fields.append(fold("Will-Retry-Until", format_datetime(told.retry_until)))
    return fields


def status_of(told: RecipientStatus) -> str:
    """The status to report: a failure has class 5 (5.4.7 when time ran out), a delay class 4 (RFC 3464 s2.3.4)."""
    if told.expired:
        return "5.4.7"
    wanted = "5" if told.failed else "4"
    if _STATUS.match(told.status) and told.status[0] == wanted:
        return told.status
    return f"{wanted}.0.0"


def _diagnostic(kind: str, words: str) -> bytes:
    """The upstream's text, with blanks in very long words so that it can be folded."""
    plain = one_line(words).encode("ascii", "backslashreplace").decode()[:2000]
    foldable = re.sub(r"(\S{500})(?=\S)", r"\1 ", plain)
    return fold("Diagnostic-Code", f"{kind}; {foldable}")


def _typed(address: Address) -> str:
    """An address with its type; if it is not ASCII, in the 7-bit form of RFC 6533 s3."""
    written = _CONTROL.sub("?", str(address))
    if written.isascii():
        return "rfc822; " + written
    return "utf-8; " + "".join(_xtext(char) for char in written)


def _xtext(char: str) -> str:
    return char if char.isascii() and char not in "\\+= " else f"\\x{{{ord(char):X}}}"


def _header_of(message: NotifiedMessage) -> bytes:
    """The original's header fields, bounded, with CRLF line ends and in ASCII."""
    kept, size = [], 0
    for each in message.fields:
        if not each.name:
            continue
        lines = [_seven_bit(line, message.charset) for line in re.split(rb"(?<!\r)\r*+\n|\r", each.raw) if line.strip()]
        octets = b"".join(line + b"\r\n" for line in lines)
        size += len(octets)
        if size > _HEADER_BOUND:
            break
        kept.append(octets)
    return b"".join(kept)


def _seven_bit(line: bytes, charset: str) -> bytes:
    text = line.decode() if line.isascii() else encode_text(decode(line, charset))
    plain = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "?", text).encode("ascii", "backslashreplace")
    return plain if len(plain) <= 998 else plain[:990] + b" [...]"


def one_line(text: str) -> str:
    """Without control characters and line ends."""
    return " ".join(_CONTROL.sub(" ", text).split())


def ascii_host(name: str) -> str:
    """A host name in ASCII: A-labels for an international one."""
    if name.isascii():
        return re.sub(r"[^!-~]", "", name)
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return ""
