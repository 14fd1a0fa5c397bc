"""Leases in memory, of one process: which message is claimed, and the number of its last settlement."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from relay.spool.entry import Claim, Entry, Recipient

_numbers = itertools.count(1)  # of the process: no claim ever fits another spool's lease


@dataclass(slots=True, eq=False)
class LocalLease:
    """`vias` are the orders that the recipients were claimed with, `step` the number of the last settlement."""

    message: int
    vias: Mapping[str, str]
    step: int
    due_at: datetime | None
    """When the message is due again once the lease is given back; None if it is over."""


class LocalLeases:
    """By the number that a claim carries.  The writer thread grants leases, too: each step is one operation of a dict."""

    def __init__(self) -> None:
        self._leases: dict[int, LocalLease] = {}

    def grant(
        self,
        message: int,
        entry: Entry,
        due: tuple[Recipient, ...],
        step: int,
        *,
        repeated: bool,
        warned: bool,
        storm: str = "",
    ) -> Claim:
        number = next(_numbers)
        since = min(recipient.due_at for recipient in due)
        self._leases[number] = LocalLease(message, {recipient.address.key: recipient.via for recipient in due}, step, since)
        return Claim(entry, due, number, repeated_id=repeated, warned=warned, storm=storm)

    def of(self, claim: Claim) -> LocalLease | None:
        """None if it was given back, or taken away with its message."""
        return self._leases.get(claim.lease)

    def give_back(self, claim: Claim) -> LocalLease | None:
        return self._leases.pop(claim.lease, None)

    def messages(self) -> set[int]:
        return {lease.message for lease in list(self._leases.values())}  # list: the other thread may change it meanwhile

    def take_away(self, messages: Collection[int]) -> None:
        """Those messages are gone."""
        gone = set(messages)
        for number in [number for number, lease in list(self._leases.items()) if lease.message in gone]:
            self._leases.pop(number, None)
