"""SIGHUP to the real process: a renewed certificate, a listener more and one less, while a device is in the middle of DATA.

device -> relay run -> scripted upstream
"""

import asyncio
import smtplib
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.stations.test_device_rules import isp
from tests.stations.test_reload import issue
from tests.support.device import Device, untrusting
from tests.support.peers import free_port
from tests.support.running import RelayProcess, running
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import eventually

LETTER = b"From: nas@isp.example\r\nTo: me@isp.example\r\nSubject: %b\r\n\r\nfirst half\r\n"


def shown(port: int) -> bytes:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
        device.starttls(context=untrusting())
        assert isinstance(device.sock, ssl.SSLSocket)
        return device.sock.getpeercert(binary_form=True) or b""


async def covered(port: int) -> Device:
    """A session under TLS that is inside DATA."""
    device = await Device.connect(("127.0.0.1", port))
    await device.reply()
    await device.dialog((b"STARTTLS\r\n", "220"))
    await device.start_tls(untrusting())
    await device.dialog(
        (b"EHLO nas\r\n", "250"),
        (b"MAIL FROM:<nas@isp.example>\r\n", "250"),
        (b"RCPT TO:<me@isp.example>\r\n", "250"),
        (b"DATA\r\n", "354"),
    )
    await device.say(LETTER % b"in hand")
    return device


async def called(relay: RelayProcess) -> None:
    """SIGHUP, and its end: a new certificate alone is told as `reloaded`, too, but without `config`."""

    def ends() -> int:
        return sum("config" in one for one in relay.events("reloaded"))

    before = ends()
    await asyncio.to_thread(relay.reload)
    await asyncio.to_thread(eventually, lambda: ends() > before)


def configured(ports: list[int]) -> dict[str, Any]:
    named = {"networks": ["private"], "tls_cert": "cert.pem", "tls_key": "key.pem"}
    return {"listen": [{"address": f"127.0.0.1:{port}", **named} for port in ports]}


async def test_what_sighup_brings_takes_nobody_s_mail(tmp_path: Path) -> None:
    """Each of the sessions inside DATA comes to its 250, that of the listener that went too; new ones are met by the new
    certificate and listeners; a broken key is named, and the old certificate goes on."""
    stays, goes, comes = free_port(), free_port(), free_port()
    first = issue(tmp_path)
    async with ScriptedUpstream() as server:
        upstreams = {"upstreams": {"isp": isp(server.port)}}
        starting = running(tmp_path, {**upstreams, **configured([stays, goes])})
        relay = await asyncio.to_thread(starting.__enter__)
        try:
            assert await asyncio.to_thread(shown, goes) == first
            staying, going, idle = await covered(stays), await covered(goes), await Device.connect(("127.0.0.1", goes))
            assert (await idle.reply()).startswith("220")

            second = issue(tmp_path)
            await called(relay)
            assert await asyncio.to_thread(shown, stays) == await asyncio.to_thread(shown, goes) == second

            relay.configure({**relay.config, **configured([stays, comes])})
            await called(relay)
            assert await asyncio.to_thread(shown, comes) == second
            with pytest.raises(ConnectionRefusedError):
                await Device.connect(("127.0.0.1", goes))
            assert (await idle.reply()).startswith("421")
            for device in (going, staying):
                assert (await device.ask(b"second half\r\n.\r\n")).startswith("250")
            assert (await staying.submit(LETTER % b"once more")).startswith("250")

            (tmp_path / "key.pem").write_text("half of a k")
            await called(relay)
            told = [line["text"] for line in relay.events("warned")]
            for port in (stays, comes):
                assert any(text.startswith(f"tls_cert of 127.0.0.1:{port} is not applied: ") for text in told), told
            assert await asyncio.to_thread(shown, comes) == second
            arrived = await server.arrived(3)
            assert [one.content.count(b"half\r\n") for one in arrived] == [2, 2, 1]
        finally:
            await Device.close_all()
            await asyncio.to_thread(starting.__exit__, None, None, None)
