"""Kept until everybody imports `relay.outbound.replies`.  Pure."""

from relay.outbound.replies import Blame, Fate, Verdict, judge

__all__ = ["Blame", "Fate", "Verdict", "judge"]
