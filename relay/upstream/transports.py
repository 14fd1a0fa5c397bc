"""The one way to hand a message to an upstream of any kind: picks its transport, and bounds what goes there at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from relay.mail.outgoing import Outgoing
from relay.upstream.authenticate import Refused, Renew, Token, as_said, no_token, none_newer
from relay.upstream.pool import Pools
from relay.upstream.report import Report
from relay.upstream.settings import Folder, GraphMailbox, MxHosts, PushService, SmtpServer, Upstream

_MOST = 50
"""Transactions at once by all upstreams of one kind: MX hosts that do not answer cannot take the places of others."""


class Submitter(Protocol):
    """Hands messages over in one way.  Never raises for what a server or the network does."""

    async def submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        """One transaction; an Answer for every forward-path not `left`."""

    def forget(self, name: str) -> None:
        """Drops what is kept of an upstream: open sessions, logins."""

    async def close(self) -> None:
        """Ends what is kept; what is in use ends after its message."""


@dataclass(frozen=True, slots=True)
class Means:
    """What transports are made with.

    `hostname` is our name in EHLO; `token` gets OAuth access tokens, `refused` is called with a refused one, `renewed`
    gets a new one instead at once; `opened` is to be called with an upstream's name when a login has worked.
    `trusted`: nameservers whose word on DNSSEC counts; `state`: the folder for what is kept over restarts.
    """

    hostname: str
    nameservers: tuple[str, ...] = ()
    token: Token = no_token
    refused: Refused = as_said
    renewed: Renew = none_newer
    opened: Callable[[str], None] = lambda name: None
    trusted: tuple[str, ...] = ()
    state: Path | None = None


def _smtp(means: Means) -> Submitter:
    return Pools(hostname=means.hostname, token=means.token, refused=means.refused, opened=means.opened)


def _mx(means: Means) -> Submitter:
    from relay.upstream.dns import Resolver
    from relay.upstream.mta_sts_cache import StsPolicies
    from relay.upstream.mx import MxDelivery

    resolver = Resolver(means.nameservers, trusted=means.trusted)
    policies = StsPolicies(resolver, means.state / "mta-sts.json" if means.state else None)
    return MxDelivery(hostname=means.hostname, resolver=resolver, policies=policies)


def _graph(means: Means) -> Submitter:
    from relay.upstream.graph import GraphSubmission

    return GraphSubmission(means.token, means.refused, means.renewed, means.opened)


def _folder(means: Means) -> Submitter:
    from relay.upstream.folder import FolderDelivery

    return FolderDelivery()


def _push(means: Means) -> Submitter:
    from relay.upstream.push.transport import PushDelivery

    return PushDelivery()


KINDS: Mapping[type[Any], Callable[[Means], Submitter]] = {
    SmtpServer: _smtp,
    MxHosts: _mx,
    GraphMailbox: _graph,
    Folder: _folder,
    PushService: _push,
}
"""How each kind is made, when the first message goes by it.  All but SMTP are loaded only then."""


class _Places:
    """The connections of one upstream (of one domain, where each has servers of its own)."""

    def __init__(self, connections: int) -> None:
        self.free = asyncio.Semaphore(connections)
        self.login = asyncio.Lock()
        self.trying = contextlib.ExitStack()
        self.users = 0


class Transports:
    """`proven` has the upstreams (keys, see `Upstream.key`) that worked since their last trouble.

    Those who know of trouble take names out; a login that works puts one in.
    """

    def __init__(self, means: Means, kinds: Mapping[type[Any], Callable[[Means], Submitter]] = KINDS) -> None:
        self._means, self._kinds = replace(means, opened=self._opened), kinds
        self._made: dict[type[Any], Submitter] = {}
        self._places: dict[str, _Places] = {}
        self._totals = {kind: asyncio.Semaphore(_MOST) for kind in kinds}
        self._closing: set[asyncio.Task[None]] = set()
        self.proven: set[str] = set()

    def submit(self, upstream: Upstream, outgoing: Outgoing) -> Coroutine[Any, Any, Report]:
        """One transaction with one upstream; an Answer for every forward-path not `left`."""
        kind = type(upstream.transport)
        if kind not in self._made:
            self._made[kind] = self._kinds[kind](self._means)
        return self._made[kind].submit(upstream, outgoing)

    @contextlib.asynccontextmanager
    async def turn(self, upstream: Upstream, key: str) -> AsyncIterator[None]:
        """Waits for a free connection.  Until its login is proven, one message at a time tries the password."""
        places = self._places.get(key) or self._places.setdefault(key, _Places(upstream.limits.connections))
        places.users += 1
        try:
            async with places.free:
                with await self._login_turn(places, upstream):
                    async with self._totals[type(upstream.transport)]:
                        yield
        finally:
            places.users -= 1
            if upstream.transport.by_domain and not places.users and self._places.get(key) is places:
                del self._places[key]  # there are many domains, and most are met once

    async def _login_turn(self, places: _Places, upstream: Upstream) -> contextlib.ExitStack:
        """Holds the login lock until the turn is over, or until the login has worked."""
        hold = contextlib.ExitStack()
        if not upstream.transport.has_account or upstream.name in self.proven:
            return hold
        await places.login.acquire()
        hold.callback(places.login.release)
        if upstream.name in self.proven:
            hold.close()
        else:
            places.trying = hold
        return hold

    def _opened(self, name: str) -> None:
        """The login worked, whatever becomes of the message: others need not wait until it is sent."""
        self.proven.add(name)
        if places := self._places.get(name):
            places.trying.close()

    def reload(self, *, hostname: str, nameservers: tuple[str, ...], trusted: tuple[str, ...] = ()) -> None:
        """Limits and accounts may have changed, so no login is proven; what has begun ends as it began."""
        self._places.clear()
        self.proven.clear()
        means = replace(self._means, hostname=hostname, nameservers=nameservers, trusted=trusted)
        if means == self._means:
            return
        old, self._made, self._means = self._made, {}, means
        for one in old.values():
            task = asyncio.get_running_loop().create_task(one.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def forget(self, name: str) -> None:
        """Drops what is kept of an upstream."""
        self.proven.discard(name)
        for one in self._made.values():
            one.forget(name)

    async def close(self) -> None:
        """Ends what is kept; what is in use ends after its message."""
        await asyncio.gather(*(one.close() for one in self._made.values()), *self._closing)
