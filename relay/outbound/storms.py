"""Storms and quiet hours: which mail of a device goes at once, what waits, when the waiting becomes a digest.

    first of its kind ── goes at once        more of it ── collected ── digest ── collected ── digest ...

A kind is a subject without its digits.  The first window ends `same_within` after what went last; each further one is
twice as long, up to LONGEST.  A digest is due early once nothing more has come for `same_within`.  What is remembered is
kept by the spool, so that a restart and other relays decide alike.  Pure.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import Enum

from relay.mail.device import Quiet, Storm
from relay.mail.envelope import Envelope
from relay.mail.glob import matching
from relay.spool.entry import ORDERED, PASSED

LONGEST = timedelta(hours=4)
"""From one digest to the next, however long the storm."""
LATER = timedelta(minutes=1)
"""One of the collected messages is due with the digest and makes it; the others are due later, in case that one is gone,
or came too late for it: by this, or by `same_within` if that is less."""

_USUAL = timedelta(minutes=10)  # where only a ceiling is set
_DAY = timedelta(hours=25)  # the one on which the clock is put back
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_SKEW = timedelta(minutes=5)  # by which the clocks of relays that share a spool may differ
_KINDS = 500  # remembered of one device: what is forgotten counts as new, and goes at once
_DIGITS = re.compile(r"\d+")


class Course(Enum):
    """What becomes of a message now."""

    GOES = "goes"
    WAITS = "waits"
    RIPE = "ripe"
    """It waits for a digest that is due now."""


# -- quiet hours -----------------------------------------------------------------------------------------------------------


def quiet_until(quiet: Quiet, now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """When the quiet hours that it is now will be over, in UTC; None outside of them.  `zone` None: this machine's.

    By the wall clock: an hour that a change of the clock leaves out or repeats is quiet if its wall time is.
    """
    end = now
    while (found := _end_of_one(quiet, end, zone)) is not None:
        end = found  # other quiet hours may begin where these end
        if end - now > _DAY:
            return None  # there is no hour that is not quiet, and nothing may wait for ever
    return end.astimezone(UTC) if end > now else None


def _end_of_one(quiet: Quiet, now: datetime, zone: tzinfo | None) -> datetime | None:
    clock = now.astimezone(zone)
    ends = [end for begin, end in quiet.hours if _within(begin, end, clock.time())]
    days = [clock.date() + timedelta(days=number) for number in range(3)]
    moments = [one for end in ends for day in days for one in _readings(datetime.combine(day, end), zone)]
    return min((one for one in moments if one > now), default=None)


def _readings(wall: datetime, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """When the clock reads this, in UTC: twice where it is put back; where it is put on past it, the moment of that."""
    folds = (wall.replace(fold=fold) for fold in (0, 1))
    early, late = sorted((one.replace(tzinfo=zone) if zone else one.astimezone()).astimezone(UTC) for one in folds)
    if late.astimezone(zone).replace(tzinfo=None) == wall:
        return early, late
    while late - early > _SECOND:
        middle = early + (late - early) // 2 // _SECOND * _SECOND
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            early = middle
        else:
            late = middle
    return late, late


def _within(begin: time, end: time, clock: time) -> bool:
    return begin <= clock < end if begin < end else clock >= begin or clock < end


def excepted(quiet: Quiet | None, subject: str) -> bool:
    """Whether mail of this subject goes at any hour."""
    return quiet is not None and matching(quiet.unless, subject) is not None


# -- what is remembered ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """Mail of a device to the same recipients.  `went`: when a message or digest of it went last; `digests` made in a row.

    `due`: when the digest that is being collected is due (None: none is); `last`: when a message was collected last;
    `maker` is the message that is due with the digest.
    """

    went: datetime
    digests: int = 0
    last: datetime | None = None
    due: datetime | None = None
    count: int = 0
    maker: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one device: when each kind came last, how many messages went at once in each minute, its groups."""

    kinds: dict[str, datetime] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)


def written(memory: Memory) -> str:
    """For the spool."""
    groups = {name: asdict(group) for name, group in memory.groups.items()}
    return json.dumps({"kinds": memory.kinds, "sent": memory.sent, "groups": groups}, default=datetime.isoformat)


def read(text: str) -> Memory:
    """What was written; nothing of what another version wrote in another form, so that mail goes at once."""
    try:
        found = json.loads(text) if text else {}
        return Memory(
            {kind: datetime.fromisoformat(at) for kind, at in found.get("kinds", {}).items()},
            {int(minute): int(count) for minute, count in found.get("sent", {}).items()},
            {name: _group(**one) for name, one in found.get("groups", {}).items()},
        )
    except (ValueError, TypeError, AttributeError):
        return Memory()


def _group(went: str, digests: int, last: str | None, due: str | None, count: int, maker: str) -> Group:
    last_at, due_at = (None if one is None else datetime.fromisoformat(one) for one in (last, due))
    return Group(datetime.fromisoformat(went), digests, last_at, due_at, count, maker)


