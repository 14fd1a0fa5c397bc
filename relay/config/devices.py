"""The devices of the settings: how each is known, and what holds for its mail."""

import re
from datetime import time, timedelta

from relay.config import hosts, scalars
from relay.config.fields import Fields, show
from relay.config.located import Table
from relay.config.scalars import Wrong, duration, number, size
from relay.mail.device import OWN_FIELDS, Device, DeviceLimits, Quiet, Storm, is_prefix

_LEAST = timedelta(minutes=1)
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")


def read_devices(at: Fields) -> tuple[Device, ...]:
    """`devices: {nas: {client: 192.168.0.20, name: "NAS, cellar"}}`."""
    found: list[Device] = []
    with at.section("devices") as section:
        for name, node in section.table.entries.items():
            section.node(name)
            place = section.table.keys[name]
            if not _NAME.fullmatch(name):
                section.reading.mistake(place, section.path_of(name), f"expected a short name, found {show(name)}")
            if not isinstance(node, Table):
                text = "expected how it is known and what holds for it, such as {client: 192.168.0.20, expect_every: 26h}"
                section.reading.mistake(place, section.path_of(name), text)
                continue
            with at.reading.fields(node, node.path, node.place) as one:
                device = _device(name, one)
                known = device.client or device.user or device.helo
                if not any(one.said(key) for key in ("client", "user", "helo")):
                    one.mistake("client", "expected how it is known: its address, or user, or helo; found nothing")
                if known and (first := next((other for other in found if other.covers(device)), None)):
                    key = next(key for key in ("client", "user", "helo") if one.said(key))
                    text = f"expected each device once, found what is '{first.name}' already; the first that matches is it"
                    one.mistake(key, text)
                elif known:
                    found.append(device)
    return tuple(found)


def _device(name: str, one: Fields) -> Device:
    limits = _limits(one)
    return Device(
        name=name,
        client=tuple(network for some in one.many("client", hosts.clients, ()) for network in some),
        user=one.many("user", scalars.text, ()),
        helo=one.many("helo", _helo, ()),
        display=one.get("name", _display, ""),
        sender=one.get("sender", hosts.mailbox, None),
        subject_prefix=one.get("subject_prefix", _prefix, ""),
        header=_header(one),
        to=one.many("to", hosts.mailbox, ()),
        copy_to=one.many("copy_to", hosts.mailbox, ()),
        may_send_to=one.many("may_send_to", hosts.pattern, ()),
        limits=limits,
        storm=_storm(one),
        quiet=_quiet(one),
        expect_every=one.get("expect_every", duration(_LEAST), None),
    )


def _limits(one: Fields) -> DeviceLimits:
    many = number(1, 1_000_000)
    with one.section("limits") as at:
        return DeviceLimits(
            messages_per_minute=at.get("messages_per_minute", many, None),
            per_day=at.get("per_day", many, None),
            message=at.get("message", size(least=1000), None),
        )


def _storm(one: Fields) -> Storm | None:
    if not one.given("storm"):
        return None
    with one.section("storm") as at:
        found = Storm(
            same_within=at.get("same_within", duration(), None),
            per_hour=at.get("per_hour", number(1, 1_000_000), None),
        )
        if at.sound and not at.said("same_within") and not at.said("per_hour"):
            at.reading.mistake(at.place, at.path, "expected same_within or per_hour or both, found neither")
    return found


def _quiet(one: Fields) -> Quiet | None:
    if not one.given("quiet"):
        return None
    with one.section("quiet") as at:
        hours = at.many("hours", _hours, ())
        if at.sound and not at.said("hours"):
            at.mistake("hours", "expected from when to when, such as 22:00-07:00, found nothing")
        return Quiet(hours, at.many("except", _subject, ()))


def _header(one: Fields) -> tuple[tuple[str, str], ...]:
    """`header: {X-Location: hallway}`."""
    fields: dict[str, tuple[str, str]] = {}
    with one.section("header") as at:
        for name in at.table.keys:
            value = at.get(name, scalars.text, "")
            wrong = ""
            if not _HEADER.fullmatch(name):
                wrong = f"expected the name of a header field such as X-Location, found {show(name)}"
            elif OWN_FIELDS.fullmatch(name):
                wrong = f"expected a field to add such as X-Location; {show(name)} is the message's own"
            elif name.lower() in fields:
                wrong = f"set twice; {show(fields[name.lower()][0])} is the same"
            if wrong:
                at.reading.mistake(at.table.keys[name], at.path_of(name), wrong)
            fields.setdefault(name.lower(), (name, value.strip()))
    return tuple(fields.values())


_HOURS = re.compile(r"(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)")


def _hours(value: str) -> tuple[time, time]:
    wrong = Wrong("from when to when, such as 22:00-07:00")
    match = _HOURS.fullmatch(value.strip())
    if not match:
        raise wrong
    hours = [int(digits) for digits in match.groups()]
    if max(hours[1], hours[3]) > 59 or (hours[2], hours[3]) > (24, 0) or hours[0] > 23:
        raise wrong
    begin, end = time(hours[0], hours[1]), time(hours[2] % 24, hours[3])
    if begin == end:
        raise Wrong("two different times, such as 22:00-07:00")
    return begin, end


def _helo(value: str) -> str:
    """A glob over the name in HELO."""
    if not value.strip() or not value.isprintable():
        raise Wrong("a name as the device says it in HELO, or a pattern such as BRN*")
    return value.strip()


def _display(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > 200:
        raise Wrong('a display name such as "Printer, hallway"')
    return value.strip()


def _prefix(value: str) -> str:
    if not is_prefix(value):
        raise Wrong('a beginning for subjects such as "[printer] "')
    return value.lstrip()


def _subject(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise Wrong('a pattern over subjects such as "*FAIL*"')
    return value
