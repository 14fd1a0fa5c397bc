"""A scripted SMTP server on loopback: it answers by the book, but for the steps that its script says otherwise.

    async with ScriptedUpstream(script={"RCPT": ["250 ok", "550 5.1.1 no such user"]}, users={"taro": "secret"}) as server:
        ...  # speak to 127.0.0.1, server.port
    assert server.messages[0].content == b"..."

`script` maps a step to what happens there instead of the usual reply.  Steps: CONNECT (the greeting), EHLO, HELO,
STARTTLS, HANDSHAKE, AUTH (the final reply), MAIL, RCPT, DATA (the reply to the command), CONTENT (after the first octets of
content), DOT (after the final dot), RSET, NOOP, QUIT.  What happens: a reply as text (lines parted by "\\n"), DROP, HANG,
GARBAGE, a function of the step's argument that returns one of these (or None for the usual), or a list of any of these,
used one after the other over all connections; when the list is used up, the usual reply is given.  The script may be
changed while the server runs (`server.script["MAIL"] = DROP`).  `delays` maps a step to seconds of waiting before it.

Strict on purpose: command lines end in CRLF (a bare LF or CR gets 500 and is recorded in `faults`), content ends in
CRLF.CRLF only, and bare LF or CR in content gets the 451 of qmail.  After `close()` every socket is gone.
"""

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Self


class Do(Enum):
    DROP = "drop"
    HANG = "hang"
    GARBAGE = "garbage"
    STALL = "stall"


DROP, HANG, GARBAGE, STALL = Do.DROP, Do.HANG, Do.GARBAGE, Do.STALL
Action = str | Do | None | Callable[[str], "str | Do | None"]

NOISE = b"HTTP/1.1 400 Bad Request\r\n"
LF_REFUSAL = "451 See http://pobox.com/~djb/docs/smtplf.html."


@dataclass
class Message:
    """What was taken with 250: envelope as said (paths without brackets), MAIL parameters, content as it came, unstuffed."""

    reverse_path: str
    forward_paths: list[str]
    parameters: str
    content: bytes
    size: int
    tls: str
    user: str


@dataclass
class Transaction:
    """From a MAIL to its end, whatever that was; `result` is the reply after the dot, "" if there was none."""

    mail: str
    rcpts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    result: str = ""


@dataclass
class Connection:
    """One connection: commands as they came (secrets too: it is a test), the client's certificate (DER), and how it ended."""

    number: int
    commands: list[str] = field(default_factory=list)
    tls: str = ""
    user: str = ""
    helo: str = ""
    certificate: bytes = b""
    ended: bool = False


class _Gone(Exception):
    """The connection ends here."""


