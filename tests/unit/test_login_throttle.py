"""How fast passwords may be guessed, and that whoever knows the right one gets in."""

from relay.inbound.login_throttle import LONGEST, TOLD_AFTER, LoginThrottle


def guessed(throttle: LoginThrottle, client: str, seconds: float, step: float = 0.01, begin: float = 0.0) -> int:
    """How many passwords are looked at of a client that tries as fast as it can, in many sessions."""
    looked, due = 0, [begin]
    now = begin
    while now < begin + seconds:
        while due and due[0] <= now:
            due.pop(0)
            looked += 1
            throttle.failed(client, now)
        if (wait := throttle.delay(client, now)) is not None:
            due = sorted([*due, now + wait])
        now += step
    return looked


def test_one_client_gets_slower_and_slower() -> None:
    """A few mistakes cost nothing; an hour of guessing is worth a few hundred guesses."""
    throttle = LoginThrottle()
    assert [throttle.delay("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert guessed(throttle, "a", 60) < 30
    assert guessed(throttle, "a", 600, begin=60, step=0.1) < 600 / LONGEST + 5


def test_many_clients_together_are_slowed_down() -> None:
    """Fresh addresses do not help: all strangers share a pace, in all sessions."""
    throttle = LoginThrottle()
    looked = 0
    for number in range(20_000):
        now = number / 1000
        if throttle.delay(f"client {number}", now) is not None:
            looked += 1
            throttle.failed(f"client {number}", now)
    assert looked < 50 + 5 * (20 + LONGEST) + 5


def test_who_was_right_before_is_not_kept_waiting_by_strangers() -> None:
    """And not for longer than a second by somebody who guesses behind the same address."""
    throttle = LoginThrottle()
    throttle.right("nas")
    for number in range(5000):
        throttle.delay(f"client {number}", 0.0)
        throttle.failed(f"client {number}", 0.0)
    assert throttle.delay("nas", 0.0) == 0
    for _ in range(50):
        throttle.failed("nas", 0.0)
    assert [throttle.delay("nas", 0.0), throttle.delay("nas", 0.0)] == [0, 1]
    throttle.right("nas")
    assert (throttle.delay("nas", 100.0), throttle.delay("nas", 100.0)) == (0, 1)


def test_who_was_never_right_waits_seconds_not_hours() -> None:
    """A device with an old password is corrected: the next look is at most ten seconds away."""
    throttle = LoginThrottle()
    for minute in range(500):
        throttle.delay("nas", minute * 60.0)
        throttle.failed("nas", minute * 60.0)
    assert throttle.delay("nas", 500 * 60.0) == 0
    assert throttle.delay("nas", 500 * 60.0) == LONGEST
    assert throttle.delay("nas", 500 * 60.0) is None
    assert throttle.delay("nas", 500 * 60.0 + 3 * LONGEST) == 0


def test_the_tables_are_bounded() -> None:
    """Whoever has a million addresses takes no memory with them."""
    throttle = LoginThrottle()
    for number in range(5000):
        throttle.failed(f"client {number}", 0.0)
        throttle.right(f"client {number}")
    assert len(throttle._tries) == len(throttle._known) == 1000


def test_a_person_is_told_of_one_that_guesses_or_of_all() -> None:
    """Not of a few mistakes; and after a quiet hour it begins anew."""
    throttle = LoginThrottle()
    told = [throttle.failed("a", float(number)) for number in range(TOLD_AFTER)]
    assert told == [None] * (TOLD_AFTER - 1) + ["a"]
    assert throttle.failed("a", 4000.0) is None
    assert [throttle.failed(f"client {number}", 4000.0) for number in range(99)][-1] == ""
