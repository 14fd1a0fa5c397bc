"""`relay demo --graph`: the main job by Microsoft Graph, with a mailbox on loopback instead of Microsoft's cloud."""

import base64
from dataclasses import dataclass

from relay.cli.demo_graph import GraphCloud, GraphDelivery, GraphTrouble, graph_cloud
from relay.cli.demo_play import Demo, DemoDevice, demonstrating, parsed, said_of, verdict
from relay.cli.main import FINE, PROBLEM

MAILBOX = "nas@company.example"

CONFIG = """\
hostname: relay.home.example
listen: {{address: "{listen}", networks: [{networks}]}}
recipients: {{default_domain: company.example}}
upstreams:
  m365:
    {{provider: outlook, api: graph, url: "{url}", username: {mailbox}, save_to_sent: false, limits: {{per_minute: none}},
     oauth: {{client_id: demo, client_secret: {secret}, grant: client-credentials, tenant: company.example,
             token_url: "{tokens}"}}}}
retry: {{delays: [1s], rest: [1s]}}
spool: {{url: "sqlite:{folder}/spool.db", keep_free: 0}}
web: {{address: "{web}"}}
log: {{format: json, level: error}}
"""

YOUR_OWN = """
   upstreams:
     m365:
       provider: outlook
       api: graph
       url: {url}
       username: {mailbox}
       oauth: {{client_id: demo, client_secret: {secret}, grant: client-credentials, tenant: company.example,
               token_url: "{tokens}"}}"""

SCAN = bytes(range(256)) * 31_250
"""8 MB: more than one request holds."""


@dataclass(frozen=True)
class Shown:
    """What a device sends, what Graph is told to answer first, and what must arrive, by whom it is got."""

    device: DemoDevice
    recipients: frozenset[str]
    trouble: tuple[GraphTrouble, ...] = ()
    attachment: bytes = b""


def _device(name: str, oddities: str, subject: str, recipients: tuple[str, ...], header: str, body: bytes) -> DemoDevice:
    rcpt = tuple(b"RCPT TO:<%b>\r\n" % one.encode() for one in recipients)
    dialog = (b"EHLO device\r\n", b"MAIL FROM:<root@device.local>\r\n", *rcpt, b"DATA\r\n")
    content = f"From: root@device.local\r\nSubject: {subject}\r\n{header}\r\n".encode() + body + b".\r\n"
    return DemoDevice(name, oddities, dialog, content, "m365", MAILBOX, subject)


STORY = (
    Shown(
        _device(
            "A NAS reports a bad disk",
            "names nobody in To: Graph sends only to those that are named, so the recipient is added as Bcc",
            "Disk 2 failed",
            ("boss@company.example",),
            "",
            b"Please change it.\r\n",
        ),
        frozenset({"boss@company.example"}),
    ),
    Shown(
        _device(
            "A UPS reports, and Graph is busy",
            "429 with Retry-After: the relay waits as long as Graph asks",
            "On battery",
            ("boss@company.example",),
            "To: boss@company.example\r\n",
            b"Mains failed.\r\n",
        ),
        frozenset({"boss@company.example"}),
        (GraphTrouble("drafts/messages", 429, "ApplicationThrottled", "Too many requests.", {"Retry-After": "2"}),),
    ),
    Shown(
        _device(
            "A scanner sends 8 MB",
            "more than one request holds: a draft, an upload session, then it is sent",
            "Scan 0001",
            ("office@company.example",),
            "To: office@company.example\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf; name=scan.pdf\r\n"
            "Content-Transfer-Encoding: base64\r\n",
            base64.encodebytes(SCAN).replace(b"\n", b"\r\n"),
        ),
        frozenset({"office@company.example"}),
        attachment=SCAN,
    ),
)


async def show(keep: bool) -> int:
    """The whole demo; its exit status.  `keep`: it stays up afterwards, for a device and a relay of your own."""
    async with graph_cloud(MAILBOX) as cloud:
        mailbox = {"url": cloud.url, "tokens": cloud.token_url, "mailbox": MAILBOX, "secret": cloud.secret}
        async with demonstrating(CONFIG, keep=keep, **mailbox) as demo:
            arrived = [await _shown(one, demo, cloud) for one in STORY]
            print(verdict(arrived))
            if keep:
                print(f"\nThe mailbox is for a relay of your own on this machine, too:\n{YOUR_OWN.format(**mailbox)}")
                await demo.stay("mailbox", lambda: [one.content for one in cloud.box])
    return FINE if all(arrived) else PROBLEM


async def _shown(one: Shown, demo: Demo, cloud: GraphCloud) -> bool:
    """Plays one device, follows its message and prints the way; whether it arrived as promised."""
    cloud.trouble += one.trouble
    cloud.requests.clear()
    await demo.play(one.device)
    asked = ", ".join(f"{method} {path}" for method, path in cloud.requests)
    print(f"   what Graph was asked: {asked}")
    wrong = _wrong(one, cloud.box)
    print(said_of(wrong))
    return not wrong


def _wrong(one: Shown, box: list[GraphDelivery]) -> list[str]:
    got = [delivery for delivery in box if parsed(delivery.content)["Subject"] == one.device.subject]
    if len(got) != 1:
        return [f"arrived {len(got)} times"]
    attached = [part.get_payload(decode=True) for part in parsed(got[0].content).iter_attachments()]
    checks = {
        f"it went to {', '.join(got[0].recipients)}": frozenset(got[0].recipients) != one.recipients,
        "a copy stayed in Sent Items": got[0].saved,
        "the attachment is not what was scanned": bool(one.attachment) and one.attachment not in attached,
    }
    return [what for what, is_wrong in checks.items() if is_wrong]
