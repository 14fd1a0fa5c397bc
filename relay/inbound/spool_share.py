"""How much of the room each client's mail takes, so that one of them cannot fill the spool for all."""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address

from relay.inbound.admission import ClientLimits, admit_share, client_group
from relay.mail.reply import Reply
from relay.spool.contract import SpoolBroken

_FRESH = 5.0
"""Seconds for which a count is good enough, even for refusing somebody."""


class SpoolShare:
    """`count` tells the octets of mail that is kept, by client address.

    What is accepted is added here, what is relayed is not taken off: so it is counted anew before anybody is refused.
    """

    def __init__(self, count: Callable[[], Awaitable[Mapping[str, int]]], clock: Callable[[], float]) -> None:
        self.coming: Counter[str] = Counter()
        """Octets of content that is being received, by client."""
        self._count, self._clock = count, clock
        self._kept: Counter[str] = Counter()
        self._counted_at = -math.inf

    async def admit(self, client: str, said: int, room: int, limits: ClientLimits) -> Reply | None:
        """None if `said` octets more may come from this client."""
        refusal = self._admit(client, said, room, limits)
        if self._counted_at == -math.inf or (refusal and self._clock() - self._counted_at > _FRESH):
            await self._count_anew()
            refusal = self._admit(client, said, room, limits)
        return refusal

    def _admit(self, client: str, said: int, room: int, limits: ClientLimits) -> Reply | None:
        taken = self._kept[client] + self.coming[client]
        if admit_share(taken, said, room, limits) is None:
            return None  # almost always; the sums below are not needed then
        return admit_share(taken, said, max(room, 0) + self._kept.total() + self.coming.total(), limits)

    def accepted(self, client: str, octets: int) -> None:
        self._kept[client] += octets

    def comes(self, client: str, octets: int) -> None:
        """More of it, or less: what came to its end is either accepted or gone."""
        self.coming[client] += octets
        if self.coming[client] <= 0:
            del self.coming[client]

    async def _count_anew(self) -> None:
        self._counted_at = self._clock()
        try:
            found = await self._count()
        except SpoolBroken:
            return  # a commit will tell; the last count is as good as any
        self._kept = Counter()
        for address, octets in found.items():
            self._kept[client_group(ip_address(address))] += octets
