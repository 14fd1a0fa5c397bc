"""What both demos share: a device of the demo, how it speaks, and how its message is followed."""

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass
from typing import Any

from relay.daemon import Relay, StartFailed

PATIENCE = 20.0  # seconds until every message must have arrived


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


async def until_started(relay: Relay, running: "asyncio.Task[None]") -> None:
    waiting = asyncio.create_task(relay.started.wait())
    await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        running.result()
        raise StartFailed("the relay ended before it began")


async def play(device: DemoDevice, port: int) -> tuple[str, str]:
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


async def followed(relay: Relay, queue_id: str, began: float) -> dict[str, Any]:
    """The message once its fate is known, or as it stands when patience ends."""
    while True:
        message = await relay.desk.message(queue_id)
        over = message and all(one["state"] in ("relayed", "failed", "expired", "merged") for one in message["recipients"])
        if message and (over or time.monotonic() - began > PATIENCE):
            return message
        if message is None and time.monotonic() - began > PATIENCE:
            return {"trail": []}
        await asyncio.sleep(0.02)
