"""What would happen to a message: admission, repairs, rule, chain, rewriting.  Sends nothing."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from email.utils import format_datetime
from typing import Any

from relay.config.config_values import Config
from relay.control.views import stamp
from relay.inbound.admission import admit_client, admit_hops, admit_origin, admit_size, client_address, header_facts
from relay.inbound.device_rules import admit_device_size, recipients_of
from relay.mail.address import Address
from relay.mail.device import Device, Quiet, device_of
from relay.mail.encoded_words import subject_text
from relay.mail.envelope import Envelope, Origin
from relay.mail.message import Message
from relay.mail.reply import Reply
from relay.outbound.prepare import Prepared, prepare
from relay.outbound.routing import Chosen, chain_for, copies, may_route
from relay.outbound.storms import excepted, quiet_until
from relay.spool.entry import Claim, Entry, Recipient, State
from relay.upstream.file_names import folder_for, joined
from relay.upstream.graph_message import addressed
from relay.upstream.settings import DkimKey, Folder, GraphMailbox, PushService, Upstream

SHOWN_LINES = 400  # of a difference; the rest is counted


@dataclass(frozen=True, slots=True)
class Sample:
    """A message that somebody asks about: who would send it from where, and its octets ("" if only the way is asked).

    `helo` is what the client calls itself, `user` who logs in; "" if that is not said.
    """

    client: str
    reverse_path: Address | None
    forward_paths: tuple[Address, ...]
    content: Sequence[bytes] = ()
    helo: str = ""
    user: str = ""


Standings = Mapping[str, Mapping[str, Any]]
"""What the running relay says of its upstreams (`/api/relay`), by name; direct delivery rests as `mx DOMAIN`."""


def explain(config: Config, sample: Sample, now: datetime, standings: Standings | None = None) -> dict[str, Any]:
    """Stable keys: admitted, why, listener, user, device, follows, repairs, recipients [{address, rule, why, via, ...}], diff.

    `user` is who logged in, "" if nobody did or nobody checks it.
    `device` is whose mail it is ("" if nobody knows), `follows` what holds for it beside what each recipient shows.

    `standings` None: no relay runs, so nobody can tell who rests; `next_attempt` is then null.
    """
    origin, refusal = _entrance(config, sample)
    device = device_of(config.devices, origin)
    told: dict[str, Any] = {"admitted": refusal is None, "why": str(refusal or ""), "listener": origin.listener}
    told["user"] = origin.user
    told |= {"device": device.name if device else "", "follows": _follows(device, now) if device else []}
    content_refusal = _content_refusal(config, sample, device)
    if refusal is None and content_refusal:
        told |= {"admitted": False, "why": str(content_refusal)}
    recipients, repairs, diff = [], [], ""
    addresses: dict[str, Address] = {}
    for asked in sample.forward_paths:
        targets = recipients_of(asked, device, config.recipients)
        if isinstance(targets, Reply):
            recipients.append(_refused(asked, targets))
        else:
            addresses |= {one.key: one for one in targets if one.key not in addresses}
    routes, path, name = config.routes, sample.reverse_path, device.name if device else ""
    meant = [one for one in addresses.values() if may_route(routes, path, one, origin, name) is None]
    wanted = copies(routes, path, meant, origin, device) if meant else ()
    due_at = _wakes(device, sample, now)
    extra = {one.key: one for one in wanted if one.key not in addresses}
    everybody = addresses | extra
    ways = {one: chain_for(routes, path, one, origin, name) for one in everybody.values()}
    for key, address in everybody.items():
        line, notes, changed = _recipient(config, sample, origin, device, address, now, ways)
        recipients.append(line | {"copy": key in extra} | _when(config, line["via"], address, due_at, standings))
        repairs += [note for note in notes if note not in repairs]
        diff = diff or changed
    if any(line["refused"] for line in recipients):
        told["admitted"] = False
        told["why"] = told["why"] or next(line["refused"] for line in recipients if line["refused"])
    return {**told, "repairs": repairs, "recipients": recipients, "diff": diff}


def _entrance(config: Config, sample: Sample) -> tuple[Origin, Reply | None]:
    """By which listener this client would come in; the first one's refusal if by none.

    A login counts only where it is checked.  So the listeners that check this one are asked first.
    """
    refusal: Reply | None = None
    client = client_address(sample.client)
    origin = Origin(sample.client, sample.helo or "explain")
    for listener in sorted(config.listeners, key=lambda one: sample.user not in one.users):
        user = sample.user if sample.user in listener.users else ""  # only those that check logins have users
        said = admit_client(client, listener) or admit_origin(client, user, listener)
        if said is None:
            return replace(origin, listener=listener.name, user=user), None
        origin = origin if refusal else replace(origin, listener=listener.name)
        refusal = refusal or said
    return origin, refusal


def span(length: timedelta) -> str:
    """`90s` as `90 s`, `5m` as `5 min`: in the largest unit that divides it."""
    seconds = int(length.total_seconds())
    unit, name = next(each for each in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")) if seconds % each[0] == 0)
    return f"{seconds // unit} {name}"


def _follows(device: Device, now: datetime) -> list[str]:
    """What holds for a device's mail as a whole, in words."""
    limits, storm, quiet = device.limits, device.storm, device.quiet
    said = [
        (", ".join(map(str, device.to)), "all its mail goes to {}"),
        (limits.messages_per_minute, "at most {} messages a minute"),
        (limits.per_day, "at most {} messages a day"),
        (limits.message, "at most {} octets in a message"),
        (storm and storm.same_within and span(storm.same_within), "more of the same within {} becomes a digest"),
        (storm and storm.per_hour, "more than {} messages an hour become a digest"),
        (quiet and ", ".join(f"{begin:%H:%M}-{end:%H:%M}" for begin, end in quiet.hours), "waits from {}, local time"),
        (quiet and ", ".join(quiet.unless), "does not wait if the subject is {}"),
        (quiet and _quiet_now(quiet, now), "quiet now, until {}"),
        (device.expect_every and span(device.expect_every), "one message is expected every {}"),
    ]
    return [words.format(value) for value, words in said if value]


