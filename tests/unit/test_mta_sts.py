"""MTA-STS records and policies are read by the letter of RFC 8461."""

from datetime import UTC, datetime, timedelta

import pytest

from relay.upstream.mta_sts import (
    LARGEST,
    BadPolicy,
    KnownPolicy,
    StsMode,
    StsPolicy,
    known_from_json,
    name_fits,
    parse_policy,
    record_id,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
RIGHT = b"version: STSv1\r\nmode: enforce\r\nmx: mail.there.example\r\nmx: *.pool.example\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1 ; \t id=1 ; "], "1"),
        ([b"v=STSv1; more=x; id=1; also=y"], "1"),
        ([b"v=STSv1; id=1; id=2"], "1"),
        ([b"v=spf1 -all", b"\xff\xfe", b"", b"v=STSv1; id=1"], "1"),
        ([b"v=STSv10; id=2", b"v=STSv1; id=1"], "1"),
        ([], ""),
        ([b"v=STSv1; id=1", b"v=STSv1; id=2"], ""),
        ([b"v=STSv1; id=1", b"v=STSv1; nothing"], ""),
        ([b"v=STSv1"], ""),
        ([b"v=STSv1;"], ""),
        ([b"v=stsv1; id=1"], ""),
        ([b"id=1; v=STSv1"], ""),
        ([b"v=STSv1; id=2016-08-31"], ""),
        ([b"v=STSv1; id=" + b"a" * 33], ""),
        ([b"v=STSv1; id="], ""),
        ([b"v=STSv1; ID=1"], ""),
        ([b"v=STSv1; id=1; ;"], ""),
        ([b"v=STSv1; id=1; what is this"], ""),
        ([b"v=STSv1; id=\xd9\xa1"], ""),
    ],
)
def test_the_record(texts, expected):
    """The id of the one sound record; of two, or of a broken one, nothing (RFC 8461 s3.1)."""
    assert record_id(texts) == expected


def test_a_policy():
    """All four fields; line ends, order, blanks and unknown fields do not matter."""
    expected = StsPolicy(StsMode.ENFORCE, ("mail.there.example", "*.pool.example"), 604_800)
    assert parse_policy(RIGHT) == expected
    assert parse_policy(RIGHT.replace(b"\r\n", b"\n").rstrip()) == expected
    mixed = (
        b"max_age:604800 \nmx:MAIL.There.Example.\n\nfuture: \xe2\x9c\x93 : x\nmx: *.pool.example\nmode:enforce\nversion:STSv1"
    )
    assert parse_policy(mixed) == expected


def test_of_a_field_that_comes_twice_the_first_counts():
    """But `mx`, of which there are many (RFC 8461 s3.2)."""
    assert parse_policy(RIGHT + b"mode: none\r\nmax_age: 1\r\nversion: STSv9\r\n") == parse_policy(RIGHT)


def test_a_policy_that_takes_another_back():
    """`none` needs no host; the longest life is a year."""
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 9999999999\n") == StsPolicy(StsMode.NONE, (), 31_557_600)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<html>not found</html>",
        RIGHT.replace(b"STSv1", b"STSv2"),
        RIGHT.replace(b"version: STSv1\r\n", b""),
        RIGHT.replace(b"enforce", b"Enforce"),
        RIGHT.replace(b"mode: enforce\r\n", b""),
        RIGHT.replace(b"604800", b""),
        RIGHT.replace(b"604800", b"-1"),
        RIGHT.replace(b"604800", b"1.5"),
        RIGHT.replace(b"604800", "٣".encode()),
        RIGHT.replace(b"604800", b"12345678901"),
        RIGHT.replace(b"mail.there.example", b""),
        RIGHT.replace(b"*.pool.example", b"*"),
        RIGHT.replace(b"*.pool.example", b"a.*.example"),
        RIGHT.replace(b"*.pool.example", b"*.*.example"),
        RIGHT.replace(b"*.pool.example", b"10 mail.there.example"),
        b"version: STSv1\nmode: enforce\nmax_age: 5\n",
        b"version: STSv1\nmode: testing\nmax_age: 5\n",
        RIGHT + b"no colon\r\n",
        RIGHT + b"\xff: x\r\n",
        RIGHT.replace(b"\r\n", b"\r"),
        RIGHT + b"x:" + b"y" * LARGEST,
    ],
)
def test_what_is_no_policy(octets):
    """It counts as one that could not be fetched."""
    with pytest.raises(BadPolicy):
        parse_policy(octets)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("mail.there.example", "mail.there.example", True),
        ("mail.there.example", "MAIL.THERE.example.", True),
        ("*.there.example", "mx1.there.example", True),
        ("*.there.example", "there.example", False),
        ("*.there.example", "a.b.there.example", False),
        ("*.there.example", ".there.example", False),
        ("*.there.example", "mx1.there.example.evil.example", False),
        ("there.example", "mail.there.example", False),
        ("mail.there.example", "", False),
        ("*.there.example", "*.there.example", True),
        ("mail*.there.example", "mail1.there.example", False),
    ],
)
def test_names(pattern, name, expected):
    """A star is one whole label, the first one."""
    assert name_fits(pattern, name) is expected


def test_how_long_a_policy_holds():
    """For `max_age` and no longer; after a day, or half of its life, a newer one is looked for."""
    known = KnownPolicy("1", parse_policy(RIGHT), NOW)
    assert known.holds(NOW + timedelta(days=6, hours=23)) and not known.holds(NOW + timedelta(days=7))
    assert not known.stale(NOW + timedelta(hours=23)) and known.stale(NOW + timedelta(days=1))
    short = KnownPolicy("1", StsPolicy(StsMode.ENFORCE, ("a.example",), 600), NOW)
    assert not short.stale(NOW + timedelta(minutes=4)) and short.stale(NOW + timedelta(minutes=5))
    assert known.holds(NOW - timedelta(days=400)), "a clock that was wrong does not take the policy away"
    assert known.stale(NOW - timedelta(days=400)), "but a new one is looked for"


def test_it_is_kept_as_it_was():
    """What was written is read back; anything else is nothing."""
    for octets in (RIGHT, b"version: STSv1\nmode: none\nmax_age: 86400\n"):
        known = KnownPolicy("20160831", parse_policy(octets), NOW)
        assert known_from_json(known.as_json()) == known
    good = KnownPolicy("1", parse_policy(RIGHT), NOW).as_json()
    for change in (
        {"id": 1},
        {"mode": "x"},
        {"mx": 5},
        {"mx": ["*"]},
        {"max_age": "x"},
        {"fetched": 5},
        {"fetched": "2026-01-01"},
    ):
        assert known_from_json({**good, **change}) is None, change
    for value in (None, [], "x", {}, {"id": "1"}):
        assert known_from_json(value) is None
