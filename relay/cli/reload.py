"""`relay reload`: has the running relay read its configuration and certificates again, and says what is not in force."""

import argparse

from relay.cli.common import complain, in_words, load_config, print_json, tell_mistakes
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.control.client import Refused, Running


def call(asked: argparse.Namespace) -> int:
    loaded = load_config(asked)
    config = loaded.config or loaded.guess
    if config is None:
        tell_mistakes(loaded)
        return USAGE
    try:
        outcome = Running(config.spool, timeout=120.0).reload()
    except (OSError, Refused) as error:
        complain(f"no running relay could be asked: {in_words(error)}")
        return PROBLEM
    if asked.json:
        print_json(outcome)
    else:
        _tell(outcome["reloaded"], outcome["mistakes"], outcome["not_applied"])
    if outcome["mistakes"]:
        return USAGE
    return FINE if outcome["reloaded"] and not outcome["not_applied"] else PROBLEM


def _tell(reloaded: bool, mistakes: list[str], left: list[dict[str, str]]) -> None:
    complain(*mistakes, *(f"not applied: {one['setting']}: {one['reason']}" for one in left))
    if reloaded:
        print("The new configuration is in force" + (", but for what is named above." if left else "."))
    else:
        complain("The relay goes on with its old configuration.")
