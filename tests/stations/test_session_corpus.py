"""The session cases of the device corpus, played against the receiving half: replies, and what is in the spool.

The corpus lies beside the repository; without it these tests are skipped.
"""

import asyncio
import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from relay.inbound.admission import ListenTls, Recipients
from tests.stations.test_session_login import untrusting
from tests.support.device import Device
from tests.support.inbound import HERE, receiving

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "public" / "session"
CASES = sorted(CORPUS.glob("*.json")) if CORPUS.is_dir() else []


def octets(step: dict) -> bytes:
    once = base64.b64decode(step["send_b64"]) if "send_b64" in step else step["send"].encode("latin-1")
    return once * step.get("repeat", 1)


class Player:
    """Plays the steps of a case in order; `final` is the reply that decides about acceptance."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.last = self.final = ""
        self.device: Device

    async def play(self, steps: list[dict]) -> None:
        self.device = await Device.connect(self.address)
        for step in steps:
            if "if" not in step or re.match(step["if"], self.last):
                await self.step(step)
        await self.device.close()

    async def step(self, step: dict) -> None:
        if "send" in step or "send_b64" in step:
            await self.device.say(octets(step), at_a_time=step.get("chunk", 0), pause=step.get("delay", 0.0))
        elif "expect" in step:
            await self.expect(step)
        elif "starttls" in step:
            await self.device.start_tls(untrusting())
        elif "reconnect" in step:
            await self.device.close()
            self.device = await Device.connect(self.address)
        elif step.get("close") == "rst":
            self.device.reset()
        elif "close" in step:
            await self.device.close()
        elif "sleep" in step:
            await asyncio.sleep(step["sleep"])
        elif "drain" in step:
            await self.drain(step["drain"])

    async def expect(self, step: dict) -> None:
        try:
            self.last = (await self.device.reply(step.get("timeout", 15))).split("\n")[-1]
        except TimeoutError:
            if step.get("optional"):
                return
            raise
        assert step.get("optional") or re.match(step["expect"], self.last), f"expected {step['expect']}, got {self.last!r}"
        if step.get("final"):
            self.final = self.last

    async def drain(self, seconds: float) -> None:
        try:
            while await self.device.reply(min(seconds, 0.3)):
                pass
        except TimeoutError:
            pass


@pytest.mark.skipif(not CASES, reason="the device corpus is not beside this repository")
@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
async def test_a_recorded_device_is_understood(tmp_path, monkeypatch, file):
    """Every reply is as the device needs it, and exactly what was promised is in the spool."""
    case = json.loads(file.read_text(encoding="utf-8"))
    listener = replace(HERE, tls=ListenTls.STARTTLS)
    async with receiving(tmp_path, monkeypatch, listener, recipients=Recipients("example.jp")) as relay:
        player = Player(relay.address)
        await player.play(case["steps"])
        async with asyncio.timeout(5):
            while relay.inbound._reception.sessions:
                await asyncio.sleep(0.01)
        entries, contents = await relay.entries(), await relay.contents()
    assert relay.events("broken") == []
    for check in case["expect"]:
        [(name, value)] = [(name, value) for name, value in check.items() if name != "note"]
        paths = [str(path) for entry in entries for path in entry.envelope.forward_paths]
        match name:
            case "count":
                assert len(entries) == value
            case "count_max":
                assert len(entries) <= value
            case "rcpt_equals" | "rcpt_union":
                assert sorted(set(paths)) == sorted(value)
            case "anywhere" | "text_contains" | "raw_contains":
                assert any(value.encode() in content for content in contents)
