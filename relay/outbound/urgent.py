"""Problems that a person is told at once, because waiting does not help: what happened, which mail waits, what to do."""

from collections.abc import Callable
from datetime import datetime, timedelta

from relay.mail.reply import Answer
from relay.outbound.attempt import Attempt
from relay.outbound.chain import Step
from relay.outbound.replies import Blame, Verdict
from relay.outbound.trail import shown
from relay.spool.entry import Entry

_CREDENTIALS = frozenset({"login", "login-number", "login-late", "m365-login"})
"""Rules for a user name or a password that is not right."""

_REJECTED = {
    Blame.LOGIN: "refused the login",
    Blame.SENDER: "rejected the sender address",
    Blame.REPUTATION: "rejected the IP address of this connection",
    Blame.QUOTA: "says that a limit of the account is reached",
    Blame.RELAY_DENIED: "refused to relay this message",
}


def urgent(
    name: str,
    answer: Answer,
    verdict: Verdict,
    entry: Entry,
    step: Step,
    *,
    until: datetime | None = None,
    others: int = 0,
) -> str:
    """One paragraph each: what happened, how many messages wait and which, what to do, and why.

    `until` is how long this upstream is paused now, `others` how many messages wait for it beside this one.
    """
    cause, done, remedy, *more = verdict.advice.with_link
    to_do, why = f"To do: {remedy[:1].lower()}{remedy[1:]}", f"Why: {cause} {done}"
    return "\n\n".join([_what(name, answer, verdict), _waiting(entry, step, until, max(others, 0)), to_do, why, *more])


def _what(name: str, answer: Answer, verdict: Verdict) -> str:
    if answer.lost or answer.fault is not None:
        return f"{name}: {answer.reply.text}"
    did = _REJECTED.get(verdict.blame, f"refused at {answer.stage.value}")
    did = "rejected the user name or password" if verdict.rule.name in _CREDENTIALS else did
    return f"{name} {did}: {answer.reply}"


def _waiting(entry: Entry, step: Step, until: datetime | None, others: int) -> str:
    many = f"{others + 1} messages wait" if others else "1 message waits"
    when = f"; the next try is at {until:%H:%M} UTC" if until else ""
    sender = entry.envelope.reverse_path or "<>"
    which = f"{entry.queue_id} from {sender} to {shown(str(each.address) for each in step.recipients)}"
    return f"{many}{when}. " + (f"One of them is {which}; `relay queue list` shows all." if others else f"It is {which}.")


def explain(attempt: Attempt, now: datetime) -> None:
    """Adds advice to the trail on the answers that kept upstreams from being called."""
    while attempt.decided:
        step, verdict = attempt.decided.pop(0)
        attempt.advised(verdict.advice.with_link, step, now, verdict)


def once_a_day(verdict: Verdict, step: Step) -> bool:
    """Whether a person is to be told of the answer; of a rest they hear anyway, but not of that of a single domain."""
    return verdict.urgent and (not verdict.rests or step.upstream.transport.by_domain)


class OnceADay:
    """Raises each alarm once a day."""

    def __init__(self, alarm: Callable[[str, str], None], now: Callable[[], datetime]) -> None:
        self._alarm, self._now = alarm, now
        self._told: dict[tuple[str, str], datetime] = {}

    def tell(self, trouble: tuple[str, str], text: str) -> None:
        now, last = self._now(), self._told.get(trouble)
        if last is None or abs(now - last) > timedelta(days=1):
            self._told[trouble] = now
            self._alarm(text, " ".join(trouble))

    def clear(self) -> None:
        """The settings changed: what is still wrong is told again."""
        self._told.clear()
