"""Sessions of the page: how they begin, and what ends them."""

import pytest

from relay.control.access import is_own_path
from relay.control.sessions import IDLE, LONGEST, MOST, Sessions


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock)


def test_each_session_has_a_name_of_its_own(sessions: Sessions) -> None:
    """Long, and never the same twice; nobody's name begins one."""
    names = {sessions.begin("secret") for _ in range(20)}
    assert len(names) == 20
    assert min(map(len, names)) >= 40
    assert all(sessions.holds(name, "secret") for name in names)
    assert not sessions.holds("", "secret")
    assert not sessions.holds("chosen-by-somebody", "secret")


def test_logging_out_ends_one(sessions: Sessions) -> None:
    """The others go on."""
    mine, other = sessions.begin("secret"), sessions.begin("secret")
    sessions.end(mine)
    sessions.end("unknown")
    assert (sessions.holds(mine, "secret"), sessions.holds(other, "secret")) == (False, True)


def test_a_new_password_ends_all(sessions: Sessions) -> None:
    """And the old password, should it come back, brings none of them back."""
    name = sessions.begin("old")
    assert not sessions.holds(name, "new")
    assert not sessions.holds(name, "old")


def test_an_unused_session_ends(sessions: Sessions, clock: Clock) -> None:
    """Each use begins the time anew."""
    name = sessions.begin("secret")
    for _ in range(3):
        clock.now += IDLE - 1
        assert sessions.holds(name, "secret")
    clock.now += IDLE
    assert not sessions.holds(name, "secret")
    clock.now -= IDLE
    assert not sessions.holds(name, "secret")


def test_no_session_lasts_for_ever(sessions: Sessions, clock: Clock) -> None:
    """An open page asks every few seconds; that alone does not keep it."""
    name, began = sessions.begin("secret"), clock.now
    while clock.now - began < LONGEST - 3600:
        clock.now += 3600
        assert sessions.holds(name, "secret")
    clock.now += 3600
    assert not sessions.holds(name, "secret")


def test_there_are_never_more_than_a_hundred(sessions: Sessions) -> None:
    """One more ends the one that was used longest ago."""
    first, second, *_ = (sessions.begin("secret") for _ in range(MOST))
    assert sessions.holds(first, "secret")
    newest = sessions.begin("secret")
    assert [sessions.holds(name, "secret") for name in (first, second, newest)] == [True, False, True]


@pytest.mark.parametrize(
    "path", ["/", "/messages", "/messages?state=failed&skip=25", "/devices/B%C3%BCro", "/messages/..", "/a:b@c"]
)
def test_own_paths(path: str) -> None:
    """Where a log-in may lead."""
    assert is_own_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "messages",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/messages\r\nSet-Cookie: x=y",
        "/é",
        "/" + "x" * 500,
    ],
)
def test_paths_that_lead_elsewhere(path: str) -> None:
    """Browsers leave out tabs and line ends, and take a backslash for a slash."""
    assert not is_own_path(path)
