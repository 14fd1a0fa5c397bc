"""`relay demo`: the main job, shown with an embedded ISP; needs no account and no network."""

import argparse
import asyncio
import contextlib
import email
import email.policy
import re
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.cli.common import complain, harmless
from relay.cli.demo_isp import CERTIFICATE, Delivery, Isp
from relay.cli.main import FINE, PROBLEM
from relay.cli.queue import story
from relay.config import load
from relay.daemon import Relay, StartFailed
from relay.networks import in_lan

PATIENCE = 20.0  # seconds until every message must have arrived
LONGEST_SHOWN = 4000  # octets of a letter from a device of your own

CONFIG = """\
hostname: relay.home.example
listen: {{address: "{listen}", networks: [{networks}]}}
recipients: {{default_domain: isp.example}}
upstreams:
  isp:
    {{host: localhost, port: {isp}, tls: starttls, ca_file: "{ca}", username: taro, password: demo-only,
     sender: taro@isp.example, sender_domains: [isp.example, old-club.example]}}
  office:
    {{host: localhost, port: {office}, tls: starttls, ca_file: "{ca}", username: scanner@office.example, password: demo-only}}
routes:
  - {{to: "*@office.example", via: [office]}}
  - {{via: [isp]}}
spool: {{url: "sqlite:{folder}/spool.db", keep_free: 0}}
log: {{format: json, level: error}}
"""


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


NAS = DemoDevice(
    name="A NAS reports a bad disk",
    oddities="ends every line with a bare LF, sends no Date and no Message-ID, a raw Shift_JIS subject, sender root@nas",
    dialog=(b"HELO nas\n", b"MAIL FROM: root@nas\n", b"RCPT TO: taro@isp.example\n", b"DATA\n"),
    content=(
        b"From: NAS <root@nas>\nTo: taro@isp.example\nSubject: "
        + "ディスク障害の警告".encode("cp932")
        + b"\n\n"
        + "ボリューム1でエラーを検出しました。\nディスク2を交換してください。\n".encode("cp932")
        + b".\n"
    ),
    arrives_at="isp",
    sender="taro@isp.example",
    subject="ディスク障害の警告",
)
PRINTER = DemoDevice(
    name="A scanner sends a page to the office",
    oddities="insists on AUTH, unknown parameters, no Message-ID, a Date of the year 2000",
    dialog=(
        b"EHLO [192.168.1.21]\r\n",
        b"AUTH LOGIN\r\n",
        b"YWRtaW4=\r\n",
        b"\r\n",
        b"MAIL FROM:<scan@printer.local> RET=HDRS\r\n",
        b"RCPT TO:<boss@office.example>\r\n",
        b"DATA\r\n",
    ),
    content=(
        b"From: scan@printer.local\r\nTo: boss@office.example\r\nSubject: Scan 0001\r\n"
        b"Date: Sat, 01 Jan 2000 00:00:12 +0000\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf; name=scan.pdf\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQKJSVFT0YK\r\n.\r\n"
    ),
    arrives_at="office",
    sender="scanner@office.example",
    subject="Scan 0001",
)
UPS = DemoDevice(
    name="A UPS writes in the name of a club that the ISP no longer knows",
    oddities="a sender that the settings allow and the ISP does not (552 at MAIL)",
    dialog=(b"EHLO ups\r\n", b"MAIL FROM:<ups@old-club.example>\r\n", b"RCPT TO:<hanako@isp.example>\r\n", b"DATA\r\n"),
    content=b"From: UPS <ups@old-club.example>\r\nTo: hanako@isp.example\r\nSubject: On battery\r\n\r\nMains failed.\r\n.\r\n",
    arrives_at="isp",
    sender="taro@isp.example",
    subject="On battery",
)


def call(asked: argparse.Namespace) -> int:
    try:
        return asyncio.run(_demo(asked.keep))
    except StartFailed as error:
        complain(f"relay demo: {error}")
        return PROBLEM


async def _demo(keep: bool) -> int:
    isps = {
        "isp": Isp("mail.isp.example", "taro", "demo-only", frozenset({"isp.example"})),
        "office": Isp("smtp.office.example", "scanner@office.example", "demo-only", frozenset({"office.example"})),
    }
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as folder:
        for isp in isps.values():
            await isp.start()
        relay = _relay(Path(folder), isps, "0.0.0.0:0" if keep else "127.0.0.1:0")
        running = asyncio.create_task(relay.run())
        try:
            await _until_started(relay, running)
            port = relay.inbound.bound[0][1]
            arrived = [await _show(device, relay, port, isps) for device in (NAS, PRINTER, UPS)]
            print(_verdict(arrived))
            if keep:
                await _stay(relay, running, port, isps)
            return FINE if all(arrived) else PROBLEM
        finally:
            relay.stop()
            for isp in isps.values():
                await isp.stop()
            await asyncio.gather(running, return_exceptions=True)


