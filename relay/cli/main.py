"""The `relay` command: reads what was typed and calls the verb.  Imports lazily: `relay queue` stays light."""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from relay import __version__

FINE, PROBLEM, USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 fine, 1 found a problem, 2 wrong usage or configuration."""
    asked = _asked(argv)
    if not asked.verb:
        make_parser().print_help()
        return USAGE
    verb = importlib.import_module(f"relay.cli.{asked.module}")
    try:
        status = int(verb.call(asked))
        if sys.stdout:  # None where it was closed before we began
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `relay queue list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains of it at its end
        return FINE


def _asked(argv: Sequence[str] | None) -> argparse.Namespace:
    """In a function of its own: the daemon does not keep the parser."""
    return make_parser().parse_args(argv)


class Parser(argparse.ArgumentParser):
    """argparse, which guesses what a misspelt word was meant to be, and shows the commands where one is missing."""

    def error(self, message: str) -> NoReturn:
        if "required: COMMAND" in message:
            self.print_help(sys.stderr)
            self.exit(USAGE, f"\n{self.prog}: which command?\n")
        match = re.search(r"invalid choice: '([^']*)' \(choose from ([^()]*)\)", message)
        from difflib import get_close_matches

        near = get_close_matches(match[1], re.findall(r"[\w|-]+", match[2]), n=1) if match else []
        super().error(f"{message}; did you mean {near[0]}?" if near else message)


def make_parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="relay",
        description="A mail relay for the LAN: NAS, printers and cameras send through it.",
        epilog="First time: relay demo, relay init, relay doctor, relay run; then relay send --to YOU.  relay COMMAND --help"
        " tells more of each.",
    )
    parser.add_argument("--version", action="version", version=f"relay {__version__}")
    parser.set_defaults(verb="", module="")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")
    demo = _verb(verbs, "demo", "show the main job with an embedded ISP; needs no account and no network")
    demo.add_argument("--keep", action="store_true", help="stay up afterwards, for a device of your own")
    demo.add_argument("--graph", action="store_true", help="send by Microsoft Graph, with a mailbox on this machine")
    _init(verbs)
    _import(verbs)
    _verb(verbs, "check", "read the configuration and print every mistake in it", json=True)
    run = _verb(verbs, "run", "run the relay in the foreground")
    run.add_argument(
        "--setup", action="store_true", help="where there is no configuration, ask for one in the browser (RELAY_SETUP=yes)"
    )
    _verb(verbs, "reload", "have the running relay read its configuration and certificates again", json=True)
    dkim = _verb(verbs, "dkim", "print the DKIM record to publish for a domain; makes its key if there is none", json=True)
    dkim.add_argument("domain", nargs="?", default="", metavar="DOMAIN", help="of an entry in `dkim` (default: all of them)")
    hashing = _verb(verbs, "hash", "make the hash of a device's password, for `listen.users`", json=True, config=False)
    hashing.epilog = "The password is asked for twice and not shown; it may come on standard input instead."
    doctor = _verb(verbs, "doctor", "examine this machine and the upstreams: what is wrong, why, and what to do", json=True)
    doctor.add_argument("upstream", nargs="*", metavar="UPSTREAM", help="only these (default: all)")
    _send(verbs)
    _explain(verbs)
    _advise(verbs)
    _queue(verbs)
    _spool(verbs)
    _oauth(verbs)
    _record(verbs)
    _verb(verbs, "health", "exit 0 if the listener answers, the spool is writable and the runner is alive", json=True)
    _verb(verbs, "version", "print the version", json=True)
    return parser


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    what: str,
    *,
    module: str = "",
    json: bool = False,
    config: bool = True,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    parser.set_defaults(verb=name, module=module or name)
    if config:
        parser.add_argument(
            "--config",
            metavar="PATH",
            help="file, or directory with config.yaml (default: $RELAY_CONFIG, the text in $RELAY_CONFIG_YAML, ./config.yaml,"
            " /etc/relay/config.yaml, /var/lib/relay/config.yaml)",
        )
    if json:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _send(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    send = _verb(verbs, "send", "submit a test message to the running relay and follow it to its end", json=True)
    send.add_argument(
        "--to", default="", metavar="ADDRESS", help="who gets it: an address whose mailbox you can read (default: notices.to)"
    )
    send.add_argument("--via", default="", metavar="NAME", help="by this upstream alone, whatever the routes say")
    send.add_argument("--from", dest="sender", default="", metavar="ADDRESS", help="default: notices.to, else the recipient")
    send.add_argument("--subject", default="A test from the relay")
    send.add_argument(
        "--user", default="", metavar="NAME", help="who logs in, where the listener wants it; the password is asked for"
    )
    send.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="how long to follow it (default 60)")


def _explain(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    explain = _verb(verbs, "explain", "tell what would happen to a message; sends nothing", json=True)
    explain.add_argument(
        "--from", dest="sender", required=True, metavar="ADDRESS", help="whom the device names as sender; `<>`: nobody"
    )
    explain.add_argument("--to", required=True, action="append", metavar="ADDRESS", help="may be given several times")
    explain.add_argument("--client", default="127.0.0.1", metavar="IP", help="the device's address (default 127.0.0.1)")
    explain.add_argument("--helo", default="", metavar="NAME", help="what the device calls itself")
    explain.add_argument("--user", default="", metavar="NAME", help="who logs in (default: nobody)")
    explain.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="the message, to see its repairs; - for standard input (default: only the route)",
    )


def _advise(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    what = "tell what a server's reply means, what the relay does about it, and what to do"
    advise = _verb(verbs, "advise", what, json=True, config=False)
    advise.epilog = "Without REPLY, lines `stage<TAB>reply` are read from standard input."
    advise.add_argument(
        "--stage",
        default="",
        choices=["connect", "tls", "hello", "auth", "mail", "rcpt", "content"],
        help="when the server said it (default: where such a reply is known)",
    )
    advise.add_argument("reply", nargs="?", metavar="REPLY", help='as the server said it, in quotes: "550 5.1.1 User unknown"')


def _queue(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    queue = verbs.add_parser("queue", help="see and control the queue", description="See and control the queue.")
    queue.set_defaults(verb="queue", module="queue", act="list")
    acts = queue.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def act(name: str, what: str) -> argparse.ArgumentParser:
        parser = _verb(acts, name, what, module="queue", json=True)
        parser.set_defaults(act=name)
        return parser

    listing = act("list", "the messages that wait, oldest first")
    listing.add_argument("--all", action="store_true", help="finished ones too, while history is kept")
    listing.add_argument("--state", action="append", choices=["queued", "held", "relayed", "failed", "expired", "merged"])
    listing.add_argument(
        "--search", metavar="WORDS", default="", help="only those with these words in address, subject or device; in any state"
    )
    listing.add_argument("--attention", action="store_true", help="only failures that nobody could be told of")
    act("show", "one message with its trail").add_argument(
        "id", metavar="ID", help="as `relay queue list` prints it; the beginning is enough"
    )
    export = act("export", "save what can be read of the spool as files, when it is damaged")
    export.add_argument("directory", metavar="DIRECTORY")
    for name, what in (
        ("retry", "try again now"),
        ("hold", "keep messages back until they are released"),
        ("release", "send held or failed messages again"),
        ("remove", "delete messages, unsent"),
        ("acknowledge", "you have seen a failure that nobody could be told of"),
    ):
        parser = act(name, what)
        parser.add_argument("id", nargs="*", metavar="ID", help="as `relay queue list` prints them")
        parser.add_argument("--all", action="store_true", help="every message that it can apply to")
        if name == "release":
            parser.add_argument("--via", default="", metavar="NAME", help="by this upstream instead of the routes")


def _spool(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    spool = verbs.add_parser(
        "spool", help="make a spool's tables, or move a spool", description="The spool itself: where mail waits."
    )
    acts = spool.add_subparsers(title="commands", metavar="COMMAND", required=True)
    move = _verb(acts, "move", "move one spool's content into another; run it again to go on", module="spool", json=True)
    move.set_defaults(verb="spool", act="move")
    move.add_argument("source", metavar="FROM", help="sqlite:PATH or postgresql://...; no relay may run on it")
    move.add_argument("target", metavar="TO", help="sqlite:PATH or postgresql://...")
    prepare = _verb(
        acts, "prepare", "make or update a spool's tables in PostgreSQL, as the role that owns them", module="spool"
    )
    prepare.set_defaults(verb="spool", act="prepare", json=False)
    prepare.add_argument("target", metavar="URL", nargs="?", default="", help="default: spool.url of the configuration")


def _oauth(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    oauth = verbs.add_parser(
        "oauth", help="log in by OAuth, and see the state of the logins", description="OAuth logins of upstreams."
    )
    acts = oauth.add_subparsers(title="commands", metavar="COMMAND", required=True)
    login = _verb(acts, "login", "allow the relay to send from your account (enter a code, or use a browser)", module="oauth")
    login.set_defaults(verb="oauth", act="login")
    login.add_argument("upstream", metavar="UPSTREAM")
    login.add_argument(
        "--flow", choices=["auto", "device", "code"], default="auto", help="a code to type, or a browser's address"
    )
    login.add_argument("--port", type=int, default=0, help="where this machine waits for the browser (default: any free port)")
    status = _verb(acts, "status", "age and end of every consent", module="oauth", json=True)
    status.set_defaults(verb="oauth", act="status")


def _import(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    moving = _verb(
        verbs,
        "import",
        "make a configuration of another relay's files: Postfix, qmail, boky/postfix",
        module="importing",
        json=True,
        config=False,
    )
    moving.description = (
        "Make a configuration of another relay's files.  postfix: the folder, or main.cf and the tables that it names, or an"
        " env or compose file of boky/postfix.  qmail: the control folder, or its files.  Passwords go into files of their own."
    )
    moving.add_argument("system", choices=["postfix", "qmail"], metavar="postfix|qmail")
    moving.add_argument(
        "file", nargs="+", metavar="FILE", help="the folder, or main.cf, smtproutes, ... and the tables they name"
    )
    moving.add_argument("--output", default=".", metavar="DIR", help="where config.yaml and the secrets go (default: here)")
    moving.add_argument("--notices-to", default="", metavar="ADDRESS", help="who is told when mail fails")
    moving.add_argument("--force", action="store_true", help="write over files that are there")


def _record(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    record = _verb(
        verbs,
        "record",
        "keep the exact bytes of a device's session, masked, for a report; relays nothing",
        json=True,
        config=False,
    )
    record.add_argument("--port", type=int, default=2525, help="where the device connects meanwhile (default 2525)")
    record.add_argument("--listen", default="0.0.0.0", metavar="ADDRESS", help="default 0.0.0.0; only private clients")  # noqa: S104
    record.add_argument("--tls", default="starttls", choices=["off", "starttls", "implicit"], help="default starttls")
    record.add_argument("--sessions", type=int, default=1, metavar="N", help="how many to keep before it ends (default 1)")
    record.add_argument("--minutes", type=float, default=30.0, metavar="N", help="when to give up waiting (default 30)")
    record.add_argument("--device", default="", metavar="TEXT", help="make, model and firmware, for the report")
    record.add_argument(
        "--name", default="", help="what the case is called: lower-case letters, digits, dashes (default: by its bytes)"
    )
    record.add_argument("--output", default="recorded", metavar="DIR", help="where the case goes (default: ./recorded)")


def _init(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    init = _verb(verbs, "init", "write a configuration for one provider; asks what the options leave open", config=False)
    init.add_argument(
        "--config", metavar="PATH", default="", help="where to write it (default: $RELAY_CONFIG, else ./config.yaml)"
    )
    init.add_argument("--provider", default="", metavar="NAME", help="gmail, outlook, sakura, ... or generic")
    init.add_argument("--api", default="", choices=["smtp", "graph"], help="graph: Microsoft Graph, where SMTP AUTH is off")
    init.add_argument("--host", default="", help="the server's name, where the provider does not tell it")
    init.add_argument("--port", default="")
    init.add_argument("--tls", default="", choices=["starttls", "implicit", "none"])
    init.add_argument("--username", default="", metavar="NAME")
    init.add_argument("--password-file", default="", metavar="FILE", help="a file with the password; - for standard input")
    init.add_argument("--sender", default="", metavar="ADDRESS", help="the address that the account may send as")
    init.add_argument(
        "--client-id", default="", metavar="ID", help="your application's id: log in by OAuth, without a password"
    )
    init.add_argument("--tenant", default="", help="the tenant of your application (Microsoft)")
    init.add_argument(
        "--client-secret-file",
        default="",
        metavar="FILE",
        help="its secret: Google's, or for Microsoft the application's own right",
    )
    init.add_argument("--notices-to", default="", metavar="ADDRESS", help="who is told when mail fails")
    init.add_argument("--listen", default="", metavar="ADDRESS", help="where devices connect (default: 0.0.0.0:25)")
    init.add_argument(
        "--spool", default="", metavar="PATH", help="where waiting mail is kept (default: /var/lib/relay/spool.db)"
    )
    init.add_argument(
        "--login", action=argparse.BooleanOptionalAction, help="run the OAuth login afterwards, where one is needed"
    )
    init.add_argument("--doctor", action=argparse.BooleanOptionalAction, help="run the doctor afterwards")
    init.add_argument("--test-to", default="", metavar="ADDRESS", help="send a test mail there afterwards")
    init.add_argument("--force", action="store_true", help="write over a configuration that is there")
    init.add_argument("--no-input", action="store_true", help="ask nothing; what is not said is an error or its default")
