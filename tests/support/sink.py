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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.waiting import eventually

TAKEN = "taken.jsonl"


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


class _Handler:
    """What aiosmtpd leaves open: which extensions there are, who is nobody, and where the message goes."""

    def __init__(self, directory: Path, delay: float) -> None:
        self._file, self._delay = directory / TAKEN, delay

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", responses[-1]]

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(self._delay)
        assert isinstance(envelope.content, bytes)
        octets = base64.b64encode(envelope.content).decode()
        row = {"at": time.time(), "mail": envelope.mail_from, "rcpt": envelope.rcpt_tos, "octets": octets}
        with open(self._file, "a") as file:
            file.write(json.dumps(row) + "\n")
        return "250 2.0.0 OK"


def main(directory: Path, port: int, delay: float) -> None:
    loop = asyncio.new_event_loop()
    server = UnthreadedController(
        _Handler(directory, delay),
        "127.0.0.1",
        port,
        loop,
        ident="ESMTP",
        server_hostname="sink.test",
        data_size_limit=100_000_000,
        enable_SMTPUTF8=True,
        decode_data=False,
    )
    server.begin()
    print(server.server.sockets[0].getsockname()[1], flush=True)
    loop.run_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float((*sys.argv, "0")[3]))
