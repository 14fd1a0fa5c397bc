"""`relay explain`: what would happen to this message; sends nothing."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.cli.common import complain, configured, local_time, print_json
from relay.cli.main import FINE, PROBLEM, USAGE

if TYPE_CHECKING:
    from relay.config.config_values import Config


def call(asked: argparse.Namespace) -> int:
    from relay.cli.explaining import Sample, explain
    from relay.mail.address import BadAddress, parse_path

    config = configured(asked)
    try:
        sender = parse_path(asked.sender)
        paths = tuple(address for one in asked.to if (address := parse_path(one)))
        content = (_read(asked.file),) if asked.file else ()
        told = explain(
            config, Sample(asked.client, sender, paths, content, asked.helo, asked.user), datetime.now(UTC), _standings(config)
        )
    except OSError as error:
        complain(f"relay explain: {_unread(asked.file, error)}")
        return USAGE
    except (BadAddress, ValueError) as error:
        complain(f"relay explain: {error}")
        return USAGE
    if asked.json:
        print_json(told)
    else:
        print("\n".join([*_lines(told, asked.client, asked.user), *_later(told, config)]))
    return FINE if told["admitted"] else PROBLEM


def _standings(config: "Config") -> dict[str, Any] | None:
    """How the upstreams stand with the running relay; None if none runs, or not for this user."""
    from relay.control.client import Refused, Running

    try:
        known = Running(config.spool, timeout=5).relay()
    except (OSError, Refused):
        return None
    return {str(line["name"]): line for line in known["upstreams"]}


def _later(told: dict[str, Any], config: "Config") -> list[str]:
    """What happens if nobody takes it at once; nothing, where nobody is to take it."""
    if _client_refused(told) or not any(one["via"] and not one["refused"] for one in told["recipients"]):
        return []
    from relay.cli.explaining import span

    retry = config.retry
    delays = ", ".join(map(span, retry.delays))
    return ["", f"If no upstream takes it: again after {delays} and so on; given up after {span(retry.give_up_after)}."]


def _client_refused(told: dict[str, Any]) -> bool:
    """Whether no message of this client gets in, whoever it is for."""
    return not told["admitted"] and told["why"] not in {one["refused"] for one in told["recipients"]}


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _unread(name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file {name}"
    return f"{name} cannot be read: {error.strerror or error}"


def _lines(told: dict[str, Any], client: str, user: str) -> list[str]:
    refused = _client_refused(told)
    lines = [f"{client} comes in by {told['listener']}: {'refused: ' + told['why'] if refused else 'admitted'}"]
    if user and not told["user"]:
        lines.append(f"no listener that takes this client checks the login {user}, so it does not count")
    lines += [f"it is {told['device']}", *(f"  {one}" for one in told["follows"])] if told["device"] else []
    for one in told["recipients"]:
        lines += ["", f"{'a copy ' if one['copy'] else ''}to {one['address']}", *_way(one, refused=refused)]
    if told["diff"]:
        lines += ["", "what is changed (␊ a bare LF, ␍ a bare CR, \\x.. an octet over 127):", "", told["diff"]]
    return lines


def _way(one: dict[str, Any], *, refused: bool) -> list[str]:
    """`refused`: the client is, so that nothing of it is ever tried; what the routes say may still be of use."""
    if one["refused"]:
        return [f"  {one['why']}: refused: {one['refused']}" if one["rule"] else f"  refused: {one['refused']}"]
    if one["discard"]:
        return [f"  {one['why']}: deleted"]
    lines = [f"  {one['why']}: by {', then '.join(one['via'])}"]
    lines += [f"  {rest['upstream']} is paused until {local_time(rest['until'])}: {rest['why']}" for rest in one["resting"]]
    lines += [] if refused else [f"  {_next(one['next_attempt'])}"]
    for way in one["sent"]:
        lines.append(f"  by {way['upstream']} " + (f"({way['place']})" if way["place"] else f"as {way['as']}"))
        lines += [f"    {change}" for change in way["changes"]]
    return lines


def _next(attempt: dict[str, str] | None) -> str:
    if attempt is None:
        return "no relay is running, so it is not known which upstreams are paused"
    return f"the next attempt would be at {local_time(attempt['at'])}, by {attempt['by']}"
