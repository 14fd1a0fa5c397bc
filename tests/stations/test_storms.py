"""Stories of storms and quiet hours: a camera's night, a NAS that may wake nobody but for a failure.

The clock is moved by the test; spool, decisions and digests are the real ones.
"""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from relay.mail.device import Device, Quiet, Storm
from relay.mail.reply import Fault
from relay.outbound.trail import words
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import Action, Order, State
from tests.support.spooled import quick_directory
from tests.support.storming import DEFERS, LATE, TAKES, Night
from tests.support.world import Clock

TOKYO = ZoneInfo("Asia/Tokyo")
EVENING = datetime(2026, 11, 22, 22, 0, tzinfo=TOKYO).astimezone(UTC)
CAMERA = Device("camera", helo=("cam",), storm=Storm(timedelta(minutes=10), 30))
NAS = Device("nas", helo=("cam",), quiet=Quiet(((time(22), time(7)),), ("*FAIL*", "*critical*")))
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def night():
    clock = Clock(EVENING)
    with quick_directory() as directory:
        spool = await open_spool(SpoolSettings(f"sqlite:{directory}/spool.db", keep_free=0), now=clock)
        made = Night(spool, clock, [CAMERA], zone=TOKYO)
        yield made
        await made.spool.close()


def devices(night: Night, *devices: Device) -> None:
    night.devices = devices


async def test_a_camera_that_sends_all_night(night: Night) -> None:
    """The owner gets the first at once and a handful of digests, the first one after ten minutes; nothing is lost."""
    for number in range(240):
        await night.until(EVENING + number * 2 * MINUTE)
        await night.accept(f"Motion at {number // 30:02}:{number % 30 * 2:02}", body=f"frame {number}")
        await night.work()
    await night.end()
    assert night.sent[0][0] == EVENING and not night.sent[0][1].merges
    digests = night.digests()
    assert len(night.sent) == 1 + len(digests)
    assert len(digests) <= 6
    assert sum(entry.merges for _, entry, _ in digests) == 239
    assert digests[0][0] == EVENING + 10 * MINUTE
    assert await night.accounted_for() == {"relayed": 1, "merged": 239}
    last = night.sent[-1]
    assert last[0] <= EVENING + timedelta(hours=8) + 10 * MINUTE  # no later than ten minutes after the last of them
    assert b"frame 239" in last[2]


async def test_a_digest_says_what_came(night: Night) -> None:
    """How many, the first, the last, each subject with its number, and the text of the last one."""
    subjects = ["Motion 1", "Motion 1", "Motion 2", "=?utf-8?B?5YuV5L2T5qSc55+lIDE=?=", "Motion 1"]
    for number, subject in enumerate(["Motion 0", "=?utf-8?B?5YuV5L2T5qSc55+lIDE=?=", *subjects]):
        night.clock.advance(seconds=30)
        await night.accept(subject, body=f"frame {number}", to=("me@isp.example", "you@isp.example"))
    await night.work()
    await night.end()
    (at, entry, octets) = night.digests()[0]
    message = email.message_from_bytes(octets, policy=email.policy.default)
    text = message.get_content()
    assert message["subject"] == "5 more: Motion 1"
    assert (message["from"], message["to"], message["auto-submitted"]) == (
        "cam@lan.example",
        "me@isp.example",
        "auto-generated",
    )
    assert [str(one) for one in entry.envelope.forward_paths] == ["me@isp.example", "you@isp.example"]
    assert (str(entry.envelope.reverse_path), entry.origin.client) == ("cam@lan.example", "192.168.0.7")
    assert "The device camera sent 5 more messages" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert {"3 x Motion 1", "1 x Motion 2", "1 x 動体検知 1"} <= set(lines)
    assert "first 2026-11-22 22:01:30 JST" in lines and "last 2026-11-22 22:03:30 JST" in lines
    assert "frame 6" in text and "frame 5" not in text
    assert at - EVENING <= 14 * MINUTE


