"""What is known of each device, out of the spool's history."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from relay.control.device_reports import kind_of, mail_of, overview, portrait, shown
from relay.mail.device import Device
from relay.mail.envelope import Origin
from relay.spool.entry import Heard, TrailLine

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
    told = portrait(NAS, (NAS, NET), mail, lines, ())
    assert told["quirks"] == [{"what": "bare LF", "messages": 3}]
    assert told["repairs"] == [
        {"what": "added Date", "messages": 2},
        {"what": "Message-ID ... was used before", "messages": 2},
    ]
    assert (told["merged"], told["silent"], told["every_seconds"]) == (1, False, None)


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
