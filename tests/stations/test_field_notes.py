"""The matrix of the field notes, From x smarthost x final host: with the relay in the middle every row ends in `o`.

NAS (bare LF, no Date, From = To) ──> relay ──> CORESERVER | IIJmio | asahi-net | Sakura | Gmail | mx ──> mail box

The hosts (tests/support/isps) refuse what the real ones refuse, in their words, and judge each other by the address that
mail comes from.  Each row runs twice: with one configuration that a person could have written, who knew the traps; and with
one chain of two upstreams that knows nothing of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.inprocess import ended, relay_at_home, send
from tests.support.isps.all import World, internet
from tests.support.isps.coreserver import SENDERHOSTS as LISTED_WORDS
from tests.support.isps.internet import HOME
from tests.support.isps.receivers import BUSY as BUSY_WORDS
from tests.support.upstream import LF_REFUSAL

CORE = "taro@taro.s1.example"
"""A CORESERVER address: the host has its mail box, but the domain is not among the registered senderhosts."""
REGISTERED = "taro@taro.example"
GMAIL = "taro@gmail.example"
OWN = "me@own.example"

KNOWING = [
    {"to": ["*@taro.s1.example", "*@taro.example"], "via": ["iijmio"]},
    {"from": "*@gmail.example", "via": ["gmail"]},
    {"from": "*@own.example", "via": ["asahi"]},
    {"to": ["*@docomo.example", "*@icloud.example"], "via": ["asahi", "iijmio"]},
    {"via": ["iijmio", "asahi"]},
]
"""What weeks of trying by hand led to: mail for that one domain goes through the ISP, the own domain by its SPF."""

QUIET, POLLED, NAMELESS = "quiet", "polled", "nameless"
"""Nothing special; a machine behind the same NAT polls CORESERVER by POP; our address has no reverse DNS."""


@dataclass(frozen=True)
class Row:
    """One row: `trap` is what the first of the naive `chain` says at first ("": it serves at once), `lands` who brings it."""

    name: str
    sender: str
    recipient: str
    chain: tuple[str, ...]
    weather: str = QUIET
    trap: str = ""
    lands: str = ""

    @property
    def by(self) -> str:
        return self.lands or self.chain[0]


LISTED, UNNAMED, SPF = "allowed senderhosts", "cannot find your hostname", "5.7.26"
PBL, BUSY, SILENT = "Spamhaus PBL", "Service not available", "cannot connect"
DIRECT, BY_CORE, BY_IIJ, BY_GMAIL = ("mx", "iijmio"), ("coreserver", "iijmio"), ("iijmio", "coreserver"), ("gmail", "iijmio")

ROWS = [
    Row("IIS direct to CORESERVER", CORE, CORE, DIRECT),
    Row("IIS direct to CORESERVER, while a PC at home polls POP", CORE, CORE, DIRECT, POLLED, LISTED, "iijmio"),
    Row("IIS direct to CORESERVER, without reverse DNS", CORE, CORE, DIRECT, NAMELESS, UNNAMED, "iijmio"),
    Row("IIS direct to Gmail", CORE, GMAIL, DIRECT, QUIET, SPF, "iijmio"),
    Row("PMail direct to CORESERVER, sometimes", REGISTERED, CORE, DIRECT, POLLED),
    Row("PMail direct to CORESERVER, at other times", REGISTERED, CORE, DIRECT, NAMELESS, UNNAMED, "iijmio"),
    Row("PMail direct to Gmail", REGISTERED, GMAIL, DIRECT, QUIET, SPF, "iijmio"),
    Row("BlackJumboDog by CORESERVER to CORESERVER", CORE, CORE, BY_CORE, QUIET, LISTED),
    Row("BlackJumboDog by CORESERVER to Gmail", CORE, GMAIL, BY_CORE, QUIET, LISTED),
    Row("BlackJumboDog by IIJmio to CORESERVER", CORE, CORE, BY_IIJ, POLLED),
    Row("BlackJumboDog by IIJmio to Gmail", CORE, GMAIL, BY_IIJ),
    Row("IIS by IIJmio to CORESERVER", REGISTERED, CORE, BY_IIJ, NAMELESS),
    Row("IIS by CORESERVER to CORESERVER", REGISTERED, CORE, BY_CORE),
    Row("IIS by CORESERVER to CORESERVER, later", REGISTERED, CORE, BY_CORE, NAMELESS, UNNAMED, "iijmio"),
    Row("CORESERVER with a login to CORESERVER", REGISTERED, REGISTERED, BY_CORE, POLLED),
    Row("Gmail by Gmail to CORESERVER", GMAIL, CORE, BY_GMAIL),
    Row("Gmail by Gmail to Gmail", GMAIL, GMAIL, BY_GMAIL),
    Row("own domain by asahi-net to Gmail", OWN, GMAIL, ("asahi", "iijmio")),
    Row("own domain direct to iCloud", OWN, "taro@icloud.example", ("mx", "asahi"), QUIET, PBL, "asahi"),
    Row("own domain direct to docomo", OWN, "taro@docomo.example", ("mx", "asahi"), QUIET, BUSY, "asahi"),
    Row(
        "own domain direct, port 25 closed on the line",
        OWN,
        "taro@far.example",
        ("mx", "asahi"),
        QUIET,
        "cannot connect",
        "asahi",
    ),
    Row("own domain by Sakura to Gmail", OWN, GMAIL, ("sakura", "asahi")),
]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with internet(tmp_path) as everybody:
        monkeypatch.setenv("RELAY_TEST_MX_PORT", str(everybody.net.port))
        yield everybody


def weather(world: World, row: Row) -> None:
    if row.weather == POLLED:
        world.core.permitted.add(HOME)
    if row.weather == NAMELESS:
        world.net.nameless.add(HOME)


def settings(world: World, routes: list[dict[str, Any]], **upstreams: dict[str, Any]) -> dict[str, Any]:
    accounts = {name: {**account, **upstreams.get(name, {})} for name, account in world.upstreams().items()}
    return {"upstreams": accounts, "routes": routes, "dns": {"nameservers": [world.dns.address]}, "mx": {"private": True}}


def health_check(address: str) -> bytes:
    """What the NAS writes: no Date, bare LF, From and To the same address."""
    return f"From: <{address}>\nTo: <{address}>\nSubject: health check\n\nAll disks are fine.\n".encode()


async def brought(world: World, row: Row, directory: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Sends the NAS's mail; the message's story once it is in the mail box, as the mail box wants it."""
    async with relay_at_home(directory, config) as relay:
        queue_id = await send(relay, row.sender, row.recipient, health_check(row.sender))
        story = await ended(relay, queue_id, "relayed", seconds=40)
        if row.recipient.endswith("@far.example"):  # beyond the last host of this little internet
            return story
        (arrived,) = await world.net.arrived(row.recipient)
    assert b"\r\nDate: " in b"\r\n" + arrived.content.partition(b"\r\n\r\n")[0], "the mail box cannot say of which day it is"
    assert b"All disks are fine.\r\n" in arrived.content
    assert arrived.spf in ("", "pass"), "the mail box shows the sender as unverified"
    assert not world.net.bounces
    assert not any(host.faults for host in world.hosts.values()), "somebody was spoken to against RFC 5321"
    assert not any(LF_REFUSAL in refusal for host in world.hosts.values() for refusal in host.refusals)
    return story


