"""The sockets that clients connect to: bound at start, closed at stop."""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from relay import events
from relay.inbound.admission import HostAddress, Listener, ListenTls
from relay.inbound.listener_tls import ListenerTls, look_again
from relay.inbound.server_certificate import NoCertificate
from relay.inbound.server_session import ServerSession
from relay.inbound.server_state import MayRoute, ServerPolicy, ServerState
from relay.spool.contract import AcceptingSpool

_BACKLOG = 256
_UNPRIVILEGED = 1024
_TURNS = 4
"""Turns of the loop from an accepted connection to its session; one to spare."""


class CannotListen(OSError):
    """A listener cannot be opened.  The text names the cure."""


@dataclass(frozen=True, slots=True)
class NotApplied:
    """A part of a new configuration that is not in force: which `setting`, and why."""

    setting: str
    reason: str

    def __str__(self) -> str:
        return f"{self.setting} is not applied: {self.reason}"


@dataclass(slots=True, eq=False)
class _OpenListener:
    """One listening socket.  `listener` and `tls` are read at each connection, so a reload applies to new sessions."""

    listener: Listener
    tls: ListenerTls
    socket: socket.socket
    bound: tuple[str, int]
    server: asyncio.Server | None = None

    def shut(self) -> None:
        """Nobody can connect any more; sessions go on."""
        if self.server:
            self.server.close()
        self.socket.close()

    async def close(self) -> None:
        self.shut()
        await self.tls.close()


