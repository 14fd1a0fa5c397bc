"""Which troubles are new: told once, however long they last."""

from datetime import UTC, datetime, timedelta

from relay.inbound.alert_dedup import AlertDedup

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def test_a_trouble_lasts_until_it_is_over() -> None:
    """What has an end that somebody sees is new only after that end."""
    troubles = AlertDedup()
    assert [troubles.begins("full", NOW + timedelta(days=day)) for day in (0, 0, 1, 9)] == [True, False, False, False]
    assert troubles.begins("broken", NOW)
    troubles.ended("full", "never met")
    assert troubles.begins("full", NOW)
    assert not troubles.begins("broken", NOW)


def test_a_trouble_without_a_visible_end_is_over_after_a_quiet_day() -> None:
    """A day is reckoned from when it was last met, and a clock that went back far begins anew."""
    troubles = AlertDedup()
    hours = (0, 20, 40, 64, 88.1, 60)
    assert [troubles.begins("flood", NOW + timedelta(hours=at), ends_by_itself=True) for at in hours] == [
        True,
        False,
        False,
        False,
        True,
        True,
    ]


def test_a_thousand_are_remembered() -> None:
    """A LAN full of mad devices costs no memory: the one not met for longest is forgotten."""
    troubles = AlertDedup()
    assert all(troubles.begins(f"flood {number}", NOW) for number in range(1000))
    assert not troubles.begins("flood 0", NOW)
    assert troubles.begins("one more", NOW)
    assert not troubles.begins("flood 0", NOW)
    assert troubles.begins("flood 1", NOW)
