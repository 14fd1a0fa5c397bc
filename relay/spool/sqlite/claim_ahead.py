"""The next claims, known without reading the file: claims made ahead, and when anything else can be due.

Pure; for one thread.  The file is read again whenever something unexpected happened: it may be read too often, but
never too seldom.
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime

from relay.spool.entry import Claim

TOGETHER = 50
"""How many claims are made ahead at most: an order has to reach each of them."""


class ClaimAhead:
    """Claims in order.  `sure`: whatever is not among them is claimed, or not due before `next_due`."""

    def __init__(self) -> None:
        self._claims: deque[Claim] = deque()
        self._sure = self._looking = self._disturbed = self._overtaken = False
        self.next_due: datetime | None = None

    def take(self, now: datetime) -> Claim | None:
        """The next claim; None if none of them is due."""
        if self._claims and _turn(self._claims[0])[0] <= now:
            return self._claims.popleft()
        return None

    def first_due(self) -> datetime | None:
        """When the first of the claims is due; None if there is none."""
        return _turn(self._claims[0])[0] if self._claims else None

    @property
    def sure(self) -> bool:
        return self._sure and not self._claims

    def nothing_due(self, now: datetime) -> bool:
        """Whether the file need not be read: it has nothing to claim now."""
        return self.sure and (self.next_due is None or self.next_due > now)

    def looking(self) -> None:
        """The file is being read; what happens until `found` may be missing in the answer."""
        self._looking, self._disturbed, self._overtaken = True, False, False

    def found(self, claims: Iterable[Claim], *, all_of_them: bool, next_due: datetime | None) -> bool:
        """The answer, in its order; `next_due` is of what was not due, if these are all that was.

        False if an order came meanwhile: then the answer is out of date, and the file must be read again.
        """
        if self._overtaken:
            self._looking = False
            return False
        self._claims.extend(claims)
        self._sure, self.next_due = all_of_them and not self._disturbed, next_due
        self._looking = False
        return True

    def arrived(self, claim: Claim) -> list[Claim]:
        """A message was just stored and claimed; the claims to give up, which reading will find again."""
        turn = _turn(claim)
        if self._claims and turn < _turn(self._claims[-1]):
            return [*self.doubt(), claim]  # it was accepted by an earlier clock, and comes first
        known = self._sure and not self._looking and (self.next_due is None or turn[0] < self.next_due)
        if not known or len(self._claims) >= TOGETHER:
            self.doubt_rest()
            return [claim]
        self._claims.append(claim)
        return []

    def may_be_due(self, at: datetime) -> bool:
        """A lease was given back, and its message is due then; False if that is before some of the claims."""
        self._disturbed = True
        self.next_due = at if self.next_due is None else min(self.next_due, at)
        return not self._claims or at > _turn(self._claims[-1])[0]

    def doubt_rest(self) -> None:
        """Something may be due that is not known here."""
        self._sure, self._disturbed = False, True

    def doubt(self) -> list[Claim]:
        """The claims may be out of date: they are given up, and the file is read again."""
        self.doubt_rest()
        claims, self._claims = list(self._claims), deque()
        return claims

    def ordered(self) -> list[Claim]:
        """An order changed the file: all claims are given up, also those that are being read."""
        self._overtaken = True
        return self.doubt()


def _turn(claim: Claim) -> tuple[datetime, datetime]:
    """What claims are ordered by."""
    return min(recipient.due_at for recipient in claim.recipients), claim.entry.accepted_at