@pytest.mark.parametrize("row", [row for row in ROWS if row.trap != SILENT], ids=lambda row: row.name)
async def test_every_row_arrives_by_what_a_person_wrote_who_knew(row: Row, world: World, tmp_path: Path) -> None:
    """One configuration serves all rows, whatever the weather, without a single refusal on the way."""
    weather(world, row)
    story = await brought(world, row, tmp_path, settings(world, KNOWING))
    tried = [line for line in story["trail"] if line["event"] == "tried"]
    assert tried == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_every_row_arrives_by_a_chain_that_knows_nothing(row: Row, world: World, tmp_path: Path) -> None:
    """One chain of two upstreams: where a trap snaps, the own name or the next upstream brings the mail all the same."""
    weather(world, row)
    trusting = {"sender_domains": ["taro.example", "taro.s1.example"]}
    story = await brought(world, row, tmp_path, settings(world, [{"via": list(row.chain)}], coreserver=trusting))
    said = " ".join(line["text"] for line in story["trail"] if line["event"] == "tried")
    assert row.trap in said
    assert bool(row.trap) == bool(said)
    assert [recipient["upstream"] for recipient in story["recipients"]] == [row.by]
    assert bool(row.trap) == any(line["event"] == "advised" for line in story["trail"])


async def test_what_a_listed_address_may_not_send_there_goes_elsewhere(world: World, tmp_path: Path) -> None:
    """With `rewrite: never` there is no own name to try: CORESERVER says 552, and the ISP brings the mail."""
    row = Row("never rewritten", CORE, CORE, BY_CORE, QUIET, LISTED, "iijmio")
    stubborn = {"rewrite": "never"}
    story = await brought(world, row, tmp_path, settings(world, [{"via": list(BY_CORE)}], coreserver=stubborn))
    assert [recipient["upstream"] for recipient in story["recipients"]] == ["iijmio"]
    assert world.core.refusals == [f"{HOME} MAIL: {LISTED_WORDS}"]


async def test_a_refused_sender_is_remembered(world: World, tmp_path: Path) -> None:
    """The second message of that sender goes in the account's own name at once; one person's name is not another's."""
    trusting = {"sender_domains": ["taro.example", "taro.s1.example"]}
    async with relay_at_home(tmp_path, settings(world, [{"via": ["coreserver"]}], coreserver=trusting)) as relay:
        for number in range(3):
            queue_id = await send(relay, CORE, CORE, health_check(CORE))
            story = await ended(relay, queue_id, "relayed")
            assert len(world.core.refusals) == 1, f"message {number}"
        other = await ended(relay, await send(relay, "hana@taro.s1.example", CORE, health_check(CORE)), "relayed")
        arrived = await world.net.arrived(CORE, 4)
    assert {one.sender for one in arrived} == {REGISTERED}
    assert not any("refuses this sender" in line["text"] for line in story["trail"])
    assert any("refuses this sender" in line["text"] for line in other["trail"])
    assert all(b"Reply-To:" in one.content for one in arrived), "the person can still be answered"


async def test_a_host_that_puts_strangers_off_is_visited_again(world: World, tmp_path: Path) -> None:
    """From a fixed address with nobody else in the chain: docomo says 421 to a stranger, then takes its mail, slowly."""
    world.net.pbl.clear()
    async with relay_at_home(tmp_path, settings(world, [{"via": ["mx"]}])) as relay:
        queue_id = await send(relay, OWN, "taro@docomo.example", health_check(OWN))
        story = await ended(relay, queue_id, "relayed")
        (arrived,) = await world.net.arrived("taro@docomo.example")
    assert arrived.source == HOME
    assert story["recipients"][0]["attempts"] == 2
    assert world.hosts["docomo-mx"].refusals == [f"{HOME} CONNECT: {BUSY_WORDS}"]