# -- deciding --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A message that is due.  `group` and `kind` are those of `group_of` and `kind_of`."""

    queue_id: str
    group: str
    kind: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of it, what is remembered from now on, its `storm`, when it is due again.

    `digest_at` and `count` are of the digest that it waits for; `fresh`: it does so from now on.
    """

    course: Course
    memory: Memory
    storm: str
    due_at: datetime | None = None
    digest_at: datetime | None = None
    count: int = 0
    fresh: bool = False


def group_of(device: str, envelope: Envelope, *, urgent: bool) -> str:
    """The name of the digest that a message may become part of: of the device's mail from there to there.

    What goes at any hour has its own, so that no quiet hours delay its digest.
    """
    sender = _DIGITS.sub("", str(envelope.reverse_path or ""))
    return _hash([device, sender, urgent, sorted({address.key for address in envelope.forward_paths})])


def kind_of(group: str, subject: str) -> str:
    """Digits, blanks and case do not count."""
    return _hash([group, " ".join(_DIGITS.sub("", subject).split()).casefold()])


def _hash(what: list[object]) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def weigh(memory: Memory, storm: str, case: Case, rule: Storm | None, now: datetime) -> Decision:
    """What becomes of a message that is due.  `storm` as it stands: so it is decided once, also if that is asked again.

    `rule` None: its device has none any more.
    """
    if storm in (PASSED, ORDERED):
        return Decision(Course.GOES, memory, storm)
    if rule is None:
        return Decision(Course.GOES, memory, PASSED)
    memory = _fresh(memory, rule, now)
    if storm:
        group = memory.groups.get(storm)
        if group and group.due:
            if _ripe(group, rule, now):
                return Decision(Course.RIPE, memory, storm)
            return _waits(memory, storm, group, case, rule)
        return _collected(memory, storm, case, rule, now)  # its digest was made without it, or is not remembered
    seen = memory.kinds.get(case.kind)
    same = seen is not None and rule.same_within is not None and now - seen < rule.same_within
    full = rule.per_hour is not None and sum(memory.sent.values()) >= rule.per_hour
    memory = replace(memory, kinds={**memory.kinds, case.kind: now})
    if seen is None or not (same or full):
        return Decision(Course.GOES, _gone(memory, case.group, now), PASSED)
    return _collected(memory, case.group, case, rule, now)


def alone(memory: Memory, storm: str, case: Case, now: datetime) -> Decision:
    """Only one message waits for the digest that is due: it goes as it is."""
    if storm in (PASSED, ORDERED):
        return Decision(Course.GOES, memory, storm)
    group = replace(memory.groups.get(storm, Group(now)), due=None, count=0, maker="")
    memory = replace(memory, kinds={**memory.kinds, case.kind: now}, groups={**memory.groups, storm: group})
    return Decision(Course.GOES, _gone(memory, storm, now), PASSED)


def merged(memory: Memory, storm: str, now: datetime) -> Memory:
    """After its digest was made."""
    group = memory.groups.get(storm, Group(now))
    after = Group(now, group.digests + 1, group.last)
    return replace(memory, groups={**memory.groups, storm: after})


def _gone(memory: Memory, name: str, now: datetime) -> Memory:
    minute = _minute(now)
    group = memory.groups.get(name, Group(now))
    return replace(
        memory,
        sent={**memory.sent, minute: memory.sent.get(minute, 0) + 1},
        groups={**memory.groups, name: replace(group, went=now)},
    )


def _collected(memory: Memory, name: str, case: Case, rule: Storm, now: datetime) -> Decision:
    group = memory.groups.get(name, Group(now))
    base = rule.same_within or _USUAL
    if group.due is None or group.due + 2 * LATER < now:  # those that waited for it are gone
        goes_on = group.last is not None and now - group.last < base
        digests = group.digests if goes_on else 0
        window = min(base * 2 ** min(digests, 20), max(LONGEST, base))
        due = group.went + window
        group = replace(group, digests=digests, due=due if due > now else now + window, count=0, maker=case.queue_id)
    group = replace(group, last=now, count=group.count + 1)
    memory = replace(memory, groups={**memory.groups, name: group})
    return replace(_waits(memory, name, group, case, rule), fresh=True)


def _waits(memory: Memory, name: str, group: Group, case: Case, rule: Storm) -> Decision:
    assert group.due is not None  # noqa: S101 - for the type checker
    look = group.due + min(LATER, rule.same_within or LATER)
    if group.maker == case.queue_id:
        look = min(group.due, _calm(group, rule))
    return Decision(Course.WAITS, memory, name, look, group.due, group.count)


def _calm(group: Group, rule: Storm) -> datetime:
    """When it will be over if nothing more comes."""
    return (group.last or group.went) + (rule.same_within or _USUAL)


def _ripe(group: Group, rule: Storm, now: datetime) -> bool:
    too_far = max(LONGEST, rule.same_within or _USUAL) + _SKEW  # the clock was put back: it would wait too long
    return group.due is not None and (group.due <= now or _calm(group, rule) <= now or group.due - now > too_far)


def _fresh(memory: Memory, rule: Storm, now: datetime) -> Memory:
    """Without what is too old to matter, and without what a clock that was put back shows in the future."""
    horizon = max(_HOUR, rule.same_within or _HOUR)
    known = {kind: at for kind, at in memory.kinds.items() if -_SKEW < now - at < horizon}
    for kind in sorted(known, key=lambda each: known[each])[: max(len(known) - _KINDS, 0)]:
        del known[kind]
    minute = _minute(now)
    return Memory(
        known,
        {each: count for each, count in memory.sent.items() if minute - 60 < each <= minute + _SKEW // _MINUTE},
        {
            name: replace(group, went=min(group.went, now), last=None if group.last is None else min(group.last, now))
            for name, group in memory.groups.items()
            if group.due or now - group.went < max(2 * LONGEST, 2 * horizon)
        },
    )


def _minute(now: datetime) -> int:
    return int(now.timestamp() // 60)
