"""The TLS of one listener: its certificate is read at the start, and again when its files change.

While what is in the files cannot be used, the certificate that was read last is still shown, and `trouble` says why.
Sessions keep what they began with.
"""

import asyncio
import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from relay import events
from relay.detached import apart
from relay.inbound.admission import Listener, ListenTls
from relay.inbound.server_certificate import (
    NoCertificate,
    Offer,
    files_of,
    load,
    made,
    must_be_made,
    renew,
    server_context,
    to_be_renewed,
)
from relay.upstream.certificate_files import Stamps, certificate_in, stamps
from relay.upstream.peer_certificate import Certificate

_RENEW_AGAIN = timedelta(hours=6)
_SETTLE = 2.0
"""Seconds in which a certificate and its key may be written one after the other."""


class ListenerTls:
    """`making` is shared by the listeners that share a certificate of our own."""

    def __init__(self, listener: Listener, state_dir: Path, hostname: str, making: asyncio.Lock) -> None:
        self.listener = listener
        self.certificate: Certificate | None = None
        self._not_read = self._not_renewed = ""
        self._state_dir, self._hostname, self._making = state_dir, hostname, making
        self._context: Offer = None
        self._read: Stamps = ()
        self._not_before: datetime | None = None

    async def begin(self) -> None:
        """Reads the certificate, or begins to make one.  Raises OSError if the listener is of no use without."""
        if self.listener.tls is ListenTls.OFF:
            return
        if not self.listener.needs_tls and must_be_made(self.listener, self._state_dir):
            self._context = asyncio.create_task(self._first())  # it takes up to ten seconds; clients are served meanwhile
            await asyncio.sleep(0)  # if openssl is missing, that is known at once and STARTTLS is never offered
        else:
            self._context = await self._first()

    async def _first(self) -> ssl.SSLContext | None:
        """Makes one context at a time, since they share the certificate.  Raises OSError if the listener needs it."""
        try:
            async with self._making:
                first, before = must_be_made(self.listener, self._state_dir), stamps(self.files)
                context = await server_context(self.listener, self._state_dir, self._hostname)
                self._read, self.certificate = stamps(self.files) if first else before, certificate_in(self.files[0])
                return context
        except OSError as error:
            if self.listener.needs_tls or self.listener.tls_cert:
                raise
            events.note("warned", f"{self.listener.name} does not offer STARTTLS: {error}")
            return None

    @property
    def files(self) -> tuple[Path, Path]:
        return files_of(self.listener, self._state_dir)

    def offer(self) -> Offer:
        """The TLS of new sessions.  A finished task is replaced by its result."""
        if isinstance(self._context, asyncio.Task) and self._context.done():
            self._context = made(self._context)
        return self._context

    async def close(self) -> None:
        """Stops the making of a certificate."""
        if isinstance(self._context, asyncio.Task):
            self._context.cancel()
            await asyncio.wait([self._context])

    # ---- while it is in use --------------------------------------------------------------------

    @property
    def expires(self) -> datetime | None:
        """When the certificate that is shown ends; None without TLS."""
        return self.certificate.expires if self.certificate else None

    @property
    def trouble(self) -> str:
        """Why the certificate in the files is not the one that is shown, or will end; "" if all is well."""
        return self._not_read or self._not_renewed

    async def read_again(self, now: datetime) -> bool:
        """Whether another certificate is shown from now on.

        What cannot be used is tried again at each look: perhaps the clock was wrong, or the disk did not answer.
        """
        if not isinstance(self.offer(), ssl.SSLContext):
            return False
        found = await apart(partial(stamps, self.files))
        if found == self._read:
            self._not_read = ""  # the old one was put back
            return False
        try:
            context = await apart(partial(load, self.listener, self._state_dir))
            certificate = await apart(partial(certificate_in, self.files[0]))
        except NoCertificate as error:
            self._not_read = str(error)
            return False
        if _over(certificate, now) and not _over(self.certificate, now):
            self._not_read = f"the certificate in {self.files[0]} has expired"
            return False
        self._context, self._read, self._not_read = context, found, ""
        different = certificate != self.certificate
        self.certificate = certificate
        return different

    async def renew(self, now: datetime) -> None:
        """Makes a certificate of our own anew before it ends; `read_again` finds it."""
        ours = not self.listener.tls_cert and isinstance(self.offer(), ssl.SSLContext)
        if not ours or (self._not_before and now < self._not_before) or not to_be_renewed(self.certificate, now):
            return
        self._not_before = now + _RENEW_AGAIN
        try:
            async with self._making:
                if to_be_renewed(certificate_in(self.files[0]), now):  # else another listener has just done it
                    await renew(self.listener, self._state_dir, self._hostname)
            self._not_renewed = ""
        except OSError as error:
            self._not_renewed = f"the relay's own certificate ends soon and cannot be made anew: {error}"


def _over(certificate: Certificate | None, now: datetime) -> bool:
    return certificate is not None and certificate.expires is not None and certificate.expires <= now


async def look_again(several: Iterable[ListenerTls], now: datetime) -> tuple[list[ListenerTls], list[ListenerTls]]:
    """Reads what has changed.  Those that show another certificate now, and those that have come into trouble."""
    several = list(several)
    before = {one: one.trouble for one in several}
    for one in several:
        await one.renew(now)
    new = [one for one in several if await one.read_again(now)]
    if any(one.trouble not in ("", before[one]) for one in several):
        await asyncio.sleep(_SETTLE)
        new += [one for one in several if await one.read_again(now)]
    return new, [one for one in several if one.trouble not in ("", before[one])]
