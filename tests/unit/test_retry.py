"""The retry schedule: when again, or never."""

from datetime import timedelta

from relay.outbound.retry import RetrySchedule, spread

M = timedelta(minutes=1)
DAY = timedelta(days=1)


def test_the_delays_are_those_of_the_configuration_with_a_little_jitter():
    """Each attempt waits its own delay, at most a tenth longer; the last delay repeats."""
    schedule = RetrySchedule()
    for attempts, minutes in ((1, 1), (2, 5), (3, 15), (4, 30), (5, 60), (6, 120), (7, 240), (20, 240)):
        delay = schedule.next(attempts, timedelta(0), "abc")
        assert minutes * M <= delay <= minutes * M * 1.1


def test_jitter_is_a_hash_not_a_dice():
    """The same message and attempt always wait the same time; another message waits another."""
    schedule = RetrySchedule()
    assert schedule.next(3, timedelta(0), "abc") == schedule.next(3, timedelta(0), "abc")
    assert len({schedule.next(3, timedelta(0), f"q{n}") for n in range(20)}) > 10
    assert all(0 <= spread(f"q{n}") < 1 for n in range(100))


def test_mail_expires_when_it_is_old_and_was_really_tried():
    """Five days and seven attempts end it; age alone, as after a clock jump, does not."""
    schedule = RetrySchedule()
    assert schedule.next(7, 5 * DAY, "abc") is None
    assert schedule.next(1, 20000 * DAY, "abc") is not None
    assert schedule.next(100, 5 * DAY - M, "abc") is not None


def test_a_short_life_needs_fewer_attempts():
    """Where only two attempts fit into `give_up_after`, two are enough to expire."""
    schedule = RetrySchedule(delays=(M, 5 * M, 15 * M), give_up_after=3 * M)
    assert schedule.tries == 2
    assert schedule.next(1, 4 * M, "abc") is not None
    assert schedule.next(2, 4 * M, "abc") is None
    assert RetrySchedule(give_up_after=timedelta(0)).next(1, timedelta(0), "abc") is None


def test_the_last_attempt_falls_on_the_end():
    """A delay is cut so that the last attempt comes when the time is up, not hours later."""
    assert RetrySchedule().next(9, 5 * DAY - M, "abc") == M


def test_a_clock_that_went_back_makes_mail_young_not_broken():
    """A negative age counts as none."""
    assert RetrySchedule().next(1, -DAY, "abc") <= 1.1 * M


def test_rests_grow_and_logins_rest_long_at_once():
    """Troubles rest 1, 2, 4 ... 60 minutes; a refused login 15 minutes at once, 30, then 60 at most."""
    schedule = RetrySchedule()
    assert [schedule.rest_for(n) / M for n in (1, 2, 3, 4, 5, 6, 7, 50)] == [1, 2, 4, 8, 15, 30, 60, 60]
    assert [schedule.rest_for(n, login=True) / M for n in (1, 2, 3, 50)] == [15, 30, 60, 60]


def test_a_long_wait_that_was_seen_counts_without_attempts():
    """Mail that only ever waited for a quota ends too; a clock that jumped has not been seen to wait."""
    plan = RetrySchedule()
    month, day = timedelta(days=30), timedelta(days=1)
    assert plan.expired(0, month, waited=month)
    assert not plan.expired(0, month, waited=day)
    assert not plan.expired(0, day, waited=month)


def test_no_message_is_due_later_than_the_longest_wait():
    """A tenth more than the longest of delays and rests: what seems due later was dated by a broken clock."""
    assert RetrySchedule().longest == 264 * M
    assert RetrySchedule(delays=(M,), rest=(2 * M,), rest_login=20 * M).longest == 22 * M
    assert RetrySchedule(delays=(M,), rest=(30 * M,), rest_login=M).longest == 33 * M
    nothing = RetrySchedule(delays=(timedelta(0),), rest=(timedelta(0),), rest_login=timedelta(0))
    assert nothing.longest == timedelta(seconds=1.1)


def test_a_schedule_without_steps_waits_a_minute():
    """Whatever was configured, an upstream is not called in a storm."""
    bare = RetrySchedule(delays=(), rest=())
    assert M <= bare.next(1, timedelta(0), "abc") <= 1.1 * M
    assert bare.rest_for(0) == bare.rest_for(9) == M
    assert bare.tries == 1


def test_the_first_attempt_counts_from_none():
    """Who has made no attempt waits the first delay; who had no trouble rests the first rest."""
    schedule = RetrySchedule()
    assert M <= schedule.next(0, timedelta(0), "abc") <= 1.1 * M
    assert schedule.rest_for(0) == M
    assert schedule.rest_for(0, login=True) == 15 * M


def test_a_login_rests_longer_each_time_up_to_the_longest_rest():
    """Doubled from the configured beginning; a beginning that is longer than all rests stays."""
    schedule = RetrySchedule(rest=(M, 600 * M), rest_login=2 * M)
    assert [schedule.rest_for(n, login=True) / M for n in range(1, 9)] == [2, 4, 8, 16, 32, 64, 128, 128]
    assert RetrySchedule(rest=(M,), rest_login=90 * M).rest_for(3, login=True) == 90 * M


def test_what_is_past_its_end_still_waits_its_delay():
    """An old message that was hardly tried (a clock jumped) is tried as often as any other, not at once."""
    assert M <= RetrySchedule().next(1, 6 * DAY, "abc") <= 1.1 * M
    assert 5 * M <= RetrySchedule().next(2, 5 * DAY, "abc") <= 5.5 * M


def test_the_spread_is_from_nought_to_one():
    """Over many messages it reaches both ends, and any octets of an id have one."""
    spreads = [spread(f"q{number}") for number in range(2000)]
    assert min(spreads) < 0.01 and max(spreads) > 0.99 and 0.45 < sum(spreads) / 2000 < 0.55
    assert 0 <= spread("q\udcff") < 1
