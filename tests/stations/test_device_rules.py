"""Stories of devices that are somebody: what a person wrote for them, and what then arrives."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from relay.daemon import Relay
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from tests.support.device import Device
from tests.support.inprocess import ended, relay_at_home, told
from tests.support.spooled import an_entry
from tests.support.upstream import ScriptedUpstream

ALERT = b"From: root@pve\r\nTo: root@pve\r\nSubject: backup done\r\nMessage-ID: <1@pve>\r\n\r\nfine\r\n"
ME, ARCHIVE = "me@isp.example", "archive@isp.example"


def isp(port: int, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "tls": "none", "sender": ME, **more}


async def submit(
    relay: Relay, *to: str, source: str = "", helo: str = "pve", content: bytes = ALERT, size: int = 0
) -> list[str]:
    """The replies to MAIL, each RCPT and the dot, as far as it came."""
    async with await Device.connect(tuple(relay.inbound.bound[0][:2]), source=source) as device:
        await device.reply()
        await device.ask(b"EHLO %b\r\n" % helo.encode())
        said = [await device.ask(b"MAIL FROM:<root@pve>%b\r\n" % (b" SIZE=%d" % size if size else b""))]
        for one in to if said[0].startswith("250") else ():
            said.append(await device.ask(b"RCPT TO:<%b>\r\n" % one.encode()))
        if any(one.startswith("250") for one in said[1:]):
            await device.ask(b"DATA\r\n")
            said.append(await device.ask(content + b".\r\n"))
        return said


def queue_id(said: list[str]) -> str:
    assert said[-1].startswith("250 2.0.0 queued as "), said
    return said[-1].split()[-1]


def field(content: bytes, name: str) -> list[str]:
    lines = content.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return [line.partition(":")[2].strip() for line in lines if line.lower().startswith(f"{name.lower()}:")]


async def test_three_hosts_with_one_account_have_three_names(tmp_path: Path) -> None:
    """Each shows who it is, by name and address where the account may send so; elsewhere by the upstream's own address."""
    async with ScriptedUpstream(script={"MAIL": [None, None, None, "451 4.3.0 later"]}) as first, ScriptedUpstream() as second:
        settings = {
            "upstreams": {"isp": isp(first.port), "other": isp(second.port, sender="only@other.example")},
            "routes": [{"via": ["isp", "other"]}],
            "recipients": {"aliases": {"root@pve": ME}},
            "devices": {
                f"pve{number}": {
                    "client": f"127.0.0.1{number}",
                    "name": f"Proxmox {number}, cellar",
                    "sender": f"pve{number}@isp.example",
                    "subject_prefix": f"[pve{number}] ",
                    "header": {"X-Location": "cellar"},
                }
                for number in (1, 2, 3)
            },
        }
        async with relay_at_home(tmp_path, settings) as relay:
            for number in (1, 2, 3, 3):
                story = await ended(relay, queue_id(await submit(relay, "root@pve", source=f"127.0.0.1{number}")), "relayed")
                assert story["device"] == f"pve{number}"
            arrived = await first.arrived(3)
            assert [message.reverse_path for message in arrived] == [f"pve{number}@isp.example" for number in (1, 2, 3)]
            assert [field(message.content, "From") for message in arrived] == [
                [f'"Proxmox {number}, cellar" <pve{number}@isp.example>'] for number in (1, 2, 3)
            ]
            assert [field(message.content, "Subject") for message in arrived] == [
                [f"[pve{number}] backup done"] for number in (1, 2, 3)
            ]
            assert all(field(message.content, "X-Location") == ["cellar"] for message in arrived)
            [elsewhere] = await second.arrived(1)
            assert elsewhere.reverse_path == "only@other.example"
            assert field(elsewhere.content, "From") == ['"Proxmox 3, cellar" <only@other.example>']


