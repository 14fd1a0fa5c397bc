"""One message to one session: MAIL, RCPT, DATA streamed; an Answer for every forward-path told.

Whatever happens before the final dot is written is safe to repeat elsewhere and never said to be lost at CONTENT.
RFC 5321 s3.3, RFC 1870, RFC 2920, RFC 6152, RFC 6531.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile

from relay.mail.address import Address
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Reply, Stage
from relay.mail.transfer import seven_bit
from relay.upstream.dots import gathered, stuffed
from relay.upstream.line import Lost, garbage
from relay.upstream.session import Session

_BLOCK = 131_072
_AT_ONCE = 2  # blocks that are read by one call of the thread: each costs more than what it does
_SMALL = 262_144  # octets that may be read in the event loop; more may wait for a disk
_TOO_MANY = re.compile(r"too many (?:recipients|rcpt)|recipients? limit", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

Answers = dict[Address, Answer]
Take = Callable[[], Awaitable[list[bytes]]]


class Stale(Exception):
    """A kept session turned out dead before anything was taken; the same may be said to a fresh one."""


class _Uncertain(Exception):
    """The line was lost after the final dot was written: the server may have taken the message."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


async def submit(session: Session, outgoing: Outgoing, notes: list[str]) -> Answers:
    """Hands the message over in one transaction; `notes` tell what was special.

    Recipients beyond a limit, ours or the server's, get no answer: what was taken must be on disk before they are told.
    Raises Stale when a session that was used before is dead at MAIL.  What the reading of our own content
    raises comes out too, and the session is closed then.
    """
    answers, rest = _own_refusals(session, outgoing)
    if not rest:
        return answers
    most = session.upstream.limits.recipients
    transaction = _Transaction(session, outgoing, rest[:most], kept=session.used > 0)
    left = await transaction.run(answers) + rest[most:]
    if left:
        notes.append(f"{len(left)} recipients go in a further transaction")
    if transaction.seven_bit:
        notes.append("sent in 7-bit transfer encoding, since the server has no 8BITMIME")
    return {path: answers[path] for path in outgoing.forward_paths if path in answers}


def _own_refusals(session: Session, outgoing: Outgoing) -> tuple[Answers, list[Address]]:
    """What cannot be said to this server at all, answered by us; and the recipients that remain."""
    paths, name = list(dict.fromkeys(outgoing.forward_paths)), session.upstream.name
    limit = min(filter(None, (session.max_size, session.upstream.limits.message)), default=0)
    if limit and outgoing.size > limit:
        words = f"{name} takes at most {limit / 1e6:.1f} MB, this message has {outgoing.size / 1e6:.1f} MB"
        return dict.fromkeys(paths, Answer(Stage.MAIL, Reply(552, "5.3.4", words))), []
    utf8 = session.offers("smtputf8")
    if not utf8 and (outgoing.utf8 or not _sayable(outgoing.reverse_path, utf8)):
        words = f"an address or a header needs SMTPUTF8 (it is not in ASCII), which {name} does not offer"
        return dict.fromkeys(paths, Answer(Stage.MAIL, Reply(553, "5.6.7", words))), []
    answers = {path: Answer(Stage.RCPT, _unsayable(path, name)) for path in paths if not _sayable(path, utf8)}
    return answers, [path for path in paths if path not in answers]


def _unsayable(path: Address, name: str) -> Reply:
    if path.ascii:
        return Reply(553, "5.1.3", f"this address cannot be said to {name}: it has control characters")
    return Reply(553, "5.6.7", f"this address needs SMTPUTF8 (it is not in ASCII), which {name} does not offer")


def _wire(path: Address | None, utf8: bool) -> bytes:
    """A path as it is said; a domain in Unicode goes as A-labels where there is no SMTPUTF8.  Raises UnicodeError."""
    if path is None:
        return b"<>"
    if not utf8 and not path.domain.isascii():
        path = Address(path.local, path.domain.encode("idna").decode("ascii"))
    return f"<{path}>".encode("utf-8" if utf8 else "ascii")


