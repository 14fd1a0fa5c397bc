"""How each upstream stands with us: who rests, who is busy, what may go now, and who waits for whom.  Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.mail.address import Address
from relay.mail.reply import Answer, Stage
from relay.outbound.chain import Pause, Step, key_of
from relay.outbound.rate_limit import RateLimit
from relay.outbound.replies import Blame, Fate, judge
from relay.outbound.retry import RetrySchedule
from relay.outbound.upstream_rest import Rest, UpstreamRests
from relay.upstream.report import Report
from relay.upstream.settings import DIRECT, Upstream

_CROWD = 100
_SLOW = timedelta(seconds=30)
_SIZE_KNOWN = timedelta(hours=1)
_PARKED = 20_000
_OTHERS_FIRST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class WentToRest:
    """An upstream was sent to rest; `first` of a row, when a person should hear of it."""

    name: str
    trouble: Rest
    answer: Answer

    @property
    def first(self) -> bool:
        return self.trouble.failures == 1


@dataclass(frozen=True, slots=True)
class Resumed:
    """An upstream serves us again; `waiting` are the queue ids that were put off because of it."""

    name: str
    waiting: tuple[str, ...]


class UpstreamStates:
    """Health, pace and the conversations under way.  Keys are those of `key_of`."""

    def __init__(self) -> None:
        self.health = UpstreamRests()
        self.pace = RateLimit()
        self._under_way: dict[str, dict[int, datetime]] = defaultdict(dict)
        self._sizes: dict[str, tuple[int, datetime]] = {}
        self._parked: dict[str, dict[str, None]] = defaultdict(dict)
        self._talking: dict[int, datetime] = {}
        self._tickets: dict[int, str] = {}
        self._proven: set[str] = set()
        self._seen: dict[str, float] = {}
        self._own_doing: set[tuple[str, str]] = set()
        self._next = 0

    def pause(self, upstream: Upstream, recipient: Address, queue_id: str, now: datetime) -> Pause | None:
        """Why this upstream should not be called for this message now; None if it may."""
        key = key_of(upstream.name, recipient)
        pause = self._rest(key, upstream, queue_id, now) or self._quota(upstream, queue_id, now) or self._crowd(key, now)
        if pause:
            self._park(key, queue_id)
        return pause

    def _park(self, key: str, queue_id: str) -> None:
        if len(self._parked[key]) < _PARKED:
            self._parked[key][queue_id] = None

    def _rest(self, key: str, upstream: Upstream, queue_id: str, now: datetime) -> Pause | None:
        trouble = self.health.of(key)
        if trouble is None:
            return None
        if until := self.health.resting_until(key, now):
            why = f"{key} is paused until {until:%Y-%m-%d %H:%M} UTC: {trouble.why}"
            return Pause(until, why, failures=trouble.failures, answer=trouble.answer)
        if self._under_way[key] and key not in self._proven:
            # after a rest one message goes ahead: a wrong password must not be tried by five hundred at once
            until = now + min(2 * upstream.timeout, timedelta(minutes=2))
            return Pause(
                until,
                f"{key} had trouble and is being tried by another message: {trouble.why}",
                failures=0,
                answer=trouble.answer,
            )
        others_first = trouble.until + _OTHERS_FIRST
        if trouble.by == queue_id and now < others_first and any(each != queue_id for each in self._parked[key]):
            # the trouble may be this message's own doing: another one asks whether it is over
            return Pause(
                others_first,
                f"{key} had trouble with this message; others are tried first: {trouble.why}",
                failures=0,
                answer=trouble.answer,
            )
        return None

    def _quota(self, upstream: Upstream, queue_id: str, now: datetime) -> Pause | None:
        until = self.pace.when(upstream.name, upstream.limits, now, queue_id)
        if until is None:
            return None
        limits = upstream.limits
        said = f"per_minute {limits.per_minute}, per_day {limits.per_day}".replace(", per_day None", "").replace("None", "any")
        return Pause(until, f"the limit of {upstream.name} is reached ({said}): its turn is at {until:%Y-%m-%d %H:%M:%S} UTC")

    def _crowd(self, key: str, now: datetime) -> Pause | None:
        """A slow upstream must not fill every place in the runner: beyond a crowd its mail waits in the spool."""
        crowd = self._under_way[key]
        if len(crowd) < _CROWD or now - next(iter(crowd.values())) < _SLOW:
            return None
        return Pause(now + 2 * _SLOW, f"{key} is slow and {len(crowd)} messages are on their way to it", divert=False)

    def begin(self, step: Step, queue_id: str, now: datetime) -> int:
        """A conversation begins; the number to end it with."""
        self._next += 1
        self._tickets[self._next] = queue_id
        for key in _keys(step):
            self._under_way[key][self._next] = now
        self.pace.begin(step.upstream.name, step.upstream.limits, now, queue_id)
        return self._next

    def may_talk(self, number: int, step: Step, now: datetime) -> bool:
        """Its turn has come: False if the upstream went to rest while this conversation waited for a free connection."""
        if any(self.health.resting_until(key, now) for key in _keys(step)):
            return False
        self._talking[number] = now
        return True

    def proven(self, name: str) -> bool:
        """Whether it let us in since it was last in trouble; before that, one at a time must try the password."""
        return name == DIRECT or name in self._proven

    def let_in(self, name: str) -> None:
        """A session is open: name and password are right, whatever comes of the message."""
        self._proven.add(name)

    def doubt(self) -> None:
        """Settings changed: what let us in yesterday proves nothing."""
        self._proven.clear()

    def end(
        self, number: int, step: Step, report: Report | None, schedule: RetrySchedule, now: datetime
    ) -> list[WentToRest | Resumed]:
        """A conversation is over (without a report if it broke by a bug): what it teaches about the upstream."""
        began, queue_id = self._talking.pop(number, now), self._tickets.pop(number)
        for key in _keys(step):
            self._under_way[key].pop(number, None)
            if not self._under_way[key]:
                del self._under_way[key]
        answers = dict(report.answers) if report else {}
        relayed = any(judge(answer).fate is Fate.RELAYED for answer in answers.values())
        self.pace.end(step.upstream.name, now, relayed=relayed)
        if report and report.conversation.max_size and step.upstream.name != DIRECT:
            self._sizes[step.upstream.name] = (report.conversation.max_size, now)
        return list(self._learn(step, answers, queue_id, schedule, began, now))

    def _learn(
        self,
        step: Step,
        answers: Mapping[Address, Answer],
        queue_id: str,
        schedule: RetrySchedule,
        began: datetime,
        now: datetime,
    ) -> Iterator[WentToRest | Resumed]:
        for key in _keys(step):
            said = [answer for address, answer in answers.items() if key_of(step.upstream.name, address) == key]
            bad = next((answer for answer in said if judge(answer).rests), None)
            if bad is not None:
                by, trouble = "" if bad.stage.before(Stage.MAIL) else queue_id, None
                if (key, by) not in self._own_doing:
                    login = judge(bad).blame is Blame.LOGIN
                    trouble = self.health.trouble(key, str(bad), schedule, now, began=began, login=login, by=by, answer=bad)
                    self._proven.discard(key)
                self._park(key, queue_id)  # it waits for this upstream as much as those that were not let through to it
                if trouble:
                    yield WentToRest(key, trouble, bad)
                continue
            if any(not answer.stage.before(Stage.MAIL) for answer in said):
                self._proven.add(key)
            if any(not answer.lost for answer in said) and (known := self.health.success(key)):
                if known.alone and known.by != queue_id:
                    self._own_doing.add((key, known.by))  # another message is not refused: it was that one's own doing
                yield Resumed(key, self._unpark(key))

    def wake(self, name: str | None) -> list[Resumed]:
        """Ends rests by hand."""
        return [Resumed(key, self._unpark(key)) for key in self.health.wake(name)]

    def _unpark(self, key: str) -> tuple[str, ...]:
        return tuple(self._parked.pop(key, ()))

    def waiting(self, key: str) -> int:
        """How many messages wait for it, as far as they have come here."""
        return len(self._parked.get(key, ()))

    def gone(self, queue_id: str) -> None:
        """That message waits for nobody any more."""
        self.pace.forget(queue_id)
        self._seen.pop(queue_id, None)
        self._own_doing = {(key, by) for key, by in self._own_doing if by != queue_id}
        for parked in self._parked.values():
            parked.pop(queue_id, None)

    def waited(self, queue_id: str, ticks: float) -> timedelta:
        """For how long we have seen this message wait, by the steady clock (seconds) that nobody sets."""
        return timedelta(seconds=ticks - self._seen.setdefault(queue_id, ticks))

    def remember_only(self, queue_ids: Set[str]) -> None:
        """Whatever else was waiting was removed."""
        self._seen = {queue_id: since for queue_id, since in self._seen.items() if queue_id in queue_ids}
        self._own_doing = {(key, by) for key, by in self._own_doing if by in queue_ids}

    def sizes(self, now: datetime) -> dict[str, int]:
        """What upstreams said lately of their limits (EHLO SIZE), in octets."""
        return {name: size for name, (size, at) in self._sizes.items() if abs(now - at) < _SIZE_KNOWN}

    def tidy(self, now: datetime) -> None:
        self.health.forget(now)
        for key in [key for key, parked in self._parked.items() if not parked]:
            del self._parked[key]
        self._proven = {key for key in self._proven if not key.startswith(f"{DIRECT} ")}
        for key in [key for key, crowd in self._under_way.items() if not crowd]:
            del self._under_way[key]

    def lines(self, upstreams: Iterable[Upstream], now: datetime) -> list[dict[str, str | int | None]]:
        """For people and monitors: one line for each upstream, and one for each domain that direct delivery rests from."""
        names = [upstream.name for upstream in upstreams]
        domains = [key for key in self.health.names() if key.startswith(f"{DIRECT} ") and self.health.resting_until(key, now)]
        return [self._line(key, now) for key in (*names, *domains)]

    def _line(self, key: str, now: datetime) -> dict[str, str | int | None]:
        until = self.health.resting_until(key, now)
        trouble = self.health.of(key)
        flights = [len(crowd) for each, crowd in self._under_way.items() if each == key or each.startswith(f"{key} ")]
        return {
            "name": key,
            "resting_until": until.isoformat() if until else None,
            "why": trouble.why if trouble else "",
            "code": trouble.answer.reply.code if trouble and trouble.answer and not trouble.answer.fault else 0,
            "failures": trouble.failures if trouble else 0,
            "login_refused": bool(trouble and trouble.login),
            "in_flight": sum(flights),
            "sent_today": self.pace.sent_today(key, now),
        }


def _keys(step: Step) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key_of(step.upstream.name, recipient.address) for recipient in step.recipients))
