"""`relay run`: the daemon, in the foreground; where there is no configuration, set-up in the browser first, if asked for."""

import argparse
import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

from relay import config
from relay.cli.common import complain, load_config, tell_mistakes
from relay.cli.main import FINE, PROBLEM, USAGE

if TYPE_CHECKING:
    import socket


def call(asked: argparse.Namespace) -> int:
    signal.signal(signal.SIGHUP, lambda *_: None)  # an order to reload must not end us while we still load
    # As process 1 of a container nothing ends us by default: `docker stop` while we still load would wait for its kill.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FINE))
    loaded, page = load_config(asked), None
    if loaded.config is None and (asked.setup or os.environ.get("RELAY_SETUP")) and config.missing(asked.config, os.environ):
        from relay.setup.place import CannotSetUp, SetupBroken, wanted

        try:
            if wanted(asked.setup, os.environ):
                page = _set_up(asked)
                if page is None:
                    return FINE
                loaded = load_config(asked)
        except (CannotSetUp, SetupBroken) as error:
            complain(f"relay: {error}")
            return PROBLEM if isinstance(error, SetupBroken) else USAGE
    if loaded.config is None:
        tell_mistakes(loaded)
        return USAGE
    from relay.daemon import Relay, StartFailed, Watchdog

    _bounded()
    relay = Relay(loaded.config, reload=lambda: load_config(asked), remarks=loaded.remarks, watchdog=Watchdog(), page=page)
    try:
        asyncio.run(relay.run())
    except StartFailed as error:
        complain(f"relay: {error}")
        return PROBLEM
    return FINE


def _bounded() -> None:
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no passwords and no mail on the disk
    with contextlib.suppress(OSError, AttributeError):
        # M_ARENA_MAX: memory that threads gave back is used again.  Under `make hostile` 125 MB at most instead of 165.
        ctypes.CDLL(None).mallopt(-8, 1)


def _set_up(asked: argparse.Namespace) -> "socket.socket | None":
    """The page's socket once a configuration is written; None if an order to stop came.  Raises CannotSetUp, SetupBroken."""
    from relay.setup.place import find_place

    place = find_place(asked.config, os.environ)
    from relay.daemon import subject_of
    from relay.setup.serve import set_up

    _bounded()
    return set_up(place, subject_of, os.environ)
