"""What must hold of a world that was played: each function names one promise, and yields what breaks it.

The relay's own words (states, trail, log) are held against the world's record: what upstreams took and said, what
devices heard.  Excuses are only those that docs/concepts.md names, each with the moment that it needs.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from tests.simulation.plan import CONNECTIONS, DAY, MINUTE, PER_DAY, PER_MINUTE, WARN_AFTER
from tests.simulation.upstreams import CALLS, RCPT, Take
from tests.simulation.world import Household, Promise

OVER = ("relayed", "failed", "expired", "merged")
BAD = ("failed", "expired")
MOMENT = 0.5
"""Seconds between an upstream's 250 and our note of it, at most: thread and network take some hundredths."""

Check = Callable[[Household], Iterator[str]]


def violations(world: Household) -> list[str]:
    """All that is broken, in words that begin with the name of the check."""
    found = [f"seen: {one}" for one in world.broken] + [f"loop: {one}" for one in world.kernel.complaints]
    for check in CHECKS:
        found += [f"{check.__name__}: {one}" for one in check(world)]
    return found


def _removed(world: Household) -> set[str]:
    return {queue_id for _, action, queue_id, _ in world.ordered if action == "remove"}


def _told(world: Household) -> Iterator[tuple[Promise, dict[str, Any]]]:
    removed = _removed(world)
    for promise in world.promises:
        if promise.queue_id and promise.queue_id not in removed and promise.queue_id in world.stories:
            yield promise, world.stories[promise.queue_id]


def _within(moments: list[float], begins: float, ends: float) -> bool:
    return any(begins <= one <= ends for one in moments)


def _takes(world: Household) -> dict[str, list[Take]]:
    """By recipient; those of notices by their Message-ID, too."""
    found: dict[str, list[Take]] = defaultdict(list)
    for take in world.record.takes:
        key = take.recipient if RCPT.match(take.recipient) else f"{take.recipient} {take.message_id}"
        found[key].append(take)
    return found


def lost(world: Household) -> Iterator[str]:
    """Every 250 is in the spool, and has ended in exactly one fate."""
    removed = _removed(world)
    for promise in world.promises:
        if promise.queue_id and promise.queue_id not in removed and promise.queue_id not in world.stories:
            yield f"{promise.queue_id} (message {promise.number}) was promised and is not there"
    for promise, story in _told(world):
        addresses = sorted(one["address"] for one in story["recipients"])
        if addresses != sorted(promise.recipients):
            yield f"{promise.queue_id} has {addresses} instead of {promise.recipients}"
        for one in story["recipients"]:
            if one["state"] not in OVER:
                yield f"{promise.queue_id} to {one['address']} is still {one['state']}: {one['said']}"


def fates(world: Household) -> Iterator[str]:
    """One fate for each recipient: the trail has one more than orders gave it anew, and the last is its state."""
    for _, story in _told(world):
        for one in story["recipients"]:
            lines = [line for line in story["trail"] if one["address"] in line.get("to", ()) and line["event"] in OVER]
            again = sum(line["event"] == "released" for line in story["trail"])
            if not lines or len(lines) > 1 + again or lines[-1]["event"] != one["state"]:
                yield f"{story['id']} to {one['address']} is {one['state']}; its trail has {[line['event'] for line in lines]}"


def truth(world: Household) -> Iterator[str]:
    """Relayed: that upstream has it.  Failed or given up: none said that it took it, but for what we could not note."""
    takes, (refusals, _) = _takes(world), _refusals(world)
    for _, story in _told(world):
        for one in story["recipients"]:
            had = takes.get(one["address"], [])
            if one["state"] == "relayed" and not any(take.upstream == one["upstream"] for take in had):
                yield f"{story['id']} is relayed by {one['upstream']}, which does not have it for {one['address']}"
            if one["state"] == "failed" and not any(refusals.get((one["address"], name)) for name in world.upstreams):
                yield f"{story['id']} to {one['address']} failed, and no upstream refused it"
            said = [take for take in had if take.heard and not _within(world.crashes, take.at, take.at + MOMENT)]
            if one["state"] in BAD and said:
                yield f"{story['id']} to {one['address']} is {one['state']}, but {said[0].upstream} took it"
    for one in world.promises:
        if one.queue_id in _removed(world):
            continue
        refused = one.said[:1] in ("4", "5") and one.said[:3] not in ("421", "451")  # these come when it is stopped meanwhile
        if refused and any(takes.get(to) for to in one.recipients):
            yield f"message {one.number} was refused with {one.said!r} and sent all the same"


