"""`relay run`: the daemon, in the foreground."""

import argparse
import asyncio
import contextlib
import ctypes
import resource
import signal
import sys

from relay.cli.common import complain, load_config, tell_mistakes
from relay.cli.main import FINE, PROBLEM, USAGE


def call(asked: argparse.Namespace) -> int:
    signal.signal(signal.SIGHUP, lambda *_: None)  # an order to reload must not end us while we still load
    # As process 1 of a container nothing ends us by default: `docker stop` while we still load would wait for its kill.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FINE))
    loaded = load_config(asked)
    if loaded.config is None:
        tell_mistakes(loaded)
        return USAGE
    from relay.daemon import Relay, StartFailed, Watchdog

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no passwords and no mail on the disk
    with contextlib.suppress(OSError, AttributeError):
        # M_ARENA_MAX: memory that threads gave back is used again.  Under `make hostile` 125 MB at most instead of 165.
        ctypes.CDLL(None).mallopt(-8, 1)
    relay = Relay(loaded.config, reload=lambda: load_config(asked), remarks=loaded.remarks, watchdog=Watchdog())
    try:
        asyncio.run(relay.run())
    except StartFailed as error:
        complain(f"relay: {error}")
        return PROBLEM
    return FINE
