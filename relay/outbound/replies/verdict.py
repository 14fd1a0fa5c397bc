"""The verdict on an answer: one rule is found, and everything else follows from whom it blames, and when it was said.  Pure."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from functools import cache, lru_cache

from relay.mail.reply import Answer, Stage
from relay.outbound.replies.connection_rules import CONNECTIONS
from relay.outbound.replies.echoes import LONGEST, plain
from relay.outbound.replies.fault_rules import FAULTS, PORT_25, SILENCES
from relay.outbound.replies.graph_rules import GRAPH
from relay.outbound.replies.login_rules import CODED_LOGINS, LOGIN_NUMBERS, LOGINS
from relay.outbound.replies.message_rules import BODY, FORM, SPAM
from relay.outbound.replies.push_rules import PUSH
from relay.outbound.replies.quota_rules import ACCOUNT, QUOTAS, RATES
from relay.outbound.replies.recipient_rules import CLOSED, FULL, GENERAL, GREYLIST, PASSING, RECIPIENTS
from relay.outbound.replies.reputation_rules import GOOGLE_GREETING, GREETING, REPUTATION, REVERSE_DNS
from relay.outbound.replies.rule import Blame, Rule
from relay.outbound.replies.sender_rules import AUTHENTICITY, FROM_FIRST, POP_LOGINS, RELAYING, SENDERS
from relay.outbound.replies.waits import wait_said
from relay.upstream.settings import Upstream

TAKEN = Rule("taken", Blame.NOBODY, ("",), "The server has taken the message.", "Nothing to do.")
UNFINISHED = Rule(
    "unfinished",
    Blame.UNCERTAIN,
    ("",),
    "The server said yes where it should have said yes or no to the whole message: what became of it is not known.",
    "Nothing to do. If it comes back, please report it with the trail of this message.",
)

SERVERS: tuple[Rule, ...] = (
    *GRAPH,
    *GREYLIST,
    *CONNECTIONS,
    *GOOGLE_GREETING,
    *CODED_LOGINS,
    *FROM_FIRST,
    *FORM,
    *CLOSED,
    *AUTHENTICITY,
    *FULL,
    *QUOTAS,
    *ACCOUNT,
    *RATES,
    *BODY,
    *REVERSE_DNS,
    *SENDERS,
    *POP_LOGINS,
    *LOGINS,
    *RELAYING,
    *REPUTATION,
    *GREETING,
    *LOGIN_NUMBERS,
    *RECIPIENTS,
    *PASSING,
    *SPAM,
    *GENERAL,
)
"""What servers say, in the order in which the rules are asked: the first that applies counts."""

RULES: tuple[Rule, ...] = (*FAULTS, *PUSH, PORT_25, *SILENCES, *SERVERS, TAKEN, UNFINISHED)

PAGE = "docs/advice.md"
"""Has a section for each rule, under its name; made from the table by tools/pages."""


class Fate(Enum):
    """What one answer makes of a recipient; over a chain: relayed if any said so, failed if all did, else deferred."""

    RELAYED = "relayed"
    DEFERRED = "deferred"
    FAILED = "failed"


_FINAL = frozenset({Blame.RECIPIENT, Blame.MESSAGE})
"""Only what is about this message or this recipient can fail it."""

_EVERYBODY = frozenset({Blame.LOGIN, Blame.QUOTA})
"""Any other message would meet the same there, whenever it was said."""

_TELL = frozenset({Blame.LOGIN, Blame.REPUTATION, Blame.QUOTA, Blame.SENDER, Blame.RELAY_DENIED})

_NEXT_AND_AGAIN = "The mail is kept. The next upstream in the route is tried, if there is one, and this one again later."
_NOTICE = "A notice goes to the sender if that is a real address, else to `notices.to`."

_DONE: dict[tuple[Fate, Blame], str] = {
    (Fate.RELAYED, Blame.NOBODY): "The message is delivered to this upstream, and finished here.",
    (
        Fate.DEFERRED,
        Blame.UNCERTAIN,
    ): "The same mail goes to the same upstream later, with the same Message-ID, so that a double can be recognised.",
    (Fate.DEFERRED, Blame.UPSTREAM): _NEXT_AND_AGAIN,
    (
        Fate.DEFERRED,
        Blame.GREYLIST,
    ): "The mail is kept and tried again, at growing intervals. The next upstream in the route is tried meanwhile, if there is "
    "one.",
    (Fate.DEFERRED, Blame.RATE): "The mail is kept, and this upstream gets it again later. The next one in the route is tried "
    "meanwhile, if there is one.",
    (Fate.DEFERRED, Blame.QUOTA): "The mail is kept, and this upstream is left alone for a while. The next one in the route is "
    "tried meanwhile, if there is one.",
    (Fate.DEFERRED, Blame.LOGIN): "The mail is kept, and this upstream is left alone for a while, so that the account is not "
    "locked. The next one in the route is tried meanwhile, if there is one.",
    (Fate.DEFERRED, Blame.REPUTATION): _NEXT_AND_AGAIN,
    (
        Fate.DEFERRED,
        Blame.SENDER,
    ): "The mail is kept. It is tried in the account's own name where `rewrite` allows that, then by the next upstream in the "
    "route, if there is one, and again later.",
    (Fate.DEFERRED, Blame.RELAY_DENIED): _NEXT_AND_AGAIN,
    (
        Fate.DEFERRED,
        Blame.RECIPIENT,
    ): "The mail is kept for this recipient and tried again, at growing intervals. The next upstream in the route is tried "
    "meanwhile, if there is one.",
    (
        Fate.DEFERRED,
        Blame.MESSAGE,
    ): "The mail is kept and tried again. The next upstream in the route is tried meanwhile, if there is one.",
    (Fate.FAILED, Blame.RECIPIENT): "The next upstream in the route is tried. If there is none, the mail to this recipient has "
    f"failed: only `relay queue release ID` sends it again. {_NOTICE}",
    (Fate.FAILED, Blame.MESSAGE): "The next upstream in the route is tried. If there is none, the message has failed: only "
    f"`relay queue release ID` sends it again. {_NOTICE}",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """What an answer means, in sentences for a person; `name` is the rule's, stable."""

    name: str
    cause: str
    done: str
    remedy: str

    @property
    def sentences(self) -> tuple[str, ...]:
        """Cause, what the relay does, what to do."""
        return self.cause, self.done, self.remedy

    @property
    def with_link(self) -> tuple[str, ...]:
        """The sentences, and where there is more."""
        return (*self.sentences, f"More: {self.link}")

    @property
    def link(self) -> str:
        return f"{PAGE}#{self.name}"

    def __str__(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`try_next`: another upstream may take it.  `own_name`: the same one may, said in the account's own name.

    `rests`: any other message would meet the same there now, so that upstream is left alone for a while.
    `wait`: how long this message is to wait by the server's words, if these are known to be meant so.
    """

    fate: Fate
    try_next: bool
    blame: Blame
    own_name: bool = False
    rests: bool = False
    rule: Rule = TAKEN
    wait: timedelta | None = None

    @property
    def urgent(self) -> bool:
        """A person has to do something; waiting alone will not help."""
        return self.blame in _TELL

    @property
    def known(self) -> bool:
        """A rule knows the words, not only the number."""
        return self.rule not in GENERAL

    @property
    def advice(self) -> Advice:
        return Advice(self.rule.name, self.rule.cause, _DONE[self.fate, self.blame], self.rule.remedy)


def done_for(fate: Fate, blame: Blame) -> str:
    """What the relay does then; "" for what cannot be."""
    return _DONE.get((fate, blame), "")


def judge(answer: Answer, upstream: Upstream | None = None) -> Verdict:
    """The verdict on one answer of this upstream."""
    reply = answer.reply
    if answer.stage is Stage.CONTENT and 200 <= reply.code < 300 and not answer.fault and not answer.lost:
        return _TAKEN  # nearly every answer: to look it up costs more than all the rest
    if len(reply.text) > 2 * LONGEST:
        answer = replace(answer, reply=replace(reply, text=reply.text[: 2 * LONGEST]))
    transport = upstream.transport if upstream else None
    return _judge(answer, bool(transport and transport.over_port_25), bool(transport and transport.by_domain))


_TAKEN = Verdict(Fate.RELAYED, False, Blame.NOBODY, rule=TAKEN)


@lru_cache(maxsize=512)
def _judge(answer: Answer, over_port_25: bool, by_domain: bool) -> Verdict:
    rule = _rule(answer, over_port_25)
    blame, stage = rule.blame, answer.stage
    if blame is Blame.NOBODY:
        return Verdict(Fate.RELAYED, False, blame, rule=rule)
    if blame is Blame.UNCERTAIN:  # another upstream would double it (RFC 1047)
        return Verdict(Fate.DEFERRED, False, blame, rests=answer.retry_after is not None, rule=rule)
    refused = answer.reply.permanent and not answer.lost and not stage.before(Stage.MAIL)
    final = blame in _FINAL and refused and not rule.passing
    return Verdict(
        Fate.FAILED if final else Fate.DEFERRED,
        try_next=True,
        blame=blame,
        own_name=blame is Blame.SENDER,
        rests=_rests(blame, stage) or answer.retry_after is not None or (by_domain and _backs_off(answer, blame)),
        rule=rule,
        wait=wait_said(answer.reply.text) if blame is Blame.GREYLIST else None,
    )


def _rests(blame: Blame, stage: Stage) -> bool:
    """Before MAIL nothing was said about any message.  What a server says when it has read one may repeat the message."""
    if stage.before(Stage.MAIL) or blame in _EVERYBODY:
        return True
    return blame is Blame.REPUTATION and stage is not Stage.CONTENT


def _backs_off(answer: Answer, blame: Blame) -> bool:
    """Whether a domain's host wants less mail from us for now: the next message would hear the same, whatever it is."""
    if answer.lost or answer.fault or blame not in (Blame.UPSTREAM, Blame.RATE, Blame.REPUTATION):
        return False
    return answer.reply.code == 421 or answer.reply.status.startswith("4.7.")


def _rule(answer: Answer, over_port_25: bool) -> Rule:
    reply, stage = answer.reply, answer.stage
    if answer.fault or answer.lost:
        return _own(answer, over_port_25)
    if reply.positive:
        return TAKEN if stage is Stage.CONTENT and reply.code < 300 else UNFINISHED
    said = f"{reply.code} {reply.status} {plain(reply.text)}" if reply.status else f"{reply.code} {plain(reply.text)}"
    return next(rule for rule in _at(stage) if _applies(rule, said))


def _own(answer: Answer, over_port_25: bool) -> Rule:
    if over_port_25 and answer.stage in PORT_25.stages and answer.fault in PORT_25.faults:
        return PORT_25
    maybe_taken = answer.lost and answer.stage is Stage.CONTENT  # whatever the fault was
    for rule in (*FAULTS, *PUSH):
        applies = answer.fault in rule.faults and answer.stage in rule.stages and _applies(rule, str(answer.reply.code))
        if applies and (rule.blame is Blame.UNCERTAIN or not maybe_taken):
            return rule
    return next(rule for rule in SILENCES if answer.stage in rule.stages)


@cache
def _at(stage: Stage) -> tuple[Rule, ...]:
    return tuple(rule for rule in SERVERS if stage in rule.stages)


def _applies(rule: Rule, said: str) -> bool:
    words, unless = _compiled(rule)
    return bool(words.search(said)) and not (unless and unless.search(said))


@cache
def _compiled(rule: Rule) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
    """At the first refusal, not at start: a hundred expressions cost a small board half a second."""
    return re.compile(rule.pattern), re.compile(rule.unless) if rule.unless else None
