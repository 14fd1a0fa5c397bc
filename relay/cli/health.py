"""`relay health`: for a container's HEALTHCHECK; quick, and silent in the log."""

import argparse
import socket

from relay.cli.common import complain, configured_or_running, in_words, print_json
from relay.cli.main import FINE, PROBLEM

PATIENCE = 5.0  # seconds for each question


def call(asked: argparse.Namespace) -> int:
    from relay.control.client import NotForUs, Refused, Running

    config = configured_or_running(asked)
    try:
        known = Running(config.spool, PATIENCE).relay()
        why = list(known["why"])
        listening = known["listening"]
    except NotForUs as error:
        why, listening = [str(error)], []
    except (OSError, Refused) as error:
        why, listening = [f"the relay does not answer on its control socket ({in_words(error)}); is it running?"], []
    why += [sentence for one in listening if (sentence := _silent(one["host"], one["port"], one["tls"] == "implicit"))]
    if asked.json:
        print_json({"healthy": not why, "why": why})
    else:
        print("healthy") if not why else complain(*why)
    return PROBLEM if why else FINE


def _silent(host: str, port: int, implicit_tls: bool) -> str:
    """Empty if a reply comes (any: loopback need not be among the networks), else what is wrong in words."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        with socket.create_connection((near, port), PATIENCE) as sock:
            if implicit_tls or sock.recv(3).isdigit():
                return ""
            return f"the listener {host}:{port} accepts connections but does not answer in SMTP"
    except OSError as error:
        return f"the listener {host}:{port} does not answer: {in_words(error)}"
