"""`relay send`: submits a test message to the running relay and follows it to its end."""

import argparse
import getpass
import re
import smtplib
import ssl
import sys
import time
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from relay.cli.common import complain, configured_or_running, in_words, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.cli.queue import story
from relay.control.client import NotForUs, Refused, Running
from relay.password_hash import is_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.config_values import Config
    from relay.secret import Secret

OVER = ("relayed", "failed", "expired", "merged")
LOOK_EVERY = 0.2  # seconds


def call(asked: argparse.Namespace) -> int:
    config = configured_or_running(asked)
    asked.to = asked.to or str(config.notices.to or "")
    if not asked.to:
        complain("relay send: say who gets it, with --to ADDRESS; without it `notices.to` does, which is not set")
        return USAGE
    running = Running(config.spool)
    try:
        listening = running.relay()["listening"]
    except NotForUs as error:
        complain(f"relay send: {error}")
        return PROBLEM
    except (OSError, Refused) as error:
        beside = f"beside {config.spool.shown} ({_words(error)})"
        complain(f"relay send: no running relay answers {beside}; start it with `relay run`")
        return PROBLEM
    try:
        queue_id = _submit_via(running, config, asked) if asked.via else _submit(config, listening, asked)
    except (smtplib.SMTPException, OSError, Refused) as error:
        complain(f"relay send: the relay did not take the message: {_words(error)}")
        return PROBLEM
    message, unseen = _follow(running, queue_id, asked.wait)
    if unseen:
        return _untold(queue_id, unseen, asked)
    if asked.json:
        print_json(message)
    else:
        print("\n".join([f"queued as {queue_id}", *story(message)]))
    states = {one["state"] for one in message["recipients"]}
    if states != {"relayed"} and not asked.json:
        print(_not_there(states, queue_id), file=sys.stderr)
    return FINE if states == {"relayed"} else PROBLEM


def _not_there(states: set[str], queue_id: str) -> str:
    if states <= set(OVER):
        return f"it was not delivered; `relay queue release {queue_id} --via NAME` sends it by another upstream"
    return f"not delivered yet; `relay queue show {queue_id}` tells what happens next"


def _untold(queue_id: str, why: str, asked: argparse.Namespace) -> int:
    if asked.json:
        print_json({"id": queue_id, "recipients": [{"state": "unknown"}], "trail": [], "error": why})
    else:
        print(f"queued as {queue_id}")
    complain(f"relay send: what becomes of it cannot be seen now: {why}", f"later: `relay queue show {queue_id}`")
    return PROBLEM


def _submit(config: "Config", listening: list[dict[str, Any]], asked: argparse.Namespace) -> str:
    """The queue id.  Raises smtplib's exceptions and OSError."""
    sender, letter = _letter(config, asked)
    with _connected(config, listening, asked.user) as client:
        _taken(client.ehlo("localhost"))
        _taken(client.mail(sender))
        _taken(client.rcpt(asked.to))
        said = _taken(client.data(letter.as_bytes()))
    found = re.search(rb"queued as (\w+)", said)
    return found[1].decode() if found else ""


def _taken(answer: tuple[int, bytes]) -> bytes:
    """The words of a reply that is none of refusal."""
    code, said = answer
    if code >= 400:
        raise smtplib.SMTPResponseException(code, said)
    return said


def _submit_via(running: Running, config: "Config", asked: argparse.Namespace) -> str:
    """The same for one upstream, past listeners and routes.  Raises OSError, Refused."""
    sender, letter = _letter(config, asked)
    return running.submit(sender, asked.to, asked.via, letter.as_string(policy=letter.policy.clone(linesep="\r\n")))


def _letter(config: "Config", asked: argparse.Namespace) -> tuple[str, EmailMessage]:
    sender = asked.sender or str(config.notices.to or asked.to)
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = sender, asked.to, asked.subject
    letter.set_content(f"A test message, sent with `relay send` on {config.hostname}.\n")
    return sender, letter


def _connected(config: "Config", listening: list[dict[str, Any]], user: str) -> smtplib.SMTP:
    """By a listener that wants no login, or one whose password is known here; else `user` is asked for theirs."""
    one = min(listening, key=lambda each: (_secret(_users(config, each), user), each["tls"] == "implicit"))
    users = _users(config, one)
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(one["host"], one["host"])  # noqa: S104
    name = user if user in users else next((name for name in users if not is_hash(users[name].reveal())), "")
    password = _password(users, name) if users else ""
    trusting = ssl._create_unverified_context()  # noqa: S323 - ourselves, over loopback, by a certificate made here
    if one["tls"] == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(near, one["port"], timeout=30, context=trusting)
    else:
        client = smtplib.SMTP(near, one["port"], timeout=30)
    if users or one["tls"] == "required":
        client.ehlo("localhost")
        if client.has_extn("starttls"):
            client.starttls(context=trusting)
    if users:
        client.login(name, password)
    return client


def _users(config: "Config", one: dict[str, Any]) -> "Mapping[str, Secret]":
    return next((each.users for each in config.listeners if each.port in (0, one["port"])), {})


def _secret(users: "Mapping[str, Secret]", user: str) -> bool:
    """Whether a password is needed that only a person knows."""
    return bool(users) and (user in users or all(is_hash(one.reveal()) for one in users.values()))


def _password(users: "Mapping[str, Secret]", name: str) -> str:
    if not name:
        raise OSError(
            "the listeners want a login, and the configuration has hashes only; say --user NAME, and type the password"
        )
    known = users[name].reveal()
    if not is_hash(known):
        return known
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass(f"Password of {name}: ")
    return sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"{error.smtp_code} {said.decode('utf-8', 'replace') if isinstance(said, bytes) else said}"
    return str(getattr(error, "strerror", None) or error)


def _follow(running: Running, queue_id: str, wait: float) -> tuple[dict[str, Any], str]:
    """The message when every fate is known, or when `wait` seconds are over; and why it could not be seen then, else "".

    A relay that refuses to tell is asked again: the database of a shared queue may be away for a while.
    """
    end = time.monotonic() + wait
    while True:
        message, unseen = None, ""
        try:
            message = running.message(queue_id)
        except (OSError, Refused) as error:
            unseen = in_words(error)
        over = time.monotonic() > end
        if message and (over or all(one["state"] in OVER for one in message["recipients"])):
            return message, ""
        if over:
            return message or {"id": queue_id, "recipients": [{"state": "unknown"}], "trail": []}, unseen
        time.sleep(LOOK_EVERY)
