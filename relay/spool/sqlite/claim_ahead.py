"""What the runner may have next, known without asking the file: claims made ahead, and when anything else can be due.

Pure; for one thread.  The file is asked again whenever something happened that this cannot reckon with: it may be
wrong in one direction only, that it asks too often.
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime

from relay.spool.entry import Claim

TOGETHER = 50
"""Claims that are made ahead at most: each is a lease that an order has to reach."""


class ClaimAhead:
    """Claims in their turn.  `sure` of all that is not among them: that it is leased, or not due before `next_due`."""

    def __init__(self) -> None:
        self._claims: deque[Claim] = deque()
        self._sure = self._looking = self._disturbed = self._overtaken = False
        self.next_due: datetime | None = None

    def take(self, now: datetime) -> Claim | None:
        """The claim whose turn it is; None if none of them is due."""
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
        """Whether the file need not be asked: it has nothing to claim by now."""
        return self.sure and (self.next_due is None or self.next_due > now)

    def looking(self) -> None:
        """The file is being asked; what happens until `found` may be missing in the answer."""
        self._looking, self._disturbed, self._overtaken = True, False, False

    def found(self, claims: Iterable[Claim], *, all_of_them: bool, next_due: datetime | None) -> bool:
        """The answer, in its order; `next_due` is of what was not due, if these are all that was.

        False if an order overtook it: then it is worth nothing, and the file is to be asked again.
        """
        if self._overtaken:
            self._looking = False
            return False
        self._claims.extend(claims)
        self._sure, self.next_due = all_of_them and not self._disturbed, next_due
        self._looking = False
        return True

    def arrived(self, claim: Claim) -> list[Claim]:
        """A message was stored just now and leased at once; the claims to be given up, which asking will find again."""
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
        """The claims themselves may be wrong: they are given up, and the file is asked anew."""
        self.doubt_rest()
        claims, self._claims = list(self._claims), deque()
        return claims

    def ordered(self) -> list[Claim]:
        """What is in the file was changed by an order: the claims are given up, those too that are being found."""
        self._overtaken = True
        return self.doubt()


def _turn(claim: Claim) -> tuple[datetime, datetime]:
    """What claims are ordered by."""
    return min(recipient.due_at for recipient in claim.recipients), claim.entry.accepted_at
