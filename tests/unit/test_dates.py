"""Dates as devices write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from relay.mail.dates import read_exact, read_lenient, write_date

TOKYO = timezone(timedelta(hours=9))
MARCH = datetime(2024, 3, 3, 9, 15, tzinfo=TOKYO)


@pytest.mark.parametrize(
    "text",
    [
        "Sun Mar  3 09:15:00 2024",
        "2024-03-03T09:15:00+09:00",
        "2024-03-03T00:15:00Z",
        "2024-03-03 09:15",
        "2024/03/03 09:15:00",
        "20240303T091500",
        "03/03/2024 09:15",
        "03.03.2024 09:15",
        "2024年3月3日(日) 9:15:00",
        "2024年3月3日 午前9時15分",
        "Sun, 3 Mar 24 09:15:00 JST",
        "Sun Mar  3 09:15:00 JST 2024",
        "March 3, 2024 9:15:00 AM",
        "Sun, 03 Mar 2024 09:15:00 +09:00",
        "Sun, 03 Mar 2024 09:15:00 GMT+09:00",
        "Sunday, 03-Mar-24 00:15:00 UTC",
        "dim.,  3 mars 2024 01:15:00 +0100 (CET)",
        "So, 3 März 2024 01:15:00 +0100",
        "1709424900",
    ],
)
def test_other_formats_are_understood(text):
    """Every format means the same moment; without a zone it is local time."""
    assert read_lenient(text, TOKYO) == MARCH
    assert read_exact(text) is None


@pytest.mark.parametrize(
    "text", ["", "yesterday", "04/03/2024 09:15", "Sun, 99 Mar 2024 09:15:00 +0900", "12:00", "2024-03-03"]
)
def test_doubtful_dates_are_not_guessed(text):
    """Day or month first cannot be told from 04/03; half a date is none."""
    assert read_lenient(text, TOKYO) is None


def test_a_weekday_is_not_taken_for_a_month():
    """French `mar.` before a number is a Tuesday, not March."""
    assert read_lenient("mar.,  7 août 2018 09:25:23 +0200 (CEST)", TOKYO) == datetime(2018, 8, 7, 7, 25, 23, tzinfo=UTC)


def test_written_dates_are_exact():
    """What is written reads back as the same moment in the form that may be sent."""
    assert write_date(MARCH) == "Sun, 03 Mar 2024 09:15:00 +0900"
    assert read_exact(write_date(MARCH)) == MARCH
    assert read_exact("Sun, 31 Feb 2024 09:15:00 +0900") is None
    assert write_date(datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))).endswith("-0330")
