"""Sign-in with Microsoft, Google or Yahoo during set-up: what the person is to do, and what came of it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from relay.detached import apart
from relay.upstream.oauth.authorities import authority_for
from relay.upstream.oauth.consent import (
    CodeFlow,
    DeviceCode,
    NoConsent,
    await_device_flow,
    finish_code_flow,
    start_code_flow,
    start_device_flow,
)
from relay.upstream.oauth.http import Granted
from relay.upstream.settings import OAuth, Upstream

_REDIRECT = "http://localhost"
"""Where a browser is sent with the code: nothing answers there, and the person copies the address (RFC 8252 s7.3)."""


class TokensInMemory:
    """What TokenStore needs to keep tokens in, until the configuration is written."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        with self._lock:
            yield

    def read(self, name: str) -> bytes | None:
        return self._kept.get(name)

    def write(self, name: str, octets: bytes) -> None:
        self._kept[name] = octets


class SetupConsent:
    """One person's consent.  `keep` gets the tokens, in a thread.

    `device`: the code to type, once it is there.  `browser`: the address to open, where there is no device flow.
    """

    def __init__(self, upstream: Upstream, keep: Callable[[Granted], object]) -> None:
        self._upstream, self._oauth, self._keep = upstream, upstream.login.oauth or OAuth(), keep
        self.authority = authority_for(self._oauth)
        self.device: DeviceCode | None = None
        self.browser: CodeFlow | None = None
        self.granted, self.trouble = False, ""
        self._over = threading.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def by_device(self) -> bool:
        return bool(self.authority.device_url)

    def begin(self, *, by_device: bool) -> None:
        """Asks for a code to type, or makes the address to open."""
        self.close()
        self.device, self.browser, self.trouble, self._over = None, None, "", threading.Event()
        if by_device:
            self._task = asyncio.create_task(self._by_device(self._over))
            return
        try:
            self.browser = start_code_flow(self._oauth, _REDIRECT, self._upstream.login.username)
        except NoConsent as error:
            self.trouble = str(error)

    async def paste(self, address: str) -> None:
        """The address that the browser ended at."""
        if self.browser is None:
            return
        flow, self.trouble = self.browser, ""
        try:
            await self._granted(await apart(partial(finish_code_flow, flow, address)))
        except NoConsent as error:
            self.trouble = str(error)

    def close(self) -> None:
        """Nobody waits for it any more."""
        self._over.set()
        if self._task:
            self._task.cancel()
            self._task = None

    async def _by_device(self, over: threading.Event) -> None:
        try:
            device = self.device = await apart(partial(start_device_flow, self._oauth))
            await self._granted(await apart(partial(await_device_flow, self._oauth, device, sleep=partial(_sleep, over))))
        except NoConsent as error:
            self.device, self.trouble = None, str(error)

    async def _granted(self, granted: Granted) -> None:
        try:
            await apart(partial(self._keep, granted))
        except OSError as error:
            raise NoConsent(str(error)) from error
        self.granted = True


def _sleep(over: threading.Event, seconds: float) -> None:
    """In a thread, which ends soon after nobody waits for it.  Raises NoConsent."""
    if over.wait(seconds):
        raise NoConsent("nobody waits for it any more")