def _wakes(device: Device | None, sample: Sample, now: datetime) -> datetime:
    """When it would be due: after the quiet hours of its device, if its subject does not go at any hour."""
    if device is None or device.quiet is None:
        return now
    field = Message.parse(sample.content).get("subject")
    subject = subject_text(field.value) if field else ""
    return (None if excepted(device.quiet, subject) else quiet_until(device.quiet, now)) or now


def _quiet_now(quiet: Quiet, now: datetime) -> str:
    until = quiet_until(quiet, now)
    return f"{until.astimezone():%H:%M}" if until else ""


def _content_refusal(config: Config, sample: Sample, device: Device | None) -> Reply | None:
    size = sum(map(len, sample.content))
    if not size:
        return None
    head = b"".join(sample.content)[: 1 << 18]
    too_large = admit_size(size, config.spool.max_message, size + 1) or (admit_device_size(size, device) if device else None)
    return too_large or admit_hops(header_facts(head, config.hostname))


def _refused(address: Address, reply: Reply) -> dict[str, Any]:
    return _line(address, Chosen(0), reply, []) | {"copy": False, "resting": [], "next_attempt": None}


def _when(config: Config, via: Sequence[str], address: Address, now: datetime, standings: Standings | None) -> dict[str, Any]:
    """Who of the chain rests, and when the first attempt would be and by whom."""
    if standings is None or not via:
        return {"resting": [], "next_attempt": None}
    resting: list[dict[str, str]] = []
    for name in via:
        until, why = _rest(config.all_upstreams[name], address, now, standings)
        if until is None:
            return {"resting": resting, "next_attempt": {"at": stamp(now.astimezone(UTC)), "by": name}}
        resting.append({"upstream": name, "until": stamp(until.astimezone(UTC)), "why": why})
    first = min(resting, key=lambda each: each["until"])
    return {"resting": resting, "next_attempt": {"at": first["until"], "by": first["upstream"]}}


def _rest(upstream: Upstream, address: Address, now: datetime, standings: Standings) -> tuple[datetime | None, str]:
    """Until when this upstream is left alone, and why; None if it may be called now."""
    line = standings.get(upstream.key(address), {})
    until = datetime.fromisoformat(line["resting_until"]) if line.get("resting_until") else None
    if until and until > now:
        return until, str(line.get("why", ""))
    limits = upstream.limits
    if limits.per_day is not None and int(line.get("sent_today") or 0) >= limits.per_day:
        tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time(), UTC), f"its limit of {limits.per_day} a day is reached"
    return None, ""


