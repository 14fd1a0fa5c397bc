"""`relay check`: every mistake in the configuration, with its place."""

import argparse

from relay.cli.common import load_config, print_json, tell_mistakes
from relay.cli.main import FINE, USAGE


def call(asked: argparse.Namespace) -> int:
    loaded = load_config(asked)
    if asked.json:
        print_json({"mistakes": [str(one) for one in loaded.mistakes], "remarks": list(loaded.remarks)})
    elif loaded.config is not None:
        where = loaded.config.source or "the environment"
        print(f"{where}: fine ({loaded.config.extent})")
        for remark in loaded.remarks:
            print(f"remark: {remark}")
    if loaded.config is None:
        if not asked.json:
            tell_mistakes(loaded)
        return USAGE
    return FINE
