"""Storms and quiet hours as values: what goes, what waits, what is ripe, when quiet hours end."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from relay.mail.address import parse_address
from relay.mail.device import Quiet, Storm
from relay.mail.envelope import Envelope
from relay.outbound.storms import (
    LATER,
    LONGEST,
    Case,
    Course,
    Decision,
    Memory,
    alone,
    excepted,
    group_of,
    kind_of,
    merged,
    quiet_until,
    read,
    weigh,
    written,
)
from relay.spool.entry import ORDERED, PASSED

M = timedelta(minutes=1)
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
RULE = Storm(timedelta(minutes=10), 30)
BERLIN = ZoneInfo("Europe/Berlin")
TOKYO = ZoneInfo("Asia/Tokyo")
NIGHT = Quiet(((time(22), time(7)),), ("*FAIL*", "*critical*"))


def case(number: int = 1, subject: str = "Motion 1", group: str = "g") -> Case:
    return Case(f"q{number:013d}", group, kind_of(group, subject))


class Camera:
    """Sends one message after the other, and remembers as the spool does."""

    def __init__(self, rule: Storm = RULE) -> None:
        self.rule, self.memory, self.number = rule, Memory(), 0

    def sends(self, at: datetime, subject: str = "Motion 1", group: str = "g") -> Decision:
        self.number += 1
        return self.asks(at, case(self.number, subject, group), "")

    def asks(self, at: datetime, one: Case, storm: str) -> Decision:
        decision = weigh(read(written(self.memory)), storm, one, self.rule, at)
        self.memory = decision.memory
        return decision


# -- kinds -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Motion 12:03:04", "Motion 7:00:59", True),
        ("Motion 1", "motion  22", True),
        ("動体検知 １２時", "動体検知 3時", True),
        ("Disk 1 FAIL", "Disk 1 ok", False),
        ("", "12", True),
    ],
)
def test_digits_blanks_and_case_make_no_other_kind(one: str, other: str, same: bool) -> None:
    assert (kind_of("g", one) == kind_of("g", other)) is same


def test_a_group_is_of_one_device_one_sender_and_the_same_recipients_in_any_order() -> None:
    sender = parse_address("cam@lan.example")
    a, b = parse_address("a@isp.example"), parse_address("B@isp.example")
    first = group_of("cam", Envelope(sender, (a, b)), urgent=False)
    assert first == group_of("cam", Envelope(parse_address("cam@lan.example"), (b, a)), urgent=False)
    others = [
        group_of("door", Envelope(sender, (a, b)), urgent=False),
        group_of("cam", Envelope(sender, (a,)), urgent=False),
        group_of("cam", Envelope(None, (a, b)), urgent=False),
        group_of("cam", Envelope(sender, (a, b)), urgent=True),
    ]
    assert len({first, *others}) == 5


# -- storms ----------------------------------------------------------------------------------------------------------------


def test_the_first_goes_and_the_next_wait_for_one_digest() -> None:
    camera = Camera()
    assert camera.sends(NOW).course is Course.GOES
    second = camera.sends(NOW + 1 * M, "Motion 2")
    assert (second.course, second.digest_at, second.due_at, second.count) == (Course.WAITS, NOW + 10 * M, NOW + 10 * M, 1)
    third = camera.sends(NOW + 2 * M, "Motion 3")
    assert (third.course, third.digest_at, third.due_at, third.count) == (
        Course.WAITS,
        NOW + 10 * M,
        NOW + 10 * M + LATER,
        2,
    )
    assert third.storm == second.storm


def test_the_digest_is_ripe_when_it_is_due_and_not_before() -> None:
    camera = Camera()
    camera.sends(NOW)
    second = camera.sends(NOW + 1 * M)
    assert camera.asks(NOW + 9 * M, case(2), second.storm).course is Course.WAITS
    assert camera.asks(NOW + 10 * M, case(2), second.storm).course is Course.RIPE


def test_what_was_decided_stays_decided() -> None:
    """A transaction that is tried again, and a message that an upstream deferred, are not weighed once more."""
    camera = Camera()
    first = camera.sends(NOW)
    again = camera.asks(NOW + 1 * M, case(1), first.storm)
    assert (first.storm, again.course, again.memory) == (PASSED, Course.GOES, first.memory)
    assert camera.asks(NOW + 1 * M, case(1), ORDERED).course is Course.GOES


def test_after_a_pause_the_same_goes_at_once_again() -> None:
    camera = Camera()
    camera.sends(NOW)
    assert camera.sends(NOW + 10 * M).course is Course.GOES


def test_another_kind_goes_at_once_in_the_midst_of_a_storm() -> None:
    camera = Camera()
    camera.sends(NOW)
    camera.sends(NOW + 1 * M)
    assert camera.sends(NOW + 2 * M, "Disk FAIL").course is Course.GOES


def test_windows_double_while_the_storm_goes_on_and_begin_anew_after_it() -> None:
    camera, at, ends = Camera(), NOW, list[datetime]()
    camera.sends(at)
    while len(ends) < 8:
        at += 1 * M
        decision = camera.sends(at)
        if decision.digest_at and decision.digest_at <= at + 1 * M:
            at = decision.digest_at
            camera.memory = merged(camera.memory, decision.storm, at)
            ends.append(at)
    windows = [(after - before) // M for before, after in zip([NOW, *ends], ends, strict=False)]
    assert windows[:5] == [10, 20, 40, 80, 160] and set(windows[5:]) == {LONGEST // M}
    later = at + timedelta(hours=1)
    assert camera.sends(later).course is Course.GOES
    assert camera.sends(later + 1 * M).digest_at == later + 10 * M


def test_the_digest_comes_early_once_nothing_more_has_come() -> None:
    """In a window of forty minutes the message that makes the digest looks each ten minutes whether more came."""
    camera = Camera()
    camera.sends(NOW)
    first = camera.sends(NOW + 9 * M)
    camera.memory = merged(camera.memory, first.storm, NOW + 10 * M)
    second = camera.sends(NOW + 11 * M)
    assert (second.digest_at, second.due_at) == (NOW + 30 * M, NOW + 21 * M)
    camera.sends(NOW + 12 * M)
    look = camera.asks(NOW + 21 * M, case(3), second.storm)
    assert (look.course, look.due_at, look.fresh) == (Course.WAITS, NOW + 22 * M, False)
    assert camera.asks(NOW + 22 * M, case(3), second.storm).course is Course.RIPE


def test_the_ceiling_collects_known_kinds_and_never_the_first_of_a_new_one() -> None:
    camera = Camera(Storm(None, 3))
    courses = [camera.sends(NOW + number * M, f"Motion {number}").course for number in range(5)]
    assert courses == [Course.GOES] * 3 + [Course.WAITS] * 2
    assert camera.sends(NOW + 6 * M, "Disk FAIL").course is Course.GOES
    assert camera.sends(NOW + 7 * M, "Disk FAIL").course is Course.WAITS


def test_the_ceiling_counts_the_last_hour_only() -> None:
    camera = Camera(Storm(None, 2))
    camera.sends(NOW)
    camera.sends(NOW + 50 * M)
    assert camera.sends(NOW + 59 * M).course is Course.WAITS
    assert camera.sends(NOW + 65 * M).course is Course.GOES


def test_one_alone_is_no_digest() -> None:
    camera = Camera()
    camera.sends(NOW)
    second = camera.sends(NOW + 1 * M)
    decision = alone(camera.memory, second.storm, case(2), NOW + 10 * M)
    assert (decision.course, decision.storm) == (Course.GOES, PASSED)
    camera.memory = decision.memory
    after = camera.sends(NOW + 11 * M)
    assert (after.course, after.digest_at, after.count) == (Course.WAITS, NOW + 20 * M, 1)
    assert alone(camera.memory, PASSED, case(2), NOW).course is Course.GOES


def test_a_rule_that_was_removed_lets_what_waits_go() -> None:
    camera = Camera()
    camera.sends(NOW)
    second = camera.sends(NOW + 1 * M)
    decision = weigh(camera.memory, second.storm, case(2), None, NOW + 2 * M)
    assert (decision.course, decision.storm) == (Course.GOES, PASSED)


def test_what_waits_for_a_digest_that_nobody_remembers_waits_for_a_new_one() -> None:
    """The device has another name now, the spool is another, or its digest was made without it."""
    decision = weigh(Memory(), "0123456789abcdef", case(7), RULE, NOW)
    assert (decision.course, decision.storm, decision.digest_at) == (Course.WAITS, "0123456789abcdef", NOW + 10 * M)
    assert decision.memory.groups["0123456789abcdef"].maker == case(7).queue_id


def test_a_digest_whose_messages_are_gone_is_begun_anew() -> None:
    camera = Camera()
    camera.sends(NOW)
    camera.sends(NOW + 1 * M)
    camera.sends(NOW + 2 * M)
    decision = camera.sends(NOW + 10 * M + 3 * LATER, "Motion 4")
    assert decision.course is Course.GOES  # the kind was not seen for ten minutes
    again = camera.sends(NOW + 10 * M + 4 * LATER)
    assert (again.course, again.count) == (Course.WAITS, 1)


@pytest.mark.parametrize("jump", [timedelta(days=-20_000), timedelta(hours=-3), timedelta(days=20_000)])
def test_a_clock_that_jumps_lets_nothing_wait_for_long(jump: timedelta) -> None:
    camera = Camera()
    camera.sends(NOW)
    second = camera.sends(NOW + 1 * M)
    at = NOW + jump
    decision = camera.asks(at, case(2), second.storm)
    waits = decision.due_at - at if decision.due_at else timedelta()
    assert decision.course is Course.RIPE or waits <= LONGEST
    assert camera.sends(at + 1 * M, "Motion 9").course in (Course.GOES, Course.WAITS)


def test_clocks_of_two_relays_may_differ_by_seconds() -> None:
    camera = Camera()
    camera.sends(NOW)
    assert camera.sends(NOW - timedelta(seconds=20)).course is Course.WAITS


def test_what_is_remembered_survives_writing_and_does_not_grow() -> None:
    camera = Camera()
    for number in range(1200):
        camera.sends(NOW + number * timedelta(seconds=1), "".join(chr(97 + int(digit)) for digit in str(number)))
    assert read(written(camera.memory)) == camera.memory
    assert len(written(camera.memory)) < 40_000


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"kinds": 7}', '{"groups": {"g": {"other": 1}}}', "null"])
def test_what_cannot_be_read_is_nothing(text: str) -> None:
    assert read(text) == Memory()


# -- quiet hours -----------------------------------------------------------------------------------------------------------


def at(zone: ZoneInfo, *clock: int, fold: int = 0) -> datetime:
    return datetime(*clock, tzinfo=zone, fold=fold).astimezone(UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("clock", "until"),
    [
        ((2026, 11, 22, 21, 59), None),
        ((2026, 11, 22, 22, 0), (2026, 11, 23, 7, 0)),
        ((2026, 11, 22, 23, 59, 59), (2026, 11, 23, 7, 0)),
        ((2026, 11, 23, 0, 0), (2026, 11, 23, 7, 0)),
        ((2026, 11, 23, 6, 59, 59), (2026, 11, 23, 7, 0)),
        ((2026, 11, 23, 7, 0), None),
        ((2026, 12, 31, 23, 30), (2027, 1, 1, 7, 0)),
    ],
)
@pytest.mark.parametrize("zone", [BERLIN, TOKYO], ids=str)
def test_quiet_hours_that_cross_midnight(zone: ZoneInfo, clock: tuple[int, ...], until: tuple[int, ...] | None) -> None:
    assert quiet_until(NIGHT, at(zone, *clock), zone) == (at(zone, *until) if until else None)


@pytest.mark.parametrize(
    ("hours", "clock", "fold", "until", "until_fold"),
    [
        ((time(22), time(7)), (2026, 3, 28, 23, 0), 0, (2026, 3, 29, 7, 0), 0),  # the night of 23 hours
        ((time(22), time(7)), (2026, 10, 24, 23, 0), 0, (2026, 10, 25, 7, 0), 0),  # the one of 25
        ((time(22), time(2, 30)), (2026, 3, 28, 23, 0), 0, (2026, 3, 29, 3, 0), 0),  # 02:30 is left out: 03:00 is quiet no more
        ((time(22), time(2, 30)), (2026, 10, 24, 23, 0), 0, (2026, 10, 25, 2, 30), 0),  # it comes twice
        ((time(22), time(2, 30)), (2026, 10, 25, 2, 15), 1, (2026, 10, 25, 2, 30), 1),
        ((time(2, 15), time(2, 45)), (2026, 10, 25, 2, 20), 0, (2026, 10, 25, 2, 45), 0),
        ((time(2, 15), time(2, 45)), (2026, 10, 25, 2, 20), 1, (2026, 10, 25, 2, 45), 1),
    ],
)
def test_quiet_hours_when_the_clock_is_changed(
    hours: tuple[time, time], clock: tuple[int, ...], fold: int, until: tuple[int, ...], until_fold: int
) -> None:
    now, end = at(BERLIN, *clock, fold=fold), at(BERLIN, *until, fold=until_fold)
    assert quiet_until(Quiet((hours,)), now, BERLIN) == end
    assert quiet_until(Quiet((hours,)), end, BERLIN) is None


def test_hours_that_follow_one_another_are_one_wait() -> None:
    quiet = Quiet(((time(22), time(0)), (time(0), time(7)), (time(12), time(13))))
    assert quiet_until(quiet, at(BERLIN, 2026, 11, 22, 23, 0), BERLIN) == at(BERLIN, 2026, 11, 23, 7, 0)
    assert quiet_until(quiet, at(BERLIN, 2026, 11, 23, 12, 30), BERLIN) == at(BERLIN, 2026, 11, 23, 13, 0)


def test_nothing_waits_for_ever_where_no_hour_is_left() -> None:
    assert quiet_until(Quiet(((time(0), time(12)), (time(12), time(0)))), NOW, BERLIN) is None


@pytest.mark.parametrize("end", [time(2, 1), time(2, 30), time(3, 0)], ids=str)
def test_an_end_that_the_clock_leaves_out_is_the_moment_it_is_put_on(end: time, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Berlin 02:00 became 03:00 that night; by this machine's zone too."""
    import time as clock

    over = at(BERLIN, 2026, 3, 29, 3, 0)
    now = at(BERLIN, 2026, 3, 29, 1, 30)
    assert quiet_until(Quiet(((time(22), end),)), now, BERLIN) == over
    monkeypatch.setenv("TZ", "Europe/Berlin")
    clock.tzset()
    try:
        assert quiet_until(Quiet(((time(22), end),)), now) == over
    finally:
        monkeypatch.undo()
        clock.tzset()


def test_the_zone_of_this_machine_counts_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    import time as clock

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    clock.tzset()
    try:
        assert quiet_until(NIGHT, at(TOKYO, 2026, 11, 22, 23, 0)) == at(TOKYO, 2026, 11, 23, 7, 0)
    finally:
        monkeypatch.undo()
        clock.tzset()


@pytest.mark.parametrize(
    ("subject", "goes"),
    [("Disk FAIL", True), ("backup failed", True), ("CRITICAL: ups", True), ("ok", False)],
)
def test_subjects_that_go_at_any_hour(subject: str, goes: bool) -> None:
    assert excepted(NIGHT, subject) is goes
    assert not excepted(replace(NIGHT, unless=()), subject)
    assert not excepted(None, subject)