def _recipient(
    config: Config,
    sample: Sample,
    origin: Origin,
    device: Device | None,
    address: Address,
    now: datetime,
    chosen_for: Mapping[Address, Chosen],
) -> tuple[dict[str, Any], tuple[str, ...], str]:
    chosen = chosen_for[address]
    refusal = may_route(config.routes, sample.reverse_path, address, origin, device.name if device else "")
    notes: tuple[str, ...] = ()
    ways, diff = [], ""
    for name in chosen.via:
        upstream = config.all_upstreams.get(name)
        if upstream is None:
            ways.append({"upstream": name, "as": str(sample.reverse_path or "<>"), "place": "", "changes": []})
            continue
        prepared = _prepared(config, sample, origin, device, address, upstream, now)
        sender = str(prepared.outgoing.reverse_path or "<>")
        changes, content = list(prepared.notes), prepared.outgoing.content
        if sample.content and isinstance(upstream.transport, GraphMailbox):
            named = addressed(content, [one for one, way in chosen_for.items() if way.via == chosen.via])
            changes, content = [*changes, *named.notes], named.message
        changes += _signatures(prepared, upstream) if upstream.dkim else []
        ways.append({"upstream": name, "as": sender, "place": _place(upstream, prepared), "changes": changes})
        if sample.content and not notes:
            notes, diff = prepared.notes, difference(sample.content, content)
    return _line(address, chosen, refusal, ways), notes, diff


def _signatures(prepared: Prepared, upstream: Upstream) -> list[str]:
    """Whose key would sign it there."""
    from relay.mail.dkim import signable
    from relay.outbound.signing import keys_for

    return [_signature(key) for key in keys_for(signable(prepared.outgoing.content), upstream.dkim)]


def _signature(key: DkimKey) -> str:
    """Makes no key: that is for the relay, or `relay dkim`."""
    from relay.outbound.dkim_keys import KeyUnusable, existing
    from relay.outbound.signing import in_words

    try:
        existing(key)
    except KeyUnusable as error:
        return f"cannot be {in_words(key)}, so it does not go by this upstream: {error}"
    return in_words(key)


def _place(upstream: Upstream, prepared: Prepared) -> str:
    """Where it goes, if that is no mail server, which asks for a sender."""
    if isinstance(upstream.transport, Folder):
        return joined(*folder_for(upstream.transport.path, prepared.outgoing))
    return upstream.transport.place if isinstance(upstream.transport, PushService) else ""


def _line(address: Address, chosen: Chosen, refusal: Reply | None, ways: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "address": str(address),
        "rule": chosen.rule,
        "why": chosen.why,
        "via": list(chosen.via),
        "refused": str(refusal or ""),
        "discard": chosen.discard,
        "sent": ways,
    }


def _prepared(
    config: Config, sample: Sample, origin: Origin, device: Device | None, address: Address, upstream: Upstream, now: datetime
) -> Prepared:
    content = sample.content or (_flawless(sample.reverse_path or address, address, now),)
    envelope = Envelope(sample.reverse_path, (address,))
    size = sum(map(len, content))
    entry = Entry("0" * 14, now, origin, envelope, size, content)
    recipient = Recipient(address, State.QUEUED, 0, now)
    how: dict[str, Any] = {"hostname": config.hostname, "policy": config.repair, "device": device}
    return prepare(Claim(entry, (recipient,), 0), (recipient,), upstream, **how)


def _flawless(sender: Address, address: Address, now: datetime) -> bytes:
    """A letter without a fault, for who asks about the way only."""
    return (
        f"Date: {format_datetime(now)}\r\nFrom: {sender}\r\nTo: {address}\r\n"
        "Message-ID: <sample@example.com>\r\nSubject: sample\r\n\r\n"
    ).encode()


def difference(before: Iterable[bytes], after: Iterable[bytes]) -> str:
    """What the repairs change, line by line, as a unified difference; line ends and octets over 127 are made visible."""
    lines = [_visible(b"".join(octets)) for octets in (before, after)]
    found = list(difflib.unified_diff(lines[0], lines[1], "as it came", "as it goes", lineterm="", n=2))
    if len(found) > SHOWN_LINES:
        found = [*found[:SHOWN_LINES], f"... and {len(found) - SHOWN_LINES} lines more"]
    return "\n".join(found)


def _visible(octets: bytes) -> list[str]:
    """One text per line; an end other than CRLF is written out."""
    lines = []
    for line in octets.splitlines(keepends=True):
        text = line.rstrip(b"\r\n")
        end = line[len(text) :]
        mark = "" if end == b"\r\n" else {b"\n": "␊", b"\r": "␍", b"": "⌁"}.get(end, "␍␊")
        lines.append(text.decode("ascii", "backslashreplace").replace("\0", "␀") + mark)
    return lines
