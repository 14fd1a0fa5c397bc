"""`relay oauth`: a person's consent for an upstream, and how long the consents are good for."""

import argparse
import http.server
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from relay.cli.common import complain, configured, local_time, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.config import Config
from relay.control.client import Refused, Running
from relay.spool import open_safe
from relay.upstream.oauth.authorities import authority_for
from relay.upstream.oauth.consent import (
    CodeFlow,
    NoConsent,
    await_device_flow,
    finish_code_flow,
    start_code_flow,
    start_device_flow,
)
from relay.upstream.oauth.http import Granted
from relay.upstream.oauth.session_tokens import Tokens, account_of
from relay.upstream.oauth.token_store import StoreBroken
from relay.upstream.oauth.tokens import NoToken
from relay.upstream.settings import Grant, OAuth, Upstream

_PATIENCE = 900.0
"""Seconds for a person to log in by a browser."""


def call(asked: argparse.Namespace) -> int:
    config = configured(asked)
    return _login(config, asked) if asked.act == "login" else _status(config, asked)


def _status(config: Config, asked: argparse.Namespace) -> int:
    """Age and end of every consent; a problem if one needs a person."""
    found = Tokens(config.spool.home, _now, safe=open_safe(config.spool)).standings(config.upstreams.values())
    if asked.json:
        print_json({"oauth": found})
    for one in () if asked.json else found:
        none = "no consent" if one["warnings"] else "needs no consent"
        age = f"consent {_days(one['age'])} old, renewed {local_time(one['refreshed_at'])}" if one["age"] is not None else none
        print(f"{one['upstream']}: {age}" + (f", ends {local_time(one['ends_at'])}" if one["ends_at"] else ""))
        for warning in one["warnings"]:
            print(f"  {warning}")
    if not found and not asked.json:
        print("No upstream logs in by OAuth.")
    return PROBLEM if any(one["warnings"] for one in found) else FINE


def _login(config: Config, asked: argparse.Namespace) -> int:
    upstream = config.upstreams.get(asked.upstream)
    if upstream is None or upstream.login.oauth is None:
        able = [name for name, one in config.upstreams.items() if one.login.oauth] or ["none: set `oauth` for one"]
        complain(f"relay: {asked.upstream} is not an upstream with oauth; there are: {', '.join(able)}")
        return USAGE
    try:
        granted = _consent(upstream, upstream.login.oauth, asked)
        if granted is not None:
            kept = account_of(upstream, config.spool.home, _now, safe=open_safe(config.spool)).consented(granted)
            until = f" until {local_time(kept.ends_at.isoformat())}" if kept.ends_at else ""
            print(f"{upstream.name} may send as {upstream.login.username}{until}; the token is kept in {_kept_in(config)}")
        elif trouble := _application_token(config, upstream):
            raise NoConsent(trouble)
    except (NoConsent, StoreBroken) as error:
        complain(f"relay: {error}")
        return PROBLEM
    _wake(config)
    return FINE


def _kept_in(config: Config) -> str:
    return config.spool.shown if open_safe(config.spool) else str(config.spool.home)


def _application_token(config: Config, upstream: Upstream) -> str:
    """Asks once with the application's own right; why it has none."""
    found = account_of(upstream, config.spool.home, _now, safe=open_safe(config.spool)).renew()
    if isinstance(found, NoToken):
        return found.words
    print(f"{upstream.name} needs no login by a person: the application got its token by itself.")
    return ""


def _consent(upstream: Upstream, oauth: OAuth, asked: argparse.Namespace) -> Granted | None:
    if oauth.grant is Grant.CLIENT_CREDENTIALS:
        return None
    by_device = asked.flow == "device" or (asked.flow == "auto" and authority_for(oauth).device_url)
    if not by_device:
        return _by_code(upstream, oauth, asked.port)
    try:
        return _by_device(upstream, oauth)
    except NoConsent as error:
        raise NoConsent(f"{error}\nWith a browser instead: relay oauth login {upstream.name} --flow code") from None


def _by_device(upstream: Upstream, oauth: OAuth) -> Granted:
    device = start_device_flow(oauth)
    print(f"Open {device.address} in any browser, log in as {upstream.login.username}, and type this code: {device.code}")
    print(f"Waiting, {device.lifetime // 60} minutes at most ...", flush=True)
    return await_device_flow(oauth, device)


def _by_code(upstream: Upstream, oauth: OAuth, port: int) -> Granted:
    with _listening(port) as (bound, arrived):
        flow = start_code_flow(oauth, f"http://localhost:{bound}", upstream.login.username)
        print(f"Open this address in a browser and log in as {upstream.login.username}:\n\n{flow.address}\n")
        print("If the browser runs on another machine, the last page does not open. Then paste the address of that page here:")
        sys.stdout.flush()
        return finish_code_flow(flow, _first(flow, arrived))


def _first(flow: CodeFlow, arrived: "queue.Queue[str]") -> str:
    """The address that came to the loopback listener, or that was typed, whichever is first."""

    def read() -> None:
        line = sys.stdin.readline().strip()
        # an empty line is no answer yet; the end of the input is none either, since a browser may still come
        if line:
            arrived.put(line)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            found = arrived.get(timeout=_PATIENCE)
        except queue.Empty:
            raise NoConsent(f"no answer came within {_PATIENCE / 60:.0f} minutes; start again") from None
        if not found.startswith("/") or f"state={flow.state}" in found or "error=" in found:
            return found if not found.startswith("/") else flow.redirect + found


@contextmanager
def _listening(port: int) -> Iterator[tuple[int, "queue.Queue[str]"]]:
    """A web server on loopback for the browser's last step (RFC 8252 s7.3): its port, and the paths that came."""
    arrived: queue.Queue[str] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = "code=" in self.path or "error=" in self.path
            self.send_response(200 if wanted else 404)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"The relay has its answer; see where you started it.\n" if wanted else b"Nothing here.\n")
            if wanted:
                arrived.put(self.path)

        def log_message(self, *_: object) -> None:
            """The code in the path is a secret for a minute."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        yield server.server_port, arrived
    finally:
        server.shutdown()
        server.server_close()


def _wake(config: Config) -> None:
    """What waits for this login goes at once, if the relay runs."""
    try:
        Running(config.spool).order("retry", None, "")
        print("The running relay now tries the mail that waits.")
    except (OSError, Refused):
        print("When the relay runs, `relay send --to you@example.com` shows whether it works.")


def _now() -> datetime:
    return datetime.now(UTC)


def _days(seconds: float) -> str:
    days = round(seconds / 86400)
    return f"{days} day{'' if days == 1 else 's'}"
