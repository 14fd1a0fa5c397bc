"""CORESERVER / XREA: one qmail-like host for submission and MX, opened by a POP login, for everybody at that address.

While an address is on the relay-permitted list every session from it is outgoing mail, also mail to the host's own users,
and needs an envelope sender of a registered domain.  No reverse DNS, no service; bare LF gets qmail's 451.
"""

import asyncio
from typing import Any

from tests.support.isps.host import TALK, Host, Talk
from tests.support.isps.internet import CORESERVER, Internet
from tests.support.pop3 import PopServer
from tests.support.upstream import Action

SENDERHOSTS = "552 sorry, your domain isn't in my list of allowed senderhosts (#5.7.1)"
RCPTHOSTS = "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
NO_NAME = "554 5.7.1 Client host rejected: cannot find your hostname"

USER, PASSWORD = "taro", "core-secret"


class CoreServer(Host):
    """`permitted` is the list of addresses; `senderhosts` the registered domains, fewer than those with mail boxes."""

    senderhosts = frozenset({"taro.example"})

    def __init__(self, net: Internet, **more: Any) -> None:
        super().__init__(
            net,
            CORESERVER,
            domains=frozenset({"taro.s1.example", "taro.example"}),
            name="s1.example",
            capabilities=("PIPELINING", "8BITMIME"),
            **more,
        )
        self.permitted: set[str] = set()

    def judge(self, step: str, argument: str, talk: Talk) -> Action:
        if step == "CONNECT" and talk.peer in self.net.nameless:
            return NO_NAME
        outgoing = talk.peer in self.permitted or bool(self.user_of(talk))
        domain = talk.sender.rpartition("@")[2].lower()
        if step == "MAIL" and outgoing and domain not in self.senderhosts:
            return SENDERHOSTS
        if step == "RCPT" and not outgoing and argument.rpartition("@")[2].lower() not in self.domains:
            return RCPTHOSTS
        return None


class CorePop(PopServer):
    """Its POP3 server: whoever logs in opens the door for his whole address."""

    def __init__(self, host: CoreServer) -> None:
        super().__init__(user=USER, password=PASSWORD, apop=True)
        self._host = host

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        TALK.set(Talk(writer.get_extra_info("peername")[0]))
        await super()._accept(reader, writer)

    def _judge(self, way: str, user: str, right: bool) -> str:
        if right:
            self._host.permitted.add(TALK.get().peer)
        return super()._judge(way, user, right)
