"""What is known of each device, out of the spool's history and today's configuration.  Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from relay.control.views import sound, stamp
from relay.mail.device import Device, device_of
from relay.mail.envelope import Origin
from relay.mail.reply import Fault
from relay.networks import group_of, on_internet
from relay.outbound.storms import quiet_until
from relay.spool.entry import Heard, Postponed, TrailLine

_MOST = 20  # kinds of repairs and quirks that are shown
_NEWEST = 3  # of those whose address may not submit
_RECENT = timedelta(days=1)
DIGESTS = 10
"""Of one device that are shown, the latest."""
_NO_NAMES = frozenset({"localhost", "null", "yes", "no", "on", "off", "true", "false"})
_OWN_WORDS = re.compile(r"<[^<>\s]{1,200}>|[^\s@]{1,80}@[^\s@]{1,80}|'[^']{0,200}'|\"[^\"]{0,200}\"|\d+")

Expected = Iterable[Mapping[str, Any]]
"""The lines of MissingDevices."""


def overview(devices: Sequence[Device], heard: Iterable[Heard], expected: Expected) -> Any:
    """Each device with its mail, and the clients that are none of them, with a line to copy for each."""
    by_name: dict[str, list[Heard]] = {one.name: [] for one in devices}
    strangers: dict[str, list[Heard]] = {}
    for one in heard:
        device = device_of(devices, one.origin)
        (by_name[device.name] if device else strangers.setdefault(one.origin.client, [])).append(one)
    silent = {str(line["name"]): line for line in expected}
    known = [_summary(one, by_name[one.name], silent.get(one.name)) for one in devices]
    taken = set(by_name)
    latest = sorted(strangers.items(), key=lambda found: max(one.last for one in found[1]), reverse=True)
    return sound({"known": known, "unknown": [_stranger(client, mail, taken) for client, mail in latest]})


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Clients whose address may not submit, the last first: (client, last_seen) of the newest, and how many there are.

    `near`: one of them is none of the Internet's, so it is no stranger who tries every door.
    """

    newest: tuple[tuple[str, str], ...]
    number: int
    near: bool

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(client for client, _ in self.newest)


def turned_away(seen: Iterable[Mapping[str, Any]], now: datetime) -> TurnedAway | None:
    """Of the status's `devices`, the last first, those of the last day; None if there are none.

    All addresses of an IPv6 network count as one: a stranger has as many as they like.
    """
    found: dict[str, tuple[str, str]] = {}
    for one in seen:
        if one["outside"] and now - datetime.fromisoformat(one["last_seen"]) < _RECENT:
            found.setdefault(group_of(one["client"]), (one["client"], one["last_seen"]))
    near = not all(on_internet(client) for client, _ in found.values())
    return TurnedAway(tuple(found.values())[:_NEWEST], len(found), near) if found else None


def mail_of(device: Device, devices: Sequence[Device], heard: Iterable[Heard]) -> list[Heard]:
    """What is of this device, and of none before it."""
    return [one for one in heard if device_of(devices, one.origin) == device]


def portrait(
    device: Device,
    devices: Sequence[Device],
    mail: Sequence[Heard],
    lines: Iterable[tuple[Origin, TrailLine]],
    status: Mapping[str, Any],
) -> Any:
    """One device: when it was seen, what it said wrong, how often, and what was repaired in its latest mail and merged.

    `lines` may be of others, too; `status` is the relay's.
    """
    quirks: Counter[str] = Counter()
    for one in mail:
        quirks.update(dict.fromkeys(one.origin.quirks, one.messages))
    repairs: Counter[str] = Counter()
    merged, digests = 0, dict[str, dict[str, Any]]()
    for origin, line in lines:
        if device_of(devices, origin) == device:
            said = line.details.get("repairs")
            repairs.update(list(dict.fromkeys(map(kind_of, said))) if isinstance(said, list) else ())
            if line.event == "merged" and "removed" not in line.details:  # that is the later end of a digest which had failed
                merged += 1
                digest, count = str(line.details.get("digest", "")), line.details.get("count", 0)
                digests[digest] = {"id": digest, "at": stamp(line.at), "messages": count}
    silent = next((line for line in status.get("expected", ()) if line["name"] == device.name), None)
    summary = _summary(device, mail, silent)
    times = [
        one["last_seen"] for client in status.get("devices", ()) for one in client["known_as"] if one["name"] == device.name
    ]
    seen = max(map(datetime.fromisoformat, filter(None, [summary["last"], *times])), default=None)
    return sound(
        {
            **summary,
            "last_seen": stamp(seen) if seen else None,
            "quirks": _counted(quirks),
            "repairs": _counted(repairs),
            "merged": merged,
            "digests": sorted(digests.values(), key=lambda one: one["at"], reverse=True)[:DIGESTS],
        }
    )


