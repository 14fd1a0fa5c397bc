"""The listener of `relay record`: the relay's own session, recorded on a tape, without a spool."""

import asyncio
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

from relay.inbound.admission import ClientLimits, Listener, Recipients
from relay.inbound.listener import Inbound
from relay.inbound.server_certificate import Offer
from relay.inbound.server_session import ServerSession
from relay.inbound.server_state import ServerPolicy, ServerState
from relay.mail.policy import RepairPolicy
from relay.mail.repair import RepairContext, repair
from relay.recording.tape import Tape, Who
from relay.spool.contract import Spool
from relay.spool.entry import Entry, Heard, TrailLine
from relay.spool.queue_id import new_queue_id

MAX_MESSAGE = 10_000_000
HOSTNAME = "record.relay.example"


@dataclass(slots=True)
class NoSpool:
    """Takes the spool's place: examines a message and drops it.  `examined` has the entries and notes, by queue id."""

    examined: dict[str, tuple[Entry, tuple[str, ...]]] = field(default_factory=dict)

    async def commit(self, entry: Entry, _trail: tuple[TrailLine, ...] = ()) -> None:
        about = RepairContext(
            queue_id=entry.queue_id,
            accepted_at=entry.accepted_at,
            hostname=HOSTNAME,
            origin=entry.origin,
            envelope=entry.envelope,
        )
        repaired = await asyncio.to_thread(repair, entry.content, about, RepairPolicy())
        self.examined[entry.queue_id] = replace(entry, content=()), repaired.notes

    def arrive(self) -> None:
        """Nothing is stored."""

    def room(self) -> int:
        return MAX_MESSAGE + 1

    async def kept_by_client(self) -> dict[str, int]:
        return {}

    async def heard(self, _since: datetime) -> list[Heard]:
        return []


class Recorded(ServerSession):
    """A session whose octets are recorded in both directions."""

    def __init__(self, state: ServerState, listener: Listener, context: Offer, ended: Callable[[Tape], None]) -> None:
        super().__init__(state, listener, context)
        self.tape = Tape()
        self._ended = ended
        self._began = self.loop.time()

    def connection_made(self, transport: Any) -> None:
        peer = transport.get_extra_info("peername")
        self.tape.client = str(peer[0]) if peer else ""
        super().connection_made(transport)
        if self.tls:
            self._keep(Who.TLS)
        elif self.task:
            self.task.add_done_callback(self._over)

    def data_received(self, data: bytes) -> None:
        self._keep(Who.DEVICE, data)
        super().data_received(data)

    def eof_received(self) -> bool:
        if not self._hung_up:
            self._keep(Who.END, b"fin")
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self._hung_up and not self.tape.ended_by_device:
            self._keep(Who.END, b"rst")
        super().connection_lost(error)

    async def say(self, *lines: str) -> None:
        self._keep(Who.RELAY, "\r\n".join(lines).encode("ascii", "replace"))
        await super().say(*lines)

    def dismiss(self, text: str) -> None:
        self._keep(Who.RELAY, f"421 {text}".encode("ascii", "replace"))
        super().dismiss(text)

    def _keep(self, who: Who, octets: bytes = b"") -> None:
        self.tape.add(self.loop.time() - self._began, who, octets)
        if self.tape.cut:
            self.abort()

    def _over(self, _task: object) -> None:
        self.tape.quirks |= self._quirks
        self._ended(self.tape)


class Recorder(Inbound):
    """The listener, with recorded sessions."""

    ended: Callable[[Tape], None]

    def _session(self, opened: Any) -> ServerSession:
        return Recorded(self._state, opened.listener, opened.tls.offer(), self.ended)


async def record(
    listener: Listener, *, sessions: int, seconds: float, ready: Callable[[int], None], told: Callable[[Tape], None]
) -> list[Tape]:
    """Records until that many sessions ended, or the time is over, and returns their tapes.

    `ready` gets the port.  `told` gets each session that ends, also a port check, which sends nothing and does not
    count.  Raises OSError if the listener cannot be opened.
    """
    tapes: list[Tape] = []
    spool, enough = NoSpool(), asyncio.Event()
    limits = ClientLimits(connections=8, per_client=4, idle=timedelta(seconds=min(seconds, 300)))

    def ended(tape: Tape) -> None:
        for queue_id in tape.queued:
            entry, repairs = spool.examined.pop(queue_id)
            tape.accepted += 1
            tape.quirks |= dict.fromkeys(entry.origin.quirks)
            tape.repairs |= dict.fromkeys(repairs)
        told(tape)
        if tape.device and len(tapes) < sessions:
            tapes.append(tape)
        if len(tapes) >= sessions:
            enough.set()

    with tempfile.TemporaryDirectory(prefix="relay-record-") as folder:
        inbound = Recorder(
            ServerPolicy(HOSTNAME, limits, Recipients(default_domain="example.jp"), MAX_MESSAGE),
            [listener],
            spool=cast(Spool, spool),
            may_route=lambda _sender, _recipient, _origin: None,
            now=partial(datetime.now, UTC),
            new_queue_id=new_queue_id,
            state_dir=Path(folder),
        )
        inbound.ended = ended
        await inbound.start()
        try:
            for number in (signal.SIGINT, signal.SIGTERM):  # the sessions recorded by then are kept
                asyncio.get_running_loop().add_signal_handler(number, enough.set)
            ready(inbound.bound[0][1])
            async with asyncio.timeout(seconds):
                await enough.wait()
        except TimeoutError:
            pass
        finally:
            await inbound.stop(grace=1.0)
    return tapes