class ScriptedUpstream:
    """See the module.  `tls`: a server context makes STARTTLS available, or with `implicit` is there from the start.

    `hasty`: it loses what came together with MAIL, as some do that announce PIPELINING all the same.  `impostor`: it
    takes any SCRAM login and cannot prove that it knows the password.
    `hashed` users have no SCRAM.
    """

    def __init__(
        self,
        *,
        script: Mapping[str, Action | Sequence[Action]] | None = None,
        capabilities: Sequence[str] = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 50000000"),
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        users: Mapping[str, str] | None = None,
        mechanisms: Sequence[str] = ("PLAIN", "LOGIN", "CRAM-MD5"),
        auth_needs_tls: bool = False,
        require_auth: bool = False,
        keep_content: bool = True,
        hasty: bool = False,
        impostor: bool = False,
        hashed: Sequence[str] = (),
        delays: Mapping[str, float] | None = None,
        host: str = "127.0.0.1",
        name: str = "upstream.test",
        port: int = 0,
    ) -> None:
        self.script = dict(script or {})
        self.capabilities = list(capabilities)
        self.tls, self.implicit = tls, implicit
        self.users = dict(users or {})
        self.mechanisms = list(mechanisms)
        self.auth_needs_tls, self.require_auth = auth_needs_tls, require_auth
        self.keep_content, self.hasty, self.impostor = keep_content, hasty, impostor
        self.hashed = hashed
        self.delays = dict(delays or {})
        self.host, self.name, self.port = host, name, port
        self.messages: list[Message] = []
        self.transactions: list[Transaction] = []
        self.connections: list[Connection] = []
        self.auths: list[tuple[str, str, bool]] = []
        """(mechanism, user name, whether it was right) for each AUTH command."""
        self.faults: list[str] = []
        """Breaches of RFC 5321 by the client."""
        self.most_at_once = 0
        self.changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        context = self.tls if self.implicit else None
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=context, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops listening and ends every connection."""
        if self._server:
            self._server.close()
        await self.hang_up()

    async def hang_up(self) -> None:
        """Ends every connection; new ones are taken."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def arrived(self, number: int = 1, timeout: float = 10) -> list[Message]:
        """Returns the messages as soon as there are `number` of them; TimeoutError if that takes over `timeout` seconds."""
        async with asyncio.timeout(timeout), self.changed:
            await self.changed.wait_for(lambda: len(self.messages) >= number)
        return self.messages

    @property
    def open_now(self) -> int:
        return sum(not connection.ended for connection in self.connections)

    @property
    def commands(self) -> list[str]:
        """All commands of all connections, in the order of the connections."""
        return [command for connection in self.connections for command in connection.commands]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        connection = Connection(len(self.connections) + 1)
        self.connections.append(connection)
        self.most_at_once = max(self.most_at_once, self.open_now)
        try:
            await _Dialog(self, connection, reader, writer).run()
        except (_Gone, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
            pass
        except asyncio.CancelledError:
            pass  # close() ends us; asyncio would log a task that ends cancelled
        finally:
            connection.ended = True
            self._tasks.discard(task)
            writer.transport.abort()
            async with self.changed:
                self.changed.notify_all()

    def next_action(self, step: str, argument: str) -> "str | Do | None":
        scripted = self.script.get(step)
        if isinstance(scripted, list):
            scripted = scripted.pop(0) if scripted else None
        elif isinstance(scripted, tuple):
            rest = list(scripted)
            scripted = rest.pop(0) if rest else None
            self.script[step] = rest
        return scripted(argument) if callable(scripted) else scripted


class _Dialog:
    def __init__(
        self, server: ScriptedUpstream, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.connection, self.reader, self.writer = server, connection, reader, writer
        self.transaction: Transaction | None = None
        self.user = ""
        self.encrypted = server.implicit
        if self.encrypted:
            self.covered(writer)

    async def run(self) -> None:
        if not await self.step("CONNECT", "", f"220 {self.server.name} ESMTP"):
            raise _Gone
        while True:
            line = await self.line()
            self.connection.commands.append(line)
            verb, _, argument = line.partition(" ")
            handler = getattr(self, f"do_{verb.upper()}", None)
            if handler is None:
                await self.say("500 5.5.1 unknown command")
            else:
                await handler(argument.strip())

    async def line(self) -> str:
        while True:
            raw = await self.reader.readuntil(b"\n")
            if raw.endswith(b"\r\n") and b"\r" not in raw[:-2]:
                return raw[:-2].decode("utf-8", "surrogateescape")
            self.server.faults.append(f"bad line end in {raw!r}")
            await self.say("500 5.5.2 CRLF only")

    async def say(self, reply: str) -> None:
        lines = reply.split("\n")
        code = lines[0][:3]
        out = [lines[0] if len(lines) == 1 else f"{code}-{lines[0][4:]}"]
        for number, line in enumerate(lines[1:], 2):
            text = line[4:] if line[:3] == code else line
            out.append(f"{code}{' ' if number == len(lines) else '-'}{text}")
        self.writer.write(("\r\n".join(out) + "\r\n").encode())
        await self.writer.drain()

    async def step(self, name: str, argument: str, usual: str) -> bool:
        """Does what the script says, else gives the usual reply; whether the reply was positive."""
        return (await self.scripted(name, argument, usual))[0] in "23"

    async def scripted(self, name: str, argument: str, usual: str) -> str:
        if delay := self.server.delays.get(name):
            await asyncio.sleep(delay)
        action = self.server.next_action(name, argument)
        if isinstance(action, Do):
            await self.misbehave(action)
        reply = usual if action is None else str(action)
        if reply:
            await self.say(reply)
        if reply.startswith("421"):
            raise _Gone
        return reply or "2"

    async def misbehave(self, action: Do) -> None:
        if action is DROP:
            raise _Gone
        if action is STALL:
            await asyncio.Event().wait()  # until close()
        if action is GARBAGE:
            self.writer.write(NOISE)
            await self.writer.drain()
        # HANG, and after garbage: deaf and mute until the client hangs up
        while await self.reader.read(65536):
            pass
        raise _Gone

    # --- the verbs

    async def do_EHLO(self, argument: str) -> None:
        offers = list(self.server.capabilities)
        if self.server.tls and not self.encrypted:
            offers.append("STARTTLS")
        if self.server.users and (self.encrypted or not self.server.auth_needs_tls):
            offers.append("AUTH " + " ".join(self.server.mechanisms))
        self.connection.helo = argument
        self.transaction = None
        await self.step("EHLO", argument, "\n".join([f"250 {self.server.name}", *offers]))

    async def do_HELO(self, argument: str) -> None:
        self.connection.helo = argument
        await self.step("HELO", argument, f"250 {self.server.name}")

    async def do_STARTTLS(self, argument: str) -> None:
        if not self.server.tls or self.encrypted:
            await self.say("502 5.5.1 not here")
            return
        if not await self.step("STARTTLS", argument, "220 2.0.0 go ahead"):
            return
        action = self.server.next_action("HANDSHAKE", "")
        if isinstance(action, Do):
            await self.misbehave(action)
        await self.writer.start_tls(self.server.tls)
        self.encrypted = True
        self.transaction = None
        self.covered(self.writer)

    def covered(self, writer: asyncio.StreamWriter) -> None:
        session = writer.get_extra_info("ssl_object")
        self.connection.tls, self.connection.certificate = session.version(), session.getpeercert(binary_form=True) or b""

    async def do_AUTH(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        mechanism = mechanism.upper()
        if mechanism not in self.server.mechanisms or not self.server.users:
            self.server.auths.append((mechanism, "", False))
            await self.say("504 5.5.4 unrecognized authentication type")
            return
        user, right = await getattr(self, "auth_" + mechanism.replace("-", "_").lower())(initial)
        self.server.auths.append((mechanism, user, right))
        usual = "235 2.7.0 welcome" if right else "535 5.7.8 bad user name or password"
        if await self.step("AUTH", mechanism, usual):
            self.user = self.connection.user = user

    async def ask(self, challenge: str) -> str:
        await self.say(f"334 {base64.b64encode(challenge.encode()).decode()}")
        return (await self.line()).strip()

    async def auth_plain(self, initial: str) -> tuple[str, bool]:
        words = base64.b64decode(initial or await self.ask("")).decode().split("\0")
        return words[1], self.server.users.get(words[1]) == words[2]

    async def auth_login(self, initial: str) -> tuple[str, bool]:
        user = base64.b64decode(initial or await self.ask("Username:")).decode()
        password = base64.b64decode(await self.ask("Password:")).decode()
        return user, self.server.users.get(user) == password

    async def auth_cram_md5(self, initial: str) -> tuple[str, bool]:
        challenge = f"<{self.connection.number}.1@{self.server.name}>"
        user, _, digest = base64.b64decode(await self.ask(challenge)).decode().rpartition(" ")
        right = hmac.new(self.server.users.get(user, "").encode(), challenge.encode(), "md5").hexdigest()
        return user, user in self.server.users and hmac.compare_digest(right, digest)

    async def auth_xoauth2(self, initial: str) -> tuple[str, bool]:
        words = base64.b64decode(initial or await self.ask("")).decode().split("\x01")
        user = words[0].removeprefix("user=")
        right = words[1] == f"auth=Bearer {self.server.users.get(user)}"
        if not right:
            await self.ask('{"status":"400","schemes":"Bearer"}')
        return user, right

    async def auth_scram_sha_256(self, initial: str, *, bound: bool = False) -> tuple[str, bool]:
        first = base64.b64decode(initial or await self.ask("")).decode()
        header, _, bare = first.partition(",,")
        user = bare.partition(",")[0].removeprefix("n=")
        password = self.server.users.get(user)
        if password is None or user in self.server.hashed:
            return user, False
        nonce, salt = bare.partition("r=")[2] + "server", b"salt of the server"
        reply = f"r={nonce},s={base64.b64encode(salt).decode()},i=4096"
        final = base64.b64decode(await self.ask(reply)).decode()
        without, _, proof = final.rpartition(",p=")
        data = self.writer.get_extra_info("ssl_object").get_channel_binding("tls-unique") if bound else b""
        said = f"{bare},{reply},{without}".encode()
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
        shown = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        channel = base64.b64decode(without.partition(",")[0].removeprefix("c=")) == f"{header},,".encode() + data
        right = hmac.compare_digest(shown, key) and channel and header == ("p=tls-unique" if bound else header)
        if right:
            verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256")
            await self.ask("v=" + base64.b64encode(verifier if not self.server.impostor else bytes(32)).decode())
        return user, right

    async def auth_scram_sha_256_plus(self, initial: str) -> tuple[str, bool]:
        return await self.auth_scram_sha_256(initial, bound=True)

    async def do_MAIL(self, argument: str) -> None:
        if self.transaction:
            self.server.faults.append("nested MAIL")
            await self.say("503 5.5.1 nested MAIL")
            return
        if self.server.require_auth and not self.user:
            await self.say("530 5.7.0 Authentication required")
            return
        if self.server.hasty:
            self.reader._buffer.clear()  # type: ignore[attr-defined]
        transaction = Transaction(argument)
        self.server.transactions.append(transaction)
        if await self.step("MAIL", argument, "250 2.1.0 ok"):
            self.transaction = transaction

    async def do_RCPT(self, argument: str) -> None:
        if not self.transaction:
            await self.say("503 5.5.1 MAIL first")
            return
        path = argument.partition(":")[2].strip().split(">")[0].lstrip("<")
        if await self.step("RCPT", path, "250 2.1.5 ok"):
            self.transaction.rcpts.append(path)
        else:
            self.transaction.refused.append(path)

    async def do_DATA(self, argument: str) -> None:
        if not self.transaction or not self.transaction.rcpts:
            await self.say("554 5.5.1 no valid recipients" if self.transaction else "503 5.5.1 MAIL first")
            return
        if not await self.step("DATA", argument, "354 go on"):
            return
        transaction, self.transaction = self.transaction, None
        content, size, bare = await self.content()
        if bare:
            self.server.faults.append("bare CR or LF in content")
        transaction.result = await self.scripted("DOT", "", LF_REFUSAL if bare else "250 2.0.0 taken")
        if transaction.result.startswith("2"):
            path, _, parameters = transaction.mail.partition(":")[2].strip().partition(">")
            tls, user = self.connection.tls, self.user
            taken = Message(path.lstrip("<"), transaction.rcpts, parameters.strip(), content, size, tls, user)
            self.server.messages.append(taken)
            async with self.server.changed:
                self.server.changed.notify_all()

    async def content(self) -> tuple[bytes, int, bool]:
        """Content without its dots (empty unless `keep_content`), its size, and whether a bare CR or LF was in it."""
        tail, kept, size, bare, first = b"\r\n", [], 0, False, True
        while True:
            block = await self.reader.read(65536)
            if not block:
                raise _Gone
            if first:
                first = False
                action = self.server.next_action("CONTENT", "")
                if isinstance(action, Do):
                    await self.misbehave(action)
                elif action:
                    await self.say(action)
                    await self.misbehave(HANG)
            joined = tail + block
            end = joined.find(b"\r\n.\r\n")
            if end >= 0:
                rest = joined[end + 5 :]
                if rest:
                    # a client that pipelines behind the dot: what follows are commands again
                    self.reader._buffer[:0] = rest  # type: ignore[attr-defined]
                joined, tail = joined[: end + 2], b""
            else:
                joined, tail = joined[:-4], joined[-4:]
            kept.append(joined)
            size += len(joined)
            if not self.server.keep_content and len(kept) > 1:
                # a CR at the border may still get its LF; only what is surely bare counts
                old = kept.pop(0)
                bare |= old.count(b"\r\n") != old.count(b"\n") and not old.startswith(b"\n")
            if end >= 0:
                break
        whole = b"".join(kept)[2:] if self.server.keep_content else b""
        if self.server.keep_content:
            bare = not whole.count(b"\r\n") == whole.count(b"\n") == whole.count(b"\r")
            if whole.startswith(b"."):
                whole = whole[1:]
            whole = whole.replace(b"\r\n.", b"\r\n")
            size = len(whole) + 2
        return whole, size - 2, bare

    async def do_RSET(self, argument: str) -> None:
        self.transaction = None
        await self.step("RSET", argument, "250 2.0.0 ok")

    async def do_NOOP(self, argument: str) -> None:
        await self.step("NOOP", argument, "250 2.0.0 ok")

    async def do_QUIT(self, argument: str) -> None:
        await self.step("QUIT", argument, "221 2.0.0 bye")
        raise _Gone
