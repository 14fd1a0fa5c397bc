"""What one address does again and again is told once a minute, in a table that nobody can fill."""

from relay.repeats import MINUTE, MOST, Repeats


def test_the_first_is_told_and_the_others_are_counted():
    """After the minute the count comes with the last one's fields, and then the kind is new again."""
    repeats = Repeats()
    assert repeats.is_new("refused", "a", 0.0, {"text": "first"})
    assert not repeats.is_new("refused", "a", 1.0, {"text": "second"})
    assert not repeats.is_new("refused", "a", 59.0, {"text": "third"})
    assert repeats.over(59.9) == []
    (one,) = repeats.over(60.0)
    assert (one.event, one.times, one.fields) == ("refused", 2, {"text": "third"})
    assert repeats.is_new("refused", "a", 60.0, {})


def test_what_came_once_is_not_told_again():
    """One refusal is one line."""
    repeats = Repeats()
    assert repeats.is_new("refused", "a", 0.0, {})
    assert repeats.next_over(10.0) == MINUTE - 10.0
    assert repeats.over(61.0) == []
    assert repeats.next_over(61.0) is None


def test_strangers_of_many_addresses_share_one_line():
    """A million addresses leave MOST lines and one more, and the table does not grow; who is known keeps its own count."""
    repeats = Repeats()
    told = [number for number in range(10_000) if repeats.is_new("refused", number, 0.0, {"text": str(number), "client": "x"})]
    assert told == list(range(MOST + 1))
    assert not repeats.is_new("refused", 5, 1.0, {"client": "5"})
    found = {one.times: one.fields for one in repeats.over(61.0)}
    assert found == {10_000 - MOST - 1: {"text": "9999"}, 1: {"client": "5"}}
