"""`relay explain`: what would happen to this message; sends nothing."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from relay.cli.common import complain, configured, print_json
from relay.cli.main import FINE, PROBLEM, USAGE


def call(asked: argparse.Namespace) -> int:
    from relay.cli.explaining import Sample, explain
    from relay.mail.address import BadAddress, parse_path

    config = configured(asked)
    try:
        sender = parse_path(asked.sender)
        paths = tuple(address for one in asked.to if (address := parse_path(one)))
        content = (_read(asked.file),) if asked.file else ()
        told = explain(config, Sample(asked.client, sender, paths, content), datetime.now(UTC))
    except (BadAddress, ValueError, OSError) as error:
        complain(f"relay explain: {error}")
        return USAGE
    if asked.json:
        print_json(told)
    else:
        print("\n".join(_lines(told, asked.client)))
    return FINE if told["admitted"] else PROBLEM


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _lines(told: dict[str, Any], client: str) -> list[str]:
    lines = [f"{client} comes in by {told['listener']}: {'admitted' if told['admitted'] else 'refused: ' + told['why']}"]
    for one in told["recipients"]:
        lines += ["", f"to {one['address']}", *_way(one)]
    if told["diff"]:
        lines += ["", "what is changed (␊ a bare LF, ␍ a bare CR, \\x.. an octet over 127):", "", told["diff"]]
    return lines


def _way(one: dict[str, Any]) -> list[str]:
    if one["refused"]:
        return [f"  refused: {one['refused']}"]
    if one["discard"]:
        return [f"  {one['why']}: thrown away"]
    lines = [f"  {one['why']}: by {', then '.join(one['via'])}"]
    for way in one["sent"]:
        lines.append(f"  by {way['upstream']} as {way['as']}")
        lines += [f"    {change}" for change in way["changes"]]
    return lines
