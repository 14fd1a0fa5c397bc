"""Prints the manual page relay(8), made of the commands' own help, as troff for `man`.

python packaging/manual.py VERSION SECONDS > relay.8      SECONDS since 1970: the page's date
"""

import argparse
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relay.cli.main import make_parser

FILES = {
    "/etc/relay/config.yaml": "The configuration. Secrets are files beside it.",
    "/etc/relay/environment": "Settings by the environment (RELAY_PROVIDER=...), where there is no config.yaml.",
    "/var/lib/relay": "The queue, the listener's certificate, tokens.",
}
STATUS = {
    "0": "All is well.",
    "1": "A problem was found.",
    "2": "Wrong usage, or mistakes in the configuration.",
}


def text(said: str) -> str:
    """As troff takes it: no escape, no request at a line's beginning."""
    safe = said.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", safe)


def entry(term: str, what: str) -> str:
    return f".TP\n.B {text(term)}\n{text(what)}"


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        name = ", ".join(action.option_strings)
        if action.nargs != 0:
            value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
            name = f"{name} {value}".strip()
        yield entry(name, (action.help or "") % {"default": action.default})


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command that does something, with its own commands in its place."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from commands(below)
            return
    yield parser.prog, parser


def manual(version: str, day: datetime) -> Iterator[str]:
    parser = make_parser()
    yield f'.TH RELAY 8 "{day:%Y-%m-%d}" "relay {version}" "System Administration"'
    yield ".SH NAME\nrelay \\- mail relay for NAS, printer and camera"
    yield ".SH SYNOPSIS\n.B relay\n.I COMMAND\n[options]"
    yield f".SH DESCRIPTION\n{text(parser.description or '')}\n.PP\n{text(parser.epilog or '')}"
    yield ".SH COMMANDS"
    for name, command in commands(parser):
        yield f'.SS "{text(name)}"\n{text(command.description or "")}'
        yield from options(command)
        if command.epilog:
            yield f".PP\n{text(command.epilog)}"
    yield ".SH EXIT STATUS"
    yield from (entry(*pair) for pair in STATUS.items())
    yield ".SH FILES"
    yield from (entry(*pair) for pair in FILES.items())
    yield ".SH SEE ALSO\n.BR systemctl (1),\n.BR journalctl (1)"


if __name__ == "__main__":
    print("\n".join(manual(sys.argv[1], datetime.fromtimestamp(int(sys.argv[2]), UTC))))
