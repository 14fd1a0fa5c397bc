"""One attempt at the due recipients of an entry: next step, record the answers, settle what is certain.

Promises: one fate for each recipient; never the same upstream twice (but once more in the account's own name); nothing
after a 250; FAILED only if every upstream of the chain said so.  After a lost final reply no other upstream is asked, in
this attempt and all that follow, until that upstream took the message, refused it for good, or `faithful` is over since
the reply was lost; an operator's order comes before that.  Pure.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.mail.address import Address
from relay.mail.device import Device
from relay.mail.reply import POSTPONED, Answer, Fault, Reply, Stage, readable
from relay.mail.rewrite import Rewrite
from relay.outbound import trail
from relay.outbound.chain import ChainProgress, Judged, Pauses, Step
from relay.outbound.replies import Blame, Fate, Verdict, judge
from relay.outbound.retry import RetrySchedule, spread
from relay.outbound.routing import Chosen
from relay.spool.entry import Claim, NoticeKind, PendingNotice, Recipient, Settlement, State, TrailLine, outcome
from relay.upstream.report import Conversation, too_big
from relay.upstream.settings import Upstream


class Attempt:
    """The decisions of one attempt.

    `sizes` are the limits in octets that upstreams are known to have; `faithful`: for so long a message whose final reply
    was lost waits for that upstream alone; `waited`: how long it has waited by the monotonic clock.  `decided` are the
    verdicts because of which an upstream was not called: on our own answer, or another message's.  `device`: whose mail it
    is, if known.
    """

    def __init__(
        self,
        claim: Claim,
        chosen: Mapping[Address, Chosen],
        upstreams: Mapping[str, Upstream],
        *,
        refused_senders: frozenset[tuple[str, str]] = frozenset(),
        sizes: Mapping[str, int] | None = None,
        faithful: timedelta = timedelta(hours=4),
        waited: timedelta = timedelta(0),
        device: Device | None = None,
        now: datetime,
    ) -> None:
        self._waited, self._began, self._faithful = waited, now, faithful
        self.claim = claim
        self.upstreams = upstreams
        self._refused = refused_senders
        self._sender = claim.entry.envelope.reverse_path
        self.device = device
        self._said_as = trail.sender_text((device and device.sender) or self._sender)
        self._first = all(recipient.attempts == 0 for recipient in claim.recipients)
        self._noted, self._explained, self._ended = set[str](), set[str](), set[Address]()
        self._warned, self._hold = claim.warned, False
        self.trail: list[TrailLine] = []
        self._opening: list[TrailLine] = []  # written after the repairs, which are known only when an upstream is to be called
        self.sent = ""
        self.newly_refused: tuple[str, str] | None = None
        self._disliked: set[str] = set()  # upstreams that refused this sender in this attempt
        self._pauses: Pauses = lambda *_: None
        self.decided: list[tuple[Step, Verdict]] = []
        self.progress_of = {each.address: self._begun(each, chosen[each.address]) for each in claim.recipients}
        untouched = all(each.attempts == 0 and not each.said for each in claim.recipients)
        if untouched or any(each.via for each in claim.recipients):
            self._opening += trail.routed(list(self.progress_of.values()), now)
        self._weigh(sizes or {}, now)

    @property
    def over(self) -> bool:
        return all(progress.over for progress in self.progress_of.values())

    def next_step(self, pauses: Pauses) -> Step | None:
        """The next transaction; None when no upstream is left to call."""
        self._pauses = pauses
        wanted: dict[tuple[str, bool, str], list[ChainProgress]] = defaultdict(list)
        for progress in self.progress_of.values():
            name = None if progress.over else self._candidate(progress, pauses)
            if name is not None:
                key = self.upstreams[name].key(progress.recipient.address)
                wanted[name, self._own_name(progress, name), key].append(progress)
        if not wanted:
            return None
        first = min(wanted, key=lambda each: self._awaited_by_others(each[0], wanted[each]))
        name, own_name, _ = first
        return Step(self.upstreams[name], tuple(progress.recipient for progress in wanted[first]), own_name)

    def _candidate(self, progress: ChainProgress, pauses: Pauses) -> str | None:
        for name in progress.chain:
            if progress.stays and name != progress.chain[0]:
                break
            if name in progress.votes and progress.own_name != name:
                continue
            if name not in self.upstreams:
                continue
            if pause := pauses(name, progress.recipient.address):
                progress.pauses[name] = pause
                if not pause.divert:
                    break
                continue
            progress.pauses.pop(name, None)
            return name
        progress.over = True
        self._explain(progress)
        return None

    def _explain(self, progress: ChainProgress) -> None:
        """Notes the reason once for a message whose upstreams all rest."""
        if progress.votes or not progress.pauses or progress.recipient.said:
            return
        name, pause = progress.first_to_wake
        if pause.answer and name not in self._explained:
            self._explained.add(name)
            step = Step(self.upstreams[name], (progress.recipient,))
            self.decided.append((step, judge(pause.answer, step.upstream)))

    def _awaited_by_others(self, name: str, ready: Sequence[ChainProgress]) -> int:
        """How many other recipients may still come to this upstream: called later, one transaction serves them all."""
        others = (progress for progress in self.progress_of.values() if not progress.over and progress not in ready)
        return sum(1 for progress in others if name in progress.chain and name not in progress.votes)

    def record(self, judged: Judged, now: datetime, *, notes: tuple[str, ...] = (), own: bool = False) -> None:
        """Takes the answers of one transaction.  Those without a vote may go in the next step.

        `own`: the message was already in the account's own name, so trying that is no use.
        """
        step = judged.step
        asked = [self.progress_of[each.address] for each in step.recipients]
        again = [progress for progress in asked if progress.own_name]
        doubled = trail.doubled(asked, step, judged.votes, now)
        for address, (answer, verdict) in judged.votes.items():
            progress = self.progress_of[address]
            progress.peers[step.upstream.name] = judged.conversation.peer
            self._take(progress, step, answer, verdict, own=own)
            self._doubt(progress, step, verdict, now)
        fresh = tuple(note for note in notes if note not in self._noted)
        self._noted.update(fresh)
        if fresh and (self._first or step.own_name):
            self.trail.append(trail.repaired(fresh, step, self._began if self._opening else now))
        self._open()
        if again:
            self.trail.append(trail.own_name(step, now))
        self.trail += doubled
        self.trail += trail.tried(step, judged.votes, judged.conversation, now, asked)

    @staticmethod
    def _doubt(progress: ChainProgress, step: Step, verdict: Verdict, now: datetime) -> None:
        """Notes whether an upstream may have taken the message."""
        name = step.upstream.name
        if verdict.blame is Blame.UNCERTAIN:
            progress.doubt(name, now)
        elif progress.maybe_at != name or verdict.fate is not Fate.DEFERRED:
            progress.clear()  # it answered, or another was asked, which the trail tells of

    def _open(self) -> None:
        self.trail += self._opening
        self._opening = []

    def _take(self, progress: ChainProgress, step: Step, answer: Answer, verdict: Verdict, *, own: bool) -> None:
        name = step.upstream.name
        progress.votes.pop(name, None)
        progress.votes[name] = (answer, verdict)
        progress.own_name = ""
        if verdict.own_name and not step.own_name and not own and self._may_use_own_name(step.upstream):
            progress.own_name = name
            self._disliked.add(name)
        elif verdict.fate is Fate.RELAYED:
            progress.over = True
            self.sent = name
            if step.own_name and name in self._disliked:
                self.newly_refused = (name, self._said_as)
        elif not verdict.try_next:
            progress.over = True

    def _may_use_own_name(self, upstream: Upstream) -> bool:
        identity = upstream.identity
        if identity.sender is None or identity.rewrite is Rewrite.NEVER:
            return False
        # a bounce in a person's name would be answered, and that answer again; our own notices are safe
        return self._sender is not None or self.claim.entry.notice

    def _own_name(self, progress: ChainProgress, name: str) -> bool:
        if progress.own_name == name:
            return True
        remembered = (name, self._said_as) in self._refused
        return remembered and self._may_use_own_name(self.upstreams[name])

    def _begun(self, recipient: Recipient, chosen: Chosen) -> ChainProgress:
        route = (recipient.via,) if recipient.via else tuple(dict.fromkeys(chosen.via))
        maybe_at = recipient.maybe_at
        if not maybe_at or recipient.via not in ("", maybe_at) or chosen.discard or chosen.reject:
            since = recipient.maybe_since or self.claim.entry.accepted_at if maybe_at else None
            return ChainProgress(recipient, chosen, route, route, over=not route, maybe_at=maybe_at, maybe_since=since)
        # it may have been taken: only there would the same Message-ID be known for a copy (RFC 1047)
        since = min(recipient.maybe_since or self.claim.entry.accepted_at, self._began)  # the clock may have gone back
        alone = self._began - since < self._faithful
        chain = (maybe_at, *(name for name in route if name != maybe_at))
        if not alone and maybe_at not in route:
            chain = route
        elif not alone and recipient.lost and (recipient.upstream, recipient.stage) == (maybe_at, Stage.CONTENT.value):
            chain = (*chain[1:], maybe_at)  # its reply was lost more than once: the others come first
        over = not route and not alone
        return ChainProgress(recipient, chosen, route, chain, over=over, alone=alone, maybe_at=maybe_at, maybe_since=since)

    def _weigh(self, sizes: Mapping[str, int], now: datetime) -> None:
        """An upstream that is known to take only smaller messages is not called."""
        size = self.claim.entry.size
        for name, upstream in self.upstreams.items():
            known = [limit for limit in (upstream.limits.message, sizes.get(name)) if limit]
            if not known or size <= min(known):
                continue
            answer = too_big(name, min(known), size)
            concerned = [
                progress
                for progress in self.progress_of.values()
                if name in progress.chain and progress.maybe_at != name  # whoever may have it is asked, to be sure
            ]
            verdict = judge(answer, upstream)
            for progress in concerned:
                progress.votes[name] = (answer, verdict)
            if concerned:
                step = Step(upstream, tuple(progress.recipient for progress in concerned))
                answered = {progress.recipient.address: progress.votes[name] for progress in concerned}
                self._opening += trail.tried(step, answered, Conversation(), now)
                if self._first:
                    self.decided.append((step, verdict))

    def retries_in_own_name(self, address: Address) -> bool:
        return bool(self.progress_of[address].own_name)

    def advised(self, sentences: Sequence[str], step: Step, now: datetime, verdict: Verdict | None = None) -> None:
        """Adds advice to the trail, after the answer that it is about."""
        (self._opening or self.trail).append(trail.advised(sentences, step.upstream.name, now, verdict))

    def internal_error(self, words: str, *, hold: bool = False) -> None:
        """A bug ended this attempt: recipients without a certain answer are deferred, or held for a person to look at."""
        self._hold = hold
        answer = Answer(Stage.CONNECT, Reply(451, "4.3.0", words), fault=Fault.INTERNAL)
        verdict = judge(answer)
        for progress in self.progress_of.values():
            if not progress.settled and progress.fate is not Fate.RELAYED and not progress.uncertain:
                progress.votes = {"": (answer, verdict)}
                progress.own_name = ""
            progress.over = True

    @property
    def unsettled(self) -> bool:
        """Whether something has become certain since the last `settle`."""
        return bool(self.trail or self._opening) or any(one.over and not one.settled for one in self.progress_of.values())

    @property
    def relayed(self) -> bool:
        """Whether it was taken for every recipient, so that nobody need be told."""
        return all(one.fate is Fate.RELAYED for one in self.progress_of.values())

    @property
    def waits(self) -> bool:
        """Whether some recipient is deferred because an upstream in its chain rests."""
        deferred = [one for one in self.progress_of.values() if one.over and one.recipient.address not in self._ended]
        return any(progress.why_not or progress.troubled for progress in deferred)

    def settle(
        self, schedule: RetrySchedule, now: datetime, *, age: timedelta | None = None, notify: Address | None = None
    ) -> Settlement:
        """What has become certain since the last call.

        `age` is the message's (default: by the clock), `notify` who is told of a failure (None: nobody; then a failed
        notice of our own needs attention).
        """
        age = now - self.claim.entry.accepted_at if age is None else age
        self._open()
        fresh = [progress for progress in self.progress_of.values() if progress.over and not progress.settled]
        outcomes = [self._outcome(progress, _Terms(schedule, now, age)) for progress in fresh]
        for progress in fresh:
            progress.settled = True
        self._ended.update(each.address for each in outcomes if each.state is not State.QUEUED)
        self.trail += trail.ended(list(zip(outcomes, fresh, strict=True)), now)
        notices = [_notice(self.claim, each, notify, now) for each in outcomes if each.state in _BAD and notify]
        ours = self.claim.entry.notice  # nobody is told of its delay, only of its failure
        late = [] if ours or age < schedule.warn_after else [each for each in outcomes if each.state is State.QUEUED]
        warned = bool(late and notify and not self._warned)
        if warned and notify:
            self._warned = True
            notices += [_notice(self.claim, each, notify, now) for each in late]
            self.trail.append(trail.warned(notify, now))
        unheard = ours and not notify and any(each.state in _BAD for each in outcomes)
        settlement = Settlement(
            tuple(outcomes), tuple(self.trail), tuple(notices), self.sent, self.newly_refused, warned, attention=unheard
        )
        self.trail, self.sent, self.newly_refused = [], "", None
        return settlement

    def _outcome(self, progress: ChainProgress, terms: "_Terms") -> Recipient:
        if not progress.votes and not progress.route and not progress.stays:
            return self._unrouted(progress, terms)
        if progress.votes:
            name, answer = progress.reason
            peer = progress.peers.get(name, "")
            if progress.fate is not Fate.DEFERRED:
                state = State.RELAYED if progress.fate is Fate.RELAYED else State.FAILED
                return outcome(progress.recipient, answer, name, state=state, due_at=terms.now, peer=peer)
            return self._deferred(progress, answer, name, terms, peer)
        if progress.pauses:
            return self._waiting(progress, terms)
        if progress.stays:
            words = f"{progress.maybe_at}, which may have taken this message, is not in the configuration any more"
            return self._deferred(progress, _ours(words), "", terms)
        words = f"no upstream is named {' or '.join(progress.chain)} in the configuration any more"
        return self._deferred(progress, _ours(words), "", terms)

    def _unrouted(self, progress: ChainProgress, terms: "_Terms") -> Recipient:
        chosen = progress.chosen
        if chosen.discard:
            answer = Answer(Stage.CONTENT, Reply(250, "2.0.0", f"discarded by rule {chosen.rule}"), fault=Fault.UNROUTED)
            return outcome(progress.recipient, answer, "", state=State.RELAYED, due_at=terms.now)
        if chosen.reject:
            answer = Answer(Stage.RCPT, Reply(550, "5.7.1", chosen.reject), fault=Fault.REJECTED)
            return outcome(progress.recipient, answer, "", state=State.FAILED, due_at=terms.now)
        words = f"{chosen.why or 'no rule matches'}; mend the routes and the message goes on"
        return self._deferred(progress, _ours(words), "", terms)

    def _deferred(self, progress: ChainProgress, answer: Answer, name: str, terms: "_Terms", peer: str = "") -> Recipient:
        def after(state: State, due_at: datetime) -> Recipient:
            return outcome(progress.recipient, answer, name, state=state, due_at=due_at, peer=peer, maybe=progress.maybe)

        if self._hold:
            return after(State.HELD, terms.now)
        delay = terms.schedule.next(progress.recipient.attempts + 1, terms.age, self.claim.entry.queue_id, progress.wait)
        if delay is None:
            return after(State.EXPIRED, terms.now)
        rest = self._rested(progress, terms)
        progress.rested = rest > terms.now + delay
        return after(State.QUEUED, self._no_later(progress, max(terms.now + delay, rest), terms))

    def _rested(self, progress: ChainProgress, terms: "_Terms") -> datetime:
        """When the first rest ends of those upstreams that may be called next: before that nothing can be sent."""
        names = progress.chain[:1] if progress.stays else progress.chain
        ends = [self._rest_end(progress, name, terms.now) for name in names if name in self.upstreams]
        end = min(ends, default=terms.now)
        left = terms.schedule.give_up_after - max(terms.age, timedelta(0))
        return min(end, terms.now + left) if left > timedelta(0) else end

    def _rest_end(self, progress: ChainProgress, name: str, now: datetime) -> datetime:
        pause = progress.pauses.get(name)
        if pause is None and name in progress.votes and progress.votes[name][1].rests:
            pause = self._pauses(name, progress.recipient.address)
        return max(pause.until, now) if pause else now

    def _no_later(self, progress: ChainProgress, due_at: datetime, terms: "_Terms") -> datetime:
        """A recipient that waits for one upstream alone is due again as soon as another may take it."""
        if not progress.stays or not progress.maybe_since:
            return due_at
        free = progress.maybe_since + self._faithful
        return min(due_at, free) if free > terms.now and len(progress.chain) > 1 else due_at

    def _waiting(self, progress: ChainProgress, terms: "_Terms") -> Recipient:
        """All upstreams rest: due when the first rest ends, and the attempt is not counted."""
        name, pause = progress.first_to_wake
        before = progress.recipient
        # that an upstream failed again and again while this waited shows that the time has really passed, and so do we
        shown = before.attempts + max(each.failures for each in progress.pauses.values())
        if terms.schedule.expired(shown, terms.age, waited=self._waited):
            over = replace(before, state=State.EXPIRED, due_at=terms.now, upstream=name)
            if before.code:
                return over
            if (why := pause.answer) is None:
                return replace(over, said=pause.why, fault=Fault.RESTS)
            said, code, status = readable(why.reply.text), why.reply.code, why.reply.status
            return replace(over, stage=why.stage.value, code=code, status=status, said=said, lost=why.lost, fault=why.fault)
        wait = min(max(pause.until - terms.now, timedelta(seconds=0.2)), terms.schedule.longest)
        wait += min(wait * 0.1, timedelta(seconds=5)) * spread(self.claim.entry.queue_id)
        due_at = self._no_later(progress, terms.now + wait, terms)
        if before.attempts:
            return replace(before, due_at=due_at, fault=None if before.fault in POSTPONED else before.fault)
        return replace(before, due_at=due_at, upstream=name, said=pause.why, fault=Fault.RESTS)


@dataclass(frozen=True, slots=True)
class _Terms:
    """The schedule, time and age that the outcomes are worked out from."""

    schedule: RetrySchedule
    now: datetime
    age: timedelta


def _ours(words: str) -> Answer:
    return Answer(Stage.CONNECT, Reply(451, "4.3.0", words), fault=Fault.UNROUTED)


def _notice(claim: Claim, recipient: Recipient, notify: Address, now: datetime) -> PendingNotice:
    kind = NoticeKind.FAILED if recipient.state in _BAD else NoticeKind.DELAYED
    return PendingNotice(claim.entry.queue_id, kind, notify, recipient, now)


_BAD = (State.FAILED, State.EXPIRED)
