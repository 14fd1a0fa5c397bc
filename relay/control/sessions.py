"""Who has logged in on the page.  Kept in memory only: a restart of the relay ends every session."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

COOKIE = "relay_session"
IDLE = 12 * 3600.0
"""Seconds without a request after which a session ends."""
LONGEST = 7 * 86400.0
"""Seconds after which it ends in any case: an open page asks by itself, and would keep it for ever."""
MOST = 100
"""Sessions at a time; one more ends the one that was used longest ago."""


@dataclass(slots=True)
class _Session:
    password: str
    began: float
    seen: float


class Sessions:
    """A session holds for the password that it began with: a new one, after a reload, ends them all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def begin(self, password: str) -> str:
        """The name of a new session.  It is never one that the browser brought along."""
        name, now = secrets.token_urlsafe(32), self._clock()
        self._sessions[name] = _Session(password, now, now)
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return name

    def holds(self, name: str, password: str) -> bool:
        """Whether the session goes on; if so, it has been used now."""
        session, now = self._sessions.get(name), self._clock()
        if session is None:
            return False
        if session.password != password or now - session.began >= LONGEST or now - session.seen >= IDLE:
            self.end(name)
            return False
        session.seen = now
        self._sessions.move_to_end(name)
        return True

    def end(self, name: str) -> None:
        self._sessions.pop(name, None)
