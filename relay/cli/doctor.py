"""`relay doctor`: what is wrong, why, and what to do; progress while it looks, findings at the end."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from relay.cli.common import complain, load_config, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.config.environment import WHOLE
from relay.setup.here import called

if TYPE_CHECKING:
    from relay.config import Loaded
    from relay.doctor.finding import Finding


def call(asked: argparse.Namespace) -> int:
    loaded = load_config(asked)
    if loaded.config is None:
        return _unreadable(loaded, asked)
    unknown = [name for name in asked.upstream if name not in loaded.config.upstreams]
    if unknown:
        known = ", ".join(loaded.config.upstreams) or "none"
        complain(f"relay doctor: no upstream is named {', '.join(unknown)}; there are: {known}")
        return USAGE
    from relay.daemon import subject_of
    from relay.doctor.examination import examined
    from relay.spool import open_safe

    subject = replace(subject_of(loaded.config, loaded.remarks, asked.upstream), command=_command(loaded.config.source))
    findings, took = examined(subject, open_safe(subject.spool), _progress(asked))
    return _told(findings, asked, took)


def _command(source: str) -> str:
    """This command as another user would type it, to whom our environment is not handed on."""
    file = Path(source).absolute() if source not in ("", WHOLE, "/etc/relay/config.yaml") else None
    return f"{called()} doctor" + (f" --config {quote(str(file))}" if file else "")


def _progress(asked: argparse.Namespace) -> Callable[[str], None]:
    """One line on a terminal that changes as the examination goes on; silence elsewhere."""
    if asked.json or not sys.stderr.isatty():
        return lambda _: None

    def tell(sentence: str) -> None:
        sys.stderr.write(f"\r\x1b[K{sentence[:78]} ...")
        sys.stderr.flush()

    return tell


def _told(findings: list["Finding"], asked: argparse.Namespace, took: float) -> int:
    from relay.doctor.finding import in_words, problems, summary

    if asked.json:
        print_json({"findings": [one.as_json() for one in findings], "took": round(took, 1)})
    else:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        for one in findings:
            print("\n".join(in_words(one, colour=colour)))
        print(f"\n{summary(findings)} (in {took:.1f} s)")
    return PROBLEM if problems(findings) else FINE


def _unreadable(loaded: "Loaded", asked: argparse.Namespace) -> int:
    from relay.doctor.finding import problem

    if asked.json:
        cause = "The configuration has a mistake, so the relay cannot start."
        cure = "Correct what is named; `relay check` shows all mistakes."
        found = [problem("configuration", mistake.place.file, cause, cure, str(mistake)) for mistake in loaded.mistakes]
        print_json({"findings": [one.as_json() for one in found]})
    else:
        complain(*loaded.mistakes)
    return USAGE
