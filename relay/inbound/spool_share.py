"""How much of the spool each client's mail takes, so that one client cannot fill it for all."""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address

from relay.inbound.admission import ClientLimits, admit_share, client_group
from relay.mail.reply import Reply
from relay.spool.contract import SpoolBroken

_FRESH = 5.0
"""Seconds for which a count is new enough, even for a refusal."""


class SpoolShare:
    """`count` returns the octets of mail in the spool, by client address.

    Accepted mail is added here, but relayed mail is not subtracted.  So it is counted again before a refusal.
    """

    def __init__(self, count: Callable[[], Awaitable[Mapping[str, int]]], clock: Callable[[], float]) -> None:
        self.coming: Counter[str] = Counter()
        """Octets of content that is being received, by client."""
        self._count, self._clock = count, clock
        self._kept: Counter[str] = Counter()
        self._counted_at = -math.inf

    async def admit(self, client: str, said: int, room: int, limits: ClientLimits) -> Reply | None:
        """None if this client may send `said` more octets."""
        refusal = self._admit(client, said, room, limits)
        if self._counted_at == -math.inf or (refusal and self._clock() - self._counted_at > _FRESH):
            await self._count_anew()
            refusal = self._admit(client, said, room, limits)
        return refusal

    def _admit(self, client: str, said: int, room: int, limits: ClientLimits) -> Reply | None:
        taken = self._kept[client] + self.coming[client]
        if admit_share(taken, said, room, limits) is None:
            return None  # the usual case, without the sums below
        return admit_share(taken, said, max(room, 0) + self._kept.total() + self.coming.total(), limits)

    def accepted(self, client: str, octets: int) -> None:
        self._kept[client] += octets

    def comes(self, client: str, octets: int) -> None:
        """Adds to the content that is being received; a negative number when a message is accepted or dropped."""
        self.coming[client] += octets
        if self.coming[client] <= 0:
            del self.coming[client]

    async def _count_anew(self) -> None:
        self._counted_at = self._clock()
        try:
            found = await self._count()
        except SpoolBroken:
            return  # the last count must do; a commit will report the fault
        self._kept = Counter()
        for address, octets in found.items():
            self._kept[client_group(ip_address(address))] += octets
