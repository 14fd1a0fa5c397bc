"""Scripted upstreams: what real providers do on good days and bad nights, by a list of spells.  They keep their own record.

The envelope tells which message it is: recipients are `KIND-NUMBER-PLACE@domain` (see plan.py).
"""

import asyncio
import email
import email.policy
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.simulation.kernel import SimLoop

RCPT = re.compile(r"(ok|gone|full)-(\d+)-(\d+)@", re.IGNORECASE)
_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_ABOUT = re.compile(r"\b0[0-9a-z]{13}\b")
_PATH = re.compile(rb"<([^>]*)>")

CALLS = ("refuse", "silent", "hangup", "greet421", "greet554")
"""Spells in which no session comes about."""
LOGINS = ("auth535", "authgone")
MOODS = (
    *CALLS, *LOGINS, "mail451", "mail421", "quota", "sender553", "rcpt451", "grey", "data451", "data554", "dot451", "dot554",
    "once", "lost", "lostnot", "stall", "slow", "noehlo",
)  # fmt: skip

GREY = 300.0
FULL = 20 * 3600.0


@dataclass(frozen=True, slots=True)
class Spell:
    upstream: str
    begins: float
    ends: float
    mood: str


@dataclass(slots=True)
class Take:
    """A message that an upstream has, for one recipient.  `heard`: its 250 was written to a line that held."""

    at: float
    wall: datetime
    upstream: str
    recipient: str
    message_id: str
    heard: bool


@dataclass(slots=True)
class Record:
    """What the world saw.  `contacts`: (time, upstream, what, about, code); what: connect, auth, mail, rcpt, data, dot."""

    contacts: list[tuple[float, str, str, str, int]] = field(default_factory=list)
    takes: list[Take] = field(default_factory=list)
    notices: list[tuple[float, str, str, frozenset[str], str]] = field(default_factory=list)
    """(time, upstream, Message-ID, queue ids named, subject)"""


class Upstream:
    """One provider.  `most` is the number of connections seen at once."""

    def __init__(self, name: str, port: int, loop: SimLoop, record: Record, *, login: bool) -> None:
        self.name, self.port, self.loop, self.record, self.login = name, port, loop, record, login
        self.spells: list[Spell] = []
        self.open = self.most = 0
        self.met: dict[str, float] = {}
        self.count: Counter[str] = Counter()

    def mood(self) -> str:
        now = self.loop.kernel.now
        return next((one.mood for one in self.spells if one.begins <= now < one.ends), "")

    def reach(self) -> str:
        mood = self.mood()
        if mood in ("refuse", "silent"):
            self.note("connect", "", 0)
        return mood if mood in ("refuse", "silent") else ""

    def note(self, what: str, about: str, code: int) -> None:
        self.record.contacts.append((self.loop.kernel.now, self.name, what, about, code))


