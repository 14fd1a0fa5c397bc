"""Health: an upstream in trouble is left alone, longer each time, and wakes by success or by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from relay.mail.reply import Answer, Reply, Stage
from relay.outbound.replies import judge
from relay.outbound.retry import RetrySchedule
from relay.outbound.upstream_state import UpstreamRests, WentToRest

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
M = timedelta(minutes=1)
PLAN = RetrySchedule()


def test_an_upstream_rests_longer_each_time_until_it_serves():
    """One, two, four minutes; success ends the row."""
    health, now = UpstreamRests(), NOW
    for minutes in (1, 2, 4):
        health.trouble("isp", "connect: refused", PLAN, now, began=now)
        assert health.resting_until("isp", now) == now + minutes * M
        now += minutes * M
        assert health.resting_until("isp", now) is None
    assert health.success("isp") and not health.success("isp")
    health.trouble("isp", "connect: refused", PLAN, now, began=now)
    assert health.resting_until("isp", now) == now + M


def test_ten_that_fail_together_are_one_trouble():
    """Conversations begun before the rest was known do not make it longer."""
    health = UpstreamRests()
    assert health.trouble("isp", "refused", PLAN, NOW + M, began=NOW)
    for _ in range(9):
        assert health.trouble("isp", "refused", PLAN, NOW + 1.5 * M, began=NOW) is None
    assert health.of("isp").failures == 1


def test_a_refused_login_rests_from_a_quarter_of_an_hour():
    """Accounts get locked: 15 minutes at once, also if the line was in trouble just before, then 30."""
    health = UpstreamRests()
    health.trouble("isp", "refused", PLAN, NOW, began=NOW)
    assert health.trouble("isp", "535", PLAN, NOW, began=NOW, login=True)
    assert health.resting_until("isp", NOW) == NOW + 15 * M
    later = NOW + 15 * M
    health.trouble("isp", "535", PLAN, later, began=later, login=True)
    assert health.resting_until("isp", later) == later + 30 * M


def test_a_hand_wakes_one_or_all():
    """`wake` ends the rest of one upstream (of direct delivery: to every domain), or of all."""
    health = UpstreamRests()
    for name in ("isp", "gmail", "mx a.example", "mx b.example"):
        health.trouble(name, "x", PLAN, NOW, began=NOW)
    assert health.wake("mx") == ("mx a.example", "mx b.example")
    assert health.resting_until("isp", NOW) and health.resting_until("mx a.example", NOW) is None
    assert health.wake() == ("isp", "gmail")
    assert health.names() == ()


def test_a_clock_that_goes_back_does_not_make_a_rest_of_a_day():
    """A rest never lasts longer than it was meant to, whatever the clock says."""
    health = UpstreamRests()
    health.trouble("isp", "x", PLAN, NOW, began=NOW)
    yesterday = NOW - timedelta(days=1)
    assert health.resting_until("isp", yesterday) <= yesterday + M


def test_old_troubles_are_forgotten():
    """Direct delivery meets many domains once; a day after its rest a trouble is dropped."""
    health = UpstreamRests()
    health.trouble("mx a.example", "x", PLAN, NOW, began=NOW)
    health.forget(NOW + timedelta(hours=2))
    assert health.names() == ("mx a.example",)
    health.forget(NOW + timedelta(days=2))
    assert health.names() == ()


class TestRetryAfter:
    """What a server itself asks for is the least that it rests."""

    @staticmethod
    def said(seconds):
        return Answer(Stage.MAIL, Reply(450, "4.7.0", "ApplicationThrottled: slower"), retry_after=seconds)

    def test_longer_than_the_schedule(self):
        """Ten minutes where the schedule says one."""
        health = UpstreamRests()
        health.trouble("m365", "429", PLAN, NOW, began=NOW, answer=self.said(600))
        assert health.resting_until("m365", NOW) == NOW + 10 * M

    def test_shorter_than_the_schedule(self):
        """Then the schedule holds."""
        health = UpstreamRests()
        health.trouble("m365", "429", PLAN, NOW, began=NOW, answer=self.said(1))
        assert health.resting_until("m365", NOW) == NOW + M

    def test_a_second_one_of_the_same_trouble_may_make_it_longer(self):
        """Four that fail together are one trouble; the longest wait counts."""
        health = UpstreamRests()
        health.trouble("m365", "429", PLAN, NOW, began=NOW, answer=self.said(60))
        assert health.trouble("m365", "429", PLAN, NOW, began=NOW, answer=self.said(300)) is None
        assert health.resting_until("m365", NOW) == NOW + 5 * M
        assert health.of("m365").failures == 1

    def test_also_after_the_refusal_of_one_message_alone(self):
        """That one message proves nothing about others does not matter here."""
        health = UpstreamRests()
        health.trouble("m365", "550", PLAN, NOW, began=NOW, by="q1")
        health.trouble("m365", "429", PLAN, NOW, began=NOW, by="q1", answer=self.said(300))
        assert health.resting_until("m365", NOW) == NOW + 5 * M

    def test_nobody_is_told_of_what_passes_by_itself(self):
        """The first trouble of a row is told, but not one whose end the server names."""
        health = UpstreamRests()
        rest = health.trouble("m365", "429", PLAN, NOW, began=NOW, answer=self.said(60))

        def first(answer):
            return WentToRest("m365", rest, answer, judge(answer)).first

        assert not first(self.said(60))
        assert first(replace(self.said(None), retry_after=None))
        quota = Answer(Stage.MAIL, Reply(550, "5.1.90", "ErrorExceededMessageLimit: no more"), retry_after=60.0)
        assert first(quota)
