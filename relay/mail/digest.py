"""The one message that many equal ones of a device become: how many, from when to when, each subject, the last one's text.

Its envelope is made elsewhere.  What it takes from the last message (From, To) is repaired on its way like any device's.  Pure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from email.utils import format_datetime

from relay.mail.dsn import Notice, ascii_host, one_line, text_part, wrapped
from relay.mail.encoded_words import encode_word, fold
from relay.mail.message import Message

MOST_TEXT = 20_000
"""Characters of the last message's text."""

_BODY_READ = 256 * 1024  # octets of the last message's body that are looked at
_SUBJECTS = 200  # that are named
_LONGEST_FIELD = 4000
_LINE = 900  # octets of a line of quoted text at most, whatever the characters (RFC 5322 s2.1.1 allows 998)
_LINE_ENDS = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the messages: when it was accepted, and its decoded subject."""

    queue_id: str
    accepted_at: datetime
    subject: str


def compose_digest(
    parts: Sequence[Part],
    last: Message | None,
    *,
    device: str,
    hostname: str,
    queue_id: str,
    now: datetime,
    zone: tzinfo | None = None,
) -> Notice:
    """The digest of messages in the order in which they came; `last` None: the last one's content cannot be read."""
    newest = parts[-1]
    subject = one_line(f"{len(parts)} more: {newest.subject or 'messages without a subject'}")[:200]
    text = "\n".join(_text(parts, last, device, hostname, zone)).rstrip() + "\n"
    message_id = f"<{queue_id}.digest@{ascii_host(hostname) or 'localhost'}>"
    head = [
        fold("Date", format_datetime(now)),
        *(_taken(last, name) for name in ("from", "to")),
        fold("Subject", subject if subject.isascii() and "=?" not in subject else encode_word(subject)),
        fold("Message-ID", message_id),
        fold("Auto-Submitted", "auto-generated"),
        fold("MIME-Version", "1.0"),
    ]
    return Notice(b"".join(head) + text_part(text), subject, text, message_id)


def _taken(last: Message | None, name: str) -> bytes:
    """The field as the device wrote it."""
    field = last.get(name) if last else None
    if field is None or len(field.raw) > _LONGEST_FIELD:
        return b""
    return b"".join(line + b"\r\n" for line in _LINE_ENDS.split(field.raw) if line.strip())


def _text(parts: Sequence[Part], last: Message | None, device: str, hostname: str, zone: tzinfo | None) -> list[str]:
    lines = [f"This is the mail relay on {one_line(hostname)}.", ""]
    lines += wrapped(
        f"The device {device} sent {len(parts)} more messages like those that you got before. Instead of each of them you"
        " get this one."
    )
    lines += ["", f"  first  {_when(parts[0].accepted_at, zone)}", f"  last   {_when(parts[-1].accepted_at, zone)}", ""]
    counted = Counter(one_line(part.subject) or "(without a subject)" for part in parts).most_common()
    lines += [f"  {count:>5} x  {subject[:120]}" for subject, count in counted[:_SUBJECTS]]
    if rest := counted[_SUBJECTS:]:
        lines.append(f"  {sum(count for _, count in rest):>5} x  {len(rest)} other subjects")
    lines += [
        "",
        *wrapped(
            "Each of them is kept for some time: `relay queue list --state merged` shows them, `relay queue release ID` sends"
            " one as it came."
        ),
        "",
    ]
    said = _last_text(last) if last else ""
    name = parts[-1].queue_id
    lines.append(
        f"The last one ({name}) says:" if said else f"The last one is {name}; there is no text in it that can be shown."
    )
    return [*lines, "", *(piece for line in said.split("\n") for piece in _cut(line))] if said else lines


def _last_text(last: Message) -> str:
    from relay.mail.readable_body import readable_of  # loaded with the first digest, not to read a subject

    text = readable_of((last.head, *_beginning(last.body)), pictures=False, whole=False).text.strip()
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT].rstrip() + " [...]"


def _beginning(body: Iterable[bytes]) -> Iterator[bytes]:
    left = _BODY_READ
    for block in body:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def _cut(line: str) -> list[str]:
    """The line in pieces that a mail may have; UTF-8 has 4 octets for a character at most, but it goes as base64 then."""
    return [line[place : place + _LINE] for place in range(0, len(line), _LINE)] or [""]


def _when(moment: datetime, zone: tzinfo | None) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
