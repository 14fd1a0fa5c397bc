"""Keeps open sessions for the next message, and limits how many are open at once."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from relay.mail.address import Address
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Stage
from relay.upstream import mx, submission
from relay.upstream.authenticate import Refused, Token, as_said, no_token
from relay.upstream.client_session import ClientSession, open_session
from relay.upstream.connect import Endpoint, Failed
from relay.upstream.dns import Resolver
from relay.upstream.learned import Learned
from relay.upstream.pop3 import PopWindows, window_closed
from relay.upstream.report import Conversation, Report
from relay.upstream.settings import DIRECT, Auth, Upstream
from relay.upstream.smtp_wire import WireLost

_IDLE = 30.0  # seconds; providers close idle sessions after one to five minutes
_MOST_MESSAGES = 100  # for one session; several providers cut it off there
_MOST_SESSIONS = 50  # at once, to all upstreams together
_MOST_STRANGERS = 500  # MX hosts of which it is remembered what they do not bear
_QUIT_WAIT = 3.0  # seconds to wait for the answer to QUIT


class Pools:
    """The only way to hand messages to upstreams.

    `hostname` is our name in EHLO, `resolver` serves the upstream `mx`, `token` gets OAuth access tokens and `refused`
    is called with a refused one, `mx_port` is where MX hosts listen (tests), `mx_private` whether they may be in the LAN,
    `idle` is how many seconds a session is kept, `on_open` is called with the upstream's name when a session opens.
    """

    def __init__(
        self,
        *,
        hostname: str,
        monotonic: Callable[[], float] = time.monotonic,
        resolver: Resolver | None = None,
        token: Token = no_token,
        refused: Refused = as_said,
        mx_port: int = 25,
        mx_private: bool = False,
        idle: float = _IDLE,
        messages: int = _MOST_MESSAGES,
        on_open: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._hostname = _greeting_name(hostname)
        self._monotonic = monotonic
        self._resolver = resolver or Resolver()
        self._token, self._refused = token, refused
        self._mx_port, self._mx_private = mx_port, mx_private
        self._idle, self._on_open = idle, on_open
        self._messages = messages
        self._pools: dict[str, _Pool] = {}
        self._strangers: dict[str, Learned] = {}
        self._windows = PopWindows(monotonic)
        self._total = asyncio.Semaphore(_MOST_SESSIONS)
        self._quits: set[asyncio.Task[None]] = set()

    async def submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        """One transaction with one upstream, once a connection is free; an Answer for every forward-path not `left`.

        The upstream `mx` takes those of the first one's domain; how many may go there at once is the caller's business.
        Never raises for what a server or the network does; only for what reading the content raises.
        """
        if upstream.name == DIRECT:
            direct = mx.Direct(upstream, self._resolver, self._mx_port, self._visit, self._mx_private)
            return _whole(await direct.deliver(outgoing), outgoing)
        pool = self._pool(upstream)
        async with pool.slots, self._total:
            return _whole(await self._converse(pool, outgoing), outgoing)

    def forget(self, name: str) -> None:
        """Drops what is known of an upstream: kept sessions, and its POP login."""
        self._windows.forget(name)
        if pool := self._pools.get(name):
            pool.generation += 1
            while session := pool.take():
                self._part(session)

    async def close(self) -> None:
        """Ends all kept sessions with QUIT; those still in use end after their message."""
        self._idle = 0.0
        for name in list(self._pools):
            self.forget(name)
        while ended := set(self._quits):
            await asyncio.gather(*ended)
            self._quits -= ended  # what is done calls back only in a later turn of the loop, and 3.12 does not wait for one

    def _pool(self, upstream: Upstream) -> "_Pool":
        pool = self._pools.get(upstream.name)
        if pool is None or pool.upstream != upstream:
            self.forget(upstream.name)
            pool = self._pools[upstream.name] = _Pool(upstream)
        return pool

    async def _converse(self, pool: "_Pool", outgoing: Outgoing) -> Report:
        if pool.upstream.login.auth is not Auth.POP:
            return await self._speak(pool, outgoing)
        started, renewed = self._monotonic(), False
        while True:
            fresh = not self._windows.is_open(pool.upstream.name)
            if closed := await self._windows.open(pool.upstream):
                return _same(closed, outgoing, self._monotonic() - started)
            report = await self._speak(pool, outgoing)
            if fresh or renewed or not window_closed(report.answers.values()):
                return report
            renewed = True
            if self._windows.opened_before(pool.upstream.name, started):  # else another message has just logged in again
                self.forget(pool.upstream.name)

    async def _speak(self, pool: "_Pool", outgoing: Outgoing) -> Report:
        """One transaction; what was refused because of the session alone is sent again at once, in a fresh session."""
        generation = pool.generation

        async def fresh() -> ClientSession:
            return await self._open(pool)

        def part(session: ClientSession) -> None:
            self._put_back(pool, generation, session)

        return await self._told(pool.take(), fresh, part, outgoing)

    async def _told(
        self,
        kept: ClientSession | None,
        fresh: Callable[[], Awaitable[ClientSession]],
        part: Callable[[ClientSession], None],
        outgoing: Outgoing,
    ) -> Report:
        started, answers, notes, again = self._monotonic(), dict[Address, Answer](), list[str](), False
        while True:
            try:
                session = kept or await fresh()
            except Failed as failed:
                answers |= dict.fromkeys(outgoing.forward_paths, failed.answer)
                return Report(answers, Conversation(peer=failed.peer, took=self._monotonic() - started, notes=tuple(notes)))
            notes += [] if kept else session.notes
            outcome = await submission.submit(session, outgoing, notes)
            part(session)
            if again or not outcome.again:
                return Report(answers | outcome.answers, _conversation(session, notes, self._monotonic() - started))
            if session.spent:
                said = outcome.answers[outcome.again[0]].reply
                notes.append(f"sent again in a fresh session, since the server wanted no more in the first: {said}")
            answers |= {path: answer for path, answer in outcome.answers.items() if path not in outcome.again}
            outgoing, kept, again = replace(outgoing, forward_paths=tuple(outcome.again)), None, True

    async def _open(self, pool: "_Pool") -> ClientSession:
        addresses = self._windows.addresses(pool.upstream.name) if pool.upstream.login.auth is Auth.POP else ()
        try:
            session = await open_session(
                pool.upstream,
                hostname=self._hostname,
                token=self._token,
                refused=self._refused,
                candidates=addresses,
                learned=pool.learned,
            )
        except Failed as failed:
            if failed.answer.stage is Stage.CONNECT:
                self._windows.forget(pool.upstream.name)  # another address may answer, and it must see a login first
            raise
        self._on_open(pool.upstream.name)
        return session

    async def _visit(self, upstream: Upstream, outgoing: Outgoing, candidates: Sequence[Endpoint]) -> Report:
        """One message to one MX host; such sessions are not kept."""

        async def fresh() -> ClientSession:
            learned = self._strangers.setdefault(upstream.host, Learned())
            if len(self._strangers) > _MOST_STRANGERS:
                self._strangers.pop(next(iter(self._strangers)))
            return await open_session(
                upstream,
                hostname=self._hostname,
                candidates=candidates,
                opportunistic=True,
                dial=mx.DIAL,
                learned=learned,
            )

        return await self._told(None, fresh, self._part, outgoing)

    def _put_back(self, pool: "_Pool", generation: int, session: ClientSession) -> None:
        """Keeps the session for the next message, if it can take one and `forget` was not called meanwhile."""
        wanted = self._idle > 0 and generation == pool.generation and self._pools.get(pool.upstream.name) is pool
        most = min(self._messages, pool.learned.messages or self._messages)
        if wanted and session.used < most and session.wire.alive and not session.spent:
            pool.keep(session, self._idle, self._part)
        else:
            self._part(session)

    def _part(self, session: ClientSession) -> None:
        """Says QUIT; nothing waits for it."""
        if not session.wire.alive:
            session.wire.close()
            return
        quitting = asyncio.get_running_loop().create_task(_quit(session))
        self._quits.add(quitting)
        quitting.add_done_callback(self._quits.discard)


class _Pool:
    """The kept sessions of one upstream; `generation` grows when those in use must not be kept either."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.learned = Learned()
        self.slots = asyncio.Semaphore(upstream.limits.connections)
        self.generation = 0
        self._kept: list[tuple[ClientSession, float]] = []  # with the time of the loop until which it is kept, in that order
        self._timer: asyncio.TimerHandle | None = None

    def take(self) -> ClientSession | None:
        """The kept session that was used last and still seems alive."""
        while self._kept:
            session, _ = self._kept.pop()
            worn = self.learned.messages and session.used >= self.learned.messages
            if session.wire.alive and not worn:
                return session
            session.wire.close()
        return None

    def keep(self, session: ClientSession, idle: float, part: Callable[[ClientSession], None]) -> None:
        loop = asyncio.get_running_loop()
        self._kept.append((session, loop.time() + idle))
        if self._timer is None:  # one for all, and it is never put off: most sessions are taken again long before
            self._timer = loop.call_later(idle, self._expire, part)

    def _expire(self, part: Callable[[ClientSession], None]) -> None:
        loop = asyncio.get_running_loop()
        late = [session for session, until in self._kept if until <= loop.time()]
        self._kept = self._kept[len(late) :]
        self._timer = loop.call_at(self._kept[0][1], self._expire, part) if self._kept else None
        for session in late:
            part(session)


