"""SMTP to configured servers; keeps open sessions for the next message."""

import time
from collections.abc import Callable, Coroutine
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from relay.mail.outgoing import Outgoing
from relay.mail.reply import Stage
from relay.upstream.authenticate import Refused, Token, as_said, no_token
from relay.upstream.client_session import ClientSession, open_session
from relay.upstream.connect import Failed
from relay.upstream.exchange import Quits, exchange, greeting_name
from relay.upstream.idle_pool import IdlePool
from relay.upstream.learned_limits import Learned
from relay.upstream.report import Conversation, Report
from relay.upstream.settings import Auth, Upstream

if TYPE_CHECKING:
    from relay.upstream.pop3 import PopWindows

_IDLE = 30.0  # seconds; providers close idle sessions after one to five minutes
_MOST_MESSAGES = 100  # for one session; several providers cut it off there


class Pools:
    """SMTP with configured servers.

    `hostname` is our name in EHLO, `token` gets OAuth access tokens and `refused` is called with a refused one,
    `idle` is how many seconds a session is kept, `opened` is called with the upstream's name when a session opens.
    """

    def __init__(
        self,
        *,
        hostname: str,
        monotonic: Callable[[], float] | None = None,
        token: Token = no_token,
        refused: Refused = as_said,
        idle: float = _IDLE,
        messages: int = _MOST_MESSAGES,
        opened: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._hostname = greeting_name(hostname)
        self._monotonic = monotonic or time.monotonic
        self._token, self._refused = token, refused
        self._idle, self._opened = idle, opened
        self._messages = messages
        self._pools: dict[str, _Pool] = {}
        self._quits = Quits()

    def submit(self, upstream: Upstream, outgoing: Outgoing) -> Coroutine[Any, Any, Report]:
        """One transaction; an Answer for every forward-path not `left`.

        How many go there at once is the caller's business.
        Never raises for what a server or the network does; only for what reading the content raises.
        """
        pool = self._pool(upstream)
        pop = pool.upstream.login.auth is Auth.POP
        return self._after_pop(pool, outgoing) if pop else self._speak(pool, outgoing)

    def forget(self, name: str) -> None:
        """Drops what is known of an upstream: kept sessions, and its POP login."""
        if "_windows" in vars(self):
            self._windows.forget(name)
        if pool := self._pools.get(name):
            pool.generation += 1
            pool.kept.close()

    async def close(self) -> None:
        """Ends all kept sessions with QUIT; those still in use end after their message."""
        self._idle = 0.0
        for name in list(self._pools):
            self.forget(name)
        await self._quits.done()

    def _pool(self, upstream: Upstream) -> "_Pool":
        pool = self._pools.get(upstream.name)
        if pool is None or pool.upstream != upstream:
            self.forget(upstream.name)
            pool = self._pools[upstream.name] = _Pool(upstream, IdlePool(self._idle, self._quits.part))
        return pool

    @cached_property
    def _windows(self) -> "PopWindows":
        """The POP logins.  Loaded when the first account needs one."""
        from relay.upstream.pop3 import PopWindows

        return PopWindows(self._monotonic)

    async def _after_pop(self, pool: "_Pool", outgoing: Outgoing) -> Report:
        from relay.upstream.pop3 import window_closed

        started, renewed = self._monotonic(), False
        while True:
            fresh = not self._windows.is_open(pool.upstream.name)
            if closed := await self._windows.open(pool.upstream):
                told = Conversation(took=self._monotonic() - started)
                return Report(dict.fromkeys(outgoing.forward_paths, closed), told)
            report = await self._speak(pool, outgoing)
            if fresh or renewed or not window_closed(report.answers.values()):
                return report
            renewed = True
            if self._windows.opened_before(pool.upstream.name, started):  # else another message has just logged in again
                self.forget(pool.upstream.name)

    def _speak(self, pool: "_Pool", outgoing: Outgoing) -> Coroutine[Any, Any, Report]:
        part = partial(self._put_back, pool, pool.generation)
        return exchange(pool.take(), partial(self._open, pool), part, outgoing, self._monotonic)

    async def _open(self, pool: "_Pool") -> ClientSession:
        pop = pool.upstream.login.auth is Auth.POP
        addresses = self._windows.addresses(pool.upstream.name) if pop else ()
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
            if pop and failed.answer.stage is Stage.CONNECT:
                self._windows.forget(pool.upstream.name)  # another address may answer, and it must see a login first
            raise
        self._opened(pool.upstream.name)
        return session

    def _put_back(self, pool: "_Pool", generation: int, session: ClientSession) -> None:
        """Keeps the session for the next message, if it can take one and `forget` was not called meanwhile."""
        wanted = self._idle > 0 and generation == pool.generation and self._pools.get(pool.upstream.name) is pool
        most = min(self._messages, pool.learned.messages or self._messages)
        if wanted and session.used < most and session.wire.alive and not session.spent:
            pool.kept.keep(session)
        else:
            self._quits.part(session)


class _Pool:
    """The kept sessions of one upstream; `generation` grows when those in use must not be kept either."""

    def __init__(self, upstream: Upstream, kept: IdlePool[ClientSession]) -> None:
        self.upstream = upstream
        self.learned = Learned()
        self.generation = 0
        self.kept = kept

    def take(self) -> ClientSession | None:
        """A session that another message may have."""
        return self.kept.take(self._usable)

    def _usable(self, session: ClientSession) -> bool:
        worn = self.learned.messages and session.used >= self.learned.messages
        return session.wire.alive and not worn
