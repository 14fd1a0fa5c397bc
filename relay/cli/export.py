"""`relay queue export`: saves what can be read of a spool, damaged or not, as files; `index.json` tells whose they are."""

import argparse
import json
from pathlib import Path
from typing import Any

from relay.cli.common import complain, configured, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.control.views import message_view
from relay.spool.contract import SpoolBroken
from relay.spool.sqlite.recover import RecoveredMessage, save


def export(asked: argparse.Namespace) -> int:
    """Exit status: 1 if something could not be saved whole."""
    file = configured(asked).spool.file
    if file is None:
        complain("relay: only a spool in a file (sqlite:) can be exported")
        return USAGE
    directory = Path(asked.directory)
    try:
        found = save(file, directory)
        index = {"messages": [_told(one) for one in found]}
        (directory / "index.json").touch(0o600)
        (directory / "index.json").write_text(json.dumps(index, ensure_ascii=False, indent=2))
    except (SpoolBroken, OSError) as error:
        complain(f"relay: {error}")
        return PROBLEM
    amiss = [one for one in found if one.amiss]
    if asked.json:
        print_json(index)
    else:
        files = [one for one in found if one.file]
        many = f"{len(files)} message{'' if len(files) == 1 else 's'}"
        print(f"saved {many} in {directory}, {len(amiss)} of them damaged; index.json tells whose they are")
        print("any SMTP client sends a file again: curl smtp://RELAY --mail-from SENDER --mail-rcpt RECIPIENT -T FILE")
        for one in amiss:
            complain(f"{one.file or one.name}: {one.amiss}")
    return PROBLEM if amiss else FINE


def _told(one: RecoveredMessage) -> dict[str, Any]:
    known = message_view(one.stored) if one.stored else {"id": one.name}
    return {**known, "file": one.file, "amiss": one.amiss}