def postponed(device: Device, devices: Sequence[Device], kept: Iterable[Postponed], now: datetime) -> dict[str, Any]:
    """Until when it is quiet now (None: it is not), how many messages wait for that, and the digests that are collected.

    `kept` may be of others, too.
    """
    until = quiet_until(device.quiet, now) if device.quiet else None
    waiting, digests = 0, dict[str, dict[str, Any]]()
    for one in kept:
        if device_of(devices, one.origin) != device:
            continue
        if one.fault is Fault.QUIET:
            waiting += one.messages
            continue
        digest = digests.setdefault(one.storm, {"messages": 0, "due_at": stamp(one.due_at), "example": one.queue_id})
        digest["messages"] += one.messages
    return {"quiet_until": stamp(until) if until else None, "quiet_waiting": waiting, "collecting": list(digests.values())}


def kind_of(note: str) -> str:
    """The note without what is said of one message alone, so that equal repairs can be counted."""
    return _OWN_WORDS.sub("...", note)


def shown(device: Device) -> str:
    """How a device is known, for people: `192.168.0.20`, `login nas`, `HELO BRN*`."""
    words = [str(one.network_address) if one.num_addresses == 1 else str(one) for one in device.client]
    words += [f"login {one}" for one in device.user] + [f"HELO {one}" for one in device.helo]
    return ", ".join(words)


def _summary(device: Device, mail: Sequence[Heard], silent: Mapping[str, Any] | None) -> dict[str, Any]:
    last = max((one.last for one in mail), default=None)
    return {
        "name": device.name,
        "known_by": shown(device),
        "clients": list(dict.fromkeys(one.origin.client for one in mail)),
        "helo": list(dict.fromkeys(one.origin.helo for one in mail if one.origin.helo)),
        "messages": sum(one.messages for one in mail),
        "last": stamp(last) if last else None,
        "silent": bool(silent and silent["silent"]),
        "every_seconds": silent["every_seconds"] if silent else None,
    }


def _stranger(client: str, mail: Sequence[Heard], taken: set[str]) -> dict[str, Any]:
    names = list(dict.fromkeys(one.origin.helo for one in mail if one.origin.helo))
    name = _name(client, names, taken)
    taken.add(name)
    return {
        "client": client,
        "helo": names,
        "messages": sum(one.messages for one in mail),
        "last": stamp(max(one.last for one in mail)),
        "suggestion": f'  {name}: {{client: "{client}"}}',
    }


def _name(client: str, names: Sequence[str], taken: set[str]) -> str:
    """What it calls itself, if that can stand in a file as it is; else its address.  Not one that is in use."""
    first = names[0].partition(".")[0].lower() if names else ""
    address = re.sub(r"[^0-9a-f]+", "-", client.lower()).strip("-")
    name = first if re.fullmatch(r"[a-z][a-z0-9-]{1,30}", first) and first not in _NO_NAMES else f"device-{address}"
    return name if name not in taken else f"{name}-{address}"


def _counted(found: Counter[str]) -> list[dict[str, Any]]:
    return [{"what": what, "messages": number} for what, number in found.most_common(_MOST)]
