"""`relay check`: every mistake in the configuration, with its place."""

import argparse

from relay.cli.common import complain, load_config, print_json
from relay.cli.main import FINE, USAGE


def call(asked: argparse.Namespace) -> int:
    loaded = load_config(asked)
    if asked.json:
        print_json({"mistakes": [str(one) for one in loaded.mistakes], "remarks": list(loaded.remarks)})
    elif loaded.config is not None:
        where = loaded.config.source or "the environment"
        print(f"{where}: fine ({len(loaded.config.upstreams)} upstreams, {len(loaded.config.routes)} routes)")
        for remark in loaded.remarks:
            print(f"remark: {remark}")
    if loaded.config is None:
        if not asked.json:
            complain(*loaded.mistakes)
        return USAGE
    return FINE
