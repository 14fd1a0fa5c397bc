"""What is known of each device, out of the spool's history."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from relay.control.device_reports import (
    DIGESTS,
    TurnedAway,
    kind_of,
    mail_of,
    overview,
    portrait,
    postponed,
    shown,
    turned_away,
)
from relay.control.reports import device_views
from relay.inbound.seen_clients import SeenClients
from relay.mail.address import Address
from relay.mail.device import Device, Quiet
from relay.mail.envelope import Origin
from relay.mail.reply import Fault
from relay.outbound.trail import merged
from relay.spool.entry import Heard, Postponed, Recipient, State, TrailLine
from relay.spool.storms import Ended, end_of_part

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
NAS = Device("nas", client=(ip_network("10.0.0.2"),), expect_every=timedelta(hours=26))
NET = Device("net", client=(ip_network("10.0.0.0/24"),), user=("x",), helo=("h*",))
QUIRK = ("bare LF",)
HEARD = [
    Heard(Origin("10.0.0.2", "nas", quirks=QUIRK), 3, NOW - timedelta(hours=1)),
    Heard(Origin("10.0.0.2", "nas2"), 2, NOW),
    Heard(Origin("10.0.0.9", "cam.lan"), 1, NOW - timedelta(days=1)),
    Heard(Origin("fd00::9", "cam.lan"), 1, NOW),
    Heard(Origin("10.0.0.7", "1=2: {x}"), 1, NOW - timedelta(days=2)),
]


def line(*repairs: str, event: str = "repaired") -> TrailLine:
    return TrailLine(NOW, event, details={"repairs": list(repairs)} if repairs else {})


def test_each_device_has_its_mail_and_the_rest_has_a_line_to_copy() -> None:
    """Names as they call themselves where that can stand in a file, each once; a device without mail is shown too."""
    expected = [{"name": "nas", "silent": True, "every_seconds": 93600}]
    told = overview((NAS, NET), HEARD, expected)
    nas, net = told["known"]
    assert (nas["messages"], nas["last"], nas["clients"], nas["helo"]) == (
        5,
        "2026-11-22T10:00:00Z",
        ["10.0.0.2"],
        ["nas", "nas2"],
    )
    assert (nas["silent"], nas["every_seconds"]) == (True, 93600)
    assert (net["messages"], net["last"], net["known_by"]) == (0, None, "10.0.0.0/24, login x, HELO h*")
    assert [one["suggestion"].strip() for one in told["unknown"]] == [
        'cam: {client: "fd00::9"}',
        'cam-10-0-0-9: {client: "10.0.0.9"}',
        'device-10-0-0-7: {client: "10.0.0.7"}',
    ]


def test_what_was_mended_is_counted() -> None:
    """By kinds, once for each message; what is of another device at the same address is not counted."""
    lines = [
        (Origin("10.0.0.2", "nas"), line("added Date", "Message-ID <1@nas> was used before")),
        (Origin("10.0.0.2", "nas"), line("added Date", "Message-ID <2@nas> was used before")),
        (Origin("10.0.0.9", "cam"), line("added Date")),
        (Origin("10.0.0.2", "nas"), line(event="merged")),
    ]
    mail = mail_of(NAS, (NAS, NET), HEARD)
    assert mail == HEARD[:2]
    told = portrait(NAS, (NAS, NET), mail, lines, {})
    assert told["quirks"] == [{"what": "bare LF", "messages": 3}]
    assert told["repairs"] == [
        {"what": "added Date", "messages": 2},
        {"what": "Message-ID ... was used before", "messages": 2},
    ]
    assert (told["merged"], told["silent"], told["every_seconds"]) == (1, False, None)
    assert told["last_seen"] == told["last"] == "2026-11-22T10:00:00Z"


def test_the_digests_of_a_device_are_told() -> None:
    """Each once, with the messages that it stands for, the last first; another device's are none of it."""
    lines = [
        (
            Origin(f"10.0.0.{device}", "nas"),
            TrailLine(NOW + number * timedelta(hours=1), "merged", details={"digest": f"digest{device}{number}", "count": 7}),
        )
        for number in (0, 0, 1)
        for device in (2, 9)
    ]
    told = portrait(NAS, (NAS, NET), [], lines, {})
    assert told["merged"] == 3
    assert told["digests"] == [
        {"id": "digest21", "at": "2026-11-22T11:00:00Z", "messages": 7},
        {"id": "digest20", "at": "2026-11-22T10:00:00Z", "messages": 7},
    ]
    many = [(lines[0][0], TrailLine(NOW, "merged", details={"digest": str(number)})) for number in range(100)]
    assert len(portrait(NAS, (NAS, NET), [], many, {})["digests"]) == DIGESTS


def test_a_message_is_in_its_digest_once() -> None:
    """Also where the digest failed first, for one recipient or both, and was relayed after all: each end has a line."""
    to = [Recipient(Address(name, "far.example"), State.QUEUED, 0, NOW) for name in ("a", "b")]
    later = [end_of_part("digest", 2, Ended("", str(one.address), State.RELAYED), NOW + timedelta(hours=1))[1] for one in to]
    lines = [merged(to, "digest", 2, NOW), *later]
    told = portrait(NAS, (NAS,), [], [(Origin("10.0.0.2", "nas"), line) for line in lines * 2], {})
    assert (told["merged"], told["digests"]) == (2, [{"id": "digest", "at": "2026-11-22T10:00:00Z", "messages": 2}])


