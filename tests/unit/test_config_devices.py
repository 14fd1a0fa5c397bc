"""The devices of the settings: what is read, and each mistake with its place."""

from datetime import time, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from relay.config import Loaded, load
from relay.mail.address import Address
from relay.mail.device import Device, DeviceLimits, Quiet, Storm

ME, ARCHIVE, PRINTER = Address("me", "isp.example"), Address("archive", "isp.example"), Address("printer", "isp.example")


def loaded(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "config.yaml"
    path.write_text("upstreams: {isp: {host: mail.isp.example, sender: a@isp.example}}\n" + text, encoding="utf-8")
    return load(path, {}, machine_name="nas")


def test_a_device_with_everything_is_read(tmp_path: Path) -> None:
    """Every key, each as the value that the rest of the relay uses."""
    config = loaded(
        tmp_path,
        """
devices:
  printer:
    client: [192.168.0.21, "FD00::0:1"]
    user: printer
    helo: "BRN*"
    name: "Printer, hallway"
    sender: printer@isp.example
    subject_prefix: "[printer] "
    header: {X-Location: hallway}
    to: me@isp.example
    copy_to: [archive@isp.example]
    may_send_to: ["*@isp.example"]
    limits: {messages_per_minute: 10, per_day: 200, message: 20MB}
    storm: {same_within: 10m, per_hour: 30}
    quiet: {hours: ["22:00-07:00", "12:00 - 13:30"], except: ["*FAIL*"]}
    expect_every: 26h
""",
    ).config
    assert config
    assert config.devices == (
        Device(
            "printer",
            client=(ip_network("192.168.0.21"), ip_network("fd00::1")),
            user=("printer",),
            helo=("BRN*",),
            display="Printer, hallway",
            sender=PRINTER,
            subject_prefix="[printer] ",
            header=(("X-Location", "hallway"),),
            to=(ME,),
            copy_to=(ARCHIVE,),
            may_send_to=("*@isp.example",),
            limits=DeviceLimits(10, 200, 20_000_000),
            storm=Storm(timedelta(minutes=10), 30),
            quiet=Quiet(((time(22), time(7)), (time(12), time(13, 30))), ("*FAIL*",)),
            expect_every=timedelta(hours=26),
        ),
    )


def test_what_was_enough_before_is_enough(tmp_path: Path) -> None:
    """An address and how often mail is expected; or only who it is."""
    config = loaded(tmp_path, "devices: {nas: {client: 192.168.0.20, expect_every: 26h}, cam: {helo: cam}}").config
    assert config
    assert config.devices == (
        Device("nas", client=(ip_network("192.168.0.20"),), expect_every=timedelta(hours=26)),
        Device("cam", helo=("cam",)),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("devices: {nas: {expect_every: 26h}}", "devices.nas.client: expected how it is known"),
        ("devices: {nas: {client: nas.local}}", "devices.nas.client: expected a network"),
        ("devices: {nas: {client: 10.0.0.1, expect_every: 5s}}", "devices.nas.expect_every"),
        ("devices: {nas: 10.0.0.1}", "devices.nas: expected how it is known and what holds for it"),
        ("devices: {nas: {client: 10.0.0.1, expect_evry: 5h}}", "did you mean 'expect_every'"),
        ("devices: {a: {client: 10.0.0.1}, b: {client: 10.0.0.1}}", "devices.b.client: expected each device once"),
        ("devices: {a: {client: 10.0.0.0/8}, b: {user: x, client: 10.1.0.1}}", "devices.b.client: expected each device once"),
        ("devices: {a: {helo: x, header: {From: y}}}", "devices.a.header.From: expected a field to add"),
        ("devices: {a: {helo: x, header: {Content-Type: y}}}", "is the message's own"),
        ("devices: {a: {helo: x, header: {'X Y': z}}}", "expected the name of a header field"),
        ("devices: {a: {helo: x, header: {X-A: '1', x-a: '2'}}}", "set twice"),
        ('devices: {a: {helo: x, header: {X-A: "a\\nBcc: b"}}}', "expected one line of text"),
        ("devices: {a: {helo: x, storm: {}}}", "devices.a.storm: expected same_within or per_hour"),
        ("devices: {a: {helo: x, quiet: {except: '*'}}}", "devices.a.quiet.hours: expected from when to when"),
        ("devices: {a: {helo: x, quiet: {hours: 25:00-07:00}}}", "devices.a.quiet.hours: expected from when to when"),
        ("devices: {a: {helo: x, quiet: {hours: 07:00-07:00}}}", "devices.a.quiet.hours: expected two different times"),
        ("devices: {a: {helo: x, to: me}}", "devices.a.to: expected an address"),
        ("devices: {a: {helo: x, limits: {per_day: 0}}}", "devices.a.limits.per_day: expected a number"),
        (
            "devices: {a: {helo: x}}\nroutes: [{device: b, via: isp}, {via: isp}]",
            "routes[0].device: expected the name of a device",
        ),
        ("routes: [{reject: no, copy_to: me@isp.example}]", "routes[0].copy_to: expected only beside via or discard"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, complaint: str) -> None:
    """Each with its place and what was expected."""
    found = loaded(tmp_path, text)
    assert found.config is None
    assert any(complaint in str(mistake) for mistake in found.mistakes), [str(one) for one in found.mistakes]


def test_rules_name_devices_and_users(tmp_path: Path) -> None:
    """A rule for one device is no rule for everything, so that others may follow it."""
    config = loaded(
        tmp_path,
        "devices: {cam: {helo: cam}}\n"
        "routes: [{device: cam, via: isp, copy_to: me@isp.example}, {user: [a, b], via: isp}, {via: isp}]",
    ).config
    assert config
    assert [(one.device, one.user, one.copy_to) for one in config.routes] == [
        (("cam",), (), (ME,)),
        ((), ("a", "b"), ()),
        ((), (), ()),
    ]


LOGIN = 'listen: [{address: "127.0.0.1:25"}, {address: "127.0.0.1:26", auth: required, users: {nas: a, cam: b}}]'


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("devices: {nas: {helo: x, sender: nas@far.example}}", "devices.nas.sender"),
        ("devices: {nas: {helo: x, sender: nas@isp.example}}", ""),
        ("devices: {nas: {helo: x, sender: nas@far.example}}\nroutes: [{via: [mx, isp]}]", ""),
        ("devices: {nas: {helo: x, copy_to: a@far.example}}\nroutes: [{to: '*@isp.example', via: isp}]", "devices.nas.copy_to"),
        ("devices: {nas: {helo: x, to: a@isp.example}}\nroutes: [{to: '*@isp.example', via: isp}]", ""),
        ("recipients: {everything_to: a@far.example}\nroutes: [{to: '*@isp.example', via: isp}]", "recipients.everything_to"),
        ("routes: [{to: '*@isp.example', via: isp, copy_to: a@far.example}]", "routes[0].copy_to"),
        ("devices: {nas: {user: nas}}", "devices.nas.user"),
        ("routes: [{user: nas, via: isp}, {via: isp}]", "routes[0].user"),
        (f"{LOGIN}\ndevices: {{nas: {{user: [nas, tv]}}}}", "devices.nas.user"),
        (f"{LOGIN}\ndevices: {{nas: {{user: [nas, cam]}}}}\nroutes: [{{user: cam, via: isp}}, {{via: isp}}]", ""),
    ],
)
def test_what_can_have_no_effect_is_remarked_on(tmp_path: Path, text: str, path: str) -> None:
    """A sender that no account may use; an address that no rule takes; a login that no listener takes."""
    words = ("no upstream may send", "no rule of routes", "nobody can log in")
    remarks = [one for one in loaded(tmp_path, text).remarks if any(word in one for word in words)]
    assert [path in one for one in remarks] == [True] * bool(path)


def test_everything_to_takes_the_notices_too(tmp_path: Path) -> None:
    """No notice goes to a sender; it goes to `notices.to`, else where everything goes."""
    config = loaded(tmp_path, "recipients: {everything_to: me@isp.example}").config
    assert config
    assert (config.recipients.everything_to, config.notices.to, config.notices.senders) == ((ME,), ME, False)
    config = loaded(tmp_path, "recipients: {everything_to: me@isp.example}\nnotices: {to: archive@isp.example}").config
    assert config
    assert config.notices.to == ARCHIVE
