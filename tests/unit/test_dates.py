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
        "1709424900.75",
        "3 Mar 24 09:15",
        "3 Mar 24 09:15 JST+0900",
        "Sun, 3 Mar 24 9:15:00.123 +0900",
        "Sun, 3 Mar 2024 00:15:00 Z",
        "sat, 2 mar 2024 18:15:00 cst",
        "Sat, 2 Mar 2024 20:45:00 -03:30",
        "Sun, 3 Mar 2024 05:45:00 +05:30",
        "Sun, 3 Mar 2024 01:15:00 UTC+01",
        "3/3/2024 9:15:00 AM +0900",
        "2024. 3. 3. 9:15:00",
        "20240303 091500",
        "2024-03-03t09:15:00",
        "dom, 3 marzo 2024 09:15:00 JST",
        "2024年3月3日 9時15分00秒",
        "Mar 3 09:15:00 2024 (local time)",
        "  " + "Sun Mar  3 09:15:00 2024" + " " * 300,
    ],
)
def test_other_formats_are_understood(text):
    """Every format means the same moment; without a zone it is local time."""
    assert read_lenient(text, TOKYO) == MARCH
    assert read_exact(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "04/03/2024 09:15",
        "11/12/2026 09:15",
        "12-11-2026 09:15",
        "Sun, 99 Mar 2024 09:15:00 +0900",
        "12:00",
        "2024-03-03",
    ],
)
def test_doubtful_dates_are_not_guessed(text):
    """Day or month first cannot be told from 04/03; half a date is none."""
    assert read_lenient(text, TOKYO) is None


@pytest.mark.parametrize(
    ("text", "hour", "minute"),
    [
        ("11/22/2026 12:00:00 AM", 0, 0),
        ("11/22/2026 12:30:00 PM", 12, 30),
        ("11/22/2026 11:59:00 p.m.", 23, 59),
        ("11/22/2026 1:05 am", 1, 5),
        ("11/22/2026 13:05 PM", 13, 5),
        ("2026年11月22日 午後3時5分", 15, 5),
        ("2026年11月22日 午前12時5分", 0, 5),
        ("2026年11月22日 午後12時5分", 12, 5),
        ("22 Nov 2026 23:59:60", 23, 59),
    ],
)
def test_twelve_hours_are_told_from_twenty_four(text, hour, minute):
    """Noon and midnight as people mean them; a leap second counts as the one before."""
    moment = read_lenient(text, TOKYO)
    assert (moment.hour, moment.minute, moment.tzinfo) == (hour, minute, TOKYO)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("22/11/2026 02:59", (2026, 11, 22)),
        ("11/22/2026 02:59", (2026, 11, 22)),
        ("11-22-2026 02:59", (2026, 11, 22)),
        ("5.6.2026 02:59", (2026, 6, 5)),
        ("12/12/2026 02:59", (2026, 12, 12)),
        ("13/12/2026 02:59", (2026, 12, 13)),
        ("22-nov-26 02:59", (2026, 11, 22)),
        ("24 Mar 24 02:59", (2024, 3, 24)),
        ("1 Jan 49 02:59", (2049, 1, 1)),
        ("1 Jan 50 02:59", (1950, 1, 1)),
        ("1 Jan 00 02:59", (2000, 1, 1)),
        ("31 déc 2026 02:59", (2026, 12, 31)),
        ("Di, 22. Dezember 2026 02:59", (2026, 12, 22)),
    ],
)
def test_days_are_read_where_they_cannot_be_mistaken(text, day):
    """A number over twelve is a day, dots put the day first, two digits are of this century up to 49."""
    moment = read_lenient(text, TOKYO)
    assert (moment.year, moment.month, moment.day) == day


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3 Mar 2024 09:15",
        "Mar 2024 09:15",
        "3 Mar 09:15",
        "30 Feb 2026 02:59",
        "22 Nov 2026 24:00",
        "22 Nov 2026 12:61",
        "13/13/2026 02:59",
        "99999999999999999999",
        "12345678",
        "3 Mar 2024 09:15:00:00",
    ],
)
def test_half_a_date_or_too_much_of_one_is_none(text):
    """Nothing is guessed."""
    assert read_lenient(text, TOKYO) is None


