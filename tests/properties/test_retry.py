"""Whatever the schedule: delays grow and it ends."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.outbound.retry import RetrySchedule

seconds = st.integers(1, 100_000).map(lambda n: timedelta(seconds=n))
schedules = st.builds(
    RetrySchedule,
    delays=st.lists(seconds, min_size=1, max_size=8).map(lambda each: tuple(sorted(each))),
    give_up_after=st.integers(1, 1_000_000).map(lambda n: timedelta(seconds=n)),
)


@settings(max_examples=200, deadline=None)
@given(schedules, st.text(max_size=20))
def test_it_grows_and_ends(schedule, key):
    """Followed to the end: each wait is positive, none is shorter than its delay but the last ones, and it expires."""
    age, attempts, waits = timedelta(0), 0, []
    while True:
        attempts += 1
        wait = schedule.next(attempts, age, key)
        if wait is None:
            break
        assert timedelta(0) < wait <= schedule.longest
        waits.append((age, attempts, wait))
        age += wait
        assert attempts < 3 + len(schedule.delays) + schedule.give_up_after / schedule.delays[0]
    assert age >= schedule.give_up_after
    for (begun, number, wait), (_, _, following) in pairwise(waits):
        if begun + wait + following < schedule.give_up_after:
            assert following >= wait / 1.1
        assert wait >= min(schedule.delays[min(number, len(schedule.delays)) - 1], schedule.give_up_after - begun)


@settings(max_examples=200, deadline=None)
@given(schedules, st.integers(0, 50), st.integers(-(10**9), 10**9), st.text(max_size=5))
def test_no_clock_makes_a_storm_or_an_early_end(schedule, attempts, age, key):
    """At any age, also absurd ones, a wait is positive; and without enough attempts nothing expires."""
    wait = schedule.next(attempts, timedelta(seconds=age), key)
    if wait is None:
        assert attempts >= schedule.tries and timedelta(seconds=age) >= schedule.give_up_after
    else:
        assert wait > timedelta(0)


@settings(max_examples=100, deadline=None)
@given(st.lists(seconds, min_size=1, max_size=8), seconds, st.integers(1, 1000), st.booleans())
def test_rests_grow(rests, login, failures, of_login):
    """A rest is never shorter than the one before it."""
    schedule = RetrySchedule(rest=tuple(sorted(rests)), rest_login=login)
    assert schedule.rest_for(failures, login=of_login) <= schedule.rest_for(failures + 1, login=of_login)
    assert schedule.rest_for(failures, login=of_login) <= schedule.longest