class Session(asyncio.Protocol):
    """One SMTP session, RFC 5321."""

    def __init__(self, upstream: Upstream) -> None:
        self.up, self.buffer, self.content = upstream, bytearray(), False
        self.sender, self.recipients, self.taken = "", list[str](), 0
        self.logged_in = not upstream.login

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.up.open += 1
        self.up.most = max(self.up.most, self.up.open)
        mood = self.up.mood()
        codes = {"greet421": b"421 4.3.2 too busy now", "greet554": b"554 5.7.1 your address is on a list of ours (PBL)"}
        self.up.note("connect", "", int(codes.get(mood, b"220")[:3]) if mood != "hangup" else 0)
        if mood == "hangup":
            transport.abort()
        elif mood in codes:
            self.say(codes[mood])
            transport.close()
        else:
            self.say(b"220 mail.example ESMTP")

    def connection_lost(self, _: Exception | None) -> None:
        self.up.open -= 1

    def say(self, line: bytes) -> None:
        self.transport.write(line + b"\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while not self.transport.is_closing():
            if self.content:
                end = self.buffer.find(b"\r\n.\r\n")
                if end < 0:
                    return
                content = bytes(self.buffer[: end + 2])
                del self.buffer[: end + 5]
                self.content = False
                self.dot(content)
                continue
            end = self.buffer.find(b"\r\n")
            if end < 0:
                return
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 2]
            verb = line[:4].upper().decode("latin-1").strip()
            getattr(self, f"do_{verb.lower()}", self.unknown)(line)

    def unknown(self, _: bytes) -> None:
        self.say(b"500 5.5.1 what?")

    def do_ehlo(self, _: bytes) -> None:
        if self.up.mood() == "noehlo":
            self.say(b"421 4.3.0 no")
            self.transport.close()
            return
        self.say(b"250-mail.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n" +
                 (b"250-AUTH PLAIN LOGIN\r\n" if self.up.login else b"") + b"250 SIZE 30000000")  # fmt: skip

    def do_auth(self, _: bytes) -> None:
        mood = self.up.mood()
        code = 535 if mood == "auth535" else 0 if mood == "authgone" else 235
        self.up.note("auth", "", code)
        if code == 0:
            self.transport.abort()
            return
        self.logged_in = code == 235
        self.say(b"235 2.7.0 welcome" if code == 235 else b"535 5.7.8 Username and Password not accepted")

    def do_mail(self, line: bytes) -> None:
        found = _PATH.search(line)
        self.sender, self.recipients = found[1].decode() if found else "", []
        mood = self.up.mood()
        said = {
            "mail451": b"451 4.3.2 try later",
            "mail421": b"421 4.7.0 too many messages, closing",
            "quota": b"550 5.4.5 Daily user sending quota exceeded",
            "sender553": b"553 5.7.1 Sender address rejected: not owned by user",
        }.get(mood, b"250 2.1.0 ok")
        if mood == "once" and self.taken:
            said = b"421 4.7.0 one message for each connection"
        if not self.logged_in:
            said = b"530 5.7.0 authentication required"
        self.up.note("mail", self.sender, int(said[:3]))
        self.refused = said[:1] != b"2"
        self.say(said)
        if said.startswith(b"421"):
            self.transport.close()

    def do_rcpt(self, line: bytes) -> None:
        found = _PATH.search(line)
        to = found[1].decode() if found else ""
        said = b"503 5.5.1 MAIL first" if self.refused else self._recipient(to)
        self.up.note("rcpt", to, int(said[:3]))
        if said[:1] == b"2":
            self.recipients.append(to)
        self.say(said)

    def _recipient(self, to: str) -> bytes:
        mood, now, kind = self.up.mood(), self.up.loop.kernel.now, to.partition("-")[0]
        first = self.up.met.setdefault(to, now)
        if kind == "gone":
            return b"550 5.1.1 no such user here"
        if kind == "full" and now - first < FULL:
            return b"452 4.2.2 The mailbox is full"
        if mood == "grey" and now - first < GREY:
            return b"450 4.2.0 Greylisted, try again in 5 minutes"
        return b"451 4.3.0 not now" if mood == "rcpt451" else b"250 2.1.5 ok"

    def do_data(self, _: bytes) -> None:
        mood = self.up.mood()
        said = {"data451": b"451 4.3.1 no room", "data554": b"554 5.7.1 no"}.get(mood, b"354 go on")
        if not self.recipients:
            said = b"554 5.5.1 no valid recipients"
        self.up.note("data", "", int(said[:3]))
        self.content = said[:1] == b"3"
        self.say(said)

    def dot(self, content: bytes) -> None:
        mood = self.up.mood()
        refusal = {
            "dot451": b"451 4.7.1 not now",
            "dot554": b"554 5.7.1 Message rejected as spam by content scanning",
        }.get(mood)
        if refusal:
            self.up.note("dot", ",".join(self.recipients), int(refusal[:3]))
            self.say(refusal)
            return
        if mood == "lostnot" or not self.recipients:
            self.up.note("dot", ",".join(self.recipients), 0)
            self.transport.abort()
            return
        heard = mood not in ("lost", "stall")
        self.up.note("dot", ",".join(self.recipients), 250 if heard else 0)
        self._take(content, heard)
        self.taken += 1
        if mood == "lost":
            self.transport.abort()
        elif mood == "slow":
            self.up.loop.call_later(25.0, self.say, b"250 2.0.0 taken at last")
        elif mood != "stall":
            self.say(b"250 2.0.0 taken")

    def _take(self, content: bytes, heard: bool) -> None:
        kernel, record = self.up.loop.kernel, self.up.record
        found = _ID.search(content)
        message_id = found[1].decode("latin-1") if found else ""
        for to in self.recipients:
            record.takes.append(Take(kernel.now, kernel.wall(), self.up.name, to, message_id, heard))
        if not RCPT.match(self.recipients[0]):
            notice = email.message_from_bytes(content, policy=email.policy.default)
            words = next((part.get_content() for part in notice.walk() if part.get_content_type() == "text/plain"), "")
            named = frozenset(_ABOUT.findall(words))
            record.notices.append((kernel.now, self.up.name, message_id, named, str(notice["subject"])))

    def do_rset(self, _: bytes) -> None:
        self.sender, self.recipients = "", []
        self.say(b"250 2.0.0 ok")

    def do_noop(self, _: bytes) -> None:
        self.say(b"250 2.0.0 ok")

    def do_quit(self, _: bytes) -> None:
        self.say(b"221 2.0.0 bye")
        self.transport.close()