def _greeting_name(hostname: str) -> str:
    """Our name as EHLO takes it: ASCII without blanks; an address literal where that cannot be had (RFC 5321 s4.1.3)."""
    try:
        name = hostname if hostname.isascii() else hostname.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    return name if re.fullmatch(r"[!-~]+", name) else "[127.0.0.1]"


async def _quit(session: ClientSession) -> None:
    try:
        session.wire.write(b"QUIT\r\n")
        await session.wire.reply(_QUIT_WAIT)
    except WireLost:
        pass  # it is over anyway
    finally:
        session.wire.close()


def _whole(report: Report, outgoing: Outgoing) -> Report:
    """The report; `left` names the forward-paths that have no answer."""
    left = tuple(path for path in dict.fromkeys(outgoing.forward_paths) if path not in report.answers)
    return replace(report, left=left) if left else report


def _same(answer: Answer, outgoing: Outgoing, took: float, peer: str = "") -> Report:
    return Report(dict.fromkeys(outgoing.forward_paths, answer), Conversation(peer=peer, took=took))


def _conversation(session: ClientSession, notes: list[str], took: float) -> Conversation:
    return Conversation(
        peer=session.peer,
        tls=session.tls,
        mechanism=session.mechanism,
        took=took,
        max_size=session.max_size,
        notes=tuple(dict.fromkeys(notes)),
    )
