"""The relay dies at every step of a storm, of quiet hours, of a digest on its way: it goes on as if nothing had happened.

Each time a point is passed, the spool's files are copied as they are at that moment, which is what a kill leaves.  A relay
goes on with each of the copies, by the clock of that moment.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from relay import crash_points
from relay.mail.device import Device, Quiet, Storm
from relay.mail.reply import Answer
from relay.outbound import holding
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolSettings
from relay.spool.entry import Entry
from relay.spool.sqlite.invariants import check_invariants
from tests.support.spooled import quick_directory
from tests.support.storming import DEFERS, REFUSES, TAKES, Night
from tests.support.world import Clock, Ids

EVENING = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
STORM = Storm(timedelta(minutes=10), 30)
NIGHT = Quiet(((time(22), time(7)),), ("*FAIL*",))
CAMERA = Device("cam", helo=("cam",), storm=STORM)
UNHEARD = {"send-answered", "settle-inside"}
"""Where an upstream has taken a message and that is not stored yet: it goes once more, to the same one."""
SENDING = {"claim-leased", "send-prepared", "send-answered", "settle-inside", "settle-durable"}
WEIGHING = {"weigh-inside", "weigh-durable"}
MAKING = {"digest-composed", "digest-inside", "digest-durable"}


@dataclass(frozen=True)
class Story:
    """What comes, until when; what the upstream says; the ends of all, how many each digest counts, which points it meets."""

    device: Device
    parts: tuple[tuple[tuple[str, ...], timedelta], ...]
    ends: dict[str, int]
    digests: tuple[int, ...]
    points: set[str]
    answer: Callable[[Night], Answer] = lambda night: TAKES


def refused_later(night: Night) -> Answer:
    """The first is taken, the digest is refused."""
    return REFUSES if night.clock() > EVENING else TAKES


def late(night: Night) -> Answer:
    """The digest is deferred once."""
    return DEFERS if night.clock() == EVENING + timedelta(minutes=10) else TAKES


MINUTES = timedelta(minutes=1)
STORIES = {
    "a digest": Story(
        CAMERA,
        ((("Motion 1", "Motion 2", "Motion 3"), 11 * MINUTES),),
        {"relayed": 1, "merged": 2},
        (2,),
        SENDING | WEIGHING | MAKING,
    ),
    "one alone, which is no digest": Story(
        CAMERA, ((("Motion 1", "Motion 2"), 11 * MINUTES),), {"relayed": 2}, (), SENDING | WEIGHING
    ),
    "more while the digest waits for its upstream": Story(
        CAMERA,
        (
            (("Motion 1", "Motion 2", "Motion 3"), 9 * MINUTES),
            (("Motion 4",), 3 * MINUTES),
            (("Motion 5", "Motion 6"), 60 * MINUTES),
        ),
        {"relayed": 1, "merged": 5},
        (3, 2),
        SENDING | WEIGHING | MAKING,
        late,
    ),
    "a digest that is refused": Story(
        CAMERA,
        ((("Motion 1", "Motion 2", "Motion 3"), 11 * MINUTES),),
        {"relayed": 1, "failed": 2},
        (),
        SENDING | WEIGHING | MAKING,
        refused_later,
    ),
    "quiet hours": Story(
        Device("nas", helo=("cam",), quiet=NIGHT),
        ((("Backup done 1", "Disk FAIL", "Backup done 2"), timedelta(hours=9)),),
        {"relayed": 3},
        (),
        SENDING,
    ),
    "a storm in quiet hours": Story(
        Device("nas", helo=("cam",), quiet=NIGHT, storm=STORM),
        ((("Motion 1", "Disk FAIL", "Motion 2", "Motion 3"), timedelta(hours=9, minutes=11)),),
        {"relayed": 2, "merged": 2},
        (2,),
        SENDING | WEIGHING | MAKING,
    ),
}


@dataclass(frozen=True)
class Death:
    """At which point and in which part of the story, the copy of the files, and what the world had seen by then."""

    point: str
    files: Path
    part: int
    now: datetime
    sent: list[tuple[datetime, Entry, bytes]]
    accepted: list[str]
    delivered: Counter[tuple[str, str]]


@dataclass
class Playing:
    """A story from the beginning, with a death at each step; or what is left of it after one of them."""

    story: Story
    night: Night
    copies: Path | None = None
    part: int = 0
    deaths: list[Death] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.night.answer = lambda recipient: self.story.answer(self.night)

    def passed(self, point: str) -> None:
        if self.copies is None or not point.startswith(("claim", "send", "settle", "weigh", "digest")):
            return
        night, files = self.night, self.copies / f"{len(self.deaths)}"
        assert night.home
        shutil.copytree(night.home, files, ignore=shutil.ignore_patterns("*-shm"))
        seen = list(night.sent), list(night.accepted), night.delivered.copy()
        self.deaths.append(Death(point, files, self.part, night.clock(), *seen))

    async def play(self, *, begun: bool = False) -> None:
        """To the end, which must be the story's.  `begun`: what comes in this part has come."""
        for number, (subjects, _) in enumerate(self.story.parts):
            if number < self.part:
                continue
            for subject in () if begun and number == self.part else subjects:
                await self.night.accept(subject)
            self.part = number
            await self.night.until(EVENING + sum((span for _, span in self.story.parts[: number + 1]), timedelta()))
        assert await self.night.accounted_for() == self.story.ends
        digests = {entry.queue_id: entry.merges for _, entry, _ in self.night.digests()}
        assert sorted(digests.values()) == sorted(self.story.digests)


async def go_on(story: Story, death: Death) -> None:
    """With the copy."""
    clock = Clock(death.now)
    spool = await open_spool(SpoolSettings(f"sqlite:{death.files}/spool.db", keep_free=0), now=clock)
    seen = {"sent": list(death.sent), "accepted": list(death.accepted), "delivered": death.delivered.copy()}
    night = Night(spool, clock, [story.device], Ids(1000), zone=UTC, home=death.files, **seen)
    try:
        await holding.forget_relayed(night.in_hand, spool)
        unheard = [each for each in death.delivered if not await over(spool, *each)]
        assert len(unheard) == (death.point in UNHEARD and bool(unheard))
        night.delivered.subtract(unheard)
        await Playing(story, night, part=death.part).play(begun=True)
    finally:
        await spool.close()
    assert check_invariants(death.files / "spool.db") == []


async def over(spool: Spool, queue_id: str, key: str) -> bool:
    stored = await spool.entry(queue_id)
    return bool(stored and all(one.state.over for one in stored.recipients if one.address.key == key))


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_a_death_at_any_step_changes_nothing(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither lost nor doubled, and the same digests; what an upstream took unheard comes once more, and nothing else."""
    with quick_directory() as directory:
        home, copies = Path(directory) / "home", Path(directory) / "copies"
        home.mkdir()
        clock = Clock(EVENING)
        spool = await open_spool(SpoolSettings(f"sqlite:{home}/spool.db", keep_free=0), now=clock)
        playing = Playing(story, Night(spool, clock, [story.device], zone=UTC, home=home), copies)
        try:
            monkeypatch.setattr(crash_points, "passed", playing.passed)
            await playing.play()
        finally:
            monkeypatch.undo()
            await spool.close()
        assert story.points <= {death.point for death in playing.deaths}
        for number, death in enumerate(playing.deaths):
            try:
                await go_on(story, death)
            except AssertionError as error:
                error.add_note(f"after a death at {death.point}, the {number}th of {len(playing.deaths)}")
                raise