def test_what_waits_is_told_of_its_device_alone() -> None:
    """Counts of all its origins together, for each digest; quiet hours are told though nothing waits for their end."""
    nas, other = Origin("10.0.0.2", "nas"), Origin("10.0.0.9", "cam")
    later = NOW + timedelta(hours=1)
    kept = [
        Postponed(nas, "a", Fault.DIGEST, 3, later, "first"),
        Postponed(Origin("10.0.0.2", "nas2"), "a", Fault.DIGEST, 2, later, "second"),
        Postponed(nas, "b", Fault.DIGEST, 1, later, "third"),
        Postponed(nas, "b", Fault.QUIET, 4, later, "fourth"),
        Postponed(nas, "", Fault.QUIET, 5, later, "fifth"),
        Postponed(other, "a", Fault.DIGEST, 100, later, "sixth"),
    ]
    told = postponed(NAS, (NAS, NET), kept, NOW)
    assert (told["quiet_until"], told["quiet_waiting"]) == (None, 9)
    assert told["collecting"] == [
        {"messages": 5, "due_at": "2026-11-22T11:00:00Z", "example": "first"},
        {"messages": 1, "due_at": "2026-11-22T11:00:00Z", "example": "third"},
    ]
    begin, end = (NOW + hours * timedelta(hours=1) for hours in (-1, 2))
    asleep = Device("nas", quiet=Quiet(((begin.astimezone().time(), end.astimezone().time()),)))
    told = postponed(asleep, (asleep,), [], NOW)
    assert told == {"quiet_until": "2026-11-22T12:00:00Z", "quiet_waiting": 0, "collecting": []}


def test_when_a_device_was_seen_is_its_own() -> None:
    """Several behind one address are told apart by HELO and login; who spoke without mail was seen, too."""
    seen, minute = SeenClients(), timedelta(minutes=1)
    lan, cam = Device("lan", client=(ip_network("10.0.0.0/24"),), user=("nas",)), Device("cam", helo=("cam*",))
    devices = (cam, lan, NAS)
    for number, (helo, user) in enumerate([("cam1", ""), ("cam2", ""), ("nas", ""), ("nas", "nas"), ("cam1", ""), ("x", "")]):
        seen.saw("10.0.0.7", NOW + number * minute, helo, (), user)
    seen.saw("10.0.0.2", NOW - minute, "nas")
    nas, client = device_views(seen.as_json(), devices)
    assert client["name"] == "cam, lan"
    assert [(one["name"], one["last_seen"][14:16]) for one in client["known_as"]] == [("cam", "04"), ("lan", "03")]
    status = {"devices": [client, nas]}
    assert portrait(cam, devices, [], [], status)["last_seen"] == "2026-11-22T10:04:00Z"
    assert portrait(NAS, devices, HEARD[:2], [], status)["last_seen"] == "2026-11-22T10:00:00Z"  # its mail was later
    assert portrait(NAS, devices, HEARD[:1], [], status)["last_seen"] == "2026-11-22T09:59:00Z"
    assert portrait(Device("tv", helo=("tv",)), devices, [], [], status)["last_seen"] is None
    for number in range(100):
        seen.saw("10.0.0.7", NOW, f"name{number}")
    assert len(seen.as_json()[0]["origins"]) < 20


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ("added Date", "added Date"),
        ("sender root@nas became me@isp.example: why", "sender ... became ... why"),
        ("folded header lines of more than 998 octets", "folded header lines of more than ... octets"),
        ("rewrote 'Mon; 1 Jan'", "rewrote ..."),
    ],
)
def test_equal_repairs_are_counted_together(note: str, kind: str) -> None:
    """Addresses, numbers and quoted text are of one message alone."""
    assert kind_of(note) == kind


def test_a_device_is_shown_by_what_it_is_known_by() -> None:
    assert shown(NAS) == "10.0.0.2"


def test_who_was_turned_away_is_told_briefly() -> None:
    """The newest few and how many; not who was let in since, nor what is long ago; a stranger's network counts once."""
    seen = SeenClients()
    assert turned_away(seen.as_json(), NOW) is None
    for client, hours in (("192.0.2.9", 30), ("203.0.114.1", 5), ("2400:4050::1", 4), ("2400:4050::2", 3), ("192.168.0.7", 2)):
        seen.saw(client, NOW - timedelta(hours=hours)).outside = True
    told = turned_away(seen.as_json(), NOW)
    assert told == TurnedAway((*told.newest,), 3, near=True)
    assert told.clients == ("192.168.0.7", "2400:4050::2", "203.0.114.1")
    seen.saw("192.168.0.7", NOW)  # its network was added
    told = turned_away(seen.as_json(), NOW)
    assert (told.number, told.near) == (2, False)
    for number in range(1, 200):
        seen.saw(f"203.0.114.{number}", NOW).outside = True
    told = turned_away(seen.as_json(), NOW)
    assert (told.number, len(told.newest), told.clients[0]) == (200, 3, "203.0.114.199")
