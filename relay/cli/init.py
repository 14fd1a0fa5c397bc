"""`relay init`: asks provider, account, secret and who gets failure notices; writes a configuration that passes `check`."""

import argparse
import getpass
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shlex import quote

from relay import config
from relay.cli.common import complain
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.config import Config, Loaded
from relay.mail.address import BadAddress, parse_address
from relay.setup import answers, here
from relay.setup.answers import Fits
from relay.setup.draft import Draft, as_yaml
from relay.setup.files import keep
from relay.upstream.providers import GENERIC, NAMES
from relay.upstream.settings import TlsMode

_TRIES = 5
_SECRET_TRIES = 3

SPOKEN = (
    "api",
    "host",
    "port",
    "tls",
    "username",
    "sender",
    "client_id",
    "tenant",
    "client_secret_file",
    "notices_to",
    "listen",
    "spool",
)
"""The answers that an option gives as it stands."""


class GivenUp(Exception):
    """There will be no configuration; the text says why."""


def call(asked: argparse.Namespace) -> int:
    target = _target(asked.config)
    if os.path.exists(target) and not asked.force:
        complain(f"relay: {target} exists already; --force replaces it, --config PATH writes another")
        return USAGE
    try:
        dialogue = Dialogue(asked, target)
        loaded = dialogue.run()
    except (GivenUp, OSError, EOFError) as error:
        complain(f"relay: {error or 'the input ended before the last answer'}")
        if isinstance(error, GivenUp) and not asked.no_input and not sys.stdin.isatty():
            complain("Nothing was asked, since this is no terminal.  Use options: --provider, --username, --password-file ...")
        return USAGE
    print(f"{target}: written, and fine")
    for remark in loaded.remarks:
        print(f"remark: {remark}")
    try:
        return dialogue.afterwards(loaded.config) if loaded.config else PROBLEM
    except EOFError:
        return FINE
    except GivenUp as error:
        complain(f"relay: {error}")
        return USAGE


def _target(named: str) -> Path:
    path = Path(named or os.environ.get("RELAY_CONFIG") or "config.yaml").absolute()
    return path / "config.yaml" if os.path.isdir(path) else path