def doubles(world: Household) -> Iterator[str]:
    """Twice only in the windows of docs/concepts.md, with the same Message-ID, and by another upstream only after 4 hours."""
    orders = {(queue_id, via) for _, action, queue_id, via in world.ordered if action == "release"}
    released = {queue_id for queue_id, _ in orders}
    ids = {to: one.queue_id for one in world.promises for to in one.recipients}
    refusals, losses = _refusals(world)
    for key, had in _takes(world).items():
        to = key.split(" ")[0]
        if ids.get(to, "") in released:
            continue  # an order may send it again
        for place, take in enumerate(had[1:], 1):
            before = had[:place]
            sure = [one for one in before if one.heard and not _within(world.crashes, one.at, one.at + MOMENT)]
            if sure:
                yield f"{key} was taken by {sure[0].upstream} at {_at(sure[0].at)}, and by {take.upstream} at {_at(take.at)}"
            if take.message_id != before[-1].message_id and RCPT.match(to):
                yield f"{key} was taken as {before[-1].message_id} and as {take.message_id}"
            for one in before:
                if one.upstream == take.upstream or _within(world.jumps, one.at, take.at):
                    continue
                free = any(one.at < at < take.at for at in refusals.get((to, one.upstream), ()))
                since = losses.get((to, one.upstream), one.at)
                if since + WARN_AFTER > take.at + 1 and not free and one not in sure:
                    yield f"{key} may be at {one.upstream} since {_at(one.at)}, and {take.upstream} got it at {_at(take.at)}"


def _refusals(world: Household) -> tuple[dict[tuple[str, str], list[float]], dict[tuple[str, str], float]]:
    """When an upstream refused a recipient for good; when it first left a final dot without an answer."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    losses: dict[tuple[str, str], float] = {}
    asked: dict[str, tuple[float, int, list[str]]] = {}  # by upstream: the last MAIL, its code, and its recipients
    for at, name, what, about, code in world.record.contacts:
        if what == "mail":
            asked[name] = (at, code, [])
        elif what == "rcpt" and name in asked:
            asked[name][2].append(about)
            if code >= 500 or asked[name][1] >= 500:
                found[about, name].append(at)
        elif what == "data" and code >= 500 and name in asked:
            for to in asked[name][2]:
                found[to, name].append(at)
        elif what == "dot":
            for to in about.split(","):
                if code >= 500:
                    found[to, name].append(at)
                elif not code:
                    losses.setdefault((to, name), at)
    return found, losses


def told(world: Household) -> Iterator[str]:
    """Every failure of a device's mail comes to a person, or needs attention; and one failure makes one notice."""
    heard: dict[str, set[str]] = defaultdict(set)
    for _, _, notice, named, subject in world.record.notices:
        if subject.startswith("Not delivered"):
            for queue_id in named:
                heard[queue_id].add(notice)
    for promise, story in _told(world):
        failures = sum(line["event"] in BAD for line in story["trail"])
        notices = {line["notice"] for line in story["trail"] if line["event"] == "noticed" and line.get("notice")}
        delays = sum(line["event"] == "warned" for line in story["trail"])
        if not any(one["state"] in BAD for one in story["recipients"]):
            continue
        if not promise.sender:
            continue  # a null reverse-path: nobody may be told
        if not heard[promise.queue_id] and not story["attention"] and not _in_sight(world, notices):
            yield f"{promise.queue_id} failed, and nobody heard of it"
        most = failures * len(story["recipients"]) + delays
        if (came := max(len(notices), len(heard[promise.queue_id]))) > most:
            yield f"{promise.queue_id} failed {failures} times and has {came} notices"
    for queue_id, story in world.stories.items():
        if story.get("notice") and any(one["state"] not in OVER for one in story["recipients"]):
            yield f"the notice {queue_id} has not ended"


def _in_sight(world: Household, notices: set[str]) -> bool:
    """A notice failed itself: its failure is told, or needs attention."""
    known = [world.stories[one] for one in notices if one in world.stories]
    return any(one["attention"] or any(line["event"] == "noticed" for line in one["trail"]) for one in known)


def limits(world: Household) -> Iterator[str]:
    """No upstream has more connections, messages a minute and a day than its limits say."""
    for name, most in CONNECTIONS.items():
        if world.upstreams[name].most > most + 1:  # one that says QUIT
            yield f"{name} had {world.upstreams[name].most} connections at once"
    mails = [at for at, name, what, _, code in world.record.contacts if (name, what) == ("isp", "mail") and code != 421]
    excused = [*world.jumps, *world.woken]
    for place in range(len(mails) - PER_MINUTE):
        first, last = mails[place], mails[place + PER_MINUTE]
        if last - first < MINUTE - 15 and not _within(excused, first - MINUTE, last):  # counted before it is called
            yield f"isp was sent {PER_MINUTE + 1} messages within {last - first:.0f} s at {_at(first)}"
    if not world.jumps:
        days: dict[Any, set[str]] = defaultdict(set)
        for take in world.record.takes:
            if take.upstream == "isp" and take.heard and not _within(world.crashes, take.at, take.at + MOMENT):
                days[take.wall.date()].add(f"{take.message_id} {int(take.at)}")
        for day, sent in days.items():
            if len(sent) > PER_DAY:
                yield f"isp was sent {len(sent)} messages on {day}"