def _relay(folder: Path, isps: dict[str, Isp], listen: str) -> Relay:
    path = folder / "config.yaml"
    ports = {name: isp.port for name, isp in isps.items()}
    networks = ", ".join(f'"{one}"' for one in ("private", *_own_network()))
    path.write_text(CONFIG.format(listen=listen, networks=networks, ca=CERTIFICATE, folder=folder, **ports))
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


async def _show(device: DemoDevice, relay: Relay, port: int, isps: dict[str, Isp]) -> bool:
    """Plays one device, follows its message and prints the way; whether it arrived as promised."""
    print(f"━━ {device.name}\n   {device.oddities}\n")
    began = time.monotonic()
    queue_id, said = await _play(device, port)
    print(f"   the device heard: {said}")
    message = await _followed(relay, queue_id, began)
    for line in story(message):
        print(f"   {line[12:19]}  {line[22:]}")
    box = isps[device.arrives_at].box
    print(f"   from the first octet to the upstream's 250: {(time.monotonic() - began) * 1000:.0f} ms")
    wrong = _wrong(device, box)
    print("   " + ("arrived as promised" if not wrong else "NOT as promised: " + "; ".join(wrong)) + "\n")
    if device is NAS and box:
        print(_before_and_after(device.content, box[-1].content))
    return not wrong


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


def _wrong(device: DemoDevice, box: list[Delivery]) -> list[str]:
    """What is not as promised; empty when all is well."""
    got = [one for one in box if device.subject in _parsed(one.content)["Subject"].split("\n")]
    if len(got) != 1:
        return [f"arrived {len(got)} times at {device.arrives_at}"]
    letter = _parsed(got[0].content)
    checks = {
        f"the sender is {got[0].sender}": got[0].sender != device.sender,
        "the Date is missing or wrong": not letter["Date"] or letter["Date"].datetime.year < 2020,
        "the Message-ID is missing": not letter["Message-ID"],
        "there are octets over 127 in the header": not got[0].content.split(b"\r\n\r\n")[0].isascii(),
    }
    return [what for what, is_wrong in checks.items() if is_wrong]


def _parsed(content: bytes) -> Any:
    return email.message_from_bytes(content, policy=email.policy.default)


def _before_and_after(before: bytes, after: bytes) -> str:
    asked = _shown(before.removesuffix(b".\n"))  # without the dot that ended it
    return f"   before (octets over 127 as \\x..):\n{asked}\n\n   after:\n{_shown(after)}\n"


def _shown(octets: bytes) -> str:
    text = octets.decode("ascii", "backslashreplace").replace("\r", "")
    return "\n".join(f"   │ {harmless(line)}" for line in text.rstrip("\n").split("\n"))


def _arrived(queue_id: str, isps: dict[str, Isp]) -> list[bytes]:
    """What the ISPs have of this message, by the id in the Received field that we added."""
    letters = [one.content for isp in isps.values() for one in isp.box]
    return [letter for letter in letters if f" id {queue_id}".encode() in letter.partition(b"\r\n\r\n")[0]]


def _verdict(arrived: list[bool]) -> str:
    if all(arrived):
        return f"All {len(arrived)} messages arrived as promised."
    return f"{arrived.count(False)} of {len(arrived)} messages did NOT arrive as promised."


async def _stay(relay: Relay, running: "asyncio.Task[None]", port: int, isps: dict[str, Isp]) -> None:
    seen: set[str] = {one["id"] for one in (await relay.desk.queue(None))["messages"]}
    print(f"\nThe relay stays up: point a device at {_lan_address()}, port {port} (no TLS, no login needed; Ctrl-C ends).")
    print("Its mail ends in the demo's ISP, never outside.")
    while not running.done():
        for one in (await relay.desk.queue(None))["messages"]:
            if one["id"] not in seen and all(row["state"] != "queued" for row in one["recipients"]):
                seen.add(one["id"])
                print("\n".join(["", *story(await relay.desk.message(one["id"]) or {"trail": []})]))
                for letter in _arrived(one["id"], isps):
                    print(f"\n   as it arrived (octets over 127 as \\x..):\n{_shown(letter[:LONGEST_SHOWN])}")
        await asyncio.sleep(0.5)


def _own_network() -> tuple[str, ...]:
    """This machine's own address, where it is a public one: who tries the demo from here must not be turned away."""
    address = _lan_address()
    return () if in_lan(address) else (address,)


def _lan_address() -> str:
    """Our address on the LAN as the kernel would choose it; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.168.255.255", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