async def test_a_printer_may_only_send_inside(tmp_path: Path) -> None:
    """Others are refused with 550 5.7.1 at RCPT, also behind an alias; who is no printer may send anywhere."""
    async with ScriptedUpstream() as server:
        settings = {
            "upstreams": {"isp": isp(server.port)},
            "recipients": {"aliases": {"scan": ME, "boss": "boss@far.example"}},
            "devices": {"printer": {"helo": "BRN*", "may_send_to": "*@isp.example"}},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            said = await submit(relay, "you@far.example", "boss", "scan", "you@ISP.example", helo="BRN001122")
            assert [one[:9] for one in said[1:]] == ["550 5.7.1", "550 5.7.1", "250 2.1.5", "250 2.1.5", "250 2.0.0"]
            assert "devices.printer.may_send_to" in said[1]
            story = await ended(relay, queue_id(said), "relayed")
            assert [one["address"] for one in story["recipients"]] == [ME, "you@ISP.example"]
            assert (await submit(relay, "you@far.example"))[-1].startswith("250")


async def test_everything_goes_to_one_address(tmp_path: Path) -> None:
    """Whatever it is addressed to, also what could be sent nowhere; once; To stays; the trail tells who was addressed."""
    async with ScriptedUpstream() as server:
        settings = {
            "upstreams": {"isp": isp(server.port)},
            "recipients": {"everything_to": ME, "aliases": {"root": "other@isp.example"}},
            "routes": [{"to": ME, "via": ["isp"]}],
        }
        async with relay_at_home(tmp_path, settings) as relay:
            content = ALERT.replace(b"To: root@pve", b"To: customer@shop.example")
            said = await submit(relay, "customer@shop.example", "root", "nobody", "\u3042@shop.example", ME, content=content)
            story = await ended(relay, queue_id(said), "relayed")
            assert [one["address"] for one in story["recipients"]] == [ME]
            assert story["trail"][0]["addressed"] == ["customer@shop.example", "root", "nobody", "\u3042@shop.example"]
            [message] = await server.arrived(1)
            assert message.forward_paths == [ME]
            assert field(message.content, "To") == ["customer@shop.example"]


async def test_no_notice_goes_to_a_sender_where_everything_goes_to_one(tmp_path: Path) -> None:
    """The refusal of a test mail is told to the person in charge, not to the customer whom it names as sender."""
    async with ScriptedUpstream(script={"RCPT": ["550 5.1.1 no such user"]}) as server:
        settings = {"upstreams": {"isp": isp(server.port)}, "recipients": {"everything_to": "test@isp.example"}}
        async with relay_at_home(tmp_path, settings) as relay:
            async with await Device.connect(tuple(relay.inbound.bound[0][:2])) as device:
                await device.reply()
                await device.dialog(
                    (b"EHLO shop\r\n", "250"),
                    (b"MAIL FROM:<customer@shop.example>\r\n", "250"),
                    (b"RCPT TO:<x@y.example>\r\n", "250"),
                    (b"DATA\r\n", "354"),
                    (ALERT + b".\r\n", "250"),
                )
            [notice] = await server.arrived(1)
            assert (notice.reverse_path, notice.forward_paths) == ("", ["test@isp.example"])


async def test_a_copy_fails_on_its_own(tmp_path: Path) -> None:
    """The archive's upstream refuses the copy for good; the original has gone, and the owner is told of the copy alone."""
    async with ScriptedUpstream() as server, ScriptedUpstream(script={"RCPT": "550 5.2.2 mailbox full for ever"}) as full:
        settings = {
            "upstreams": {"isp": isp(server.port), "archive": isp(full.port)},
            "routes": [{"to": ARCHIVE, "via": ["archive"]}, {"via": ["isp"]}],
            "devices": {"camera": {"client": "127.0.0.1", "copy_to": [ARCHIVE, ME]}},
            "notices": {"to": "owner@isp.example"},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            story = await ended(relay, queue_id(await submit(relay, ME)), "relayed", "failed")
            assert {one["address"]: one["state"] for one in story["recipients"]} == {ME: "relayed", ARCHIVE: "failed"}
            assert story["trail"][0]["copies"] == [ARCHIVE]
            original, notice = await server.arrived(2)
            assert (original.forward_paths, notice.forward_paths) == ([ME], ["owner@isp.example"])
            assert ARCHIVE.encode() in notice.content


async def test_a_copy_waits_on_its_own(tmp_path: Path) -> None:
    """By a rule; the original goes while the archive is away, the copy follows, and nothing is sent twice."""
    async with ScriptedUpstream() as server, ScriptedUpstream(script={"CONNECT": ["421 4.3.2 away"]}) as late:
        settings = {
            "upstreams": {"isp": isp(server.port), "archive": isp(late.port)},
            "routes": [
                {"to": ARCHIVE, "via": ["archive"]},
                {"device": "camera", "via": ["isp"], "copy_to": ARCHIVE},
                {"via": ["isp"]},
            ],
            "devices": {"camera": {"helo": "cam"}},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            await ended(relay, queue_id(await submit(relay, ME, "you@far.example", helo="cam")), "relayed")
            await ended(relay, queue_id(await submit(relay, ME, helo="nas")), "relayed")
            assert [message.forward_paths for message in server.messages] == [[ME, "you@far.example"], [ME]]
            assert [message.forward_paths for message in late.messages] == [[ARCHIVE]]


async def test_a_device_has_its_own_limits(tmp_path: Path) -> None:
    """A message too large is refused for good; too many wait; who is another device is not asked; a person is told once."""
    async with ScriptedUpstream() as server:
        settings = {
            "upstreams": {"isp": isp(server.port)},
            "devices": {"cam": {"helo": "cam", "limits": {"messages_per_minute": 2, "message": "2kB"}}},
            "notices": {"to": "owner@isp.example"},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            assert (await submit(relay, ME, helo="cam", size=2001))[0].startswith("552 5.3.4")
            assert (await submit(relay, ME, helo="cam", content=ALERT + b"x" * 2000 + b"\r\n"))[-1].startswith("552 5.3.4")
            assert (await submit(relay, ME, helo="nas", content=ALERT + b"x" * 2000 + b"\r\n"))[-1].startswith("250")
            replies = [(await submit(relay, ME, helo="cam"))[-1] for _ in range(4)]
            assert [one[:9] for one in replies] == ["250 2.0.0", "250 2.0.0", "450 4.7.1", "450 4.7.1"]
            assert "devices.cam.limits.messages_per_minute" in replies[-1]
            await server.arrived(4)
            async with asyncio.timeout(10):
                while not any(b"cam" in message.content for message in server.messages if not message.reverse_path):
                    await asyncio.sleep(0.05)


async def test_what_a_device_sent_before_a_restart_counts_for_the_day(tmp_path: Path) -> None:
    """Its history is in the spool."""
    now = datetime.now(UTC)
    (tmp_path / "spool").mkdir()
    spool = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/spool/spool.db", keep_free=0), now=lambda: now)
    for number, age in enumerate((timedelta(0), timedelta(0), timedelta(days=1))):
        await spool.commit(an_entry(f"before{number:09}", now - age, client="127.0.0.1"))
    await spool.close()
    async with ScriptedUpstream() as server:
        settings = {
            "upstreams": {"isp": isp(server.port)},
            "devices": {"nas": {"client": "127.0.0.1", "limits": {"per_day": 3}}},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            replies = [(await submit(relay, ME))[-1] for _ in range(2)]
            assert [one[:9] for one in replies] == ["250 2.0.0", "450 4.7.1"]
            assert "devices.nas.limits.per_day" in replies[1]


async def test_signed_mail_keeps_what_is_signed(tmp_path: Path) -> None:
    """DKIM, S/MIME, PGP: no prefix; and a DKIM-signed From keeps its octets."""
    signed = b"DKIM-Signature: v=1; a=rsa-sha256; d=isp.example; s=x; h=from:subject:x-location; bh=AA==; b=AA==\r\n"
    smime = b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=b\r\nMIME-Version: 1.0\r\n'
    pgp = b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nfine\r\n"
    head = b"From: Nas <me@isp.example>\r\nTo: me@isp.example\r\nSubject: signed\r\nDate: Mon, 30 Nov 2026 08:00:00 +0000\r\n"
    head += b"Message-ID: <2@isp.example>\r\n"
    parts = b"--b\r\n\r\nx\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nAA==\r\n--b--\r\n"
    async with ScriptedUpstream() as server:
        rules = {"client": "127.0.0.1", "name": "Cellar", "subject_prefix": "[nas] ", "header": {"X-Location": "cellar"}}
        settings = {"upstreams": {"isp": isp(server.port)}, "devices": {"nas": rules}}
        async with relay_at_home(tmp_path, settings) as relay:
            for content in (signed + head + b"\r\nx\r\n", smime + head + b"\r\n" + parts, head + b"\r\n" + pgp):
                story = await ended(relay, queue_id(await submit(relay, ME, content=content)), "relayed")
                assert "the message is signed" in str(story["trail"])
        arrived = [message.content for message in server.messages]
        assert [field(one, "Subject") for one in arrived] == [["signed"]] * 3
        assert [field(one, "From") for one in arrived] == [
            ["Nas <me@isp.example>"],
            ["Cellar <me@isp.example>"],
            ["Cellar <me@isp.example>"],
        ]
        assert [field(one, "X-Location") for one in arrived] == [[], ["cellar"], ["cellar"]]


async def test_a_reload_changes_who_a_device_is(tmp_path: Path) -> None:
    """New sessions are met by the new settings, and mail that waits goes by them."""
    async with ScriptedUpstream(script={"RCPT": ["451 4.3.0 later"]}) as server:
        settings = {"upstreams": {"isp": isp(server.port)}, "retry": {"delays": ["1h"]}}
        async with relay_at_home(tmp_path, settings) as relay:
            waiting = queue_id(await submit(relay, ME, helo="cam"))
            async with asyncio.timeout(10):
                while not (await told(relay, waiting))["recipients"][0]["attempts"]:
                    await asyncio.sleep(0.02)
            file = tmp_path / "config.yaml"
            file.write_text(
                file.read_text()[:-1] + ', "devices": {"cam": {"helo": "cam", "name": "Door", "may_send_to": "*@isp.example"}}}'
            )
            relay.reload()
            await ended(relay, waiting, "relayed")
            [message] = await server.arrived(1)
            assert field(message.content, "From") == ["Door <me@isp.example>"]
            assert (await submit(relay, "you@far.example", helo="cam"))[-1].startswith("550 5.7.1")
