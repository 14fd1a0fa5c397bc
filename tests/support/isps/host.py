"""What the simulated hosts share: they know who speaks to them, and carry on what they took."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

from tests.support.isps.internet import Arrived, Internet
from tests.support.upstream import Action, Do, Message, ScriptedUpstream


@dataclass
class Talk:
    """One connection: the address that it comes from, its number at the host, the sender of its transaction."""

    peer: str
    number: int = 0
    sender: str = ""


TALK: ContextVar[Talk] = ContextVar("talk")


class Host(ScriptedUpstream):
    """A mail host at an address of its own.  `domains` end here; all else goes on from the address `outgoing`."""

    def __init__(self, net: Internet, address: str, *, outgoing: str = "", domains: frozenset[str] = frozenset(), **more: Any):
        more.setdefault("port", net.port)
        super().__init__(host=address, **more)
        self.net, self.outgoing, self.domains = net, outgoing or address, domains
        self.refusals: list[str] = []
        self._senders: dict[int, str] = {}
        self._errands: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._carrier = asyncio.create_task(self._carry())
        return self

    async def close(self) -> None:
        await super().close()
        for task in (self._carrier, *self._errands):
            task.cancel()
        await asyncio.gather(self._carrier, *self._errands, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        TALK.set(Talk(writer.get_extra_info("peername")[0], len(self.connections)))
        await super()._accept(reader, writer)

    def next_action(self, step: str, argument: str) -> "str | Do | None":
        talk = TALK.get()
        if step == "MAIL":
            talk.sender = argument.partition(":")[2].strip().partition(">")[0].lstrip("<")
        said = self.judge(step, argument, talk)
        if isinstance(said, str):
            self.refusals.append(f"{talk.peer} {step}: {said}")
        if step == "DOT" and said is None:
            self._peers.append(talk.peer)
        return said or super().next_action(step, argument)

    @property
    def _peers(self) -> list[str]:
        return self.__dict__.setdefault("peers", [])

    def judge(self, step: str, argument: str, talk: Talk) -> Action:
        """The provider's own rules: a refusal in its words, or None for the usual reply."""
        return None

    def user_of(self, talk: Talk) -> str:
        return self.connections[talk.number].user

    def outgoing_content(self, message: Message) -> bytes:
        return message.content

    def spf_of(self, message: Message, peer: str) -> str:
        return ""

    async def _carry(self) -> None:
        done = 0
        while True:
            async with self.changed:
                await self.changed.wait_for(lambda: len(self.messages) > done)  # noqa: B023
            for message in self.messages[done:]:
                peer = self._peers[done]
                done += 1
                for path in message.forward_paths:
                    task = asyncio.create_task(self._on(message, path, peer))
                    self._errands.add(task)
                    task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.net.bounces.append(f"{self.name}: {error!r}")

    async def _on(self, message: Message, path: str, peer: str) -> None:
        if path.rpartition("@")[2].lower() in self.domains:
            spf = self.spf_of(message, peer)
            await self.net.put(path, Arrived(peer, message.reverse_path, message.content, spf))
        else:
            await self.net.onward(self.outgoing, message.reverse_path, path, self.outgoing_content(message))
