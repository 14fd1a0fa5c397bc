"""A refusal in plain words: its cause, what the relay does about it, what a person can do.

The knowledge is data (refusals.py, refusals_mail.py); this file only finds the row.  Pure.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from relay.mail.reply import Answer, Stage
from relay.outbound import refusals_mail as mail
from relay.outbound.refusals import LOGINS, SENDERS, SILENCES, Deed, Refusal
from relay.outbound.refusals_oauth import TOKENS
from relay.upstream.settings import Upstream

REFUSALS: tuple[Refusal, ...] = (
    *SILENCES,
    *TOKENS,
    *LOGINS,
    *SENDERS,
    *mail.LINES,
    *mail.MESSAGES,
    *mail.AMOUNTS,
    *mail.RECIPIENTS,
    *mail.OTHERS,
    *mail.GENERAL,
)
"""Every row, in the order in which they are asked."""

PAGE = "docs/advice.md"
"""Has a section for each row, under its name; made from the table by tools/pages."""

_LONGEST = 1200  # characters of a reply that are looked at; real ones have a few hundred


@cache
def _compiled() -> tuple[tuple[Refusal, re.Pattern[str]], ...]:
    """At the first refusal, not at start: a hundred expressions cost a small board half a second."""
    return tuple((row, re.compile(row.pattern, re.IGNORECASE)) for row in REFUSALS)


@dataclass(frozen=True, slots=True)
class Advice:
    """What a refusal means.  `name` and `deed` are the row's, stable; the rest are sentences for a person."""

    name: str
    deed: Deed
    cause: str
    done: str
    remedy: str

    @property
    def sentences(self) -> tuple[str, ...]:
        """Cause, what the relay does, what to do."""
        return self.cause, self.done, self.remedy

    @property
    def link(self) -> str:
        return f"{PAGE}#{self.name}"

    def __str__(self) -> str:
        return " ".join(self.sentences)


def advise(answer: Answer, upstream: Upstream | None = None) -> Advice:
    """What this answer of this upstream means; an unknown one gets an honest general line."""
    return _advise(answer.stage, answer.lost, str(answer.reply)[:_LONGEST], upstream.port if upstream else 0)


def sentences(answer: Answer, upstream: Upstream | None = None) -> tuple[str, ...]:
    """The advice on this answer as sentences, for the trail; the last one tells where there is more."""
    advice = advise(answer, upstream)
    return (*advice.sentences, f"More: {advice.link}")


@lru_cache(maxsize=512)
def _advise(stage: Stage, lost: bool, said: str, port: int) -> Advice:
    text = f"{said} (port 25)" if lost and port == 25 else said
    row = next(row for row, pattern in _compiled() if _applies(row, stage, lost) and pattern.search(text))
    return Advice(row.name, row.deed, row.cause, row.deed.value, row.remedy)


def _applies(row: Refusal, stage: Stage, lost: bool) -> bool:
    """Rows about silence are for silence; what TLS says is ours even though nothing was lost."""
    if row.lost != lost and row.lost:
        return False
    if row.stages and stage not in row.stages:
        return False
    if row in _TLS_ROWS:
        return lost or stage is Stage.TLS
    return not (lost and row not in SILENCES and not row.pattern)


_TLS_ROWS = frozenset(row for row in SILENCES if row.name.startswith("tls-"))
