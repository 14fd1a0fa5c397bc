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


def ended(outcomes: Sequence[tuple[Recipient, str]], now: datetime) -> list[TrailLine]:
    """What becomes of them: when again, or never; one line for those of one fate.

    The text beside a recipient says why it was not tried now ("" if it was).  A relayed one was told by the
    upstream's own line.
    """
    groups: dict[tuple[str, ...], list[tuple[Recipient, str]]] = defaultdict(list)
    for recipient, why in outcomes:
        if recipient.state is not State.RELAYED or not recipient.upstream:
            groups[recipient.state.value, recipient.due_at.isoformat(), _words(recipient), why].append((recipient, why))
    return [_ended([recipient for recipient, _ in group], group[0][1], now) for group in groups.values()]


def _ended(group: Sequence[Recipient], why: str, now: datetime) -> TrailLine:
    recipient, to = group[0], _addresses(each.address for each in group)
    due = f"{recipient.due_at:%Y-%m-%d %H:%M:%S} UTC"
    event, text = {
        State.QUEUED: ("deferred", f"waits until {due}: {why}" if why else f"next attempt at {due} ({_words(recipient)})"),
        State.RELAYED: ("relayed", recipient.said),
        State.FAILED: ("failed", f"refused for good: {_words(recipient)}"),
        State.EXPIRED: ("expired", f"given up after {recipient.attempts} attempts; last: {_words(recipient)}"),
        State.HELD: ("held", recipient.said),
    }[recipient.state]
    details: dict[str, str | int | float | bool | None] = {
        "to": to,
        "upstream": recipient.upstream,
        "attempts": recipient.attempts,
        "state": recipient.state.value,
    }
    if recipient.state is State.QUEUED:
        details["due_at"] = recipient.due_at.isoformat()
    return TrailLine(now, event, f"{to}: {text}", details)


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
