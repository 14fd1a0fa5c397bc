"""`relay demo`: the main job, shown with an embedded ISP; needs no account and no network."""

import argparse
import asyncio
import time

from relay.cli.common import complain
from relay.cli.demo_isp import CERTIFICATE, Delivery, Isp
from relay.cli.demo_play import Demo, DemoDevice, demonstrating, parsed, said_of, shown, verdict
from relay.cli.main import FINE, PROBLEM
from relay.daemon import StartFailed

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
web: {{address: "{web}"}}
log: {{format: json, level: error}}
"""


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
        if asked.graph:
            from relay.cli.demo_mailbox import show

            return asyncio.run(show(asked.keep))
        return asyncio.run(_demo(asked.keep))
    except StartFailed as error:
        complain(f"relay demo: {error}")
        return PROBLEM


async def _demo(keep: bool) -> int:
    isps = {
        "isp": Isp("mail.isp.example", "taro", "demo-only", frozenset({"isp.example"})),
        "office": Isp("smtp.office.example", "scanner@office.example", "demo-only", frozenset({"office.example"})),
    }
    for isp in isps.values():
        await isp.start()
    ports = {name: isp.port for name, isp in isps.items()}
    try:
        async with demonstrating(CONFIG, keep=keep, ca=CERTIFICATE, **ports) as demo:
            arrived = [await _show(device, demo, isps) for device in (NAS, PRINTER, UPS)]
            print(verdict(arrived))
            if keep:
                await demo.stay("ISP", lambda: [one.content for isp in isps.values() for one in isp.box])
    finally:
        for isp in isps.values():
            await isp.stop()
    return FINE if all(arrived) else PROBLEM


async def _show(device: DemoDevice, demo: Demo, isps: dict[str, Isp]) -> bool:
    """Plays one device, follows its message and prints the way; whether it arrived as promised."""
    began = time.monotonic()
    await demo.play(device)
    box = isps[device.arrives_at].box
    print(f"   from the first octet to the upstream's 250: {(time.monotonic() - began) * 1000:.0f} ms")
    wrong = _wrong(device, box)
    print(said_of(wrong))
    if device is NAS and box:
        print(_before_and_after(device.content, box[-1].content))
    return not wrong


def _wrong(device: DemoDevice, box: list[Delivery]) -> list[str]:
    """What is not as promised; empty when all is well."""
    got = [one for one in box if device.subject in parsed(one.content)["Subject"].split("\n")]
    if len(got) != 1:
        return [f"arrived {len(got)} times at {device.arrives_at}"]
    letter = parsed(got[0].content)
    checks = {
        f"the sender is {got[0].sender}": got[0].sender != device.sender,
        "the Date is missing or wrong": not letter["Date"] or letter["Date"].datetime.year < 2020,
        "the Message-ID is missing": not letter["Message-ID"],
        "there are octets over 127 in the header": not got[0].content.split(b"\r\n\r\n")[0].isascii(),
    }
    return [what for what, is_wrong in checks.items() if is_wrong]


def _before_and_after(before: bytes, after: bytes) -> str:
    asked = shown(before.removesuffix(b".\n"))  # without the dot that ended it
    return f"   before (octets over 127 as \\x..):\n{asked}\n\n   after:\n{shown(after)}\n"