def rests(world: Household) -> Iterator[str]:
    """An upstream that cannot be reached is left alone for a minute, then longer."""
    excused = [*world.woken, *world.jumps]
    for name, upstream in world.upstreams.items():
        calls = [at for at, who, what, _, _ in world.record.contacts if (who, what) == (name, "connect")]
        for spell in upstream.spells:
            if spell.mood not in CALLS or any(_overlaps(spell, other) for other in upstream.spells if other is not spell):
                continue
            heads: list[float] = []
            for at in calls:
                if spell.begins + 25 < at < spell.ends and (not heads or at > heads[-1] + 21):
                    heads.append(at)
            for one, other in pairwise(heads):
                if other - one < MINUTE - 1 and not _within(excused, one - 1, other):
                    yield f"{name} ({spell.mood}) was called at {_at(one)} and again {other - one:.0f} s later"
            woken = sum(spell.begins <= one <= spell.ends for one in excused)
            most = (8 + (spell.ends - spell.begins) / 3300) * (1 + woken)
            if len(heads) > most:
                yield f"{name} ({spell.mood}) was called {len(heads)} times in {(spell.ends - spell.begins) / 3600:.1f} h"


def _overlaps(one: Any, other: Any) -> bool:
    return bool(one.begins < other.ends and other.begins < one.ends)


def passwords(world: Household) -> Iterator[str]:
    """A password that was refused is not tried again within `rest_login`."""
    excused = [*world.woken, *world.jumps]
    tries = [(at, code) for at, name, what, _, code in world.record.contacts if (name, what) == ("isp", "auth")]
    for place, (at, code) in enumerate(tries):
        if code != 535:
            continue
        soon = [
            other for other, _ in tries[place + 1 :] if other - at < 15 * MINUTE - 1 and not _within(excused, at - 1, other)
        ]
        later = [other for other in soon if other - at > 1.0]
        if later or len(soon) >= CONNECTIONS["isp"]:
            yield f"the password was refused at {_at(at)} and tried again {soon[0] - at:.1f} s later"


def waits(world: Household) -> Iterator[str]:
    """A recipient is tried again after a minute at the earliest, and not without end."""
    excused = [*world.woken, *world.jumps]
    tries: dict[tuple[str, str], list[float]] = defaultdict(list)
    for at, name, what, about, _ in world.record.contacts:
        if what == "rcpt" and RCPT.match(about):
            tries[about, name].append(at)
    for (to, name), moments in tries.items():
        for one, other in pairwise(moments):
            if 5.0 < other - one < MINUTE - 12 and not _within(excused, one - 30, other):
                yield f"{to} was tried by {name} at {_at(one)} and again {other - one:.1f} s later"
        most = 60 + 8 * sum(1 for one in world.woken) + 8 * len(world.jumps)
        if len(moments) > most:
            yield f"{to} was tried {len(moments)} times by {name}"


def patience(world: Household) -> Iterator[str]:
    """Nothing is given up before five days are over, and nothing is tried after them; nothing goes while it is held."""
    if world.jumps:
        return
    last: dict[str, float] = {}
    for at, _, what, about, _ in world.record.contacts:
        if what == "rcpt":
            last[about] = at
    released = {queue_id for _, action, queue_id, _ in world.ordered if action == "release"}
    for promise, story in _told(world):
        for line in story["trail"]:
            age = datetime.fromisoformat(line["at"]) - promise.wall
            if line["event"] == "expired" and age < timedelta(days=5) - timedelta(seconds=90):
                yield f"{story['id']} was given up after {age}"
        for to in promise.recipients:
            if last.get(to, 0.0) > promise.at + 5.3 * DAY and promise.queue_id not in released | _held(world):
                yield f"{promise.queue_id} was tried {(last[to] - promise.at) / DAY:.1f} days after its promise"
    for begins, ends, queue_id in _holds(world):
        taken = [take for take in world.record.takes for one in _by_id(world, queue_id) if take.recipient in one.recipients]
        if late := [take for take in taken if begins + 300 < take.at < ends]:
            yield f"{queue_id} was held at {_at(begins)}, and {late[0].upstream} got it at {_at(late[0].at)}"


def _by_id(world: Household, queue_id: str) -> list[Promise]:
    return [one for one in world.promises if one.queue_id == queue_id]


def _held(world: Household) -> set[str]:
    return {queue_id for _, action, queue_id, _ in world.ordered if action == "hold"}


