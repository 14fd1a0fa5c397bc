"""Who a device is: by its login and its network, with routes by user, and what happens when its own sender is refused."""

from pathlib import Path

from relay.daemon import Relay
from relay.password_hash import Cost, hash_of
from tests.stations.test_device_rules import ALERT, ME, field, isp, queue_id, submit
from tests.stations.test_hashed_logins import login
from tests.support.device import Device
from tests.support.inprocess import ended, relay_at_home
from tests.support.upstream import ScriptedUpstream

BOSS = "boss@isp.example"
HASH = str(hash_of(b"geheim", bytes(16), Cost(1024, 8, 1)))


async def logged_in(relay: Relay, user: bytes, password: bytes, *to: str, source: str = "", listener: int = 0) -> str:
    """Submits after a login; the reply to the dot, or the first that refuses."""
    async with await Device.connect(tuple(relay.inbound.bound[listener][:2]), source=source) as device:
        await device.reply()
        said = ""
        lines = [b"EHLO pve\r\n", login(user, password), b"MAIL FROM:<root@pve>\r\n"]
        for line in [*lines, *(b"RCPT TO:<%b>\r\n" % one.encode() for one in to), b"DATA\r\n", ALERT + b".\r\n"]:
            said = await device.ask(line)
            if said[0] not in "23":
                break
        return said


async def test_who_logs_in_and_where_it_stands_say_whose_mail_it_is(tmp_path: Path) -> None:
    """The first device that fits: by login, wherever it comes from; by network, whoever logs in.  A rule sends by user.

    `to` of a device takes the place of whatever it addresses, nobody's address too; the To field stays.
    """
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        settings = {
            "listen": [
                {
                    "address": "127.0.0.1:0",
                    "networks": ["private"],
                    "auth": "required",
                    "plain_login": True,
                    "users": {"nas": HASH, "cam": "klar"},
                },
                {"address": "127.0.0.1:0", "networks": ["private"]},
            ],
            "upstreams": {"first": isp(first.port), "second": isp(second.port)},
            "routes": [{"user": "nas", "via": ["first"]}, {"via": ["second"]}],
            "devices": {
                "nas": {"user": "nas", "to": ME, "name": "NAS"},
                "garage": {"client": "127.0.5.0/24", "to": [ME, BOSS], "name": "Garage"},
                "both": {"client": "127.0.6.0/24", "user": ["cam", "tv"], "may_send_to": BOSS},
            },
        }
        async with relay_at_home(tmp_path, settings) as relay:

            async def sent(user: bytes, password: bytes, *to: str, source: str) -> tuple[str, list[str], list[str]]:
                said = await logged_in(relay, user, password, *to, source=source)
                story = await ended(relay, queue_id([said]), "relayed")
                assert story["origin"]["user"] == user.decode()
                assert story["trail"][0].get("addressed", []) == ([] if story["device"] in ("", "both") else list(to))
                (via,) = {one["upstream"] for one in story["recipients"]}
                return story["device"], [one["address"] for one in story["recipients"]], [via]

            nas, cam = (b"nas", b"geheim"), (b"cam", b"klar")
            assert await sent(*nas, "root", "x@far.example", source="127.0.4.1") == ("nas", [ME], ["first"])
            assert await sent(*nas, "x@far.example", source="127.0.5.1") == ("nas", [ME], ["first"])
            assert await sent(*cam, "x@far.example", source="127.0.5.2") == ("garage", [ME, BOSS], ["second"])
            assert await sent(*cam, "x@far.example", source="127.0.4.1") == ("", ["x@far.example"], ["second"])
            assert await sent(*cam, BOSS, source="127.0.6.1") == ("both", [BOSS], ["second"])
            assert (await logged_in(relay, *cam, ME, source="127.0.6.1")).startswith("550 5.7.1")
            assert (await logged_in(relay, b"cam", b"geheim", ME, source="127.0.4.1")).startswith("535")
            assert (await submit(relay, ME, source="127.0.5.2"))[0].startswith("530")  # its network is no login

            said = await logged_in(relay, b"nas", b"anything", ME, source="127.0.4.1", listener=1)
            story = await ended(relay, queue_id([said]), "relayed")  # where any password will do, it says nothing of who it is
            assert (story["device"], story["origin"]["user"], story["recipients"][0]["upstream"]) == ("", "", "second")

            by_first, by_second = first.messages[0].content, second.messages[0].content
            assert (field(by_first, "From"), field(by_first, "To")) == ([f"NAS <{ME}>"], ['"root@pve":;'])
            assert field(by_second, "From") == [f"Garage <{ME}>"]
            assert second.messages[0].forward_paths == [ME, BOSS]


async def test_a_device_whose_sender_is_refused_goes_in_the_accounts_name(tmp_path: Path) -> None:
    """At once, and from then on without asking; its display name stays.  Another device of the same reverse-path is not
    concerned, nor is another upstream."""

    def may_not(argument: str) -> str | None:
        return "550 5.7.60 SMTP; Client does not have permissions to send as this sender" if "pve1@" in argument else None

    async with ScriptedUpstream(script={"MAIL": may_not}) as strict, ScriptedUpstream() as other:
        settings = {
            "upstreams": {"strict": isp(strict.port), "other": isp(other.port)},
            "routes": [{"to": BOSS, "via": ["other"]}, {"via": ["strict"]}],
            "devices": {
                f"pve{number}": {
                    "client": f"127.0.0.1{number}",
                    "name": f"Proxmox {number}",
                    "sender": f"pve{number}@isp.example",
                }
                for number in (1, 2)
            },
        }
        async with relay_at_home(tmp_path, settings) as relay:
            for source, to in (("127.0.0.11", ME), ("127.0.0.12", ME), ("127.0.0.11", ME), ("127.0.0.11", BOSS)):
                story = await ended(relay, queue_id(await submit(relay, to, source=source)), "relayed")
                assert story["recipients"][0]["attempts"] == 1
            assert [one.mail.split()[0] for one in strict.transactions] == [
                "FROM:<pve1@isp.example>",
                f"FROM:<{ME}>",
                "FROM:<pve2@isp.example>",
                f"FROM:<{ME}>",
            ]
            assert [field(one.content, "From") for one in (*strict.messages, *other.messages)] == [
                [f"Proxmox 1 <{ME}>"],
                ["Proxmox 2 <pve2@isp.example>"],
                [f"Proxmox 1 <{ME}>"],
                ["Proxmox 1 <pve1@isp.example>"],
            ]
