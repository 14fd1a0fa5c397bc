"""What came of each notification URL, as one answer to the message.  The HTTP status decides, no word does.  Pure."""

from collections.abc import Sequence
from dataclasses import replace

from relay.mail.reply import Answer, Fault, Reply, Stage, readable
from relay.upstream.push.frames import Outcome
from relay.upstream.push.redact import redacted

_TIMES = frozenset({408, 425})
_ACCOUNT = frozenset({401, 402, 403, 404, 405, 407, 410})
_GATEWAY = frozenset({502, 503, 504, 521, 522, 523, 524, 530})
_TOO_MANY = 429


def answer(outcomes: Sequence[Outcome], urls: Sequence[str]) -> Answer:
    """The answer to the message: taken if all took it; else that of the one that matters most for what happens next.

    First comes one that may have taken it, then one to try again, last a refusal for good.  The words of the others follow.
    """
    first, *others = sorted((answer_of(one, urls) for one in outcomes), key=_weight, reverse=True)
    words = "; ".join(one.reply.text for one in (first, *others))
    return replace(first, reply=replace(first.reply, text=words)) if others else first


def _weight(one: Answer) -> int:
    if one.lost and one.stage is Stage.CONTENT:
        return 3
    return 0 if one.reply.positive else 2 if one.reply.transient or one.fault is Fault.PUSH_ACCOUNT else 1


def answer_of(outcome: Outcome, urls: Sequence[str]) -> Answer:
    """One service's answer, without any part of the URLs."""
    name = outcome.service or "the push service"
    said = redacted(readable("; ".join(filter(None, (outcome.said, *outcome.words)))), urls)
    http = f"HTTP {outcome.status}" if outcome.status else ""
    text = f"{name}: {', '.join(filter(None, (http, said)))}".rstrip(": ")
    if outcome.taken:
        but = f"; {redacted(readable(outcome.said), urls)}" if outcome.said else ""
        return Answer(Stage.CONTENT, Reply(250, "2.0.0", f"{name} took it ({http or 'no HTTP'}){but}"))
    if outcome.fault:
        return _unanswered(outcome, name, said)
    if outcome.blocked or outcome.status in _ACCOUNT or 300 <= outcome.status < 400:
        return Answer(Stage.AUTH, Reply(535, "5.7.8", text), fault=Fault.PUSH_ACCOUNT)
    if outcome.status == _TOO_MANY:
        return Answer(Stage.MAIL, Reply(450, "4.4.5", text), fault=Fault.PUSH_RATE, retry_after=outcome.retry_after)
    if outcome.status in _GATEWAY:
        return Answer(Stage.CONNECT, Reply(421, "4.3.2", text), fault=Fault.PUSH_TROUBLE, retry_after=outcome.retry_after)
    if 400 <= outcome.status < 500 and outcome.status not in _TIMES:
        return Answer(Stage.CONTENT, Reply(554, "5.6.0", text), fault=Fault.PUSH_REFUSED)
    return Answer(Stage.CONTENT, Reply(451, "4.3.0", text), fault=Fault.PUSH_TROUBLE, retry_after=outcome.retry_after)


def _unanswered(outcome: Outcome, name: str, said: str) -> Answer:
    fault = Fault(outcome.fault)
    words = f"{name}: {_WHY.get(fault, 'no answer')}" + (f" ({said})" if said else "")
    if outcome.sent:
        if fault is not Fault.UNANSWERED:  # other faults say that nothing went out
            fault = Fault.TIMED_OUT if fault is Fault.TIMED_OUT else Fault.HUNG_UP
        return Answer(Stage.CONTENT, Reply(451, "4.4.2", f"{words}, after the request had gone out"), lost=True, fault=fault)
    stage = Stage.TLS if fault.value.startswith("tls") else Stage.CONNECT
    return Answer(stage, Reply(421, "4.4.1", words), lost=True, fault=fault)


_WHY = {
    Fault.NO_HOST: "the name of the service does not exist",
    Fault.DNS: "the DNS gives no answer about the service",
    Fault.REFUSED: "nothing listens there",
    Fault.UNREACHABLE: "the service cannot be reached",
    Fault.TIMED_OUT: "no answer in time",
    Fault.HUNG_UP: "the connection was lost",
    Fault.TLS: "the encrypted connection could not be opened",
    Fault.TLS_NAME: "the certificate is for another name",
    Fault.TLS_EXPIRED: "the certificate has expired",
    Fault.TLS_EARLY: "the certificate is not valid yet",
    Fault.TLS_TRUST: "the certificate cannot be verified",
    Fault.INTERNAL: "the push process failed",
}


def notes(outcomes: Sequence[Outcome], earlier: int) -> tuple[str, ...]:
    """What was done to the message for these services, and that `earlier` ones have it already."""
    found = [f"{earlier} of the URLs had taken it before, and did not get it again"] if earlier else []
    for one in outcomes:
        name = one.service or "the push service"
        if one.cut:
            found.append(f"the text was cut to {one.cut} characters for {name}")
        if one.left:
            found.append(f"{'a picture was' if one.left == 1 else f'{one.left} pictures were'} left out for {name}")
        if one.others:
            found.append(f"{'an attachment was' if one.others == 1 else f'{one.others} attachments were'} left out: no picture")
    return tuple(dict.fromkeys(found))
