"""One message to one session: MAIL, RCPT, DATA streamed; an Answer for every forward-path told.

What fails before the final dot is written may be repeated elsewhere, and is never reported as lost at CONTENT.
RFC 5321 s3.3, RFC 1870, RFC 2920, RFC 6152, RFC 6531.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile

from relay.mail.address import Address, with_a_labels
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream.client_session import ClientSession
from relay.upstream.dot_stuffing import gathered, stuffed
from relay.upstream.learned_limits import counts_messages, of_session, too_many
from relay.upstream.report import too_big
from relay.upstream.smtp_wire import WireLost, garbage

_BLOCK = 131_072
_AT_ONCE = 2  # blocks that are read by one call of the thread: each costs more than what it does
_SMALL = 262_144  # octets that may be read in the event loop; more may wait for a disk
_STEPS = 10  # times the patience with one reply: so long the commands of one transaction may take in all
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

Answers = dict[Address, Answer]
Take = Callable[[], Awaitable[list[bytes]]]


@dataclass
class SubmitOutcome:
    """The result of one transaction: an answer for each forward-path, except those left for a further transaction.

    `again` are paths among them that failed because of this session alone: they may go in a fresh session at once.
    `unsuited`: nothing was said, since the content needs 8BITMIME and the server does not offer it.
    """

    answers: Answers
    again: list[Address] = field(default_factory=list)
    unsuited: bool = False


class _Uncertain(Exception):
    """The connection was lost after the final dot was written: the server may have taken the message."""

    def __init__(self, reply: Reply, fault: Fault) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.fault = fault


async def submit(session: ClientSession, outgoing: Outgoing, notes: list[str]) -> SubmitOutcome:
    """Hands the message over in one transaction; `notes` tell what was special.

    Recipients beyond a limit, ours or the server's, get no answer: what was taken must be on disk before they are told.
    Raises what reading our own content raises; the session is closed then.
    """
    answers, rest = _own_refusals(session, outgoing)
    if not rest:
        return SubmitOutcome(answers)
    if outgoing.eight_bit and not session.offers("8bitmime"):
        return SubmitOutcome({}, unsuited=True)
    now = _for_now(session, rest)
    transaction = _Transaction(session, outgoing, now)
    try:
        left = await transaction.run(answers)
    except WireLost as lost:
        left = []
        transaction.lost(lost, answers)
    except BaseException:
        session.wire.close()
        raise
    if number := len(left) + len(rest) - len(now):
        notes.append(f"{number} recipients go in a further transaction")
    if outgoing.seven_bit:
        notes.append("sent in 7-bit transfer encoding, since the server has no 8BITMIME")
    ordered = {path: answers[path] for path in outgoing.forward_paths if path in answers}
    return SubmitOutcome(ordered, [path for path in now if path in ordered and transaction.may_repeat(ordered[path])])


def _for_now(session: ClientSession, paths: list[Address]) -> list[Address]:
    """Those who go in this transaction: as many as we may name, and of one domain where the server bears no more."""
    learned = session.learned
    if learned.one_domain:
        domain = paths[0].domain.lower()
        paths = [path for path in paths if path.domain.lower() == domain]
    most = session.upstream.limits.recipients
    return paths[: min(most, learned.recipients or most)]


def _own_refusals(session: ClientSession, outgoing: Outgoing) -> tuple[Answers, list[Address]]:
    """Our own refusals of what this server cannot take at all; and the recipients that remain."""
    paths, name = list(dict.fromkeys(outgoing.forward_paths)), session.upstream.name
    limit = min(filter(None, (session.max_size, session.upstream.limits.message)), default=0)
    if limit and outgoing.size > limit:
        return dict.fromkeys(paths, too_big(name, limit, outgoing.size)), []
    utf8 = session.offers("smtputf8")
    if not utf8 and (outgoing.utf8 or not _sayable(outgoing.reverse_path, utf8)):
        words = f"an address or a header needs SMTPUTF8 (it is not in ASCII), which {name} does not offer"
        return dict.fromkeys(paths, Answer(Stage.MAIL, Reply(553, "5.6.7", words), fault=Fault.SMTPUTF8)), []
    answers = {path: _unsayable(path, name) for path in paths if not _sayable(path, utf8)}
    return answers, [path for path in paths if path not in answers] if answers else paths


def _unsayable(path: Address, name: str) -> Answer:
    if path.ascii:
        reply = Reply(553, "5.1.3", f"this address cannot be said to {name}: it has control characters")
        return Answer(Stage.RCPT, reply, fault=Fault.ADDRESS)
    reply = Reply(553, "5.6.7", f"this address needs SMTPUTF8 (it is not in ASCII), which {name} does not offer")
    return Answer(Stage.RCPT, reply, fault=Fault.SMTPUTF8)


def _wire(path: Address | None, utf8: bool) -> bytes:
    """A path as it is sent; a domain in Unicode goes as A-labels where there is no SMTPUTF8.  Raises UnicodeError."""
    if path is None:
        return b"<>"
    if not utf8:
        path = with_a_labels(path)
    return f"<{path}>".encode("utf-8" if utf8 else "ascii")


def _sayable(path: Address | None, utf8: bool) -> bool:
    try:
        return not _CONTROL.search(_wire(path, utf8))
    except UnicodeError:
        return False


class _Transaction:
    """One MAIL ... final dot."""

    def __init__(self, session: ClientSession, outgoing: Outgoing, paths: Sequence[Address]) -> None:
        self.session = session
        self.served = session.used
        self.wire = session.wire
        self.outgoing = outgoing
        self.paths = paths
        self.stage = Stage.MAIL  # of a loss; never CONTENT, which would say that the message may have been taken
        self.timeout = session.upstream.timeout.total_seconds()
        self.utf8 = session.offers("smtputf8")
        # for sender and recipients together: a server may look each of them up, but not without end
        self.clock = asyncio.get_running_loop().time
        self.until = self.clock() + self.timeout * (_STEPS + len(paths) / 4)
        self.in_content = False
        self.dismissed = False  # by a 421 to one recipient, while the others waited
        self.pipelining = session.offers("pipelining") and session.learned.pipelining

    def lost(self, lost: WireLost, answers: Answers) -> None:
        """The connection was lost before the final dot: that is the answer for those who have none."""
        self.wire.close()
        self._blame_pipelining(lost)
        told = Answer(self.stage, lost.reply, lost=True, fault=lost.fault)
        answers.update({path: told for path in self.paths if path not in answers})

    def may_repeat(self, answer: Answer) -> bool:
        """Whether that answer is about the session alone, and the message was surely not taken.

        A session that was used before may have ended silently (a kept one often shows it at MAIL only), or by 421.
        """
        if answer.lost:
            return answer.stage is not Stage.CONTENT and (self.dismissed or (self.served > 0 and self.stage is Stage.MAIL))
        return (self.served > 0 and answer.reply.code == 421) or of_session(answer.reply)

    def _blame_pipelining(self, lost: WireLost) -> None:
        """Some servers lose the commands sent together with MAIL, and wait.  If it waits without them too, it was not that."""
        waited = lost.fault is Fault.TIMED_OUT and not self.in_content
        if waited and not self.served and self.session.offers("pipelining"):
            self.session.learned.pipelining = not self.pipelining

    def _heard(self, reply: Reply) -> Reply:
        """Notes what a refusal says about the session."""
        if reply.code >= 400 and (of_session(reply) or reply.code == 421):
            self.session.spent = True
            if counts_messages(reply):
                self.session.learned.session_full(self.served)
        return reply

    def _puts_off(self, reply: Reply) -> bool:
        if reply.positive:
            return False
        domains = len({path.domain.lower() for path in self.paths})
        return self.session.learned.puts_off(reply, domains, len(self.paths))

    async def run(self, answers: Answers) -> list[Address]:
        """Fills in the answers and returns the recipients that a further transaction may take.  Raises WireLost."""
        command = self._mail()
        if self.pipelining:
            self.wire.write(b"".join([command, *map(self._rcpt, self.paths), b"DATA\r\n"]))
        mail = await self._begin(command)
        if not mail.positive:
            answers.update(dict.fromkeys(self.paths, Answer(Stage.MAIL, mail)))
            await self._give_up(mail, unread=len(self.paths))
            return []
        self.stage = Stage.RCPT
        accepted, postponed = await self._recipients(answers)
        if not accepted:
            left = [path for path, reply in postponed.items() if self._puts_off(reply)]
            answers.update({path: Answer(Stage.RCPT, reply) for path, reply in postponed.items() if path not in left})
            await self._give_up(mail, unread=0)
            return left
        reply = self._heard(await self._ask(b"DATA\r\n"))
        if reply.code == 354:
            reply = await self._content_answered(accepted, answers)
        else:
            self._refused_only(reply)
            await self._reset(reply)
        if self._puts_off(reply):
            return [path for path in self.paths if path not in answers]
        answers.update({path: Answer(Stage.CONTENT, reply) for path in accepted if path not in answers})
        return list(postponed)

    async def _begin(self, command: bytes) -> Reply:
        self.session.used += 1
        reply = self._heard(await self._ask(command))
        if 300 <= reply.code < 400:
            raise WireLost(garbage(str(reply).encode()), Fault.GARBAGE)
        return reply

    async def _recipients(self, answers: Answers) -> tuple[list[Address], dict[Address, Reply]]:
        accepted: list[Address] = []
        postponed: dict[Address, Reply] = {}
        for path in self.paths:
            reply = self._heard(await self._ask(self._rcpt(path)))
            if 200 <= reply.code < 300:
                accepted.append(path)
                continue
            self._refused_only(reply)
            if reply.code == 421:
                answers[path] = Answer(Stage.RCPT, reply)
                self.dismissed = self.served > 0 or of_session(reply)
                raise WireLost(_lost(f"the server ended the session at another recipient: {reply}"), Fault.HUNG_UP)
            if too_many(reply) or self._puts_off(reply) or of_session(reply):
                postponed[path] = reply
            else:
                answers[path] = Answer(Stage.RCPT, reply)
        return accepted, postponed

    async def _content_answered(self, accepted: Sequence[Address], answers: Answers) -> Reply:
        self.in_content = True
        try:
            reply = self._heard(await self._content())
        except _Uncertain as uncertain:
            self.wire.close()
            told = Answer(Stage.CONTENT, uncertain.reply, lost=True, fault=uncertain.fault)
            answers.update(dict.fromkeys(accepted, told))
            return uncertain.reply
        if reply.code == 421:
            self.wire.close()
        return reply

    async def _content(self) -> Reply:
        """Streams the content; the final reply, or one that came in the middle.

        Raises WireLost while the final dot is not written, _Uncertain afterwards.
        """
        pieces = self.outgoing.reading(stuffed(self.outgoing.content))
        small = self.outgoing.size <= _SMALL
        held = gathered(pieces, _BLOCK) if small else b""  # the last block goes together with the dot
        if not small or len(held) >= _BLOCK:
            with self._reader(pieces) as take:
                while blocks := await take():
                    for block in blocks:
                        if held:
                            self.wire.write(held)
                            await self.wire.drained(self.timeout)
                            if self.wire.spoken:
                                return await self._interruption()
                        held = block
        if self.wire.spoken:
            return await self._interruption()
        self.outgoing.at_dot()
        self.wire.write(held + b".\r\n")
        try:
            reply = await self.wire.reply(10 * self.timeout)
        except WireLost as lost:
            raise _Uncertain(lost.reply, lost.fault) from None
        except asyncio.CancelledError:  # the relay stops: it must still store that the message may have been taken
            if task := asyncio.current_task():
                task.uncancel()
            raise _Uncertain(_lost("the relay was stopped before the server's final reply"), Fault.UNANSWERED) from None
        if 300 <= reply.code < 400:
            raise _Uncertain(garbage(str(reply).encode()), Fault.GARBAGE)
        return reply

    async def _interruption(self) -> Reply:
        """A reply in the middle of the content; only closing the connection ends DATA without a message."""
        reply = await self.wire.reply(self.timeout)
        self.wire.close()
        self._refused_only(reply)
        return reply

    @contextmanager
    def _reader(self, pieces: Generator[bytes, None, None]) -> Iterator[Take]:
        """Hands out the next blocks at each call, none at the end.

        Large content is read in a thread of its own, always the same: it may come from a database connection.
        """
        if self.outgoing.size <= _SMALL:

            async def take() -> list[bytes]:
                return _some(pieces, 1)

            yield take
            return
        loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, thread_name_prefix="content")
        try:
            yield lambda: loop.run_in_executor(thread, _some, pieces, _AT_ONCE)
        finally:
            thread.submit(pieces.close)
            thread.shutdown(wait=False)

    async def _ask(self, command: bytes) -> Reply:
        """The reply to a command; with pipelining (RFC 2920) it was sent already."""
        if not self.pipelining:
            self.wire.write(command)
        left = self.until - self.clock()
        return await self.wire.reply(self.timeout if left > self.timeout else max(0.0, left))

    async def _give_up(self, reply: Reply, *, unread: int) -> None:
        """Makes the session ready for the next MAIL when no recipient is left."""
        try:
            if reply.code != 421 and self.pipelining:
                for _ in range(unread):
                    await self.wire.reply(self.timeout)
                if (await self.wire.reply(self.timeout)).code == 354:
                    self.wire.write(b".\r\n")  # RFC 2920 s3.1: empty content for no recipients
                    await self.wire.reply(self.timeout)
            await self._reset(reply)
        except WireLost:
            self.wire.close()

    async def _reset(self, reply: Reply) -> None:
        if reply.code == 421:
            self.wire.close()
            return
        self.wire.write(b"RSET\r\n")
        try:
            await self.wire.reply(self.timeout)
        except WireLost:
            self.wire.close()

    def _refused_only(self, reply: Reply) -> None:
        if reply.positive:
            raise WireLost(garbage(str(reply).encode()), Fault.GARBAGE)

    def _mail(self) -> bytes:
        parameters = b""
        if self.session.offers("size") and not self.outgoing.seven_bit:
            parameters += f" SIZE={self.outgoing.size}".encode()
        if self.outgoing.eight_bit:
            parameters += b" BODY=8BITMIME"
        if self.utf8 and (self.outgoing.utf8 or self._foreign()):
            parameters += b" SMTPUTF8"
        return b"MAIL FROM:" + _wire(self.outgoing.reverse_path, self.utf8) + parameters + b"\r\n"

    def _foreign(self) -> list[Address]:
        return [path for path in (self.outgoing.reverse_path, *self.paths) if path and not path.ascii]

    def _rcpt(self, path: Address) -> bytes:
        return b"RCPT TO:" + _wire(path, self.utf8) + b"\r\n"


def _some(pieces: Iterator[bytes], most: int) -> list[bytes]:
    return list(takewhile(bool, (gathered(pieces, _BLOCK) for _ in range(most))))


def _lost(words: str) -> Reply:
    return Reply(421, "4.4.2", words)
