"""A POP3 server on loopback that knows one user; APOP when it has a banner stamp, TLS when it has a context.

async with PopServer(user="me", password="secret") as pop:
    ...
assert pop.logins == [("USER", "me", True)]
"""

import asyncio
import hashlib
import ssl
from collections.abc import Mapping
from typing import Self

STAMP = "<1896.697170952@pop.test>"


class PopServer:
    """`apop`: the banner has a time stamp.  `implicit`: TLS from the start, else STLS if there is a context.

    `drop_at` is a verb at which it hangs up, `script` has replies to verbs instead of the usual ones, `dribbles_at` is a
    verb whose reply comes octet by octet and never ends; `also` a second address to listen on; `logins` lists (way, user,
    whether it was right), `peers` who called.
    """

    def __init__(
        self,
        *,
        user: str = "me",
        password: str = "secret",  # noqa: S107
        apop: bool = False,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        drop_at: str = "",
        script: Mapping[str, str] | None = None,
        dribbles_at: str = "",
        also: str = "",
    ) -> None:
        self.script, self.dribbles_at = dict(script or {}), dribbles_at
        self.user, self.password, self.apop = user, password, apop
        self.tls, self.implicit, self.drop_at = tls, implicit, drop_at
        self.logins: list[tuple[str, str, bool]] = []
        self.commands: list[str] = []
        self.also = also
        self.peers: list[str] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        context = self.tls if self.implicit else None
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        self._second = await asyncio.start_server(self._accept, self.also, self.port, ssl=context) if self.also else None
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self._second:
            self._second.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.peers.append(writer.get_extra_info("peername")[0])
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"+OK ready {STAMP if self.apop else ''}\r\n".encode())
        user = ""
        while line := await reader.readline():
            verb, _, argument = line.decode().rstrip("\r\n").partition(" ")
            self.commands.append(verb)
            if verb == self.drop_at:
                return
            if verb == self.dribbles_at:
                while True:
                    writer.write(b"+")
                    await writer.drain()
                    await asyncio.sleep(0.02)
            reply = "+OK"
            if verb == "USER":
                user = argument
            elif verb == "PASS":
                reply = self._judge("USER", user, user == self.user and argument == self.password)
            elif verb == "APOP":
                name, _, digest = argument.partition(" ")
                right = hashlib.md5((STAMP + self.password).encode()).hexdigest()
                reply = self._judge("APOP", name, name == self.user and digest == right)
            elif verb == "CAPA":
                reply = "+OK\r\nUSER\r\nSTLS\r\n."
            elif verb not in ("STLS", "QUIT"):
                reply = "-ERR what?"
            reply = self.script.get(verb, reply)
            writer.write(f"{reply}\r\n".encode())
            await writer.drain()
            if verb == "STLS" and self.tls:
                await writer.start_tls(self.tls)
            if verb == "QUIT":
                return

    def _judge(self, way: str, user: str, right: bool) -> str:
        self.logins.append((way, user, right))
        return "+OK maildrop" if right else "-ERR [AUTH] wrong password"
