"""The trail lines that an attempt writes, and the text that people read for them.

A line has details and no text; `words` makes the text where it is shown.  Lines from older spools have their text.  Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from relay.mail.address import Address
from relay.mail.reply import Answer, Fault, Reply, Stage, readable
from relay.outbound.chain import ChainProgress, Step, Votes
from relay.outbound.replies import Blame, Fate, Verdict
from relay.spool.entry import Detail, Recipient, State, TrailLine
from relay.upstream.report import Conversation, TlsPolicy, tls_fault

_MANY = 5

# -- facts -----------------------------------------------------------------------------------------------------------------


def routed(recipients: Sequence[ChainProgress], now: datetime) -> list[TrailLine]:
    """Which rule sends whom where."""
    groups: dict[tuple[str, tuple[str, ...], str], list[ChainProgress]] = defaultdict(list)
    for progress in recipients:
        groups[progress.chosen.why, progress.route, progress.recipient.via].append(progress)
    lines = []
    for (why, chain, ordered), group in groups.items():
        chosen = group[0].chosen
        details: dict[str, Detail] = {
            "rule": chosen.rule,
            "why": why,
            "via": list(chain),
            "ordered": bool(ordered),
            "to": _to(group),
        }
        if not ordered and (chosen.discard or chosen.reject):
            details["end"] = "discarded" if chosen.discard else "refused"
        lines.append(TrailLine(now, "routed", details=details))
    return lines


def repaired(notes: Sequence[str], step: Step, now: datetime) -> TrailLine:
    """What was repaired in the message before it was sent."""
    details: dict[str, Detail] = {"repairs": list(notes), "upstream": step.upstream.name, "own_name": step.own_name}
    return TrailLine(now, "repaired", details=details)


def tried(
    step: Step, answered: Votes, conversation: Conversation, now: datetime, asked: Sequence[ChainProgress] = ()
) -> list[TrailLine]:
    """What the upstream answered; one line for each different answer.  Who took it says why others of the chain did not."""
    passed = list(dict.fromkeys(pause.why for one in asked for pause in one.pauses.values()))
    if len(answered) == 1:  # most messages have one recipient, and a hash of all that an answer holds is dear
        return [_tried(step, vote, [str(address)], conversation, now, passed) for address, vote in answered.items()]
    groups: dict[tuple[Answer, Verdict], list[str]] = defaultdict(list)
    for address, vote in answered.items():
        groups[vote].append(str(address))
    return [_tried(step, vote, group, conversation, now, passed) for vote, group in groups.items()]


def _tried(
    step: Step, vote: tuple[Answer, Verdict], to: list[str], conversation: Conversation, now: datetime, passed: list[str]
) -> TrailLine:
    answer, verdict = vote
    details: dict[str, Detail] = {
        "upstream": step.upstream.name,
        "peer": conversation.peer,
        "tls": conversation.tls,
        "mechanism": conversation.mechanism,
        "stage": answer.stage.value,
        "code": answer.reply.code,
        "status": answer.reply.status,
        "said": readable(answer.reply.text),
        "lost": answer.lost,
        "fault": answer.fault.value if answer.fault else "",
        "took": round(conversation.took, 3),
        "own_name": step.own_name,
        "blame": verdict.blame.value,
        "to": to,
    }
    if conversation.tls_policy:
        details["tls_policy"] = conversation.tls_policy.value
        details["tls_verified"] = conversation.tls_verified
        details["tls_fault"] = conversation.tls_fault.value if conversation.tls_fault else ""
    if conversation.notes:
        details["notes"] = list(conversation.notes)
    if passed and verdict.fate is Fate.RELAYED:
        details["passed_over"] = passed
    return TrailLine(now, "relayed" if verdict.fate is Fate.RELAYED else "tried", details=details)


def own_name(step: Step, now: datetime) -> TrailLine:
    """Written before the same upstream is called once more."""
    account = str(step.upstream.identity.sender or "")
    return TrailLine(now, "tried", details={"upstream": step.upstream.name, "own_name": True, "account": account})


def advised(sentences: Sequence[str], name: str, now: datetime, verdict: Verdict | None = None) -> TrailLine:
    """The sentences are those of the verdict: who shows them in another language finds them by its rule and its fate."""
    details: dict[str, Detail] = {"upstream": name, "advice": list(sentences)}
    if verdict is not None:
        details |= {"name": verdict.rule.name, "fate": verdict.fate.value}
    return TrailLine(now, "advised", details=details)


def doubled(asked: Sequence[ChainProgress], step: Step, answered: Votes, now: datetime) -> list[TrailLine]:
    """Who may get it twice: one upstream may have taken the message, and another was asked, or the same one took it (again).

    Not if that one knew the message again: then it has it once.
    """
    name = step.upstream.name
    groups: dict[tuple[str, str, str], list[ChainProgress]] = defaultdict(list)
    for progress in asked:
        if not progress.maybe_at:
            continue
        vote = answered.get(progress.recipient.address)
        if progress.maybe_at == name and not (vote and vote[1].fate is Fate.RELAYED and not vote[0].known):
            continue
        since = progress.maybe_since.isoformat() if progress.maybe_since else ""
        groups[progress.maybe_at, since, progress.recipient.via].append(progress)
    lines = []
    for (maybe, since, ordered), group in groups.items():
        about: dict[str, Detail] = {"maybe_at": maybe, "since": since, "ordered": bool(ordered)}
        lines.append(TrailLine(now, "warned", details={"to": _to(group), "upstream": name, **about}))
    return lines


def ended(outcomes: Sequence[tuple[Recipient, ChainProgress | None]], now: datetime) -> list[TrailLine]:
    """What becomes of the recipients: the next attempt, or none; one line for those with the same fate.

    A relayed recipient has the upstream's own line already.  No ChainProgress: no attempt was made.
    """
    groups: dict[tuple[object, ...], list[tuple[Recipient, ChainProgress | None]]] = defaultdict(list)
    for recipient, progress in outcomes:
        if recipient.state is not State.RELAYED or not recipient.upstream:
            said = (recipient.code, recipient.status, recipient.said, recipient.fault, recipient.maybe_at)
            groups[recipient.state.value, recipient.due_at, *said, progress.why_not if progress else ""].append(
                (recipient, progress)
            )
    return [_ended([each for each, _ in group], group[0][1], now) for group in groups.values()]


def quiet(recipients: Sequence[Recipient], device: str, until: datetime, wall: str, now: datetime) -> TrailLine:
    """It waits for the end of quiet hours; `wall` is that hour by the local clock."""
    about: dict[str, Detail] = {"fault": Fault.QUIET.value, "device": device, "due_at": until.isoformat(), "until": wall}
    return TrailLine(now, "postponed", details={"to": [str(each.address) for each in recipients], **about})


def collected(recipients: Sequence[Recipient], device: str, due_at: datetime, count: int, now: datetime) -> list[TrailLine]:
    """It is the `count`th that waits for a digest."""
    about: dict[str, Detail] = {
        "fault": Fault.DIGEST.value,
        "device": device,
        "due_at": due_at.isoformat(),
        "count": count,
    }
    return [TrailLine(now, "postponed", details={"to": [str(each.address) for each in recipients], **about})]


def merged(recipients: Sequence[Recipient], digest: str, count: int, now: datetime) -> TrailLine:
    """Its end as one of `count` messages in a digest."""
    to = [str(each.address) for each in recipients]
    return TrailLine(now, "merged", details={"to": to, "digest": digest, "count": count})


def digest(device: str, subject: str, size: int, merges: int, now: datetime) -> TrailLine:
    """The first line of a digest's own trail."""
    details: dict[str, Detail] = {"size": size, "subject": subject, "device": device, "merges": merges}
    return TrailLine(now, "accepted", details=details)