async def test_the_trail_says_why_a_message_waits_and_where_it_ended(night: Night) -> None:
    ids = [await night.accept(f"Motion {number}") for number in range(3)]
    await night.work()
    stored = await night.stored(ids[2])
    assert (stored.recipients[0].fault, stored.together) == (Fault.DIGEST, 2)
    assert words(stored.trail[-1]) == (
        "me@isp.example: number 2 in a digest due by 2026-11-22 13:10:00 UTC (device camera repeats itself)"
    )
    await night.end()
    stored = await night.stored(ids[2])
    digest = stored.recipients[0].merged_into
    assert words(stored.trail[-1]) == f"me@isp.example: one of 2 in the digest {digest}"
    own = (await night.stored(digest)).trail
    assert words(own[0]) == "a digest of 2 messages of the device camera"


async def test_other_mail_of_the_storm_is_not_held_up(night: Night) -> None:
    """Another kind goes at once; so does another device's; so does the same kind to other people."""
    for number in range(3):
        await night.accept(f"Motion {number}")
    await night.accept("Disk FAIL")
    await night.accept("Motion 7", to=("you@isp.example",))
    devices(night, Device("camera", client=(), helo=("no",), storm=CAMERA.storm), CAMERA)
    await night.work()
    assert len(night.sent) == 3
    await night.end()
    assert [entry.merges for _, entry, _ in night.digests()] == [2]


async def test_what_an_upstream_deferred_is_not_merged(night: Night) -> None:
    """The first waits for the upstream and goes by itself; the others are merged as they would be anyway, once."""
    working = False
    night.answer = lambda recipient: TAKES if working else DEFERS
    ids = [await night.accept(f"Motion {number}") for number in range(4)]
    await night.work()
    await night.until(EVENING + 10 * MINUTE + 2 * LATE)
    assert not night.sent
    working = True
    await night.end()
    assert sorted(entry.merges for _, entry, _ in night.sent) == [0, 3]
    assert (await night.stored(ids[0])).recipients[0].state is State.RELAYED
    await night.accounted_for()


async def test_a_nas_is_quiet_at_night_but_for_a_failure(night: Night) -> None:
    """What comes in the quiet hours goes when they end, local time; a failure at once; in the day all goes at once."""
    devices(night, NAS)
    night.clock.jump(EVENING - MINUTE)
    await night.accept("Backup done")
    await night.work()
    assert [at for at, *_ in night.sent] == [EVENING - MINUTE]
    night.clock.jump(EVENING + 3 * MINUTE)
    waits = [await night.accept(f"Backup done {number}") for number in range(3)]
    await night.accept("Disk FAIL")
    await night.work()
    assert [entry.queue_id for _, entry, _ in night.sent][1:] == [night.accepted[-1]]
    stored = await night.stored(waits[0])
    morning = datetime(2026, 11, 23, 7, 0, tzinfo=TOKYO)
    assert (stored.recipients[0].fault, stored.recipients[0].due_at) == (Fault.QUIET, morning)
    assert words(stored.trail[-1]) == "me@isp.example: quiet until 07:00 (device nas)"
    await night.end()
    assert [at for at, *_ in night.sent[2:]] == [morning] * 3
    assert await night.accounted_for() == {"relayed": 5}


async def test_quiet_hours_hold_for_what_an_upstream_deferred_before_them(night: Night) -> None:
    devices(night, NAS)
    night.clock.jump(EVENING - MINUTE)
    night.answer = lambda recipient: DEFERS
    await night.accept("Backup done")
    await night.work()
    night.answer = lambda recipient: TAKES
    await night.until(EVENING + timedelta(hours=3))
    assert not night.sent
    await night.end()
    assert [at for at, *_ in night.sent] == [datetime(2026, 11, 23, 7, 0, tzinfo=TOKYO)]


