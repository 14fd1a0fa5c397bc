"""What upstreams say: one table of rules, and the verdict on an answer that follows from it."""

from relay.outbound.replies.rule import Blame, Rule
from relay.outbound.replies.verdict import PAGE, RULES, Advice, Fate, Verdict, judge

__all__ = ["PAGE", "RULES", "Advice", "Blame", "Fate", "Rule", "Verdict", "judge"]