_EVENTS = {State.QUEUED: "deferred"}


def _ended(group: Sequence[Recipient], progress: ChainProgress | None, now: datetime) -> TrailLine:
    recipient = group[0]
    details: dict[str, Detail] = {
        "to": [str(each.address) for each in group],
        "upstream": recipient.upstream,
        "attempts": recipient.attempts,
        "state": recipient.state.value,
        "code": recipient.code,
        "status": recipient.status,
        "said": recipient.said,
        "lost": recipient.lost,
        "fault": recipient.fault.value if recipient.fault else "",
    }
    if progress and recipient.state is State.QUEUED:
        details["due_at"] = recipient.due_at.isoformat()
        details["why"] = progress.why_not
        details["rested"] = progress.rested
    if recipient.maybe_at:
        details["maybe_at"] = recipient.maybe_at
    return TrailLine(now, _EVENTS.get(recipient.state, recipient.state.value), details=details)


def warned(notify: Address, now: datetime) -> TrailLine:
    return TrailLine(now, "warned", details={"notify": str(notify)})


def sender_text(sender: Address | None) -> str:
    """A reverse-path as the spool remembers it."""
    return sender.key if sender else "<>"


def _to(group: Sequence[ChainProgress]) -> list[str]:
    return [str(progress.recipient.address) for progress in group]


