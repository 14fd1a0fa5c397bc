"""Slots for sessions: who has one, who waits for one, and who must give one up."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from relay.inbound.admission import ClientLimits, admit_session
from relay.inbound.connection import Connection
from relay.mail.reply import Reply

GIVES_WAY_AFTER = 5.0
"""Seconds that we wait for a client's input, after which it may lose its slot to another client."""
NOTHING_DONE = 30.0
"""Seconds without a message, after which an idle client may lose its slot, too."""
PATIENCE = 1.0
"""Seconds that a client waits for a slot while no client before it gets one."""
LONGEST = 30.0
"""Seconds that it waits in all."""


@dataclass(slots=True)
class _Waiting:
    client: str
    limits: ClientLimits
    came: float
    since: float
    granted: asyncio.Future[None]


class SessionSlots:
    """At most `limits.connections` clients at a time, `limits.per_client` of one; some more may wait until one leaves.

    A client is an IPv4 address or an IPv6 network of 64 bits.
    """

    def __init__(self) -> None:
        self.sessions: dict[Connection, str] = {}
        self.per_client: Counter[str] = Counter()
        self._queue: dict[Connection, _Waiting] = {}

    @property
    def connected(self) -> list[Connection]:
        """All connections, also those that wait for a slot."""
        return [*self.sessions, *self._queue]

    async def enter(self, session: Connection, client: str, limits: ClientLimits) -> Reply | None:
        """None when the session has a slot, else the refusal.  `leave` must follow in any case."""
        refusal = self._full(client, limits)
        if refusal and self._makes_room(client, limits):
            refusal = self._full(client, limits)
        if not refusal:
            self._grant(session, client)
            return None
        if len(self._queue) >= limits.connections and not self._displaced(client):
            return refusal
        now = asyncio.get_running_loop().time()
        waiting = self._queue[session] = _Waiting(client, limits, now, now, asyncio.get_running_loop().create_future())
        while not waiting.granted.done():
            late = min(waiting.since + PATIENCE, waiting.came + LONGEST)
            if (left := late - asyncio.get_running_loop().time()) <= 0:
                break
            await asyncio.wait([waiting.granted], timeout=left)
            if not waiting.granted.done() and self._makes_room(client, limits):
                self._grant_next()
        self._queue.pop(session, None)
        return None if session in self.sessions else self._full(client, limits) or refusal

    def leave(self, session: Connection) -> None:
        """Frees the session's slot.  May be called twice, since a failed handshake is not always reported."""
        self._queue.pop(session, None)
        client = self.sessions.pop(session, None)
        if client is not None:
            self.per_client[client] -= 1
            if self.per_client[client] <= 0:
                del self.per_client[client]
            if self._queue:
                self._grant_next()

    def _full(self, client: str, limits: ClientLimits) -> Reply | None:
        return admit_session(len(self.sessions), self.per_client[client], limits)

    def _grant(self, session: Connection, client: str) -> None:
        self.sessions[session] = client
        self.per_client[client] += 1

    def _grant_next(self) -> None:
        """Gives free slots to waiting sessions: first to the client with the fewest slots, then in order of arrival."""
        while ready := [one for one, its in self._queue.items() if not self._full(its.client, its.limits)]:
            session = min(ready, key=lambda one: self.per_client[self._queue[one].client])
            its = self._queue.pop(session)
            self._grant(session, its.client)
            its.granted.set_result(None)
            for other in self._queue.values():
                if other.client == its.client or len(self.sessions) >= other.limits.connections:
                    other.since = session.loop.time()

    def _displaced(self, client: str) -> bool:
        """Makes room in a full queue: the client with the most sessions loses its last waiting one to a client with fewer."""
        asked = self.per_client + Counter(its.client for its in self._queue.values())
        session, its = max(reversed(self._queue.items()), key=lambda one: asked[one[1].client])
        if asked[its.client] <= asked[client]:
            return False
        del self._queue[session]
        its.came = -LONGEST
        its.granted.set_result(None)
        return True

    def _makes_room(self, client: str, limits: ClientLimits) -> bool:
        """Takes a slot from a slow or idle session of a client that has more slots; False if there is none."""
        own = self.per_client[client]
        if own >= limits.per_client and "/" not in client:
            return False  # one device's own business; a network of IPv6 may have many
        if own >= limits.per_client:
            several = [one for one, other in self.sessions.items() if other == client]
        elif len(self.sessions) >= limits.connections:
            several = [one for one, other in self.sessions.items() if self.per_client[other] > own]
        else:
            return False
        now = asyncio.get_running_loop().time()
        slow = min(several, key=lambda one: one.owing_since, default=None)
        if slow is None or slow.owing_since > now - GIVES_WAY_AFTER:
            idle = [one for one in several if one.dispensable and one.useful_at < now - NOTHING_DONE]
            slow = min(idle, key=lambda one: one.useful_at, default=None)
        if slow is None:
            return False
        slow.dismiss("4.7.0 too many connections; come back when there is something to send")
        self.leave(slow)
        return True