def _holds(world: Household) -> Iterator[tuple[float, float, str]]:
    """From an order to hold until the next release; those that a death may have undone are left out."""
    for at, action, queue_id, _ in world.ordered:
        if action == "hold" and not _within(world.crashes, at, at + 1):
            ends = [end for end, what, which, _ in world.ordered if what == "release" and which == queue_id and end > at]
            yield at, min(ends, default=world.released_at), queue_id


def trail(world: Household) -> Iterator[str]:
    """The trail tells what the upstreams said, and all of it."""
    said: Counter[tuple[str, str, int]] = Counter()
    last: dict[tuple[str, str], float] = {}
    for at, name, what, about, code in world.record.contacts:
        if what in ("rcpt", "dot") and code and (what == "dot" or code >= 400):
            for to in about.split(","):
                if not _within(world.crashes, at, at + MOMENT):
                    said[to, name, code] += 1
                last[to, name] = at
    for _, story in _told(world):
        for one in story["recipients"]:
            lines = [line for line in story["trail"] if line["event"] in ("tried", "relayed") and one["address"] in line["to"]]
            for name in world.upstreams:
                codes = {line["code"] for line in lines if line.get("upstream") == name}
                for code in (250, 450, 452, 550):
                    if said[one["address"], name, code] and code not in codes and _recorded(world, code):
                        yield f"{name} said {code} about {one['address']}; the trail of {story['id']} has {sorted(codes)}"
                if 250 in codes and not any(take.upstream == name for take in _takes_of(world, one["address"])):
                    yield f"the trail of {story['id']} has a 250 of {name} that it did not say"


def _recorded(world: Household, code: int) -> bool:
    return not world.jumps or code == 250


def _takes_of(world: Household, to: str) -> list[Take]:
    return [take for take in world.record.takes if take.recipient == to]


def prompt(world: Household) -> Iterator[str]:
    """While all is well, mail goes within a minute, whatever another upstream or device does."""
    busy = [*world.away, *world.strains]
    firsts: dict[str, float] = {}
    for take in world.record.takes:
        firsts.setdefault(take.recipient, take.at)
    spells = world.upstreams["alt"].spells
    for promise, story in _told(world):
        begins, ends = promise.at - 75 * MINUTE, promise.at + 3 * MINUTE
        if any(one.begins < ends and begins < one.ends for one in spells) or any(a - 60 < ends and begins < b for a, b in busy):
            continue
        if _within(world.jumps, begins, ends) or any(line["event"] in ("held", "released") for line in story["trail"]):
            continue
        for to in promise.recipients:
            if to.startswith("ok-") and to.endswith("@b.example") and firsts.get(to, 1e12) > promise.at + MINUTE:
                yield f"{promise.queue_id} to {to} went {firsts.get(to, 1e12) - promise.at:.0f} s after its promise"


def bounded(world: Household) -> Iterator[str]:
    """At the end nothing is in hand, and no connection is open."""
    loop = world.loop
    if loop is None or loop.dead or world.relay._services is None:
        return
    runner = world.relay._services.runner
    left = {
        "claims": len(runner._claims),
        "connections of devices": world.relay.inbound.connections,
        "connections to upstreams": sum(one.open for one in world.upstreams.values()),
        "marks in hand": len(world.relay._in_hand._marks),
        "transactions under way": sum(map(len, runner._states._under_way.values())),
        "parked messages": sum(map(len, runner._states._parked.values())),
        "booked slots": sum(map(len, runner._states.rate_limit._booked.values())),
    }
    yield from (f"{number} {what} at the end" for what, number in left.items() if number)
    if len(loop.tasks) > 25:
        yield f"{len(loop.tasks)} tasks at the end"


def quiet(world: Household) -> Iterator[str]:
    """The relay never meets an error of its own."""
    for at, event, fields in world.logged:
        full = fields.get("error") == "SpoolFull" and any(begins <= at <= ends + 60 for begins, ends in world.strains)
        if event == "broken" and not full:
            yield f"{_at(at)} {fields.get('text')} {fields.get('error', '')} {fields.get('where', '')}"


def file(world: Household) -> Iterator[str]:
    """The invariants of schema.sql."""
    from relay.spool.sqlite.invariants import check_invariants

    yield from check_invariants(world.directory / "spool" / "spool.db")


def _at(moment: float) -> str:
    days, rest = divmod(moment - 1005.0, 86_400)
    return f"day {int(days)} {int(rest // 3600):02d}:{rest % 3600 / 60:05.2f}"


CHECKS: tuple[Check, ...] = (
    *(lost, fates, truth, doubles, told, limits, rests, passwords, waits, patience, trail, prompt, bounded, quiet, file),
)
