"""`relay queue`: looks at the spool and steers it, beside the running daemon and without it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.cli.common import complain, configured_or_running, harmless, in_words, local_time, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.control.client import QueueAccess, Refused, SpoolBroken, reach

WAITING = ("queued", "held")
READABLE = 300_000  # octets; what is longer only programs read, and is not set out in lines


def call(asked: argparse.Namespace) -> int:
    if asked.act == "export":
        from relay.cli.export import export

        return export(asked)
    config = configured_or_running(asked)
    try:
        desk = reach(config.spool, frozenset(config.all_upstreams))
        if asked.act == "list":
            return _list(desk, asked, config.spool.lease)
        if asked.act == "show":
            return _show(desk, asked, config.spool.lease)
        return _order(desk, asked)
    except BrokenPipeError:  # whoever read the list has seen enough
        raise
    except (Refused, SpoolBroken, OSError) as error:
        complain(f"relay: {in_words(error)}")
        return PROBLEM


def _list(desk: QueueAccess, asked: argparse.Namespace, lease: timedelta) -> int:
    states = ("failed", "expired") if asked.attention else tuple(asked.state or (() if asked.search else WAITING))
    octets = desk.queue(() if asked.all else states, asked.search)
    if asked.json and len(octets) > READABLE and not asked.attention:
        print(octets.decode())  # as it came: reading it, to write it again, would take as long as making it did
        return FINE
    found = json.loads(octets)
    if asked.attention:
        found = {"messages": [one for one in found["messages"] if one["attention"]]}
    if asked.json:
        print_json(found)
    elif not found["messages"]:
        print(
            _NONE.get(
                "all" if asked.all else "attention" if asked.attention else "search" if asked.search else "",
                "The queue is empty.",
            )
        )
    else:
        holders, paused = _holders(desk, found["messages"], lease), _paused(desk)
        for message in found["messages"]:
            print("\n".join(_lines(message, holders, paused)))
    return FINE


_NONE = {"search": "No message matches.", "all": "No message is known.", "attention": "Nothing needs attention."}


def _holders(desk: QueueAccess, messages: Sequence[Mapping[str, Any]], lease: timedelta) -> dict[str, str]:
    """What to say of each relay that has one of the messages under way, where several share the spool."""
    if not any("relay" in message for message in messages):
        return {}
    return {one["name"]: _holder(one, lease) for one in desk.tally().get("relays", ())}


def _holder(relay: Mapping[str, Any], lease: timedelta) -> str:
    """That a relay has it; of one that seems dead, by when its lease ends and another may take it."""
    from relay.control.views import stamp

    if relay["alive"]:
        return f"{relay['name']} has it"
    until = stamp(datetime.fromisoformat(relay["seen_at"]) + lease)
    since, then = local_time(relay["seen_at"]), local_time(until)
    return f"{relay['name']} has it, no sign of life since {since}; another relay may take it over from {then}"


def _paused(desk: QueueAccess) -> dict[str, str]:
    """What to say of each upstream that the daemon does not call now."""
    return {one["name"]: _pause(one) for one in desk.upstreams() if one["resting_until"]}


def _pause(upstream: Mapping[str, Any]) -> str:
    until = _clock(upstream["resting_until"])
    code = f" ({upstream['code']})" if upstream["code"] else ""
    why = f" after a refused login{code}" if upstream["login_refused"] else f": {upstream['why']}"
    return f"{upstream['name']} is paused until {until}{why}"


def _clock(stamp: str) -> str:
    """The local time, with the day if that is not today."""
    moment = datetime.fromisoformat(stamp).astimezone()
    day = "" if moment.date() == datetime.now(UTC).astimezone().date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M}"


def _lines(message: dict[str, Any], holders: Mapping[str, str], paused: Mapping[str, str]) -> list[str]:
    head = f"{message['id']}  {local_time(message['accepted_at'])}  {_size(message['size']):>8}  from {message['sender']}"
    head += f" ({message['device']})" if message.get("device") else ""
    head += f'  "{message["subject"]}"' if message.get("subject") else ""
    head += f"  a digest of {message['merges']} messages" if message.get("merges") else ""
    head += "  NEEDS ATTENTION: nobody could be told" if message.get("attention") else ""
    name = message.get("relay", "")
    has_it = holders.get(name, f"{name} has it") if name else ""
    return [harmless(line) for line in (head, *("    " + _fate(one, has_it, paused, message) for one in message["recipients"]))]


def _fate(recipient: dict[str, Any], has_it: str, paused: Mapping[str, str], message: Mapping[str, Any]) -> str:
    from relay.control.timeline import last_said

    waits = recipient["state"] == "queued"
    pause = (_on_purpose(recipient, message) or paused.get(recipient["upstream"], "")) if waits else ""
    parts = [f"to {recipient['address']}: {'waiting' if waits else recipient['state']}{f'; {pause}' if pause else ''}"]
    if waits and recipient["attempts"]:
        times = "once" if recipient["attempts"] == 1 else f"{recipient['attempts']} times"
        parts.append(f"tried {times}, next {local_time(recipient['due_at'])}")
    if recipient.get("merged_into"):
        parts.append(f"{'into' if recipient['state'] == 'merged' else 'with'} the digest {recipient['merged_into']}")
    if recipient["upstream"] and not pause:
        parts.append(f"by {recipient['upstream']}")
    said = last_said(recipient, datetime.now(UTC))
    if said and not (pause and (recipient["fault"] == "rests" or pause.endswith(said))):  # that is the pause, in other words
        parts.append(f"{recipient['code']} {recipient['status']} {said}".replace("  ", " ") if recipient["quoted"] else said)
    if recipient["maybe_at"]:
        parts.append(
            f"perhaps taken by {recipient['maybe_at']}: its final reply was lost at {local_time(recipient['maybe_since'])}"
        )
    if has_it and waits:
        parts.append(has_it)
    return ", ".join(parts)


def _on_purpose(recipient: Mapping[str, Any], message: Mapping[str, Any]) -> str:
    """Why it waits although nobody is in trouble; "" if that is not so."""
    if recipient["fault"] == "quiet":
        return f"quiet until {_clock(recipient['due_at'])}"
    if recipient["fault"] != "digest":
        return ""
    from relay.control.timeline import digest_at

    if not (due := digest_at(message.get("trail", ()))):
        return "for a digest"  # a list has no trail, and the message is due when it is looked at again
    number = message.get("together", 0)
    return f"one of {number} in a digest due by {_clock(due)}" if number else f"for a digest due by {_clock(due)}"


def _size(octets: int) -> str:
    for unit, scale in (("MB", 1_000_000), ("kB", 1_000)):
        if octets >= scale:
            return f"{octets / scale:.1f} {unit}"
    return f"{octets} B"


def _show(desk: QueueAccess, asked: argparse.Namespace, lease: timedelta) -> int:
    message = desk.message(asked.id)
    if message is None:
        complain(f"relay: no message has the id {asked.id}; `relay queue list --all` lists those that are known")
        return PROBLEM
    if asked.json:
        print_json(message)
    else:
        print("\n".join([*_lines(message, _holders(desk, [message], lease), _paused(desk)), "", *story(message)]))
    return FINE


def story(message: dict[str, Any]) -> list[str]:
    """The trail in lines for people."""
    from relay.control.views import retold

    return [harmless(f"{local_time(line['at'])}  {line['event']:<9} {retold(line, None)}") for line in message["trail"]]


def _order(desk: QueueAccess, asked: argparse.Namespace) -> int:
    if bool(asked.id) == asked.all:
        complain(f"relay queue {asked.act}: name the messages by id, or say --all")
        return USAGE
    done = desk.order(asked.act, None if asked.all else asked.id, getattr(asked, "via", ""))
    if asked.json:
        print_json(done)
    else:
        for unknown in done["unknown"]:
            complain(f"relay: no message has the id {unknown}")
        for risk in done.get("risks", ()):
            when = f" at {local_time(risk['maybe_since'])}" if risk["maybe_since"] else ""
            complain(f"relay: {risk['id']}: {risk['maybe_at']} may have taken it{when}; whoever gets it may get it twice")
        rest = "" if desk.running or asked.act != "retry" else " (no relay is running: it begins when one starts)"
        applied = int(done["applied"])
        print(f"{asked.act}: {applied} message{'' if applied == 1 else 's'}{rest if applied else ''}")
        for queue_id in done.get("unchanged", ()):
            complain(*_why_not(desk, asked.act, queue_id))
    return PROBLEM if done["unknown"] or done.get("unchanged") else FINE


def _why_not(desk: QueueAccess, act: str, queue_id: str) -> list[str]:
    """Why an order did nothing to this message; empty if there is none."""
    message = desk.message(queue_id)
    if message is None:
        return []
    states = {recipient["state"] for recipient in message["recipients"]}
    state = next((one for one in _TOLD_FIRST if one in states), "relayed")
    why = _WHY_NOT.get((act, state), f"it is {state}")
    return [f"relay: {queue_id}: {why.format(id=queue_id)}"]


_TOLD_FIRST = ("held", "queued", "failed", "expired", "merged")
_AFTER_ALL = "; `relay queue release {id}` sends it again"
_WHY_NOT = {
    ("hold", "held"): "it is held already",
    ("hold", "failed"): "it has failed, so nothing of it waits" + _AFTER_ALL,
    ("hold", "expired"): "it was given up, so nothing of it waits" + _AFTER_ALL,
    ("hold", "relayed"): "it has been relayed, so nothing of it waits",
    ("hold", "merged"): "it is part of a digest, so nothing of it waits" + _AFTER_ALL,
    ("retry", "merged"): "it is part of a digest" + _AFTER_ALL,
    ("retry", "held"): "it is held; release it first: `relay queue release {id}`",
    ("retry", "failed"): "it has failed" + _AFTER_ALL,
    ("retry", "expired"): "it was given up" + _AFTER_ALL,
    ("retry", "relayed"): "it has been relayed, so nothing is left to send",
    (
        "release",
        "queued",
    ): "it is not held; `relay queue retry {id}` sends it now, `--via NAME` by another upstream",
    ("release", "relayed"): "it has been relayed, so nothing is left to send",
    ("release", "merged"): "it is part of a digest, and its content was dropped when the spool got short of room",
    **dict.fromkeys((("acknowledge", one) for one in _TOLD_FIRST), "it needs no attention, or no more"),
}
"""What is said where an order finds a message in a state that it does not apply to."""
