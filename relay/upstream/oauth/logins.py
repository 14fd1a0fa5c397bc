"""Consents that a person gives from the page: a code to type at the provider, or the address that a browser ended at.

start ─▶ waiting ─┬─▶ granted   the token is kept, and what waits for it goes
                  ├─▶ refused   the provider's own words
                  └─▶ expired   nobody was there in time

One for each upstream: who asks while one waits gets to see that one.  No token and no device code is ever told.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from relay import events
from relay.detached import apart
from relay.upstream.oauth.authorities import authority_for
from relay.upstream.oauth.consent import (
    CodeFlow,
    NoConsent,
    await_device_flow,
    finish_code_flow,
    start_code_flow,
    start_device_flow,
)
from relay.upstream.oauth.http import Granted
from relay.upstream.oauth.session_tokens import Tokens
from relay.upstream.oauth.token_store import StoreBroken
from relay.upstream.settings import Grant, NotByConsent, OAuth, Upstream

LONGEST = 1800
"""Seconds that one may wait, whatever the provider says."""

LONGEST_PASTED = 8000
_REDIRECT = "http://localhost"
"""Where the browser ends: nobody answers there, and the person copies the address."""


@dataclass
class _Login:
    """`state`: starting, waiting, granted, refused or expired.  `paste`: the address that the browser ended at is wanted."""

    paste: bool
    state: str = "starting"
    address: str = ""
    code: str = ""
    until: datetime | None = None
    words: str = ""
    flow: CodeFlow | None = None
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def open(self) -> bool:
        return self.state in ("starting", "waiting")

    def standing(self) -> dict[str, Any]:
        waiting = self.state == "waiting"
        return {
            "state": self.state,
            "paste": self.paste,
            "address": self.address if waiting else "",
            "code": self.code if waiting else "",
            "until": self.until.isoformat(timespec="seconds") if waiting and self.until else None,
            "words": self.words,
        }


class _Over(Exception):
    """The relay stops."""


class Logins:
    """`wake` is called after a consent: what waits for it is to be tried."""

    def __init__(self, tokens: Tokens, now: Callable[[], datetime], wake: Callable[[], Awaitable[object]]) -> None:
        self._tokens, self._now, self._wake = tokens, now, wake
        self._logins: dict[str, _Login] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def standing(self, upstream: Upstream) -> dict[str, Any] | None:
        """The login that was begun last, None if none was."""
        login = self._logins.get(upstream.name)
        if login and login.open and login.paste and login.until and login.until < self._now():
            self._end(login, "expired")
        return login.standing() if login else None

    def start(self, upstream: Upstream, *, paste: bool = False) -> None:
        """Begins one, unless one waits already in that way.  `paste`: by a browser, where a code is not allowed.

        Raises NotByConsent.
        """
        oauth = upstream.login.oauth
        if oauth is None or oauth.grant is Grant.CLIENT_CREDENTIALS:
            raise NotByConsent(f"{upstream.name} needs no consent of a person")
        self.standing(upstream)  # one that has expired makes place
        paste = paste or not authority_for(oauth).device_url
        if known := self._logins.get(upstream.name):
            if known.open and known.paste == paste:
                return
            known.over.set()
        login = self._logins[upstream.name] = _Login(paste)
        if login.paste:
            self._ask_for_address(upstream, oauth, login)
        else:
            task = asyncio.create_task(self._by_device(upstream, oauth, login))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self, upstream: Upstream, pasted: str) -> None:
        """With the address that the browser ended at.  Raises NotByConsent where nothing waits for one."""
        self.standing(upstream)
        login = self._logins.get(upstream.name)
        if login is None or login.state != "waiting" or login.flow is None:
            raise NotByConsent(f"no login of {upstream.name} waits for an address")
        login.state = "starting"  # a second one must not use the code again
        try:
            await self._keep(upstream, login, await apart(partial(finish_code_flow, login.flow, pasted[:LONGEST_PASTED])))
        except (NoConsent, StoreBroken) as error:
            self._end(login, "refused", str(error))
        except Exception as error:
            self._broken(upstream, login, error)

    def _ask_for_address(self, upstream: Upstream, oauth: OAuth, login: _Login) -> None:
        try:
            login.flow = start_code_flow(oauth, _REDIRECT, upstream.login.username)
        except NoConsent as error:
            self._end(login, "refused", str(error))
            return
        login.address, login.state = login.flow.address, "waiting"
        login.until = self._now() + timedelta(seconds=LONGEST)

    async def _by_device(self, upstream: Upstream, oauth: OAuth, login: _Login) -> None:
        try:
            device = await apart(partial(start_device_flow, oauth))
            end = time.monotonic() + min(device.lifetime, LONGEST)
            login.address, login.code, login.state = device.address, device.code, "waiting"
            login.until = self._now() + timedelta(seconds=min(device.lifetime, LONGEST))

            def pause(seconds: float) -> None:
                if login.over.wait(min(seconds, 60.0)):
                    raise _Over
                if time.monotonic() >= end:
                    raise TimeoutError

            await self._keep(upstream, login, await apart(partial(await_device_flow, oauth, device, sleep=pause)))
        except TimeoutError:
            self._end(login, "expired")
        except (NoConsent, StoreBroken, _Over) as error:
            late = login.until is not None and self._now() >= login.until
            self._end(login, "expired" if late else "refused", str(error))
        except Exception as error:
            self._broken(upstream, login, error)

    async def _keep(self, upstream: Upstream, login: _Login, granted: Granted) -> None:
        await self._tokens.consented(upstream, granted)
        self._end(login, "granted")
        events.note("consented", "a person has consented by the page", upstream=upstream.name)
        await self._wake()

    def _broken(self, upstream: Upstream, login: _Login, error: Exception) -> None:
        """Whatever a provider does, the page tells it and mail goes on."""
        events.note("broken", f"the login of {upstream.name} could not be followed: {error!r}")
        self._end(login, "refused", type(error).__name__)

    @staticmethod
    def _end(login: _Login, state: str, words: str = "") -> None:
        login.state, login.words, login.flow = state, words, None

    async def close(self) -> None:
        """Asks no provider any more."""
        for login in self._logins.values():
            login.over.set()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
