"""`relay version`."""

import argparse
import platform
import sqlite3
import ssl

from relay import __version__
from relay.cli.common import print_json
from relay.cli.main import FINE


def call(asked: argparse.Namespace) -> int:
    facts = {
        "relay": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "machine": platform.machine(),
    }
    if asked.json:
        print_json(facts)
    else:
        print(f"relay {__version__} (Python {facts['python']}, SQLite {facts['sqlite']}, {facts['openssl']})")
    return FINE
