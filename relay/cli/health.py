"""`relay health`: for a container's HEALTHCHECK; quick, and silent in the log."""

import argparse
import os
import socket

from relay import config
from relay.cli.common import complain, configured_or_running, in_words, print_json
from relay.cli.main import FINE, PROBLEM
from relay.networks import without_port

PATIENCE = 5.0  # seconds for each question


def call(asked: argparse.Namespace) -> int:
    from relay.control.client import NotForUs, Refused, Running

    if page := _set_up_waits(asked):
        return _told(asked, [sentence] if (sentence := _no_page(page)) else [])
    settings = configured_or_running(asked)
    try:
        known = Running(settings.spool, PATIENCE).relay()
        why = list(known["why"])
        listening = known["listening"]
    except NotForUs as error:
        why, listening = [str(error)], []
    except (OSError, Refused) as error:
        why, listening = [f"the relay does not answer on its control socket ({in_words(error)}); is it running?"], []
    why += [sentence for one in listening if (sentence := _silent(one["host"], one["port"], one["tls"] == "implicit"))]
    return _told(asked, why)


def _told(asked: argparse.Namespace, why: list[str]) -> int:
    if asked.json:
        print_json({"healthy": not why, "why": why})
    else:
        print("healthy") if not why else complain(*why)
    return PROBLEM if why else FINE


def _set_up_waits(asked: argparse.Namespace) -> str:
    """Where the page of set-up is, if the relay waits there for a configuration; "" if it does not."""
    if not config.missing(asked.config, os.environ):
        return ""
    from relay.setup.code import page_in

    return page_in(config.state_dir(os.environ))


def _no_page(place: str) -> str:
    host, port = without_port(place), int(place.rpartition(":")[2])
    try:
        with socket.create_connection((_near(host), port), PATIENCE):
            return ""
    except OSError as error:
        return f"the page of set-up does not answer at {place}: {in_words(error)}"


def _near(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _silent(host: str, port: int, implicit_tls: bool) -> str:
    """Empty if a reply comes (any: loopback need not be among the networks), else what is wrong in words."""
    try:
        with socket.create_connection((_near(host), port), PATIENCE) as sock:
            if implicit_tls or sock.recv(3).isdigit():
                return ""
            return f"the listener {host}:{port} accepts connections but does not answer in SMTP"
    except OSError as error:
        return f"the listener {host}:{port} does not answer: {in_words(error)}"