# -- words -----------------------------------------------------------------------------------------------------------------


def words(line: TrailLine) -> str:
    """The line as a sentence."""
    if line.text:
        return line.text
    maker = _WORDS.get(line.event)
    return maker(line.details) if maker else ""


def shown(addresses: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    known = addresses if isinstance(addresses, list) else list(addresses)
    if len(known) <= _MANY:
        return ", ".join(known)
    return f"{', '.join(known[:_MANY])} and {len(known) - _MANY} more"


Details = Mapping[str, Detail]


def _list(details: Details, name: str) -> list[str]:
    value = details.get(name)
    return value if isinstance(value, list) else []


def _text(details: Details, name: str) -> str:
    return str(details.get(name) or "")


def _people(details: Details) -> str:
    return shown(_list(details, "to"))


def _said(details: Details) -> str:
    """A server's text with its codes; the relay's own without."""
    code, said = details.get("code"), _text(details, "said")
    if details.get("lost") or details.get("fault") or not isinstance(code, int) or not code:
        return said
    return str(Reply(code, _text(details, "status"), said))


def _routed(details: Details) -> str:
    why = "an operator ordered it" if details.get("ordered") else _text(details, "why")
    end = _text(details, "end") or f"by {', else '.join(_list(details, 'via')) or 'nobody'}"
    return f"{_people(details)}: {end} ({why})"


def _repaired(details: Details) -> str:
    return "; ".join(_list(details, "repairs"))


def _tried_words(details: Details) -> str:
    if "code" not in details:
        name = _text(details, "upstream")
        account = _text(details, "account")
        return (
            f"{name} refuses this sender: the message goes once more as {account}, the account's own name;"
            " if that is taken, it is remembered"
        )
    who = _who(details)
    text = f"{who}: uncertain for {_people(details)}, the final reply was lost: {_said(details)}"
    if details.get("blame") != Blame.UNCERTAIN.value:
        text = f"{who} at {_text(details, 'stage')} for {_people(details)}: {_said(details)}"
    return text + _notes(details)


def _who(details: Details) -> str:
    """The upstream, how it was reached, and in whose name."""
    how = ", ".join([str(word) for key in ("peer", "tls", "mechanism") if (word := details.get(key))])
    who = f"{_text(details, 'upstream')} ({how})" if how else _text(details, "upstream")
    return who + " in the account's own name" if details.get("own_name") else who


def _notes(details: Details) -> str:
    notes = "; ".join((*_tls_notes(details), *_list(details, "notes"), *_list(details, "passed_over")))
    return f" [{notes}]" if notes else ""


_VERIFIED_BY = {TlsPolicy.DANE.value: "DANE", TlsPolicy.STS.value: "MTA-STS", TlsPolicy.STS_TESTING.value: "MTA-STS"}


def _tls_notes(details: Details) -> Iterator[str]:
    """Why TLS with a mail host was as it was; nothing where any TLS was good enough and was there."""
    policy, fault = _text(details, "tls_policy"), _text(details, "tls_fault")
    if details.get("tls_verified"):
        by = _VERIFIED_BY.get(policy)
        yield f"certificate verified, as {by} demands" if by else "certificate verified"
    elif fault and details.get("stage") != Stage.TLS.value:
        why = tls_fault(Fault(fault))
        if policy == TlsPolicy.STS_TESTING.value:
            yield f"sent all the same, as the domain's MTA-STS policy only tests: {why}"
        if not details.get("tls"):
            yield f"sent in clear: {why}"


def _relayed(details: Details) -> str:
    if "took" not in details:
        return f"{_people(details)}: {_text(details, 'said')}"
    took = details["took"]
    seconds = f"{took:.1f} s" if isinstance(took, int | float) else str(took)
    return f"{_who(details)} took it for {_people(details)} in {seconds}: {_said(details)}" + _notes(details)


def _deferred(details: Details) -> str:
    due, why, maybe = _clock(_text(details, "due_at")), _text(details, "why"), _text(details, "maybe_at")
    rested = f", {_text(details, 'upstream')} is paused until then" if details.get("rested") else ""
    text = f"waits until {due}: {why}" if why else f"next attempt at {due}{rested} ({_said(details)})"
    return f"{_people(details)}: {text}" + (f"; only by {maybe}, which may have taken it" if maybe else "")


def _clock(stamp: str) -> str:
    """In the zone of the stamp."""
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S %Z}" if stamp else "?"