async def test_a_quiet_storm_is_one_message_and_a_digest_in_the_morning(night: Night) -> None:
    """Both rules: nothing at night, at seven the first, at ten past a digest.  Failures at night have a digest at night."""
    both = Device("cam", helo=("cam",), quiet=NAS.quiet, storm=CAMERA.storm)
    devices(night, both)
    for number in range(100):
        await night.until(EVENING + number * 5 * MINUTE)
        await night.accept(f"Motion {number}")
        for disk in range(3 if number % 10 == 0 else 0):
            await night.accept(f"Disk {disk} FAIL")
        await night.work()
    at_night = [entry.merges for at, entry, _ in night.sent if at < datetime(2026, 11, 23, 7, 0, tzinfo=TOKYO)]
    assert 0 in at_night and any(at_night)
    assert all(b"FAIL" in octets for at, _, octets in night.sent if at < datetime(2026, 11, 23, 7, 0, tzinfo=TOKYO))
    await night.end()
    motion = [
        (at, entry.merges) for at, entry, octets in night.sent if b"Subject: Motion" in octets or b"more: Motion" in octets
    ]
    assert [merges for _, merges in motion] == [0, 99]
    assert motion[0][0] == datetime(2026, 11, 23, 7, 0, tzinfo=TOKYO)
    await night.accounted_for()


async def test_a_storm_that_began_before_the_quiet_hours_ends_in_the_morning(night: Night) -> None:
    devices(night, Device("cam", helo=("cam",), quiet=NAS.quiet, storm=CAMERA.storm))
    night.clock.jump(EVENING - MINUTE)
    for number in range(5):
        await night.accept(f"Motion {number}")
    await night.work()
    await night.end()
    assert [entry.merges for _, entry, _ in night.sent] == [0, 4]
    assert datetime(2026, 11, 23, 7, 0, tzinfo=TOKYO) <= night.sent[1][0] <= datetime(2026, 11, 23, 7, 1, tzinfo=TOKYO)


async def test_a_person_can_have_one_at_once(night: Night) -> None:
    """Retry of one that waits for morning, release of one that was merged: at once, whatever the hour and the storm."""
    devices(night, NAS)
    quiet = await night.accept("Backup done")
    await night.work()
    assert await night.spool.order(Order(Action.RETRY, (quiet,)), night.clock()) == 1
    await night.work()
    assert night.sent_ids() == [quiet]
    devices(night, CAMERA)
    ids = [await night.accept(f"Motion {number}") for number in range(3)]
    await night.end()
    assert await night.spool.order(Order(Action.RELEASE, (ids[2],)), night.clock()) == 1
    await night.work()
    assert night.sent_ids()[-1] == ids[2]
    assert (await night.stored(ids[2])).recipients[0].state is State.RELAYED


async def test_a_reload_wakes_all_and_changes_nothing_but_the_rules(night: Night) -> None:
    ids = [await night.accept(f"Motion {number}") for number in range(4)]
    await night.work()
    trail = len((await night.stored(ids[2])).trail)
    await night.spool.order(Order(Action.RETRY, None, by_hand=False), night.clock())
    await night.work()
    assert len(night.sent) == 1 and len((await night.stored(ids[2])).trail) == trail
    devices(night)
    await night.spool.order(Order(Action.RETRY, None, by_hand=False), night.clock())
    await night.work()
    assert [entry.merges for _, entry, _ in night.sent] == [0, 0, 0, 0]
    assert await night.accounted_for() == {"relayed": 4}


async def test_a_digest_whose_last_message_cannot_be_read_tells_the_rest(night: Night) -> None:
    for number in range(3):
        await night.accept(f"Motion {number}")
    await night.work()

    async def unreadable(queue_id):
        found = await entry(queue_id)
        return found and replace(found, entry=replace(found.entry, content=Unreadable()))

    entry, night.spool.entry = night.spool.entry, unreadable
    await night.end()
    night.spool.entry = entry
    assert b"there is no text in it that can be shown" in night.digests()[0][2]
    await night.accounted_for()


class Unreadable:
    def __iter__(self):
        raise OSError("the disk will not give it")
