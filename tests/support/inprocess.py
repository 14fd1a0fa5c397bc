"""The real relay inside the test's own process: read from a file as a person writes it, stopped when the test is over."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from relay import config
from relay.daemon import Relay, utcnow
from tests.support.device import Device
from tests.support.running import defaults
from tests.support.waiting import until


@asynccontextmanager
async def relay_at_home(
    directory: Path, settings: Mapping[str, Any], now: Callable[[], datetime] = utcnow
) -> AsyncIterator[Relay]:
    """What the settings leave out gets what a test wants, as in tests/support/running.py."""
    file = directory / "config.yaml"
    (directory / "spool").mkdir(exist_ok=True)
    file.write_text(json.dumps({**defaults(directory), "log": {"format": "json", "level": "error"}, **settings}))
    loaded = config.load(file, os.environ)
    assert loaded.config is not None, "\n".join(map(str, loaded.mistakes))
    relay = Relay(loaded.config, reload=lambda: config.load(file, os.environ), now=now)
    task = asyncio.create_task(relay.run())
    started = asyncio.create_task(relay.started.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    if task.done():
        await task
    try:
        yield relay
    finally:
        relay.stop()
        await task
        await Device.close_all()


async def send(relay: Relay, sender: str, recipient: str, content: bytes) -> str:
    """Submits as the device does, in the line ends that `content` has; the queue id that it was promised under."""
    end = b"\r\n" if b"\r\n" in content else b"\n"
    host, port = relay.inbound.bound[0]
    async with await Device.connect((host, port)) as device:
        await device.reply()
        await device.dialog(
            (b"HELO nas" + end, "250"),
            (b"MAIL FROM:<%b>" % sender.encode() + end, "250"),
            (b"RCPT TO:<%b>" % recipient.encode() + end, "250"),
            (b"DATA" + end, "354"),
        )
        said = await device.ask(content + b"." + end)
        assert said.startswith("250"), said
        return said.split()[-1]


async def told(relay: Relay, queue_id: str) -> dict[str, Any]:
    """What `relay queue show ID --json` says."""
    story = await relay.desk.message(queue_id)
    assert story is not None
    return story


async def ended(relay: Relay, queue_id: str, *states: str, seconds: float = 20) -> dict[str, Any]:
    """The same, once every recipient is in one of `states`."""

    def over(story: dict[str, Any]) -> bool:
        return all(recipient["state"] in states for recipient in story["recipients"])

    return await until(lambda: told(relay, queue_id), over, seconds)
