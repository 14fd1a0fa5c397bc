"""Gives access tokens to the sessions of all upstreams, and handles refused ones.

A refused token is renewed once, without a second AUTH: the upstream rests first, as after any refused login.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from relay import events
from relay.detached import apart
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream.oauth.expiry import idle, standing, warnings_on
from relay.upstream.oauth.http import PATIENCE, Granted
from relay.upstream.oauth.token_store import SharedTokens, StoreBroken, TokenStore
from relay.upstream.oauth.tokens import NoToken, TokenAccount
from relay.upstream.settings import Upstream

T = TypeVar("T")

_ALL_ADDRESSES = 1.25  # times the patience with one of them
_POLICY = frozenset({"5.7.139"})  # SMTP AUTH is off, or security defaults: no token helps


@dataclass
class _Keeper:
    """One upstream's account; the token given out last and how often; `hopeless` was new and refused all the same."""

    account: TokenAccount
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: str = ""
    uses: int = 0
    hopeless: str = ""


class Tokens:
    """Gives out access tokens.

    `folder` or `safe` is where tokens are kept, `patience` seconds for an answer of a token server.
    """

    def __init__(
        self, folder: Path, now: Callable[[], datetime], *, patience: float = PATIENCE, safe: SharedTokens | None = None
    ) -> None:
        self._folder, self._now, self._patience, self._safe = folder, now, patience, safe
        self._keepers: dict[str, _Keeper] = {}
        self._asked: set[asyncio.Task[Any]] = set()

    async def get(self, upstream: Upstream) -> str | Answer:
        """A token that is good for a while, or at AUTH why there is none."""
        keeper = self._keeper(upstream)
        async with keeper.lock:
            found = await self._answered(upstream, keeper.account.token)
            if isinstance(found, NoToken):
                return _answer(found)
            token = found.reveal()
            keeper.uses = keeper.uses + 1 if token == keeper.token else 1
            keeper.token = token
        return token

    async def refused(self, upstream: Upstream, token: str, answer: Answer) -> Answer:
        """A refused token is renewed once; if a new one is refused, a person must act."""
        keeper = self._keeper(upstream)
        if answer.reply.status in _POLICY:
            return answer
        async with keeper.lock:
            if token == keeper.account.fetched and (keeper.uses <= 1 or token == keeper.hopeless):
                keeper.hopeless = token
                words = f"{answer.reply.text} (this access token of {upstream.name} was new)"
                return Answer(Stage.AUTH, Reply(answer.reply.code, answer.reply.status, words), fault=Fault.TOKEN_NEW)
            events.note("warned", f"an access token was refused: {answer.reply}", upstream=upstream.name)
            found = await self._answered(upstream, partial(keeper.account.renew, instead_of=token))
        if isinstance(found, NoToken):
            return _answer(found)
        words = f"{upstream.name} takes this access token no longer; a new one is here for the next try"
        return _answer(NoToken(words, Fault.TOKEN_RENEWED, passing=True))

    async def renewed(self, upstream: Upstream, token: str) -> str | Answer:
        """A new token at once instead of a refused one, where asking again costs nothing and locks no account."""
        keeper = self._keeper(upstream)
        async with keeper.lock:
            found = await self._answered(upstream, partial(keeper.account.renew, instead_of=token))
            if isinstance(found, NoToken):
                return _answer(found)
            keeper.token, keeper.uses = found.reveal(), 1
        return keeper.token

    async def consented(self, upstream: Upstream, granted: Granted) -> None:
        """Keeps what a person's consent brought; the next session logs in with it.  Raises StoreBroken."""
        keeper = self._keeper(upstream)
        async with keeper.lock:
            await apart(partial(keeper.account.consented, granted))
            keeper.token, keeper.uses, keeper.hopeless = "", 0, ""

    async def look_after(self, upstreams: Iterable[Upstream]) -> list[tuple[str, str]]:
        """Uses refresh tokens that have been idle, so that they do not expire; (upstream, warning) for the owner."""
        told: list[tuple[str, str]] = []
        for upstream in upstreams:
            if upstream.login.oauth is None:
                continue
            keeper = self._keeper(upstream)
            try:
                async with keeper.lock:
                    found = await self._answered(upstream, partial(_look_after, keeper.account, self._now()))
                    told += [] if isinstance(found, NoToken) else [(upstream.name, text) for text in found]
            except Exception as error:  # a check must not end the relay
                events.note("broken", f"the tokens of {upstream.name} could not be looked after: {error!r}")
        return told

    async def close(self, grace: float = 3.0) -> None:
        """Waits `grace` seconds for open requests: a new refresh token must reach the disk, the old one may be void."""
        if self._asked:
            await asyncio.wait(self._asked, timeout=grace)

    async def _answered(self, upstream: Upstream, work: Callable[[], T]) -> T | NoToken:
        """What `work` returns, within one deadline for all addresses of the server; the work goes on after the deadline."""
        task = asyncio.create_task(apart(work))
        self._asked.add(task)
        task.add_done_callback(self._heard)
        whole = self._patience * _ALL_ADDRESSES
        done, _ = await asyncio.wait({task}, timeout=whole)
        if not done:
            words = f"the token server of {upstream.name} gave no whole answer within {whole:g} seconds"
            return NoToken(words, Fault.TOKEN_SERVER, passing=True)
        return task.result()

    def _heard(self, task: "asyncio.Task[Any]") -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # nobody else asks for the error of one that came too late

    def standings(self, upstreams: Iterable[Upstream]) -> list[dict[str, Any]]:
        """Age and end of each consent, for page, metrics and doctor.  Reads small files; from any thread."""
        found = []
        for upstream in upstreams:
            if upstream.login.oauth is not None:
                try:
                    kept = account_of(upstream, self._folder, self._now, safe=self._safe).kept()
                except StoreBroken as error:
                    found.append({**standing(upstream, None, self._now()), "warnings": [f"{error}."]})
                    continue
                found.append(standing(upstream, kept, self._now()))
        return found

    def _keeper(self, upstream: Upstream) -> _Keeper:
        keeper = self._keepers.get(upstream.name)
        if keeper is None or keeper.account.upstream.login != upstream.login:
            account = account_of(upstream, self._folder, self._now, self._patience, self._safe)
            keeper = self._keepers[upstream.name] = _Keeper(account)
        return keeper


def account_of(
    upstream: Upstream, folder: Path, now: Callable[[], datetime], patience: float = PATIENCE, safe: SharedTokens | None = None
) -> TokenAccount:
    """The account of an upstream whose tokens are kept under `folder`, or in a `safe` if there is one."""
    seed = upstream.login.oauth.refresh_token_file if upstream.login.oauth else ""
    return TokenAccount(upstream, TokenStore(folder, upstream.name, seed, safe), now, patience)


def _look_after(account: TokenAccount, now: datetime) -> list[str]:
    try:
        kept = account.kept()
    except StoreBroken as error:
        return [f"{error}."]
    told = warnings_on(account.upstream, kept, now)
    if not told and idle(kept, now):
        found = account.renew()
        if isinstance(found, NoToken) and not found.passing:
            told.append(f"{found.words}.")
    return told


def _answer(trouble: NoToken) -> Answer:
    code, status = (454, "4.7.0") if trouble.passing else (535, "5.7.8")
    return Answer(Stage.AUTH, Reply(code, status, trouble.words), fault=trouble.fault)
