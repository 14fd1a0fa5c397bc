"""Pace: so many in a minute, so many in a day, and everyone who must wait has a turn of his own."""

from datetime import UTC, datetime, timedelta

from relay.outbound.rate_limit import RateLimit
from relay.upstream.settings import Limits

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
S = timedelta(seconds=1)


def _send(pace, limits, now, ticket, name="isp"):
    assert pace.when(name, limits, now, ticket) is None
    pace.begin(name, limits, now, ticket)
    pace.end(name, now, relayed=True)


def test_no_limit_no_waiting():
    """Without limits everything may go at once."""
    pace = RateLimit()
    for number in range(100):
        _send(pace, Limits(), NOW, f"q{number}")


def test_a_minute_is_a_sliding_window():
    """Two a minute: the third waits until the first is a minute old."""
    pace, limits = RateLimit(), Limits(per_minute=2)
    _send(pace, limits, NOW, "a")
    _send(pace, limits, NOW + 20 * S, "b")
    assert pace.when("isp", limits, NOW + 30 * S, "c") == NOW + 60 * S
    _send(pace, limits, NOW + 60 * S, "c")
    assert pace.when("isp", limits, NOW + 60 * S, "d") == NOW + 80 * S


def test_each_that_waits_gets_a_slot_and_keeps_it():
    """Ten messages at two a minute: five minutes of turns, the same when asked again, and newcomers queue behind."""
    pace, limits = RateLimit(), Limits(per_minute=2)
    _send(pace, limits, NOW, "x")
    _send(pace, limits, NOW, "y")
    turns = [pace.when("isp", limits, NOW, f"q{number}") for number in range(6)]
    assert turns == [NOW + m * 60 * S for m in (1, 1, 2, 2, 3, 3)]
    assert pace.when("isp", limits, NOW, "q3") == turns[3]
    assert pace.when("isp", limits, NOW + 61 * S, "new") == NOW + 4 * 60 * S
    _send(pace, limits, NOW + 61 * S, "q0")


def test_a_slot_that_is_not_needed_is_given_back():
    """A message that found another way frees its turn."""
    pace, limits = RateLimit(), Limits(per_minute=1)
    _send(pace, limits, NOW, "x")
    first = pace.when("isp", limits, NOW, "a")
    pace.forget("a")
    assert pace.when("isp", limits, NOW, "b") == first


def test_other_limits_give_other_slots():
    """More a minute, fewer, any number: what waits gets a time by the new limits, and what went in this minute still counts."""
    pace, limits = RateLimit(), Limits(per_minute=2)
    for ticket in "xy":
        _send(pace, limits, NOW, ticket)
    waiting = ["a", "b", "c"]

    def turns(limits, now=NOW):
        pace.renew(now)
        return [pace.when("isp", limits, now, ticket) for ticket in waiting]

    assert turns(limits) == [NOW + m * 60 * S for m in (1, 1, 2)]
    assert turns(Limits(per_minute=4)) == [None] * 3
    _send(pace, Limits(per_minute=4), NOW, waiting.pop(0))
    assert turns(Limits(per_minute=1)) == [NOW + m * 60 * S for m in (1, 2)]
    assert turns(Limits(per_minute=2)) == [NOW + 60 * S] * 2
    assert turns(Limits(), NOW + 30 * S) == [None] * 2


def test_the_day_ends_at_midnight_utc_and_survives_a_restart():
    """Five hundred a day, 499 of them known from the spool: one more goes, the next waits until tomorrow."""
    pace, limits = RateLimit(), Limits(per_day=500)
    pace.seed(NOW, {"isp": 499})
    _send(pace, limits, NOW, "a")
    assert pace.sent_today("isp", NOW) == 500
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    assert pace.when("isp", limits, NOW, "b") == midnight
    assert pace.when("isp", limits, midnight, "b") is None


def test_a_restart_does_not_refill_the_minute():
    """What went today counts for the first minute: a busy upstream waits for it, one that had little to do does not."""
    pace, limits = RateLimit(), Limits(per_minute=10)
    pace.seed(NOW, {"busy": 300, "quiet": 3})
    assert pace.when("busy", limits, NOW, "a") == NOW + timedelta(minutes=1)
    for number in range(7):
        _send(pace, limits, NOW, str(number), name="quiet")
    assert pace.when("quiet", limits, NOW, "more") == NOW + timedelta(minutes=1)
    assert pace.when("new", limits, NOW, "c") is None
    assert pace.when("busy", limits, NOW + timedelta(minutes=1), "a") is None


def test_what_is_under_way_counts_and_what_was_refused_does_not():
    """The quota cannot be overrun by messages at once; a refused one gives its place back."""
    pace, limits = RateLimit(), Limits(per_day=1)
    pace.begin("isp", limits, NOW, "a")
    assert pace.when("isp", limits, NOW, "b") is not None
    pace.end("isp", NOW, relayed=False)
    assert pace.when("isp", limits, NOW, "b") is None


def test_a_clock_that_goes_back_frees_the_minute():
    """Slots promised in a future that is gone bind nobody."""
    pace, limits = RateLimit(), Limits(per_minute=1)
    _send(pace, limits, NOW, "a")
    assert pace.when("isp", limits, NOW - timedelta(days=1), "b") is None


def test_who_is_put_off_gives_its_minute_back_and_has_a_time_of_its_own():
    """Another relay was first at the same upstream: this message did not go, so another may, and it waits until then."""
    pace, limits = RateLimit(), Limits(per_minute=1)
    assert pace.when("isp", limits, NOW, "a") is None
    pace.begin("isp", limits, NOW, "a")
    pace.put_off("isp", "a", NOW + 40 * S, NOW)
    pace.end("isp", NOW, relayed=False)
    assert pace.when("isp", limits, NOW, "a") == pace.when("isp", limits, NOW + 39 * S, "a") == NOW + 40 * S
    _send(pace, limits, NOW, "b")
    _send(pace, limits, NOW + 60 * S, "a")
    by_domain = RateLimit()
    by_domain.begin("mx", limits, NOW, "a", "mx there.example")
    by_domain.put_off("mx there.example", "a", NOW + 40 * S, NOW)
    assert by_domain.when("mx", limits, NOW, "a", "mx there.example") == NOW + 40 * S
    assert by_domain.when("mx", limits, NOW, "b", "mx there.example") is None
    free = RateLimit()
    free.put_off("isp", "a", NOW + 40 * S, NOW)
    assert free.when("isp", Limits(), NOW, "a") == NOW + 40 * S
    assert free.when("isp", Limits(), NOW + 40 * S, "a") is None


def test_a_slot_used_late_is_no_slot():
    """Who had a slot, was tried elsewhere meanwhile and comes back late takes a place of this minute, not of that one."""
    pace, limits = RateLimit(), Limits(per_minute=2)
    for ticket in "xy":
        _send(pace, limits, NOW, ticket)
    assert pace.when("isp", limits, NOW, "late") == NOW + 60 * S
    _send(pace, limits, NOW + 118 * S, "a")
    _send(pace, limits, NOW + 120 * S, "b")
    assert pace.when("isp", limits, NOW + 121 * S, "late") == NOW + 178 * S
