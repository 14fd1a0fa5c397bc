"""What a person is told at once, because waiting alone does not help: what happened, which mail waits, what to do."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from relay.mail.reply import Answer
from relay.outbound.attempt import Attempt
from relay.outbound.chain import Step
from relay.outbound.trail import shown
from relay.spool.entry import Entry
from relay.upstream.settings import Upstream

_LABELS = ("Why: ", "Meanwhile: ", "To do: ", "")


def urgent(
    name: str,
    answer: Answer,
    advice: Sequence[str],
    entry: Entry,
    step: Step,
    *,
    until: datetime | None = None,
    others: int = 0,
) -> str:
    """One paragraph each: the answer, the mail that waits, then cause, what the relay does, and what to do.

    `until` is how long this upstream is left alone now, `others` how many messages wait for it beside this one.
    """
    ours = answer.lost or answer.fault is not None
    said = answer.reply.text if ours else f"it said at {answer.stage.value}: {answer.reply}"
    labels = _LABELS if len(advice) == len(_LABELS) else [""] * len(advice)
    paragraphs = [
        f"{name}: {said}",
        _waiting(name, entry, step, until, others),
        *(f"{label}{sentence}" for label, sentence in zip(labels, advice, strict=True)),
    ]
    return "\n\n".join(paragraphs)


def _waiting(name: str, entry: Entry, step: Step, until: datetime | None, others: int) -> str:
    sender = entry.envelope.reverse_path or "<>"
    which = f"{entry.queue_id} from {sender} to {shown(str(each.address) for each in step.recipients)}"
    more = f", and {others} more" if others > 0 else ""
    head = f"{name} rests until {until:%Y-%m-%d %H:%M:%S} UTC; then it is tried again. " if until else ""
    return f"{head}Waiting: {which}{more}. `relay queue retry --all` tries everything at once."


def explain(attempt: Attempt, advise: Callable[[Answer, Upstream], Sequence[str]], now: datetime) -> None:
    """Puts the advice on what kept somebody from being called into the trail."""
    while attempt.decided:
        step, answer = attempt.decided.pop(0)
        if sentences := tuple(advise(answer, step.upstream)):
            attempt.advised(sentences, step, now)


class OnceADay:
    """Tells of each trouble once a day."""

    def __init__(self, alarm: Callable[[str, str], None], now: Callable[[], datetime]) -> None:
        self._alarm, self._now = alarm, now
        self._told: dict[tuple[str, str], datetime] = {}

    def tell(self, trouble: tuple[str, str], text: str) -> None:
        now, last = self._now(), self._told.get(trouble)
        if last is None or abs(now - last) > timedelta(days=1):
            self._told[trouble] = now
            self._alarm(text, " ".join(trouble))

    def clear(self) -> None:
        """The settings are others: whatever is still wrong is told again."""
        self._told.clear()