class Dialogue:
    """The questions.  What an option says is not asked; with `--no-input`, or without a terminal, nothing is."""

    def __init__(self, asked: argparse.Namespace, target: Path) -> None:
        self.asked, self.target = asked, target
        self.silent = asked.no_input or not sys.stdin.isatty()
        self.draft = Draft(**{key: getattr(asked, key) for key in SPOKEN})
        secret = Path(self.draft.client_secret_file)
        if self.draft.client_secret_file and os.path.isfile(secret) and not os.path.isfile(target.parent / secret):
            self.draft.client_secret_file = str(secret.absolute())  # as the shell means it
        self.password = ""

    def run(self) -> Loaded:
        """Asks until the configuration passes, then keeps it.  Raises GivenUp, OSError."""
        self._provider()
        self._server()
        self._account()
        self._secret()
        self._notices()
        self._surroundings()
        for _ in range(_TRIES):
            loaded = self._tried()
            if loaded.config is not None:
                self._keep()
                return loaded
            said = [f"{mistake.path}: {mistake.text}" for mistake in loaded.mistakes]
            wrong = {mistake.path.rpartition(".")[2] for mistake in loaded.mistakes} & set(SPOKEN)
            if self.silent or not wrong:
                raise GivenUp("\n".join(("this would not pass `relay check`:", *said)))
            complain(*said)
            for key in sorted(wrong):
                setattr(self.draft, key, self._ask(f"{key}"))
        raise GivenUp("that did not come to a configuration that passes `relay check`")

    # the questions

    def _provider(self) -> None:
        if not self.silent and not self.asked.provider:
            print(f"Providers that are known: {', '.join(NAMES)}")
        said = self.asked.provider or (GENERIC if self.draft.host else "")
        said = said or self._ask("Provider", default=GENERIC, fits=answers.provider)
        if wrong := answers.provider(said):
            raise GivenUp(wrong)
        self.draft.provider = said
        if self.draft.preset and self.draft.preset.note and not self.silent:
            print(f"{self.draft.preset.name}: {self.draft.preset.note}.")

    def _server(self) -> None:
        preset = self.draft.preset
        if preset and preset.graph and not self.draft.api:
            question = "Send by Microsoft Graph instead of SMTP (works where SMTP AUTH is switched off)?"
            self.draft.api = "graph" if self._yes(question, default=preset.oauth_first and not self.silent) else ""
        if not self.draft.host and not (preset and preset.host):
            form = preset.host_form if preset else "mail.isp.example"
            self.draft.host = self._ask(f"Server, such as {form}", option="--host", fits=answers.host)
        if not preset and not self.silent:
            self._way_in()

    def _way_in(self) -> None:
        """Port and TLS of a server that nothing is known about; each follows the other."""
        draft = self.draft
        if not draft.port:
            default = "465" if draft.tls == TlsMode.IMPLICIT.value else "587"
            draft.port = self._ask("Port", default=default, fits=answers.port)
        if not draft.tls:
            usual = TlsMode.IMPLICIT if draft.port in ("465", "2465") else TlsMode.STARTTLS
            draft.tls = self._ask("TLS (starttls, implicit or none)", default=usual.value, fits=answers.tls).lower()

    def _account(self) -> None:
        preset = self.draft.preset
        if not self.draft.username and not (preset and preset.fixed_user):
            needed = preset.needs_login if preset else False
            form = preset.user.value if preset else "as the provider names it; empty: no login"
            option = "--username" if needed else ""
            self.draft.username = self._ask(f"User name ({form})", option=option, fits=answers.username())
        if preset and preset.fixed_user and not self.draft.username:
            self.draft.username = preset.fixed_user
        if not self.draft.sender and (not self.draft.address or self.draft.wants_sender):
            option = "--sender" if self.draft.wants_sender else ""
            self.draft.sender = self._ask("Address that this account may send as", option=option, fits=answers.mailbox)

    def _secret(self) -> None:
        draft, preset = self.draft, self.draft.preset
        if draft.client_id or draft.api == "graph" or (preset and not preset.password):
            draft.oauth = True
        elif preset and preset.oauth and not self.asked.password_file and draft.username:
            draft.oauth = self._yes(
                "Log in by OAuth 2.0 instead of a password (needs an application of your own)?", default=preset.oauth_first
            )
        if draft.oauth:
            draft.client_id = draft.client_id or self._ask("Application (client) id", option="--client-id")
            if preset and preset.oauth == "microsoft" and not draft.tenant:
                draft.tenant = self._ask("Tenant (id or domain; empty: common)")
            if draft.api == "graph" and not draft.client_secret_file:
                fits = answers.file(self.target.parent)
                draft.client_secret_file = self._ask(
                    "File with the application's secret (empty: a person logs in instead)", fits=fits
                )
            if draft.api == "graph" and draft.client_secret_file:
                draft.grant = "client-credentials"
            if preset and preset.oauth == "google" and not draft.client_secret_file:
                fits = answers.file(self.target.parent)
                draft.client_secret_file = self._ask("File with the client secret", fits=fits)
        elif draft.username:
            self._password()

    def _password(self) -> None:
        preset, file = self.draft.preset, self.asked.password_file
        if file and file != "-":
            self.draft.password_file = str(Path(file).absolute())
            return
        if preset and preset.app_link and not self.silent:
            print(f"An app password or key is made here: {preset.app_link}")
        if file == "-":
            self.password = sys.stdin.readline().rstrip("\r\n")
        for _ in range(0 if self.silent or self.password or file else _SECRET_TRIES):
            self.password = getpass.getpass("Password (it is not shown): ")
            if self.password:
                break
            complain("It is empty.")
        if not self.password:
            raise GivenUp("a password is needed: --password-file FILE, or - for standard input")
        self.draft.password_file = f"{self.draft.name}.secret"

    def _notices(self) -> None:
        if not self.draft.notices_to:
            self.draft.notices_to = self._ask(
                "Who is told when mail fails", default=self.draft.address or self.draft.sender, fits=answers.mailbox
            )

    def _surroundings(self) -> None:
        """What an ordinary user cannot have is replaced by what he can: port and spool."""
        self.draft.listen = self.draft.listen or here.listen()
        self.draft.spool = self.draft.spool or here.spool(self.target.parent)

    def _ask(self, question: str, *, default: str = "", option: str = "", fits: Fits | None = None) -> str:
        """An answer that fits; with an `option` named, an empty one will not do.  Asks again.  Raises GivenUp."""
        if self.silent:
            if option and not default:
                raise GivenUp(f"{option} is needed ({question[0].lower()}{question[1:]})")
            return default
        for _ in range(_TRIES):
            found = input(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
            wrong = fits(found) if fits and found else "an answer is needed" if option and not found else ""
            if not wrong:
                return found
            complain(wrong)
        raise GivenUp(f"no answer that fits: {question}")

    def _yes(self, question: str, *, default: bool) -> bool:
        """Yes or no; whatever else is asked again.  Raises GivenUp."""
        if self.silent:
            return default
        for _ in range(_TRIES):
            said = input(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
            if said in ("", "y", "yes", "n", "no"):
                return said.startswith("y") if said else default
            complain(f"expected y or n, found {said!r}")
        raise GivenUp(f"no answer that fits: {question}")

    # the file

    def _tried(self) -> Loaded:
        """Reads the configuration as `relay check` would, beside its place, where relative names mean the same."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.target.parent, prefix=".init-") as folder:
            trial = Path(folder, "config.yaml")
            trial.write_text(as_yaml(self._anchored(folder)), encoding="utf-8")
            if self.password:
                Path(folder, self.draft.password_file).write_text(f"{self.password}\n", encoding="utf-8")
            return config.load(trial, os.environ, called=self.target)

    def _anchored(self, folder: str) -> Draft:
        """The draft with file names that mean the same from another folder."""
        named = self.draft.client_secret_file
        anchored = str(self.target.parent / named) if named else ""
        return Draft(**{**vars(self.draft), "client_secret_file": anchored})

    def _keep(self) -> None:
        secrets = {self.draft.password_file: self.password} if self.password else {}
        keep(self.target, as_yaml(self.draft), secrets)

    # what comes next

    def afterwards(self, settings: Config) -> int:
        """OAuth login, doctor, test mail: done if wanted, else named."""
        upstream, command, named = settings.upstreams[self.draft.name], here.called(), f"--config {quote(str(self.target))}"
        result = FINE
        if (
            self.draft.oauth
            and not self.draft.grant
            and not self._wanted(self.asked.login, "Log in now?", lambda: self._verb("oauth", "login", upstream.name))
        ):
            print(f"Next: {command} oauth login {upstream.name} {named}")
        if _there_is("doctor") and not self._wanted(
            self.asked.doctor,
            "Examine machine, server and login now (relay doctor)?",
            lambda: self._verb("doctor"),
        ):
            print(f"Next: {command} doctor {named}")
        to = self.asked.test_to or self._ask("Send a test mail to (empty: not now)", fits=answers.mailbox)
        if to:
            result = self._test_mail(settings, to)
        print(f"Start it: {command} run {named}")
        return result

    def _wanted(self, option: bool | None, question: str, work: Callable[[], object]) -> bool:
        if option or (option is None and not self.silent and self._yes(question, default=True)):
            work()
            return True
        return False

    def _verb(self, *words: str) -> int:
        from relay.cli.main import main

        return main([*words, "--config", str(self.target)])

    def _test_mail(self, settings: Config, to: str) -> int:
        from relay.setup.trial import try_out

        try:
            recipient = parse_address(to)
        except BadAddress as bad:
            complain(f"relay: {to}: {bad}")
            return USAGE
        refusal = try_out(settings, settings.upstreams[self.draft.name], recipient)
        print("\n".join(refusal) if refusal else f"{self.draft.name} took the test mail for {recipient}.")
        return PROBLEM if refusal else FINE


def _there_is(verb: str) -> bool:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(f"relay.cli.{verb}") is not None
    return False