def _postponed(details: Details) -> str:
    device = _text(details, "device")
    if details.get("fault") == Fault.QUIET.value:
        return f"{_people(details)}: quiet until {_text(details, 'until')} (device {device})"
    number, due = details.get("count"), _clock(_text(details, "due_at"))
    return f"{_people(details)}: number {number} in a digest due by {due} (device {device} repeats itself)"


def _merged(details: Details) -> str:
    return f"{_people(details)}: one of {details.get('count')} in the digest {_text(details, 'digest')}"


def _accepted(details: Details) -> str:
    return f"a digest of {details.get('merges')} messages of the device {_text(details, 'device')}"


def _with_digest(details: Details, end: str) -> str:
    """How a message ends whose digest nobody got."""
    end = "removed by order" if details.get("removed") else end
    return f"{_people(details)}: its digest {_text(details, 'digest')} was {end}"


def _failed(details: Details) -> str:
    if "digest" in details:
        return _with_digest(details, "refused for good")
    return f"{_people(details)}: refused for good: {_said(details)}"


def _expired(details: Details) -> str:
    if "digest" in details:
        return _with_digest(details, "given up")
    times = details.get("attempts")
    tried = "without an attempt" if not times else f"after {times} attempt{'' if times == 1 else 's'}"
    maybe = _text(details, "maybe_at")
    more = f"; {maybe} may have delivered it" if maybe else ""
    return f"{_people(details)}: given up {tried}; last: {_said(details)}{more}"


def _held(details: Details) -> str:
    return f"{_people(details)}: {_text(details, 'said')}"


def _advised(details: Details) -> str:
    return " ".join(_list(details, "advice"))


def _warned(details: Details) -> str:
    if "notify" in details:
        return f"{_text(details, 'notify')} is told that this message is late"
    if "dropped" in details:
        return "its content was dropped, since the spool got short of room: it cannot be sent by itself any more"
    maybe, upstream = _text(details, "maybe_at"), _text(details, "upstream")
    why = "an operator ordered it" if details.get("ordered") else "it has waited for that long enough"
    then = "it was asked again" if maybe == upstream else f"{why}, so it goes by {upstream} now"
    since = _clock(_text(details, "since"))
    return f"{maybe} may have taken this message at {since}; {then}, and {_people(details)} may get it twice"


_WORDS = {
    "accepted": _accepted,
    "postponed": _postponed,
    "merged": _merged,
    "routed": _routed,
    "repaired": _repaired,
    "tried": _tried_words,
    "relayed": _relayed,
    "deferred": _deferred,
    "failed": _failed,
    "expired": _expired,
    "held": _held,
    "advised": _advised,
    "warned": _warned,
}