class Inbound:
    """All listeners of the relay."""

    def __init__(
        self,
        policy: ServerPolicy,
        listeners: Sequence[Listener],
        *,
        spool: AcceptingSpool,
        may_route: MayRoute,
        now: Callable[[], datetime],
        new_queue_id: Callable[[datetime], str],
        state_dir: Path,
        masks: frozenset[HostAddress] = frozenset(),
        alarm: Callable[[str, str], None] = lambda _text, _cause: None,
    ) -> None:
        self._wanted = tuple(listeners)
        self._open: list[_OpenListener] = []
        self._making = asyncio.Lock()
        self._state = ServerState(
            policy=policy,
            spool=spool,
            may_route=may_route,
            now=now,
            new_queue_id=new_queue_id,
            state_dir=Path(state_dir),
            masks=masks,
            alarm=alarm,
        )

    @property
    def bound(self) -> list[tuple[str, int]]:
        """The real address of each listener that is open."""
        return [opened.bound for opened in self._open]

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """What is in force."""
        return tuple(opened.listener for opened in self._open)

    async def start(self) -> None:
        """Binds every address, then serves them.  Raises OSError; its text names the address and the cure."""
        self._state.state_dir.mkdir(parents=True, exist_ok=True)
        try:
            for listener in self._wanted:
                try:
                    self._open.append(await self._opened(listener))
                except (CannotListen, NoCertificate) as error:
                    raise CannotListen(f"cannot listen on {listener.name}: {error}") from error
            for opened in self._open:
                await self._serve(opened)
        except BaseException:
            for opened in self._open:
                await opened.close()
            self._open = []
            raise

    async def _opened(self, listener: Listener) -> _OpenListener:
        """A bound socket that is not served yet.  Raises OSError."""
        tls = await self._tls(listener)
        try:
            bound = _bind(listener)
        except OSError:
            await tls.close()
            raise
        return _OpenListener(listener, tls, bound, bound.getsockname()[:2])

    async def _serve(self, opened: _OpenListener) -> None:
        opened.server = await asyncio.get_running_loop().create_server(
            partial(self._session, opened), sock=opened.socket, backlog=_BACKLOG
        )

    async def _tls(self, listener: Listener) -> ListenerTls:
        """Raises OSError."""
        tls = ListenerTls(listener, self._state.state_dir, self._state.policy.hostname, self._making)
        await tls.begin()
        return tls

    async def stop(self, grace: float = 10.0) -> None:
        """Closes the listeners and dismisses idle clients with 421.  A message under way has `grace` seconds to end."""
        state = self._state
        state.draining = True
        for opened in self._open:
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

    async def reload(self, policy: ServerPolicy, listeners: Sequence[Listener]) -> list[NotApplied]:
        """Listeners come, go and change; sessions that the new settings would refuse end.  Returns what is not applied.

        A listener that cannot be changed stays as it was.  While one cannot be opened, none is closed.
        """
        self._state.policy = policy
        left: list[NotApplied] = []
        gone, fresh = list(self._open), list[Listener]()
        for listener in listeners:
            opened = next((one for one in gone if one.listener.name == listener.name), None)
            if opened is None:
                fresh.append(listener)
                continue
            gone.remove(opened)
            left += await self._change(opened, listener)
        shut = await self._open_more(fresh, gone, left)
        listening = [one.listener.name for one in self._open if one not in gone]
        missing = [listener.name for listener in fresh if listener.name not in listening]
        await asyncio.sleep(0)  # who has connected already is accepted in this turn of the loop
        for opened in gone:
            if missing and opened not in shut:
                left.append(NotApplied(f"listen {opened.listener.name}", f"it stays open while {missing[0]} cannot be opened"))
                continue
            self._open.remove(opened)
            await opened.close()
            for session in self._sessions(opened.listener.name):
                session.retire()
        await self._reconsider_new()
        await self.look_at_certificates()
        return left + [NotApplied(f"tls_cert of {one.listener.name}", one.tls.trouble) for one in self._open if one.tls.trouble]

    async def _change(self, opened: _OpenListener, new: Listener) -> list[NotApplied]:
        """Takes over other settings for an address, all of them or none."""
        if _of_tls(new) != _of_tls(opened.listener) or (new.tls is not ListenTls.OFF and opened.tls.offer() is None):
            try:
                tls = await self._tls(new)
            except OSError as error:
                return [NotApplied(f"listen {new.name}", str(error))]
            opened.tls, before = tls, opened.tls
            await before.close()
        opened.listener = opened.tls.listener = new
        for session in self._sessions(new.name):
            session.reconsider(new, opened.tls.offer())
        return []

    async def _reconsider_new(self) -> None:
        """Who was just being accepted, by what was in force before, has a session by now."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        inforce = {opened.listener.name: opened for opened in self._open}
        for session in self._state.slots.connected:
            if not isinstance(session, ServerSession):
                continue
            if opened := inforce.get(session.listener_name):
                session.reconsider(opened.listener, opened.tls.offer())
            else:
                session.retire()

    async def _open_more(
        self, fresh: Sequence[Listener], gone: Sequence[_OpenListener], left: list[NotApplied]
    ) -> list[_OpenListener]:
        """Opens what is new.  Returns those of `gone` that had to be shut first, since their port is needed."""
        shut: list[_OpenListener] = []
        for listener in fresh:
            opened = None
            try:
                opened = await self._opened(listener)
            except OSError as error:
                in_the_way = [one for one in gone if one.listener.port == listener.port and one not in shut]
                if isinstance(error, CannotListen) and in_the_way:
                    opened = await self._opened_instead(listener, in_the_way, left)
                    shut += in_the_way if opened else []
                else:
                    left.append(NotApplied(f"listen {listener.name}", str(error)))
            if opened:
                self._open.append(opened)
                await self._serve(opened)
        return shut

    async def _opened_instead(
        self, listener: Listener, others: Sequence[_OpenListener], left: list[NotApplied]
    ) -> _OpenListener | None:
        """Shuts `others` and opens this one; they are opened again if it cannot be."""
        await asyncio.sleep(0)  # who has connected already is accepted in this turn of the loop
        for one in others:
            one.shut()
        try:
            return await self._opened(listener)
        except OSError as error:
            left.append(NotApplied(f"listen {listener.name}", str(error)))
        for one in others:
            try:
                one.socket = _bind(one.listener)
                await self._serve(one)
            except OSError as error:  # somebody took the port in this moment
                left.append(NotApplied(f"listen {one.listener.name}", str(error)))
        return None

    def _sessions(self, name: str) -> list[ServerSession]:
        """The sessions of one listener."""
        connected = [one for one in self._state.slots.connected if isinstance(one, ServerSession)]
        return [one for one in connected if one.listener_name == name]

    async def look_at_certificates(self) -> None:
        """Reads those whose files have changed, and makes our own anew before it ends; tells what cannot be used."""
        state = self._state
        new, bad = await look_again([opened.tls for opened in self._open], state.now())
        for one in new:
            until = f", good until {one.expires:%Y-%m-%d}" if one.expires else ""
            events.note("reloaded", f"{one.listener.name} shows another certificate{until}", listener=one.listener.name)
        for one in bad:
            name = one.listener.name
            events.note("warned", f"{name}: {one.trouble}; the old certificate is still used", listener=name)
            if state.alerts.begins(_cause(one), state.now()):
                state.alarm(f"{name}: {one.trouble}. The old certificate is still used{_until(one)}.", _cause(one))
        state.alerts.ended(*(_cause(opened.tls) for opened in self._open if not opened.tls.trouble))

    def devices(self) -> list[dict[str, Any]]:
        """The devices seen since the start, the last one first: client, last_seen, helo, quirks, messages, refused."""
        return self._state.devices.as_json()

    def listening(self) -> list[dict[str, Any]]:
        """Host, port, tls and certificate of each open listener."""
        return [
            {
                "host": opened.bound[0],
                "port": opened.bound[1],
                "tls": opened.listener.tls.value,
                "auth": opened.listener.auth.value,
                "certificate_expires": opened.tls.expires.isoformat() if opened.tls.expires else None,
                "certificate_trouble": opened.tls.trouble,
            }
            for opened in self._open
        ]

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._state.sessions)

    def _session(self, opened: _OpenListener) -> ServerSession:
        return ServerSession(self._state, opened.listener, opened.tls.offer())

    async def _emptied(self, seconds: float) -> None:
        tasks = [session.task for session in self._state.slots.connected if session.task]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)


def _of_tls(listener: Listener) -> tuple[object, ...]:
    """The settings that its TLS is made of."""
    return listener.tls, listener.tls_cert, listener.tls_key, listener.legacy_tls, listener.needs_tls


def _cause(tls: ListenerTls) -> str:
    return f"certificate of {tls.listener.name}"


def _until(tls: ListenerTls) -> str:
    return f" (until {tls.expires:%Y-%m-%d})" if tls.expires else ""


def _bind(listener: Listener) -> socket.socket:
    host = listener.host.strip("[]")
    try:
        if ":" in host:
            dual = host == "::" and socket.has_dualstack_ipv6()
            bound = socket.create_server((host, listener.port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=dual)
        else:
            bound = socket.create_server((host, listener.port), backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(_cure(error, listener)) from error
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
