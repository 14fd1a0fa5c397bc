"""`relay run`: the daemon, in the foreground."""

import argparse
import asyncio

from relay.cli.common import complain, load_config
from relay.cli.main import FINE, PROBLEM, USAGE


def call(asked: argparse.Namespace) -> int:
    loaded = load_config(asked)
    if loaded.config is None:
        complain(*loaded.mistakes)
        return USAGE
    from relay.app import Relay, StartFailed

    try:
        asyncio.run(Relay(loaded.config, reload=lambda: load_config(asked), remarks=loaded.remarks).run())
    except StartFailed as error:
        complain(f"relay: {error}")
        return PROBLEM
    return FINE
