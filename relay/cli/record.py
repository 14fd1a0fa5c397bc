"""`relay record`: keeps the exact bytes of a device's session, masked, as a case for a report or for tests/corpus."""

import argparse
import asyncio
import json
import re
import sys
from pathlib import Path

from relay import __version__, events
from relay.cli.common import complain, harmless, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.config import hosts
from relay.config.files import from_home
from relay.config.scalars import Wrong
from relay.inbound.admission import Listener, ListenTls
from relay.networks import PRIVATE
from relay.recording.case import RecordedCase, make_case
from relay.recording.listening import record
from relay.recording.tape import Tape


def call(asked: argparse.Namespace) -> int:
    """Exit status: 1 if no device said anything in time."""
    if asked.name and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", asked.name):
        complain(f"relay record: --name takes lower-case letters, digits and dashes, found {asked.name!r}")
        return USAGE
    if not 0 < asked.sessions <= 100 or not 0 < asked.minutes <= 24 * 60 or not 0 <= asked.port <= 65535:
        complain("relay record: expected --sessions 1 to 100, --minutes up to 1440 and --port up to 65535")
        return USAGE
    try:
        host, port = hosts.socket_address(asked.port)(asked.listen)
    except Wrong as wrong:
        complain(f"relay record: --listen: expected {wrong.expected}")
        return USAGE
    folder = from_home(asked.output) / "session"
    listener = Listener(host=host, port=port, networks=PRIVATE, tls=ListenTls(asked.tls))
    events.configure("console", "error")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tapes = _recorded(asked, listener)
        kept = [_keep(case, folder) for case in _cases(tapes, asked)]
    except FileExistsError as error:
        complain(f"relay record: {error.filename} exists already and is kept; choose another with --name or --output")
        return USAGE
    except OSError as error:
        complain(f"relay record: {error}")
        return USAGE
    if asked.json:
        print_json({"cases": [{"id": case.name, "file": str(path), "seen": list(case.seen)} for case, path in kept]})
    else:
        print("\n".join(harmless(line) for case, path in kept for line in _told(case, path)))
    if not kept:
        complain(f"relay record: no device sent anything within {asked.minutes:g} minutes; does it use this address and port?")
    return FINE if kept else PROBLEM


def _recorded(asked: argparse.Namespace, listener: Listener) -> list[Tape]:
    def ready(port: int) -> None:
        place = f"{listener.host}:{port}" if listener.host != "0.0.0.0" else f"port {port} of this machine"  # noqa: S104
        print(
            f"Recording on {place}: let the device send its test mail there (server: this machine, port {port}).",
            file=sys.stderr,
        )
        print(
            "Its mail is accepted, so that it goes on as usual, but NOT relayed: nothing leaves this machine.", file=sys.stderr
        )

    def told(tape: Tape) -> None:
        if not tape.device:
            print(f"{tape.client} connected and sent nothing (a port check, or a client that may not submit).", file=sys.stderr)
        else:
            taken = f"{tape.accepted} message{'' if tape.accepted == 1 else 's'}"
            print(f"{tape.client}: {len(tape.device)} octets, {taken}; not relayed.", file=sys.stderr)

    seconds = asked.minutes * 60
    return asyncio.run(record(listener, sessions=asked.sessions, seconds=seconds, ready=ready, told=told))


def _cases(tapes: list[Tape], asked: argparse.Namespace) -> list[RecordedCase]:
    found = []
    for number, tape in enumerate(tapes, 1):
        name = f"{asked.name}-{number}" if asked.name and len(tapes) > 1 else asked.name
        found.append(make_case(tape, name=name, device=asked.device, version=__version__))
    return found


def _keep(case: RecordedCase, folder: Path) -> tuple[RecordedCase, Path]:
    """Writes the two files; nothing that is there is written over.  Raises OSError."""
    path = folder / f"{case.name}.json"
    with path.open("x", encoding="utf-8") as opened:
        json.dump(case.sidecar, opened, ensure_ascii=False, indent=1)
    with path.with_suffix(".bin").open("xb") as binary:
        binary.write(case.octets)
    return case, path


def _told(case: RecordedCase, path: Path) -> list[str]:
    seen = [f"  {sentence}" for sentence in case.seen] or ["  nothing: it follows the standards"]
    return [
        f"{path} and {path.with_suffix('.bin').name}: recorded",
        "What was odd:",
        *seen,
        "Addresses, passwords, host names and files are replaced by others of the same length. Subject and text are kept,",
        "since that is where charsets go wrong: read the .json before you show it to anybody.",
        "For a report, attach both files; as a test, put them into tests/corpus/device-mail/session/.",
    ]
