"""An SMTP server that takes everything, in a process of its own, so that it survives what happens to the relay.

    with sink(directory) as upstream:
        ... upstream.port ...
        upstream.taken()      what it answered 250 to, in order

Run as `python -m tests.support.sink DIRECTORY PORT [DELAY]` it prints its port.  Each message becomes one line in
DIRECTORY/taken.jsonl, written before the 250 leaves.  The only recipient that it refuses is nobody@.
"""

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import eventually

TAKEN = "taken.jsonl"
EHLO = b"\r\n250-".join([b"250-sink.test", b"PIPELINING", b"SIZE 100000000", b"8BITMIME", b"SMTPUTF8"])
EHLO += b"\r\n250 ENHANCEDSTATUSCODES"


@dataclass(frozen=True)
class Taken:
    """One message as it arrived: CRLF line ends, dot-stuffing undone; `at` in seconds since the epoch."""

    at: float
    reverse_path: str
    forward_paths: list[str]
    octets: bytes

    def header(self, name: str) -> str:
        """The first field of that name in a message with unfolded fields; "" if there is none."""
        for line in self.octets.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
            field, _, value = line.partition(b":")
            if field.lower() == name.lower().encode():
                return value.strip().decode(errors="replace")
        return ""


@dataclass(frozen=True)
class Sink:
    directory: Path
    port: int
    process: "subprocess.Popen[bytes]"

    def taken(self) -> list[Taken]:
        file = self.directory / TAKEN
        lines = file.read_text().split("\n")[:-1] if file.exists() else []  # the last one may still be being written
        rows = [json.loads(line) for line in lines]
        return [Taken(row["at"], row["mail"], row["rcpt"], base64.b64decode(row["octets"])) for row in rows]

    def count(self) -> int:
        """How many messages it took, without reading them."""
        file = self.directory / TAKEN
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def wait_for(self, count: int, seconds: float = 30) -> list[Taken]:
        """The messages, once there are `count`; an AssertionError after `seconds`."""
        eventually(lambda: self.count() >= count, seconds, lambda: f"{self.count()} of {count} messages arrived")
        return self.taken()


@contextmanager
def sink(directory: Path, *, delay: float = 0, port: int = 0) -> Iterator[Sink]:
    """A sink that answers the final dot after `delay` seconds."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.support.sink", str(directory), str(port), str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        assert process.stdout is not None
        yield Sink(directory, int(process.stdout.readline()), process)
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


class _Dialog:
    def __init__(self, directory: Path, delay: float) -> None:
        self._file, self._delay = directory / TAKEN, delay

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            await self._talk(reader, writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.test ESMTP\r\n")
        mail, rcpt = "", []
        while line := await reader.readline():
            text = line.decode("utf-8", "surrogateescape").strip()
            verb = text.upper()
            reply = b"250 2.0.0 OK"
            if verb.startswith("EHLO"):
                reply = EHLO
            elif verb.startswith("MAIL"):
                mail, rcpt = _path(text), []
            elif verb.startswith("RCPT") and _path(text).startswith("nobody@"):
                reply = b"550 5.1.1 no such user"
            elif verb.startswith("RCPT"):
                rcpt.append(_path(text))
            elif verb == "RSET":
                mail, rcpt = "", []
            elif verb == "DATA" and not rcpt:
                reply = b"554 5.5.1 no valid recipients"
            elif verb == "DATA":
                writer.write(b"354 go on\r\n")
                octets = await _content(reader)
                await asyncio.sleep(self._delay)
                self._keep(mail, rcpt, octets)
                mail, rcpt = "", []
            elif verb == "QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            writer.write(reply + b"\r\n")
            await writer.drain()

    def _keep(self, mail: str, rcpt: list[str], octets: bytes) -> None:
        row = {"at": time.time(), "mail": mail, "rcpt": rcpt, "octets": base64.b64encode(octets).decode()}
        with open(self._file, "a") as file:
            file.write(json.dumps(row) + "\n")


def _path(text: str) -> str:
    return text.partition("<")[2].partition(">")[0]


async def _content(reader: asyncio.StreamReader) -> bytes:
    """Up to the line with nothing but a dot; nothing of what the client sent behind it.  In one go, since lines are slow."""
    octets = b"\r\n"
    while not octets.endswith(b"\r\n.\r\n"):
        first = await reader.readexactly(3)  # there are as many as that: the end itself has three
        octets += first
        if b"\r" not in first and b"\n" not in first:
            octets += await reader.readuntil(b"\r\n.\r\n")  # which cannot have begun before
        elif not octets.endswith(b"\r\n"):
            octets += await reader.readuntil(b"\r\n")
    return octets[:-3].replace(b"\r\n.", b"\r\n")[2:]


async def main(directory: Path, port: int, delay: float) -> None:
    server = await asyncio.start_server(_Dialog(directory, delay), "127.0.0.1", port, limit=1 << 27)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float((*sys.argv, "0")[3])))
