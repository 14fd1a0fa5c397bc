"""Which answers fit, and what is said of those that do not.  Pure."""

import re
from collections.abc import Callable
from pathlib import Path

from relay.config import hosts, scalars
from relay.config.fields import show
from relay.config.files import from_home, is_file
from relay.config.scalars import Wrong, choice, near
from relay.upstream.providers import GENERIC, NAMES, preset_for
from relay.upstream.settings import TlsMode

Fits = Callable[[str], str]
"""What is wrong with an answer, in a sentence; "" if nothing is."""


def by(convert: Callable[[str], object]) -> Fits:
    """Fits what the settings would take."""

    def fits(said: str) -> str:
        try:
            convert(said)
        except Wrong as wrong:
            hint = f"; {wrong.hint}" if wrong.hint else ""
            return f"expected {wrong.expected}, found {show(said)}{hint}"
        return ""

    return fits


def provider(said: str) -> str:
    if said.strip().lower() == GENERIC or preset_for(said):
        return ""
    hint = near(said, NAMES) or f"there are {', '.join(NAMES)}"
    return f"no provider is called {said!r}; {hint}  (`{GENERIC}` is any other server)"


host, port, mailbox, tls = by(hosts.host), by(scalars.port), by(hosts.mailbox), by(choice(TlsMode))


def username() -> Fits:
    """What looks like a port is believed only when it is said twice: it was meant for another question, as a rule."""
    doubted: set[str] = set()

    def fits(said: str) -> str:
        if not re.fullmatch(r"\d{2,5}", said) or said in doubted:
            return ""
        doubted.add(said)
        return f"{said} looks like a port, not like a user name; say it again if it is one"

    return fits


def file(folder: Path) -> Fits:
    """A file that is there; relative names are meant from `folder`."""

    def fits(said: str) -> str:
        return "" if is_file(folder / from_home(said)) else f"there is no file {show(said)}"

    return fits