@pytest.mark.parametrize(
    ("zone", "minutes"),
    [
        ("+0900", 540),
        ("-0330", -210),
        ("+0545", 345),
        ("GMT", 0),
        ("UT", 0),
        ("EST", -300),
        ("PDT", -420),
        ("-0000", 0),
        ("+2359", 1439),
    ],
)
def test_an_exact_date_keeps_its_zone(zone, minutes):
    """The moment is the zone's, and the hour written again says the same."""
    moment = read_exact(f"Sun,  03 Mar 2024\t09:15:07 {zone} (as ever)")
    assert moment == datetime(2024, 3, 3, 9, 15, 7, tzinfo=timezone(timedelta(minutes=minutes)))
    assert read_exact(write_date(moment)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 03 Mar 2024 09:15:60 +0900",
        "Sun, 03 Mar 2024 09:15 +2400",
        "Sun, 03 Mar 2024 09:15",
        "03 Mar 24 09:15 +0900",
        "Sun 03 Mar 2024 09:15 +0900",
    ],
)
def test_what_may_not_be_sent_is_not_exact(text):
    """A leap second, a zone of a whole day, none at all, a year of two digits, a comma left out."""
    assert read_exact(text) is None


def test_a_date_without_weekday_or_seconds_may_be_sent():
    """RFC 5322 s3.3 leaves both out if it likes."""
    assert read_exact("3 Mar 2024 09:15 +0900") == MARCH


def test_a_weekday_is_not_taken_for_a_month():
    """French `mar.` before a number is a Tuesday, not March."""
    assert read_lenient("mar.,  7 août 2018 09:25:23 +0200 (CEST)", TOKYO) == datetime(2018, 8, 7, 7, 25, 23, tzinfo=UTC)


def test_written_dates_are_exact():
    """What is written reads back as the same moment in the form that may be sent."""
    assert write_date(MARCH) == "Sun, 03 Mar 2024 09:15:00 +0900"
    assert read_exact(write_date(MARCH)) == MARCH
    assert read_exact("Sun, 31 Feb 2024 09:15:00 +0900") is None
    assert write_date(datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))).endswith("-0330")


@pytest.mark.parametrize(
    ("zone", "hours"),
    [
        *(("GMT+8", 8), ("UTC+8", 8), ("GMT-5", -5), ("GMT+5:30", 5.5), ("UT+2", 2), ("UTC +0900", 9), ("GMT +9 (JST)", 9)),
        *(
            ("+8", 8),
            ("+800", 8),
            ("(GMT+09:00)", 9),
            ("JST-9", 9),
            ("EST-5", -5),
            ("CST-8", 8),
            ("CST+8", 8),
            ("UTC\u22125", -5),
        ),
        *(("GMT Daylight Time", 1), ("GMT Standard Time", 0), ("W. Europe Daylight Time", 2), ("Tokyo Standard Time", 9)),
        *(("+0800CST", 8), ("+0900JST", 9), ("-0600CST", -6), ("+09:00jst", 9), ("+0530IST", 5.5), ("+0100 CET", 1)),
        *(("Central European Summer Time", 2), ("Pacific Standard Time", -8), ("China Standard Time", 8), ("CST", -6)),
    ],
)
def test_the_number_says_more_than_the_word(zone, hours):
    """`GMT+8` is eight hours east; `JST-9` is how POSIX writes what is nine hours east; Windows has names of its own."""
    moment = read_lenient(f"Sun, 3 Mar 2024 09:15:00 {zone}", TOKYO)
    assert moment == datetime(2024, 3, 3, 9, 15, tzinfo=timezone(timedelta(hours=hours)))


def test_cst_is_chinas_time_where_the_relay_stands_in_china():
    """Elsewhere it is North America's, and right as it stands (RFC 5322 s4.3)."""
    text, china = "Sun, 3 Mar 2024 09:15:00 CST", timezone(timedelta(hours=8))
    assert read_exact(text, china) is None
    assert read_lenient(text, china) == datetime(2024, 3, 3, 9, 15, tzinfo=china)
    assert read_exact(text, TOKYO) == datetime(2024, 3, 3, 9, 15, tzinfo=timezone(timedelta(hours=-6)))
