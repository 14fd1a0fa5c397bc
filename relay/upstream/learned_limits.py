"""What an upstream does not take, learned from its replies, and how servers say so.  RFC 5321 s4.5.3.1.  Pure."""

import re
from dataclasses import dataclass, field

from relay.mail.reply import Reply

_OF_SESSION = re.compile(
    r"\b(?:per|this|each|every|one|single|same|current|your|for|in|in (?:a|the))[ -](?:smtp |tcp )?(?:session|connection)\b"
    r"|\bsession (?:message |mail |recipient )?limit",
    re.I,
)
_LIMIT = re.compile(
    r"\btoo (?:many|much)\b|\bmax(?:imum)?\b|\blimit|\bexceed|\bno more\b|\bnot more\b|\benough\b|\bquota\b|\breached\b"
    r"|\bonly (?:\d|one\b|a few\b)",
    re.I,
)
_RENEW = re.compile(
    r"\b(?:open|start|use|make|begin|establish|create|initiate)\w* (?:a |an )?(?:new|another|fresh|different) (?:smtp |tcp )?"
    r"(?:session|connection)\b|\bre-?connect\b(?! (?:later|after|in)\b)|\bdisconnect and\b",
    re.I,
)
_TIME_OUT = re.compile(
    r"\b(?:session|idle|idling|inactivity|command|input|data)[ -]time[ -]?d?[ -]?out\b|\btime ?out (?:waiting|exceeded)"
    r"|\btime-?out\b.{0,30}\bclos|\btimed out (?:waiting|while)|\bidle (?:for )?too long\b"
    r"|\bsession (?:has )?(?:expired|timed out)\b",
    re.I,
)
_AT_ONCE = re.compile(
    r"\b(?:concurrent|simultaneous|parallel)|\btoo many (?:open |smtp |active )?(?:connections|sessions)\b"
    r"|\b(?:connections|sessions) (?:per|from|by|for)\b|(?<!per )(?<!per-)\bconnection (?:rate|limit|count)",
    re.I,
)
_ONE_DOMAIN = re.compile(
    r"\b(?:multiple|different|several|mixed) (?:(?:destination|recipient|rcpt|target) domains\b"
    r"|domains (?:per|in|at|are|is|not|un))|\b(?:for|in|of|to) (?:different|several|multiple) domains\b"
    r"|\b(?:one|a single|single|same) (?:destination |recipient |rcpt )?domain (?:per|at a time|in (?:a|one|each))\b"
    r"|\bonly one (?:destination|recipient|rcpt|target) domain\b"
    r"|\ball recipients must be(?:long)? (?:in|of|at|from|to) the same\b"
    r"|\btoo many (?:different |destination |recipient )?domains\b"
    r"|\bone destination per\b",
    re.I,
)
_ONE_RECIPIENT = re.compile(
    r"\b(?:one|1|a single|single) (?:recipient|rcpt)s? (?:(?:is |are )?(?:allowed|accepted|permitted) )?(?:per|at a time)\b"
    r"|\bonly (?:one|1|a single) (?:recipient|rcpt)\b|\bmultiple recipients (?:are |is )?(?:not |un)",
    re.I,
)
_TOO_MANY = re.compile(r"\btoo many (?:recipients|rcpt)|\brecipients? limit", re.I)


def of_session(reply: Reply) -> bool:
    """Whether a refusal is about the session, not about the mail: a fresh one may take it at once."""
    return not reply.positive and (counts_messages(reply) or bool(_TIME_OUT.search(reply.text)))


def counts_messages(reply: Reply) -> bool:
    """Whether a refusal says that one session has only so many messages."""
    text = reply.text
    if reply.positive or _AT_ONCE.search(text):
        return False
    return bool(_RENEW.search(text) or (_OF_SESSION.search(text) and _LIMIT.search(text)))


@dataclass
class Learned:
    """What was found out about one upstream, for as long as the relay runs.

    `messages` in one session and `recipients` in one transaction, 0 where no limit is known; `pipelining`: it takes
    several commands at once; `one_domain`: only one domain's recipients in one transaction; `unfit`: mechanisms that are
    announced and not taken.
    """

    messages: int = 0
    recipients: int = 0
    pipelining: bool = True
    one_domain: bool = False
    unfit: set[str] = field(default_factory=set)

    def session_full(self, served: int) -> None:
        """After so many messages the server took no more in that session."""
        if served:
            self.messages = min(served, self.messages or served)

    def puts_off(self, reply: Reply, domains: int, recipients: int) -> bool:
        """Whether a refusal only means that this transaction has too many recipients or domains; remembers which."""
        text = reply.text
        if domains > 1 and _ONE_DOMAIN.search(text):
            self.one_domain = True
            return True
        if recipients > 1 and _ONE_RECIPIENT.search(text):
            self.recipients = 1
            return True
        return False


def too_many(reply: Reply) -> bool:
    """Whether the limit of recipients is reached: RFC 5321 s4.5.3.1.10 has 452, and old servers say 552."""
    return reply.code in (452, 552) and (reply.status in ("4.5.3", "5.5.3") or bool(_TOO_MANY.search(reply.text)))
