"""A mailbox at Microsoft Graph: what is known of it, and what that means.  Nothing is sent to know it.  Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.doctor.finding import Finding, fine, problem, warning
from relay.mail.reply import Answer, Stage
from relay.outbound.replies import judge
from relay.upstream.graph_rights import DRAFT, SEND, Rights
from relay.upstream.settings import Upstream


@dataclass(frozen=True, slots=True)
class MailboxFacts:
    """`token` is why there is no access token, `failed` what came instead of an answer about the mailbox.

    `rights` are those that the token names, `asked`: the mailbox itself was looked at; `denied`: that was not allowed.
    """

    upstream: Upstream
    token: Answer | None = None
    failed: Answer | None = None
    rights: Rights = field(default_factory=Rights)
    asked: bool = False
    denied: bool = False
    peer: str = ""
    tls: str = ""


def judge_mailbox(facts: MailboxFacts) -> list[Finding]:
    """The findings on one mailbox: the first thing that is in the way, then what works only in part."""
    name = facts.upstream.name
    if facts.token:
        advice = judge(facts.token, facts.upstream).advice
        cure = advice.remedy.replace("`relay oauth login` with the upstream's name", f"`relay oauth login {name}`")
        return [problem("login-oauth", name, advice.cause, cure, str(facts.token.reply))]
    if facts.rights.lacks(SEND):
        cause = "The application may not send mail: its token names no permission `Mail.Send`."
        cure = (
            "In Microsoft Entra add the permission `Mail.Send` of Microsoft Graph (delegated or application, as `grant` says), "
            f"grant admin consent, then run `relay oauth login {name}` where a person logs in."
        )
        return [problem("graph-rights", name, cause, cure, f"the token names {_listed(facts.rights)}")]
    if facts.failed:
        return [_failed(facts, facts.failed), *_partly(facts)]
    if facts.denied and facts.rights.named and not facts.rights.has(SEND):
        cause = (
            "Perhaps the application may not send mail: its token names no permission `Mail.Send`, and it may not look at the "
            "mailbox. What Exchange itself grants (RBAC for Applications) stands in no token."
        )
        cure = (
            f"`relay send --to YOU --via {name}` shows it. If it is refused, add the permission `Mail.Send` of Microsoft Graph "
            "and grant admin consent, or assign the role `Application Mail.Send` in Exchange."
        )
        return [warning("graph-rights", name, cause, cure, f"the token names {_listed(facts.rights)}")]
    return [fine("upstream", name, _healthy(facts)), *_partly(facts)]


def _failed(facts: MailboxFacts, answer: Answer) -> Finding:
    name, advice = facts.upstream.name, judge(answer, facts.upstream).advice
    kind = "graph-mailbox"
    if answer.lost:
        kind = "tls" if answer.stage is Stage.TLS else "upstream-unreachable"
    who = f"{facts.peer}: " if facts.peer else ""
    return problem(kind, name, advice.cause, advice.remedy, f"{who}{answer.reply}")


def _healthy(facts: MailboxFacts) -> str:
    parts = [facts.tls or "no TLS"] if facts.asked else []
    parts.append("the token has Mail.Send" if facts.rights.has(SEND) else "there is a token (it does not show what it allows)")
    parts.append("the mailbox answers" if facts.asked else "the mailbox was not asked, which needs Mail.ReadWrite")
    return f"{facts.upstream.transport.place} is fine: {', '.join(parts)}"


def _partly(facts: MailboxFacts) -> Iterator[Finding]:
    if not facts.rights.lacks(DRAFT) and not (facts.denied and facts.rights.named):
        return
    cause = (
        "The application lacks `Mail.ReadWrite`: messages over 3 MB cannot go, and a copy of each message stays in Sent Items "
        "until the mailbox is full."
    )
    cure = "Add the permission `Mail.ReadWrite` of Microsoft Graph beside `Mail.Send`, limited to this mailbox."
    yield warning("graph-rights", facts.upstream.name, cause, cure, f"the token names {_listed(facts.rights)}")


def _listed(rights: Rights) -> str:
    return ", ".join(sorted(rights.named)) or "none"
