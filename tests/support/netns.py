"""A small Internet of its own: two network namespaces and a cable, so that ports 25 and 53 and public addresses are free.

    with internet({"far.example": {"MX": ["10 mx.far.example."]}, ...}) as net:
        subprocess.run([*net.home, ...])       at HOME, the relay's public address
        subprocess.run([*net.outside, ...])    at OUTSIDE, where mail hosts are; NAMES answers DNS questions on port 53

Nothing in it can reach the real network.  Root alone can make it; else the test is skipped.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.dns import FakeDNS, Zone
from tests.support.overlay import unavailable
from tests.support.waiting import eventually

HOME, OUTSIDE, NAMES = "93.184.216.34", "93.184.216.25", "93.184.216.53"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Internet:
    """Words that go before a command, to run it in one of the two places."""

    home: tuple[str, ...]
    outside: tuple[str, ...]

    def answers(self, host: str, port: int) -> bool:
        """Whether something greets there."""
        script = f"import socket; print(socket.create_connection(({host!r}, {port}), 2).recv(1))"
        done = subprocess.run([*self.home, sys.executable, "-c", script], capture_output=True, check=False)
        return done.returncode == 0 and b"b''" not in done.stdout


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def _namespaces() -> Iterator[tuple[str, str]]:
    home, outside = (f"relay-{place}-{os.getpid()}" for place in "ho")
    cable = (f"rh{os.getpid()}", f"ro{os.getpid()}")
    try:
        for name in (home, outside):
            _ip("netns", "add", name)
        _ip("link", "add", cable[0], "netns", home, "type", "veth", "peer", "name", cable[1], "netns", outside)
        for name, end, addresses in ((home, cable[0], [HOME]), (outside, cable[1], [OUTSIDE, NAMES])):
            for address in addresses:
                _ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            for device in ("lo", end):
                _ip("-n", name, "link", "set", device, "up")
        yield home, outside
    finally:
        for name in (home, outside):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextmanager
def internet(zone: Zone) -> Iterator[Internet]:
    """The two places, with a DNS server."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "zone.json"
        file.write_text(
            json.dumps({name: {kind: list(texts) for kind, texts in types.items()} for name, types in zone.items()})
        )
        try:
            places = _namespaces()
            home, outside = places.__enter__()
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", b"") or b""
            unavailable(f"no network namespace can be made here: {said.decode(errors='replace').strip() or error}")
            raise
        net = Internet(*(("nsenter", f"--net=/run/netns/{name}") for name in (home, outside)))
        command = [*net.outside, sys.executable, "-m", "tests.support.netns", NAMES, str(file)]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield net
        finally:
            server.kill()
            server.communicate(timeout=10)
            with suppress(Exception):
                places.__exit__(None, None, None)


def wait_until_answering(net: Internet, host: str, port: int, said: Sequence[str] = ()) -> None:
    eventually(lambda: net.answers(host, port), 60, lambda: f"nothing answers on {host}:{port}\n" + "\n".join(said))


async def _serve(address: str, zone: Zone) -> None:
    async with FakeDNS(zone, host=address, port=53):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))
