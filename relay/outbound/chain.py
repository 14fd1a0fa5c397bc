"""One recipient's progress along its chain of upstreams: whom to call, who rests, what they answered.  Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relay.mail.address import Address
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound.replies import Blame, Fate, Verdict, judge
from relay.outbound.routing import Chosen
from relay.spool.entry import Recipient
from relay.upstream.report import Conversation, Report
from relay.upstream.settings import Upstream


@dataclass(frozen=True, slots=True)
class Pause:
    """Why an upstream is not called now, and until when.  `divert`: the next one in the chain may be called instead.

    `answer` is the one that sent it to rest.
    """

    until: datetime
    why: str
    divert: bool = True
    failures: int = 0
    answer: Answer | None = None


Pauses = Callable[[str, Address], Pause | None]
"""Gives the pause of an upstream, by its name and the recipient (see `Upstream.key`)."""


Votes = Mapping[Address, tuple[Answer, Verdict]]
"""What was said for each recipient, and what it means."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction to come: with which upstream, for which recipients, and whether in the account's own name."""

    upstream: Upstream
    recipients: tuple[Recipient, ...]
    own_name: bool = False

    @property
    def key(self) -> str:
        """The name that its slots and rests are kept under."""
        return self.upstream.key(self.recipients[0].address)


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a step.  `votes` has each answer with its verdict, which is found here and nowhere else."""

    step: Step
    votes: Votes
    conversation: Conversation

    @classmethod
    def of(cls, step: Step, report: Report) -> "Judged":
        """A recipient without an answer counts as uncertain: it may have been taken.  Those `left` have no vote."""
        asked = [each.address for each in step.recipients if each.address not in report.left]
        answers = [report.answers.get(address, _NO_ANSWER) for address in asked]
        votes = {address: (answer, judge(answer, step.upstream)) for address, answer in zip(asked, answers, strict=True)}
        return cls(step, votes, report.conversation)


_UNKNOWN = Reply(451, "4.3.0", "the upstream's answer for this recipient is not known")
_NO_ANSWER = Answer(Stage.CONTENT, _UNKNOWN, lost=True, fault=Fault.UNANSWERED)


@dataclass(slots=True)
class ChainProgress:
    """One recipient in this attempt.  `votes` has each upstream's answer and verdict in order, `peers` its address.

    `maybe_at` may have taken the message at `maybe_since`, when its final reply was lost.  `alone`: no other upstream
    may be called meanwhile.  `route` is the chain without regard to that.  `rested`: it is due when an upstream's rest ends.
    """

    recipient: Recipient
    chosen: Chosen
    route: tuple[str, ...]
    chain: tuple[str, ...] = ()
    own_name: str = ""
    alone: bool = False
    maybe_at: str = ""
    maybe_since: datetime | None = None
    votes: dict[str, tuple[Answer, Verdict]] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)
    rested: bool = False
    over: bool = False
    settled: bool = False

    @property
    def stays(self) -> bool:
        """Whether only the first upstream may be called: only a permanent refusal shows that it has not taken the message."""
        return self.alone and bool(self.maybe_at)

    @property
    def maybe(self) -> tuple[str, datetime] | None:
        """Which upstream may have taken the message, and since when."""
        return (self.maybe_at, self.maybe_since) if self.maybe_at and self.maybe_since else None

    def doubt(self, name: str, now: datetime) -> None:
        """That upstream's final reply was lost; the first time counts."""
        if self.maybe_at != name:
            self.maybe_at, self.maybe_since = name, now

    def clear(self) -> None:
        self.maybe_at, self.maybe_since = "", None

    @property
    def fate(self) -> Fate:
        fates = [verdict.fate for _, verdict in self.votes.values()]
        if Fate.RELAYED in fates:
            return Fate.RELAYED
        unanimous = bool(fates) and all(fate is Fate.FAILED for fate in fates) and set(self.votes) >= set(self.chain)
        return Fate.FAILED if unanimous else Fate.DEFERRED

    @property
    def uncertain(self) -> bool:
        return any(verdict.blame is Blame.UNCERTAIN for _, verdict in self.votes.values())

    @property
    def troubled(self) -> bool:
        """Whether it is deferred, and trouble of an upstream is one of the reasons."""
        return self.fate is Fate.DEFERRED and any(verdict.rests for _, verdict in self.votes.values())

    @property
    def reason(self) -> tuple[str, Answer]:
        """The answer that explains the fate: of a deferral the last one that deferred, else the last one."""
        votes = [(name, answer) for name, (answer, verdict) in self.votes.items() if verdict.fate is self.fate]
        return votes[-1] if votes else [(name, answer) for name, (answer, _) in self.votes.items()][-1]

    @property
    def wait(self) -> timedelta | None:
        """How long to wait by the words of the server that deferred it."""
        return self.votes[self.reason[0]][1].wait if self.votes else None

    @property
    def first_to_wake(self) -> tuple[str, Pause]:
        """The upstream whose rest ends first."""
        return min(self.pauses.items(), key=lambda each: each[1].until)

    @property
    def why_not(self) -> str:
        """Why no upstream was called for this recipient; "" if one was."""
        return self.first_to_wake[1].why if self.pauses and not self.votes else ""
