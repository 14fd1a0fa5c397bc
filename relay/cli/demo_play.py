"""What both demos share: the relay, a device, how it speaks, how its message is followed, and what is told of it."""

import asyncio
import contextlib
import email
import email.policy
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from relay.cli.common import harmless
from relay.cli.queue import story
from relay.config import load
from relay.control.tcp import lan_address
from relay.control.views import retold
from relay.daemon import Relay, StartFailed
from relay.networks import in_lan, with_port

PATIENCE = 20.0  # seconds until every message must have arrived
LONGEST_SHOWN = 4000  # octets of a letter from a device of your own


@dataclass(frozen=True)
class DemoDevice:
    """A device of the demo, the octets that it says, and what must arrive: where, from whom, with which subject."""

    name: str
    oddities: str
    dialog: tuple[bytes, ...]
    content: bytes
    arrives_at: str
    sender: str
    subject: str


@dataclass(frozen=True)
class Demo:
    """A relay that runs for a demo."""

    relay: Relay
    running: "asyncio.Task[None]"

    @property
    def port(self) -> int:
        return self.relay.inbound.bound[0][1]

    async def play(self, device: DemoDevice) -> None:
        """Plays one device, follows its message and prints the way."""
        print(f"━━ {device.name}\n   {device.oddities}\n")
        began = time.monotonic()
        queue_id, said = await _play(device, self.port)
        print(f"   the device heard: {said}")
        for line in (await _followed(self.relay, queue_id, began))["trail"]:
            at = datetime.fromisoformat(line["at"]).astimezone()
            print(harmless(f"   {at:%H:%M:%S}  {line['event']:<9} {retold(line, None)}"))

    async def stay(self, end: str, arrived: Callable[[], Iterable[bytes]]) -> None:
        """Waits for devices of your own, and shows the way of their mail and how it arrived at its `end`; until Ctrl-C."""
        desk = self.relay.desk
        seen: set[str] = {one["id"] for one in (await desk.queue(None))["messages"]}
        place = f"{lan_address()}, port {self.port}"
        print(f"\nThe relay stays up: point a device at {place} (no TLS, no login needed; Ctrl-C ends).")
        print(f"Its mail ends in the demo's {end}, never outside.")
        if web := self.relay.web_address:
            print(f"The page, on this machine only: http://{with_port(*web)}/")
        print(end="", flush=True)
        while not self.running.done():
            for one in (await desk.queue(None))["messages"]:
                if one["id"] not in seen and all(row["state"] != "queued" for row in one["recipients"]):
                    seen.add(one["id"])
                    print("\n".join(["", *story(await desk.message(one["id"]) or {"trail": []})]))
                    for letter in _with_id(one["id"], arrived()):
                        print(f"\n   as it arrived (octets over 127 as \\x..):\n{shown(letter[:LONGEST_SHOWN])}", flush=True)
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def demonstrating(config: str, *, keep: bool, **about: object) -> AsyncIterator[Demo]:
    """A relay with this configuration, until the demo ends.  `keep`: it is there for devices in the LAN.

    `about` is what the configuration has to name beside folder, address and networks.  Raises StartFailed.
    """
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as folder:
        listen, web = ("0.0.0.0:0", "127.0.0.1:0") if keep else ("127.0.0.1:0", "off")
        relay = _relay(Path(folder), config.format(listen=listen, web=web, networks=_networks(), folder=folder, **about))
        running = asyncio.create_task(relay.run())
        try:
            await _until_started(relay, running)
            yield Demo(relay, running)
        finally:
            relay.stop()
            await asyncio.gather(running, return_exceptions=True)


def _relay(folder: Path, config: str) -> Relay:
    path = folder / "config.yaml"
    path.write_text(config)
    path.chmod(0o600)
    loaded = load(path, {})
    if loaded.config is None:
        raise StartFailed("the demo's own configuration is wrong: " + "; ".join(map(str, loaded.mistakes)))
    return Relay(loaded.config)


async def _until_started(relay: Relay, running: "asyncio.Task[None]") -> None:
    waiting = asyncio.create_task(relay.started.wait())
    await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        running.result()
        raise StartFailed("the relay ended before it began")


def said_of(wrong: list[str]) -> str:
    """One message: as promised, or what was not."""
    return "   " + ("arrived as promised" if not wrong else "NOT as promised: " + "; ".join(wrong)) + "\n"


def verdict(arrived: list[bool]) -> str:
    """All messages."""
    if all(arrived):
        return f"All {len(arrived)} messages arrived as promised."
    return f"{arrived.count(False)} of {len(arrived)} messages did NOT arrive as promised."


def parsed(content: bytes) -> Any:
    return email.message_from_bytes(content, policy=email.policy.default)


async def _play(device: DemoDevice, port: int) -> tuple[str, str]:
    """Says the device's octets, one line after the other; the queue id from the last reply, and that reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = await _reply(reader)
    for octets in (*device.dialog, device.content):
        writer.write(octets)
        said = await _reply(reader)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    match = re.search(r"queued as (\w+)", said)
    return (match[1] if match else ""), said


async def _reply(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(PATIENCE):
        while (line := await reader.readline())[3:4] == b"-":
            pass
    return line.decode("utf-8", "replace").strip()


async def _followed(relay: Relay, queue_id: str, began: float) -> dict[str, Any]:
    """The message once its fate is known, or as it stands when patience ends."""
    while True:
        message = await relay.desk.message(queue_id)
        over = message and all(one["state"] in ("relayed", "failed", "expired", "merged") for one in message["recipients"])
        if message and (over or time.monotonic() - began > PATIENCE):
            return message
        if message is None and time.monotonic() - began > PATIENCE:
            return {"trail": []}
        await asyncio.sleep(0.02)


def _with_id(queue_id: str, letters: Iterable[bytes]) -> list[bytes]:
    """Those of this message, by the id in the Received field that we added."""
    return [letter for letter in letters if f" id {queue_id}".encode() in letter.partition(b"\r\n\r\n")[0]]


def shown(octets: bytes) -> str:
    text = octets.decode("ascii", "backslashreplace").replace("\r", "")
    return "\n".join(f"   │ {harmless(line)}" for line in text.rstrip("\n").split("\n"))


def _networks() -> str:
    """Who may submit: the LAN, and this machine where its own address is a public one."""
    address = lan_address()
    return '"private"' if in_lan(address) else f'"private", "{address}"'
