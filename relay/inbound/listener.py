"""The sockets that clients connect to: bound at start, closed at stop."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from relay import events
from relay.inbound.admission import ClientLimits, HostAddress, Listener, ListenTls, Recipients
from relay.inbound.server_certificate import Offer, made, must_be_made, server_context
from relay.inbound.server_session import ServerSession
from relay.inbound.server_state import Copies, MayRoute, ServerPolicy, ServerState
from relay.mail.device import Device
from relay.spool.contract import AcceptingSpool

_BACKLOG = 256
_UNPRIVILEGED = 1024


class CannotListen(OSError):
    """A listener cannot be opened.  The text names its address and the cure."""


@dataclass(slots=True)
class _OpenListener:
    """One listening socket.  `listener` is read at each connection, so a reload applies to new sessions."""

    listener: Listener
    context: Offer
    socket: socket.socket
    server: asyncio.Server | None = None

    def offer(self) -> Offer:
        """The TLS of new sessions.  A finished task is replaced by its result."""
        if isinstance(self.context, asyncio.Task) and self.context.done():
            self.context = made(self.context)
        return self.context

    async def close(self) -> None:
        """Closes the socket and stops the making of a certificate."""
        self.socket.close()
        if isinstance(self.context, asyncio.Task):
            self.context.cancel()
            await asyncio.wait([self.context])


class Inbound:
    """All listeners of the relay.  After `start`, `bound` has the real address of each listener."""

    def __init__(
        self,
        *,
        hostname: str,
        listeners: Sequence[Listener],
        limits: ClientLimits,
        recipients: Recipients,
        max_message: int,
        devices: tuple[Device, ...] = (),
        copies: Copies | None = None,
        spool: AcceptingSpool,
        may_route: MayRoute,
        now: Callable[[], datetime],
        new_queue_id: Callable[[datetime], str],
        state_dir: Path,
        masks: frozenset[HostAddress] = frozenset(),
        alarm: Callable[[str, str], None] = lambda _text, _cause: None,
    ) -> None:
        self.bound: list[tuple[str, int]] = []
        self._listeners = tuple(listeners)
        self._open: list[_OpenListener] = []
        self._making = asyncio.Lock()
        self._state = ServerState(
            policy=ServerPolicy(hostname, limits, recipients, max_message, devices, copies),
            spool=spool,
            may_route=may_route,
            now=now,
            new_queue_id=new_queue_id,
            state_dir=Path(state_dir),
            masks=masks,
            alarm=alarm,
        )

    async def start(self) -> None:
        """Binds every address, then serves them.  Raises OSError; its text names the address and the cure."""
        self._state.state_dir.mkdir(parents=True, exist_ok=True)
        try:
            for listener in self._listeners:
                context = await self._context(listener)
                self._open.append(_OpenListener(listener, context, _bind(listener)))
            for opened in self._open:
                opened.server = await asyncio.get_running_loop().create_server(
                    partial(self._session, opened), sock=opened.socket, backlog=_BACKLOG
                )
        except BaseException:
            for opened in self._open:
                await opened.close()
            self._open = []
            raise
        self.bound = [opened.socket.getsockname()[:2] for opened in self._open]

    async def stop(self, grace: float = 10.0) -> None:
        """Closes the listeners and dismisses idle clients with 421.  A message under way has `grace` seconds to end."""
        state = self._state
        state.draining = True
        for opened in self._open:
            if opened.server:
                opened.server.close()
            await opened.close()
        for session in state.slots.connected:
            if session.waiting or session not in state.sessions:
                session.dismiss("4.3.2 the relay is stopping; try again soon")
        await self._emptied(grace)
        for session in state.slots.connected:
            session.abort()
        await self._emptied(1.0)
        if state.commits:
            await asyncio.wait(state.commits)

    def reload(
        self,
        *,
        hostname: str,
        listeners: Sequence[Listener],
        limits: ClientLimits,
        recipients: Recipients,
        max_message: int,
        devices: tuple[Device, ...] = (),
        copies: Copies | None = None,
    ) -> list[str]:
        """New sessions get the new policy; sessions that it would refuse end.  Returns sentences on what needs a restart."""
        self._state.policy = ServerPolicy(hostname, limits, recipients, max_message, devices, copies)
        new = {listener.name: listener for listener in listeners}
        old = {opened.listener.name for opened in self._open}
        sentences = [f"listening on {name} begins with a restart" for name in new if name not in old]
        sentences += [f"listening on {name} ends with a restart" for name in old if name not in new]
        for opened in self._open:
            if (changed := new.get(opened.listener.name)) is not None:
                sentences += _change(opened, changed)
                for session in self._state.slots.connected:
                    if isinstance(session, ServerSession):
                        session.reconsider(opened.listener)
        return sentences

    def devices(self) -> list[dict[str, Any]]:
        """The devices seen since the start, the last one first: client, last_seen, helo, quirks, messages, refused."""
        return self._state.devices.as_json()

    def listening(self) -> list[dict[str, Any]]:
        """Host, port and tls of each open listener."""
        return [
            {"host": host, "port": port, "tls": opened.listener.tls.value}
            for (host, port), opened in zip(self.bound, self._open, strict=True)
        ]

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._state.sessions)

    def _session(self, opened: _OpenListener) -> ServerSession:
        return ServerSession(self._state, opened.listener, opened.offer())

    async def _context(self, listener: Listener) -> Offer:
        if listener.tls is ListenTls.OFF:
            return None
        if listener.tls is ListenTls.STARTTLS and must_be_made(listener, self._state.state_dir):
            making = asyncio.create_task(self._made(listener))  # it takes up to ten seconds; clients are served meanwhile
            await asyncio.sleep(0)  # if openssl is missing, that is known at once and STARTTLS is never offered
            return making
        return await self._made(listener)

    async def _made(self, listener: Listener) -> ssl.SSLContext | None:
        """Makes one context at a time, since they share the certificate.  Raises OSError if the listener needs it."""
        try:
            async with self._making:
                return await server_context(listener, self._state.state_dir, self._state.policy.hostname)
        except OSError as error:
            if listener.tls is ListenTls.IMPLICIT or listener.tls_cert:
                raise
            events.note("warned", f"{listener.name} does not offer STARTTLS: {error}")
            return None

    async def _emptied(self, seconds: float) -> None:
        tasks = [session.task for session in self._state.slots.connected if session.task]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)


def _change(opened: _OpenListener, new: Listener) -> list[str]:
    """Takes over the settings that can change while the socket stays open; sentences name those that cannot."""
    fixed = ("tls", "tls_cert", "tls_key", "legacy_tls")
    changed = [name for name in fixed if getattr(opened.listener, name) != getattr(new, name)]
    opened.listener = replace(new, **{name: getattr(opened.listener, name) for name in fixed})
    return [f"{new.name}: the change of {', '.join(changed)} needs a restart"] if changed else []


def _bind(listener: Listener) -> socket.socket:
    host = listener.host.strip("[]")
    try:
        if ":" in host:
            dual = host == "::" and socket.has_dualstack_ipv6()
            bound = socket.create_server((host, listener.port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=dual)
        else:
            bound = socket.create_server((host, listener.port), backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(f"cannot listen on {listener.name}: {_cure(error, listener)}") from error
    # Accepted connections inherit it.  asyncio sets it only on sockets made with the protocol named; else 40 ms a message.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def _cure(error: OSError, listener: Listener) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {listener.port} is in use by another program; stop that one (`ss -ltnp`) or choose another port"
    if error.errno in (errno.EACCES, errno.EPERM) and listener.port < _UNPRIVILEGED:
        return (
            f"no permission for port {listener.port}; ports under {_UNPRIVILEGED} need the capability NET_BIND_SERVICE "
            "(or choose a port from 1024 up, such as 2525)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no address {listener.host}; use 0.0.0.0 (or [::]) for all of its addresses"
    if error.errno == errno.EAFNOSUPPORT:
        return "this machine has no IPv6; use 0.0.0.0"
    return error.strerror or str(error)
