"""Per-upstream state: rests after trouble, transactions under way, rate limits, waiting messages.  Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.mail.address import Address
from relay.mail.reply import Answer, Fault, Stage
from relay.outbound.chain import Judged, Pause, Step, Votes
from relay.outbound.rate_limit import RateLimit
from relay.outbound.replies import Blame, Fate, Verdict
from relay.outbound.retry import RetrySchedule
from relay.upstream.report import Conversation
from relay.upstream.settings import Upstream

_CROWD = 100
_SLOW = timedelta(seconds=30)
_TOLD_KNOWN = timedelta(hours=1)
_PARKED = 20_000
_OTHERS_FIRST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class UpstreamRest:
    """An upstream in trouble: how many times in a row, since when and until when it rests, and why.

    `by`: the message that was refused, "" if the trouble came before MAIL; `alone`: no other message has met it.
    """

    failures: int
    since: datetime
    until: datetime
    why: str
    login: bool = False
    by: str = ""
    alone: bool = False
    answer: Answer | None = None


class UpstreamRests:
    """The upstreams in trouble.  Names are upstreams, or `mx DOMAIN` for direct delivery."""

    def __init__(self) -> None:
        self._troubles: dict[str, UpstreamRest] = {}

    def trouble(
        self,
        name: str,
        why: str,
        schedule: RetrySchedule,
        now: datetime,
        *,
        began: datetime,
        login: bool = False,
        by: str = "",
        answer: Answer | None = None,
    ) -> UpstreamRest | None:
        """Lets an upstream rest, longer each time; the new rest, or None if this trouble is the known one.

        `began` is when the conversation began: ten that fail together are one trouble, not ten.  One message
        that fails again and again, alone, proves nothing about others.  What the server itself asks for is the least.
        """
        known = self._troubles.get(name)
        least = now + timedelta(seconds=answer.retry_after or 0) if answer else now
        if known and known.until < least:
            known = self._troubles[name] = replace(known, until=least)
        if known and known.alone:
            if known.by == by:
                return None
            known = self._troubles[name] = replace(known, alone=False)
        if known and began <= known.since and (known.login or not login):
            return None
        failures = known.failures + 1 if known else 1
        if login and known and not known.login:
            failures = 1  # the lock-out clock starts with the first refused login
        until = max(now + schedule.rest_for(failures, login=login), least)
        rest = UpstreamRest(failures, now, until, why, login, by, bool(by and not known), answer)
        self._troubles[name] = rest
        return rest

    def success(self, name: str) -> UpstreamRest | None:
        """It worked; the rest that this ends, if any."""
        return self._troubles.pop(name, None)

    def wake(self, name: str | None = None) -> tuple[str, ...]:
        """Ends the rest of one upstream, or of all, by hand; the names that were in trouble."""
        names = tuple(self._troubles) if name is None else tuple(n for n in self._troubles if n.split(" ")[0] == name)
        for each in names:
            del self._troubles[each]
        return names

    def resting_until(self, name: str, now: datetime) -> datetime | None:
        """When it may be called again; None if it may now."""
        known = self._troubles.get(name)
        if known is None or known.until <= now:
            return None
        return min(known.until, now + (known.until - known.since))  # the clock may have gone back meanwhile

    def names(self) -> tuple[str, ...]:
        return tuple(self._troubles)

    def of(self, name: str) -> UpstreamRest | None:
        return self._troubles.get(name)

    def forget(self, now: datetime, after: timedelta = timedelta(days=1)) -> None:
        """Drops troubles long over: direct delivery meets many domains once.

        A rest that began in the future was begun by a wrong clock: it begins now, or it would last until then.
        """
        for name, known in self._troubles.items():
            if known.since > now:
                self._troubles[name] = replace(known, since=now, until=now + (known.until - known.since))
        for name in [name for name, known in self._troubles.items() if known.until + after < now]:
            del self._troubles[name]


@dataclass(frozen=True, slots=True)
class WentToRest:
    """An upstream rests from now on; `first` of a row: a person should hear of it.

    Not of what passes at a time that the server itself names.
    """

    name: str
    trouble: UpstreamRest
    answer: Answer
    verdict: Verdict

    @property
    def first(self) -> bool:
        by_itself = self.answer.retry_after is not None and not self.verdict.urgent
        return self.trouble.failures == 1 and not by_itself


@dataclass(frozen=True, slots=True)
class Resumed:
    """An upstream works again; `waiting` are the queue ids that were deferred because of it."""

    name: str
    waiting: tuple[str, ...]


class UpstreamStates:
    """Rests, rate limits and the transactions under way.  Keys are those of `Upstream.key`.

    `proven` has the keys that worked since their last trouble; `Transports` adds those whose login has just worked.
    """

    def __init__(self, proven: set[str] | None = None) -> None:
        self.rests = UpstreamRests()
        self.rate_limit = RateLimit()
        self._under_way: dict[str, dict[int, datetime]] = defaultdict(dict)
        self._told: dict[str, tuple[Conversation, datetime]] = {}
        self._parked: dict[str, dict[str, None]] = defaultdict(dict)
        self._sending: dict[int, datetime] = {}
        self._tickets: dict[int, str] = {}
        self._proven = set[str]() if proven is None else proven
        self._seen: dict[str, float] = {}
        self._own_doing: set[tuple[str, str]] = set()
        self._next = 0

    def pause(self, upstream: Upstream, recipient: Address, queue_id: str, now: datetime) -> Pause | None:
        """Why this upstream should not be called for this message now; None if it may."""
        key = upstream.key(recipient)
        pause = self._rest(key, upstream, queue_id, now) or self._quota(key, upstream, queue_id, now) or self._crowd(key, now)
        if pause:
            self._park(key, queue_id)
        return pause

    def _park(self, key: str, queue_id: str) -> None:
        if len(self._parked[key]) < _PARKED:
            self._parked[key][queue_id] = None

    def _rest(self, key: str, upstream: Upstream, queue_id: str, now: datetime) -> Pause | None:
        trouble = self.rests.of(key)
        if trouble is None:
            return None
        if until := self.rests.resting_until(key, now):
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
            # this message itself may be the cause: another one is tried first
            return Pause(
                others_first,
                f"{key} had trouble with this message; others are tried first: {trouble.why}",
                failures=0,
                answer=trouble.answer,
            )
        return None

    def _quota(self, key: str, upstream: Upstream, queue_id: str, now: datetime) -> Pause | None:
        until = self.rate_limit.when(upstream.name, upstream.limits, now, queue_id, key)
        if until is None:
            return None
        limits = upstream.limits
        said = f"per_minute {limits.per_minute}, per_day {limits.per_day}".replace(", per_day None", "").replace("None", "any")
        return Pause(until, f"the limit of {key} is reached ({said}): its turn is at {until:%Y-%m-%d %H:%M:%S} UTC")

    def _crowd(self, key: str, now: datetime) -> Pause | None:
        """A slow upstream must not fill every place in the runner: beyond 100 messages its mail waits in the spool."""
        crowd = self._under_way[key]
        if len(crowd) < _CROWD or now - next(iter(crowd.values())) < _SLOW:
            return None
        return Pause(now + 2 * _SLOW, f"{key} is slow and {len(crowd)} messages are on their way to it", divert=False)

    def begin(self, step: Step, queue_id: str, now: datetime) -> int:
        """A transaction begins; the number to end it with."""
        self._next += 1
        self._tickets[self._next] = queue_id
        for key in _keys(step):
            self._under_way[key][self._next] = now
        self.rate_limit.begin(step.upstream.name, step.upstream.limits, now, queue_id, step.key)
        return self._next

    def may_send(self, number: int, step: Step, now: datetime) -> bool:
        """Whether it may still be sent: False if the upstream went to rest while this one waited for a free connection."""
        if any(self.rests.resting_until(key, now) for key in _keys(step)):
            return False
        self._sending[number] = now
        return True

    def end(
        self, number: int, step: Step, judged: Judged | None, schedule: RetrySchedule, now: datetime
    ) -> list[WentToRest | Resumed]:
        """A transaction is over (without an answer if a bug ended it): what it shows about the upstream."""
        began, queue_id = self._sending.pop(number, now), self._tickets.pop(number)
        for key in _keys(step):
            self._under_way[key].pop(number, None)
            if not self._under_way[key]:
                del self._under_way[key]
        votes = judged.votes if judged else {}
        relayed = any(verdict.fate is Fate.RELAYED for _, verdict in votes.values())
        self.rate_limit.end(step.upstream.name, now, relayed=relayed)
        told = judged.conversation if judged else Conversation()
        if (told.max_size or told.eight_bit is not None) and not step.upstream.transport.by_domain:
            self._told[step.upstream.name] = (told, now)
        return list(self._learn(step, votes, queue_id, schedule, began, now, reached=bool(told.peer)))

    def _learn(
        self,
        step: Step,
        votes: Votes,
        queue_id: str,
        schedule: RetrySchedule,
        began: datetime,
        now: datetime,
        *,
        reached: bool,
    ) -> Iterator[WentToRest | Resumed]:
        for key in _keys(step):
            said = [vote for address, vote in votes.items() if step.upstream.key(address) == key]
            bad, verdict = next((vote for vote in said if vote[1].rests), (None, None))
            if bad and verdict:
                of_account = bad.stage.before(Stage.MAIL) or bad.retry_after is not None
                by, trouble = "" if of_account else queue_id, None
                if (key, by) not in self._own_doing:
                    login = verdict.blame is Blame.LOGIN
                    trouble = self.rests.trouble(key, str(bad), schedule, now, began=began, login=login, by=by, answer=bad)
                    self._proven.discard(key)
                self._park(key, queue_id)  # it waits for this upstream like those that were not sent to it
                if trouble:
                    yield WentToRest(key, trouble, bad, verdict)
                continue
            # an answer of our own before anybody was called, as where a key for DKIM cannot be used, proves nothing
            heard = [answer for answer, _ in said if reached or not answer.fault]
            if any(not answer.stage.before(Stage.MAIL) for answer in heard):
                self._proven.add(key)
            if any(not answer.lost for answer in heard) and (known := self.rests.success(key)):
                if known.alone and known.by != queue_id:
                    self._own_doing.add((key, known.by))  # another message was taken: that one itself was the cause
                yield Resumed(key, self._unpark(key))

    def wake(self, name: str | None) -> list[Resumed]:
        """Ends rests by hand."""
        return [Resumed(key, self._unpark(key)) for key in self.rests.wake(name)]

    def _unpark(self, key: str) -> tuple[str, ...]:
        return tuple(self._parked.pop(key, ()))

    def waiting(self, key: str) -> int:
        """How many messages are known to wait for it."""
        return len(self._parked.get(key, ()))

    def gone(self, queue_id: str) -> None:
        """That message waits for no upstream any more."""
        self.rate_limit.forget(queue_id)
        self._seen.pop(queue_id, None)
        self._own_doing = {(key, by) for key, by in self._own_doing if by != queue_id}
        for parked in self._parked.values():
            parked.pop(queue_id, None)

    def waited(self, queue_id: str, ticks: float) -> timedelta:
        """For how long we have seen this message wait, by the monotonic clock (seconds)."""
        return timedelta(seconds=ticks - self._seen.setdefault(queue_id, ticks))

    def remember_only(self, queue_ids: Set[str]) -> None:
        """Forgets all other messages: they were removed."""
        self._seen = {queue_id: since for queue_id, since in self._seen.items() if queue_id in queue_ids}
        self._own_doing = {(key, by) for key, by in self._own_doing if by in queue_ids}

    def sizes(self, now: datetime) -> dict[str, int]:
        """What upstreams said lately of their limits (EHLO SIZE), in octets."""
        return {name: told.max_size for name, (told, at) in self._told.items() if told.max_size and abs(now - at) < _TOLD_KNOWN}

    def takes_eight_bit(self, upstream: Upstream, now: datetime) -> bool:
        """Whether it offers 8BITMIME, as far as is known; most do."""
        told, at = self._told.get(upstream.name, (None, now))
        return told is None or told.eight_bit is not False or abs(now - at) >= _TOLD_KNOWN

    def tidy(self, now: datetime) -> None:
        self.rests.forget(now)
        self.rate_limit.tidy(now)
        for key in [key for key, parked in self._parked.items() if not parked]:
            del self._parked[key]
        self._proven -= {key for key in self._proven if _of_domain(key)}
        for key in [key for key, crowd in self._under_way.items() if not crowd]:
            del self._under_way[key]

    def lines(self, upstreams: Iterable[Upstream], now: datetime) -> list[dict[str, str | int | None]]:
        """For people and monitors: one row for each upstream, and one for each domain where direct delivery rests."""
        names = [upstream.name for upstream in upstreams]
        domains = [key for key in self.rests.names() if _of_domain(key) and self.rests.resting_until(key, now)]
        return [self._line(key, now) for key in (*names, *domains)]

    def _line(self, key: str, now: datetime) -> dict[str, str | int | None]:
        until = self.rests.resting_until(key, now)
        trouble = self.rests.of(key)
        flights = [len(crowd) for each, crowd in self._under_way.items() if each == key or each.startswith(f"{key} ")]
        return {
            "name": key,
            "resting_until": until.isoformat() if until else None,
            "why": trouble.why if trouble else "",
            "code": trouble.answer.reply.code if trouble and trouble.answer and not trouble.answer.fault else 0,
            "failures": trouble.failures if trouble else 0,
            "login_refused": bool(trouble and trouble.login and trouble.answer and trouble.answer.fault is not Fault.HUNG_UP),
            "in_flight": sum(flights),
            "sent_today": self.rate_limit.sent_today(key, now),
        }


def _of_domain(key: str) -> bool:
    """Whether a key is one of `Upstream.key` for a domain; names have no blank."""
    return " " in key


def _keys(step: Step) -> tuple[str, ...]:
    if not step.upstream.transport.by_domain:
        return (step.upstream.name,)
    return tuple(dict.fromkeys(step.upstream.key(recipient.address) for recipient in step.recipients))