def _sayable(path: Address | None, utf8: bool) -> bool:
    try:
        return not _CONTROL.search(_wire(path, utf8))
    except UnicodeError:
        return False


class _Transaction:
    """One MAIL ... final dot.  `kept`: the session served another message before."""

    def __init__(self, session: Session, outgoing: Outgoing, paths: Sequence[Address], *, kept: bool) -> None:
        self.session = session
        self.line = session.line
        self.outgoing = outgoing
        self.paths = paths
        self.kept = kept
        self.stage = Stage.MAIL  # of a loss; never CONTENT, which would say that the message may have been taken
        self.timeout = session.upstream.timeout.total_seconds()
        self.utf8 = session.offers("smtputf8")
        self.seven_bit = outgoing.eight_bit and not session.offers("8bitmime")
        self.pipelining = session.offers("pipelining")

    async def run(self, answers: Answers) -> list[Address]:
        """Fills in the answers and returns the recipients put off by `too many`.  Raises Stale."""
        try:
            return await self._run(answers)
        except Lost as lost:
            self.line.close()
            told = Answer(self.stage, lost.reply, lost=True)
            answers.update({path: told for path in self.paths if path not in answers})
            return []
        except BaseException:
            self.line.close()
            raise

    async def _run(self, answers: Answers) -> list[Address]:
        if self.pipelining:
            self.line.write(b"".join([self._mail(), *map(self._rcpt, self.paths), b"DATA\r\n"]))
        mail = await self._begin()
        if not mail.positive:
            answers.update(dict.fromkeys(self.paths, Answer(Stage.MAIL, mail)))
            await self._give_up(mail, unread=len(self.paths))
            return []
        accepted, postponed = await self._recipients(answers)
        if not accepted:
            answers.update({path: Answer(Stage.RCPT, reply) for path, reply in postponed.items()})
            await self._give_up(mail, unread=0)
            return []
        reply = await self._ask(b"DATA\r\n")
        if reply.code == 354:
            reply = await self._content_answered(accepted, answers)
        else:
            self._refused_only(reply)
            await self._reset(reply)
        answers.update({path: Answer(Stage.CONTENT, reply) for path in accepted if path not in answers})
        return list(postponed)

    async def _begin(self) -> Reply:
        """The reply to MAIL.  A kept session often shows only here that the server has left it."""
        self.session.used += 1
        try:
            reply = await self._ask(self._mail())
        except Lost:
            if self.kept:
                raise Stale from None
            raise
        if reply.code == 421 and self.kept:
            self.line.close()
            raise Stale
        if 300 <= reply.code < 400:
            raise Lost(garbage(str(reply).encode()))
        self.stage = Stage.RCPT
        return reply

    async def _recipients(self, answers: Answers) -> tuple[list[Address], dict[Address, Reply]]:
        accepted: list[Address] = []
        postponed: dict[Address, Reply] = {}
        for path in self.paths:
            reply = await self._ask(self._rcpt(path))
            if 200 <= reply.code < 300:
                accepted.append(path)
                continue
            self._refused_only(reply)
            if reply.code == 421:
                answers[path] = Answer(Stage.RCPT, reply)
                raise Lost(_lost(f"the server ended the session at another recipient: {reply}"))
            if _too_many(reply):
                postponed[path] = reply
            else:
                answers[path] = Answer(Stage.RCPT, reply)
        return accepted, postponed

    async def _content_answered(self, accepted: Sequence[Address], answers: Answers) -> Reply:
        try:
            reply = await self._content()
        except _Uncertain as uncertain:
            self.line.close()
            answers.update(dict.fromkeys(accepted, Answer(Stage.CONTENT, uncertain.reply, lost=True)))
            return uncertain.reply
        if reply.code == 421:
            self.line.close()
        return reply

    async def _content(self) -> Reply:
        """Streams the content; the reply to it, or the one by which the server broke in.

        Raises Lost while the final dot is not written, _Uncertain afterwards.
        """
        with self._reader() as take:
            held = b""  # the last block goes together with the dot
            while blocks := await take():
                for block in blocks:
                    if held:
                        self.line.write(held)
                        await self.line.drained(self.timeout)
                        if self.line.spoken:
                            return await self._interruption()
                    held = block
        if self.line.spoken:
            return await self._interruption()
        self.line.write(held + b".\r\n")
        try:
            reply = await self.line.reply(10 * self.timeout)
        except Lost as lost:
            raise _Uncertain(lost.reply) from None
        except asyncio.CancelledError:  # the relay stops: that the message may be there must be written down all the same
            if task := asyncio.current_task():
                task.uncancel()
            raise _Uncertain(_lost("the relay was stopped before the server's final reply")) from None
        if 300 <= reply.code < 400:
            raise _Uncertain(garbage(str(reply).encode()))
        return reply

    async def _interruption(self) -> Reply:
        """A reply in the middle of the content; only hanging up ends DATA without a message."""
        reply = await self.line.reply(self.timeout)
        self.line.close()
        self._refused_only(reply)
        return reply

    @contextmanager
    def _reader(self) -> Iterator[Take]:
        """Hands out the next blocks at each call, none at the end.

        Large content is read in a thread of its own, always the same: it may come from a database connection.
        """
        pieces = self._pieces()
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

    def _pieces(self) -> Generator[bytes, None, None]:
        content = self.outgoing.content
        if self.seven_bit:
            content = seven_bit(content)
        yield from stuffed(content)

    async def _ask(self, command: bytes) -> Reply:
        """The reply to a command, which was said already where the server takes several at once (RFC 2920)."""
        if not self.pipelining:
            self.line.write(command)
        return await self.line.reply(self.timeout)

    async def _give_up(self, reply: Reply, *, unread: int) -> None:
        """Leaves the session fit for the next MAIL when there is nobody to send to."""
        try:
            if reply.code != 421 and self.pipelining:
                for _ in range(unread):
                    await self.line.reply(self.timeout)
                if (await self.line.reply(self.timeout)).code == 354:
                    self.line.write(b".\r\n")  # RFC 2920 s3.1: empty content for no recipients
                    await self.line.reply(self.timeout)
            await self._reset(reply)
        except Lost:
            self.line.close()

    async def _reset(self, reply: Reply) -> None:
        if reply.code == 421:
            self.line.close()
            return
        self.line.write(b"RSET\r\n")
        try:
            await self.line.reply(self.timeout)
        except Lost:
            self.line.close()

    def _refused_only(self, reply: Reply) -> None:
        if reply.positive:
            raise Lost(garbage(str(reply).encode()))

    def _mail(self) -> bytes:
        parameters = b""
        if self.session.offers("size") and not self.seven_bit:
            parameters += f" SIZE={self.outgoing.size}".encode()
        if self.outgoing.eight_bit and not self.seven_bit:
            parameters += b" BODY=8BITMIME"
        if self.utf8 and (self.outgoing.utf8 or not all(path.ascii for path in self._said())):
            parameters += b" SMTPUTF8"
        return b"MAIL FROM:" + _wire(self.outgoing.reverse_path, self.utf8) + parameters + b"\r\n"

    def _said(self) -> Iterable[Address]:
        return [path for path in (self.outgoing.reverse_path, *self.paths) if path]

    def _rcpt(self, path: Address) -> bytes:
        return b"RCPT TO:" + _wire(path, self.utf8) + b"\r\n"


def _too_many(reply: Reply) -> bool:
    """RFC 5321 s4.5.3.1.10: 452 is meant, 552 is what old servers say."""
    return reply.code in (452, 552) and (reply.status in ("4.5.3", "5.5.3") or bool(_TOO_MANY.search(reply.text)))


def _some(pieces: Iterator[bytes], most: int) -> list[bytes]:
    return list(takewhile(bool, (gathered(pieces, _BLOCK) for _ in range(most))))


def _lost(words: str) -> Reply:
    return Reply(421, "4.4.2", words)
