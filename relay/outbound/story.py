"""The lines that an attempt writes into the trail of a message, in plain words.  Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from relay.mail.address import Address
from relay.mail.reply import Answer
from relay.outbound.course import Course, Step
from relay.outbound.verdict import Blame, Fate, Verdict
from relay.spool.entry import Recipient, State, TrailLine
from relay.upstream.report import Conversation

_MANY = 5


def routed(courses: Sequence[Course], now: datetime) -> list[TrailLine]:
    """Which rule sends whom where."""
    groups: dict[tuple[str, tuple[str, ...], str], list[Course]] = defaultdict(list)
    for course in courses:
        groups[course.chosen.why, course.chain, course.recipient.via].append(course)
    lines = []
    for (why, chain, ordered), group in groups.items():
        chosen = group[0].chosen
        way = "an operator ordered it" if ordered else why
        to = _addresses(course.recipient.address for course in group)
        if chosen.discard and not ordered:
            text = f"{to}: discarded ({way})"
        elif chosen.reject and not ordered:
            text = f"{to}: refused ({way})"
        else:
            text = f"{to}: by {', else '.join(chain) or 'nobody'} ({way})"
        lines.append(TrailLine(now, "routed", text, {"rule": chosen.rule, "via": ", ".join(chain), "to": to}))
    return lines


def repaired(notes: Sequence[str], step: Step, now: datetime) -> TrailLine:
    """What was mended in the letter before it went."""
    return TrailLine(now, "repaired", "; ".join(notes), {"upstream": step.upstream.name, "own_name": step.own_name})


def tried(
    step: Step, answered: Mapping[Address, tuple[Answer, Verdict]], conversation: Conversation, now: datetime
) -> list[TrailLine]:
    """What the upstream said, in its own words; one line for each different answer."""
    groups: dict[tuple[Answer, Verdict], list[Address]] = defaultdict(list)
    for address, vote in answered.items():
        groups[vote].append(address)
    return [_tried(step, vote, group, conversation, now) for vote, group in groups.items()]


def _tried(
    step: Step, vote: tuple[Answer, Verdict], group: Sequence[Address], conversation: Conversation, now: datetime
) -> TrailLine:
    answer, verdict = vote
    name, to = step.upstream.name, _addresses(group)
    how = ", ".join(word for word in (conversation.peer, conversation.tls, conversation.mechanism) if word)
    who = f"{name} ({how})" if how else name
    if step.own_name:
        who += " in the account's own name"
    if verdict.fate is Fate.RELAYED:
        text = f"{who} took it for {to} in {conversation.took:.1f} s: {answer.reply}"
    elif verdict.blame is Blame.UNCERTAIN:
        text = f"{who}: uncertain for {to}, the line was lost after the content: {answer.reply}"
    else:
        text = f"{who} at {answer.stage.value} for {to}: {answer.reply}"
    details: dict[str, str | int | float | bool | None] = {
        "upstream": name,
        "peer": conversation.peer,
        "tls": conversation.tls,
        "mechanism": conversation.mechanism,
        "stage": answer.stage.value,
        "code": answer.reply.code,
        "status": answer.reply.status,
        "said": answer.reply.text,
        "lost": answer.lost,
        "took": round(conversation.took, 3),
        "own_name": step.own_name,
        "blame": verdict.blame.value,
        "to": to,
    }
    if conversation.notes:
        details["notes"] = "; ".join(conversation.notes)
        text += f" [{details['notes']}]"
    return TrailLine(now, "relayed" if verdict.fate is Fate.RELAYED else "tried", text, details)


def own_name(step: Step, now: datetime) -> TrailLine:
    """Said before the same upstream is asked once more."""
    name = step.upstream.name
    account = step.upstream.identity.sender
    text = f"{name} refuses this sender: the message goes once more as {account}, the account's own name; this is remembered"
    return TrailLine(now, "tried", text, {"upstream": name, "own_name": True})


def advised(sentences: Sequence[str], name: str, now: datetime) -> TrailLine:
    return TrailLine(now, "advised", " ".join(sentences), {"upstream": name})


def ended(outcomes: Sequence[Recipient], now: datetime) -> list[TrailLine]:
    """What becomes of them: when again, or never.  A relayed one was told by the upstream's own line."""
    lines = []
    for recipient in outcomes:
        details: dict[str, str | int | float | bool | None] = {
            "to": str(recipient.address),
            "upstream": recipient.upstream,
            "attempts": recipient.attempts,
            "state": recipient.state.value,
        }
        if recipient.state is State.QUEUED:
            details["due_at"] = recipient.due_at.isoformat()
            lines.append(TrailLine(now, "deferred", f"{recipient.address}: {_again(recipient)}", details))
        elif recipient.state is State.RELAYED and not recipient.upstream:
            lines.append(TrailLine(now, "relayed", f"{recipient.address}: {recipient.said}", details))
        elif recipient.state is State.FAILED:
            lines.append(TrailLine(now, "failed", f"{recipient.address}: refused for good: {_words(recipient)}", details))
        elif recipient.state is State.EXPIRED:
            text = f"{recipient.address}: given up after {recipient.attempts} attempts; last: {_words(recipient)}"
            lines.append(TrailLine(now, "expired", text, details))
        elif recipient.state is State.HELD:
            lines.append(TrailLine(now, "held", f"{recipient.address}: {recipient.said}", details))
    return lines


def _again(recipient: Recipient) -> str:
    due = f"{recipient.due_at:%Y-%m-%d %H:%M:%S} UTC"
    if not recipient.code:
        return f"waits until {due}: {recipient.said}"
    return f"next attempt at {due} ({_words(recipient)})"


def _words(recipient: Recipient) -> str:
    status = f" {recipient.status}" if recipient.status else ""
    return f"{recipient.code}{status} {recipient.said}" if recipient.code else recipient.said


def warned(notify: Address, now: datetime) -> TrailLine:
    return TrailLine(now, "warned", f"{notify} is told that this message is late")


def sender_text(sender: Address | None) -> str:
    """A reverse-path as the spool remembers it."""
    return sender.key if sender else "<>"


def _addresses(addresses: Iterable[Address]) -> str:
    known = [str(address) for address in addresses]
    if len(known) <= _MANY:
        return ", ".join(known)
    return f"{', '.join(known[:_MANY])} and {len(known) - _MANY} more"
