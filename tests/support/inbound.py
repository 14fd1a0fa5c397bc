"""The receiving half alone: real sockets and a real spool, nobody who relays."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from relay import events
from relay.inbound.admission import ClientLimits, Listener, ListenTls, Recipients
from relay.inbound.listener import Inbound, NotApplied
from relay.inbound.server_state import ServerPolicy
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolSettings
from relay.spool.entry import Entry
from tests.support.device import Device
from tests.support.world import Clock, Ids

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
HERE = Listener(host="127.0.0.1", port=0, networks=LOOPBACK, tls=ListenTls.OFF)


@dataclass
class Receiving:
    """The inbound half while it runs; `noted` are its events as (name, text, fields)."""

    inbound: Inbound
    spool: Spool
    clock: Clock
    noted: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    async def reload(self, *listeners: Listener, **changes: Any) -> list[NotApplied]:
        """`changes` are what else differs from the policy in force."""
        return await self.inbound.reload(replace(self.inbound._state.policy, **changes), listeners)

    @property
    def address(self) -> tuple[str, int]:
        return self.inbound.bound[0]

    async def device(self, helo: bytes = b"EHLO nas\r\n", **how: Any) -> Device:
        """A device that has read the banner and (unless `helo` is empty) said who it is."""
        device = await Device.connect(self.address, **how)
        assert (await device.reply()).startswith("220 ")
        if helo:
            assert (await device.ask(helo)).startswith("250")
        return device

    async def entries(self) -> list[Entry]:
        """What is in the spool, in order, content included."""
        found = []
        for one in await self.spool.entries():
            stored = await self.spool.entry(one.entry.queue_id)
            assert stored
            found.append(stored.entry)
        return found

    async def contents(self) -> list[bytes]:
        return [b"".join(entry.content) for entry in await self.entries()]

    def events(self, name: str) -> list[str]:
        return [f"{text} {fields}" for event, text, fields in self.noted if event == name]


@asynccontextmanager
async def receiving(tmp_path: Path, monkeypatch: Any, *listeners: Listener, **changes: Any) -> AsyncIterator[Receiving]:
    """Starts it; `changes` are arguments of Inbound and of its policy that differ from the usual."""
    clock = Clock()
    room = changes.pop("keep_free", 0)
    spool = changes.pop("spool", None) or await open_spool(
        SpoolSettings(url=f"sqlite:{tmp_path}/spool.db", keep_free=room), now=clock
    )
    limits = ClientLimits(messages_per_minute=10_000, per_client=100)
    usual = ServerPolicy("relay.test", limits, Recipients(), max_message=1_000_000)
    policy = replace(usual, **{one.name: changes.pop(one.name) for one in fields(usual) if one.name in changes})
    settings: dict[str, Any] = {
        "may_route": lambda _sender, _recipient, _origin: None,
        "now": clock,
        "new_queue_id": Ids(),
        "state_dir": tmp_path / "state",
    }
    inbound = Inbound(policy, listeners or (HERE,), spool=spool, **(settings | changes))
    running = Receiving(inbound, spool, clock)

    def note(event: str, text: str = "", /, **fields: Any) -> None:
        assert event in events.EVENTS
        running.noted.append((event, text, fields))

    monkeypatch.setattr(events, "note", note)
    try:
        await inbound.start()
        yield running
    finally:
        await Device.close_all()
        await inbound.stop(grace=1.0)
        await spool.close()


def names(entries: Sequence[Entry]) -> list[list[str]]:
    """The forward-paths of each entry as text."""
    return [[str(path) for path in entry.envelope.forward_paths] for entry in entries]
