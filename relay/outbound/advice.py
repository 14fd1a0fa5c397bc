"""Kept until everybody asks `judge(answer, upstream).advice`.  Pure."""

from relay.mail.reply import Answer
from relay.outbound.replies import Advice, judge
from relay.upstream.settings import Upstream

__all__ = ["Advice", "advise", "sentences"]


def advise(answer: Answer, upstream: Upstream | None = None) -> Advice:
    """What this answer of this upstream means."""
    return judge(answer, upstream).advice


def sentences(answer: Answer, upstream: Upstream | None = None) -> tuple[str, ...]:
    """The advice on an answer for the trail; the last sentence tells where there is more."""
    advice = advise(answer, upstream)
    return (*advice.sentences, f"More: {advice.link}")
