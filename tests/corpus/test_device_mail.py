"""The device corpus against the real `relay run`: every case arrives as it must, with and without 8BITMIME upstream.

device (127 cases, several at a time) ──> relay run ──> a strict sink
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.mail.policy import RepairPolicy
from relay.mail.recode import seven_bit
from tests.corpus.checks import check, default_checks
from tests.corpus.playing import Sink, load, play
from tests.support.letters import octets, repaired
from tests.support.running import running

HERE = Path(__file__).parent / "device-mail"
EVERY = {case["id"]: case for case in load([str(HERE)])}
CASES = {name: case for name, case in EVERY.items() if "setting" not in case}
SET = {name: case for name, case in EVERY.items() if "setting" in case}
"""Cases for a relay whose owner has set something."""

SETTINGS = json.loads((HERE / "settings.json").read_text("utf-8"))
SIDE_BY_SIDE = 24
"""Most cases wait most of the time: for silence, or for the hand of a slow device."""

CAPABILITIES = ["PIPELINING", "SIZE 52428800", "AUTH PLAIN LOGIN", "ENHANCEDSTATUSCODES"]
CONFIG: dict[str, Any] = {
    "recipients": {"default_domain": "example.jp"},
    "routes": [{"via": ["sink"]}],
    "limits": {"per_client": 90, "messages_per_minute": 10_000},
}
# The corpus takes these senders for the account's own; what a device of the LAN calls itself is foreign.
SENDER = "relay@isp.example.jp"
OWN = ["isp.example.jp", "example.jp", "example.com", *(f"{name}.example.test" for name in ("nas", "cam", "ap", "iot", "lan"))]

KEPT_OLD_DATES = {"m-date-french", "m-date-iso8601"}
"""The corpus would rather see a readable date of long ago kept; by `repair.date_skew` it is replaced (and kept beside)."""

Played = dict[str, "Future[tuple[list[str], list[str]]]"]


@contextmanager
def under_way(directory: Path, capabilities: list[str]) -> Iterator[Played]:
    """All cases against a relay of their own; the futures hold each one's problems and notes."""
    sink = Sink(0, capabilities)
    upstream = {"host": "127.0.0.1", "port": sink.port, "tls": "none", "username": "taro", "password": "x"}
    upstream |= {"sender": SENDER, "sender_domains": OWN}
    spool = {"url": f"sqlite:{directory}/spool/spool.db", "keep_free": "1MB", "max_message": "30MB"}
    with running(directory, {**CONFIG, "spool": spool, "upstreams": {"sink": upstream}}) as relay:
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            slowest_first = sorted(CASES.values(), key=lambda case: (case["kind"] == "message", -case.get("linger", 0)))
            yield {case["id"]: pool.submit(play, case, "127.0.0.1", relay.port, sink, 30, 30) for case in slowest_first}
        assert relay.events("broken") == []
    sink.close()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Played]]:
    """Two relays at once, since the slow devices are slow at either; the one's upstream takes 8-bit text, the other's not."""
    make = tmp_path_factory.mktemp
    with under_way(make("eight"), [*CAPABILITIES, "8BITMIME"]) as eight, under_way(make("seven"), CAPABILITIES) as seven:
        yield {"8bitmime": eight, "seven bit": seven}


@pytest.fixture(params=["8bitmime", "seven bit"])
def played(request: pytest.FixtureRequest, both: dict[str, Played]) -> Played:
    return both[request.param]


@pytest.mark.parametrize("name", CASES)
def test_what_a_device_sends_arrives_as_it_must(played: Played, name: str) -> None:
    """The dialogue goes as the device needs it, and all that the case demands of the relayed message holds."""
    problems, notes = played[name].result()
    assert problems == [], CASES[name]["oddity"]
    assert notes == [] or name in KEPT_OLD_DATES, CASES[name]["oddity"]


@pytest.mark.parametrize("eight_bit", [True, False], ids=["8bitmime", "seven bit"])
@pytest.mark.parametrize("name", SET)
def test_what_the_owner_has_set_is_heeded(name: str, eight_bit: bool) -> None:
    """The same for a relay whose `fallback_charset` is that of another country."""
    case = SET[name]
    mended = repaired(
        case["_data"], policy=RepairPolicy(fallback_charset=tuple(SETTINGS[case["setting"]]["repair"]["fallback_charset"]))
    )
    sent = octets(mended.message if eight_bit else seven_bit(mended.message))
    params = "BODY=8BITMIME" if eight_bit and mended.eight_bit else ""
    told = {"data": sent, "wire": sent, "mail_from": SENDER, "params": params, "rcpts": [], "bad": [], "ok8": eight_bit}
    problems = [problem for wanted in case["expect"] for problem in check(wanted, [told], case, case["_data"])]
    assert problems + default_checks(told)[0] == []
