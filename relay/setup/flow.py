"""Set-up in the browser: what has been answered so far, what was found out with it, and the end, when it is written.

All of it is in memory until then.  One flow for the whole process: whoever has the code goes on where another one stopped.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from relay.config import Config, Loaded
from relay.config.loader import load_text
from relay.detached import apart
from relay.doctor.finding import Finding, Grade
from relay.doctor.subject import Subject
from relay.mail.address import Address, parse_address
from relay.mail.reply import Answer, Stage
from relay.outbound.replies import Advice, judge
from relay.setup import answers, form
from relay.setup.consent import SetupConsent, TokensInMemory
from relay.setup.draft import Draft, as_yaml
from relay.setup.files import keep
from relay.setup.form import TypedSecrets, Wrongs
from relay.setup.place import SetupPlace
from relay.setup.trial import send_test
from relay.spool import open_safe
from relay.spool.contract import SpoolBroken
from relay.upstream.oauth.http import Granted
from relay.upstream.oauth.session_tokens import Tokens, account_of
from relay.upstream.oauth.token_store import StoreBroken
from relay.upstream.settings import Grant, Upstream

PATIENCE = 45.0
"""Seconds for the whole examination, and for a test mail."""

_BY = "set-up in the browser"

_SERVERS_FAULTS = frozenset(
    {"upstream-name", "upstream-port", "upstream-down", "upstream-unreachable", "upstream-mute", "op25b"}
    | {"tls", "tls-mode", "tls-not-offered", "tls-name"}
)
"""Findings that another name, port or encryption may cure."""

SubjectOf = Callable[[Config, tuple[str, ...]], Subject]


class DraftExamination:
    """One look of the doctor at the draft.  `lines` are what is being looked at, as it happens."""

    def __init__(self, subject: Subject, safe: TokensInMemory) -> None:
        self._subject, self._safe = subject, safe
        self.lines: list[str] = []
        self.findings: list[Finding] | None = None
        self.trouble = ""
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                self.findings, _ = await apart(self._examined)
        except TimeoutError:
            self.trouble = f"the examination did not end within {PATIENCE:g} seconds"
        except Exception as error:  # the doctor's own fault must not keep anybody from finishing
            self.trouble = f"the examination broke off: {error!r}"

    def _examined(self) -> tuple[list[Finding], float]:
        from relay.doctor.examination import examined

        return examined(self._subject, self._safe, self.lines.append)


class TrialMail:
    """One test mail on its way.  `answer` is what the server said at its end; `advice` what that means."""

    def __init__(self, config: Config, upstream: Upstream, recipient: Address, safe: TokensInMemory) -> None:
        self.to, self.upstream = str(recipient), upstream.name
        self.answer: Answer | None = None
        self.advice: Advice | None = None
        self.trouble, self.took, self._began = "", 0.0, time.monotonic()
        self.task = asyncio.create_task(self._run(config, upstream, recipient, safe))

    @property
    def seconds(self) -> int:
        """Since it began, or from there to its end."""
        return round(self.took or time.monotonic() - self._began)

    @property
    def taken(self) -> bool:
        return self.answer is not None and self.answer.reply.positive

    async def _run(self, config: Config, upstream: Upstream, recipient: Address, safe: TokensInMemory) -> None:
        tokens = Tokens(config.spool.home, _now, safe=safe)
        try:
            async with asyncio.timeout(PATIENCE):
                self.answer = await send_test(config, upstream, recipient, tokens, _BY)
        except TimeoutError:
            self.trouble = f"no answer within {PATIENCE:g} seconds"
        except Exception as error:  # shown, and a try later may work
            self.trouble = f"it broke off: {error!r}"
        finally:
            await tokens.close()
            self.took = max(time.monotonic() - self._began, 0.1)
        if self.answer is not None and not self.answer.reply.positive:
            self.advice = judge(self.answer, upstream).advice


class SetupFlow:
    """`subject_of` says what the doctor examines of a configuration."""

    def __init__(self, place: SetupPlace, subject_of: SubjectOf, environ: Mapping[str, str]) -> None:
        self.place, self._subject_of, self._environ = place, subject_of, environ
        told = place.base.notices.to
        web = "" if "web.address" in place.references else place.base.web.address
        self.draft = Draft(listen=place.listen, spool=place.spool, web=web, notices_to=str(told or ""))
        self.secrets = TypedSecrets()
        self.made_password, self.wrong_recipient = "", ""
        self.loaded: Loaded | None = None
        self.consent: SetupConsent | None = None
        self.examination: DraftExamination | None = None
        self.test: TrialMail | None = None
        self.written: Config | None = None
        self._safe = TokensInMemory()
        self._writing: asyncio.Task[str] | None = None

    @property
    def upstream(self) -> Upstream | None:
        """The one that was answered for, once the configuration passes the check."""
        return self.loaded.config.upstreams[self.draft.name] if self.loaded and self.loaded.config else None

    @property
    def finished(self) -> bool:
        return self.written is not None

    @property
    def signed_in(self) -> bool:
        """Whether no person has to sign in (any more)."""
        return self.consent is None or self.consent.granted

    @property
    def server_at_fault(self) -> bool:
        """Whether the test mail or the doctor did not get as far as the login."""
        sent, look = self.test.answer if self.test else None, self.examination
        stopped = sent is not None and not sent.reply.positive and sent.stage.before(Stage.AUTH)
        found = look.findings or [] if look else []
        return stopped or any(one.grade is Grade.PROBLEM and one.name in _SERVERS_FAULTS for one in found)

    def choose(self, said: Mapping[str, str]) -> Wrongs:
        """The provider, or the server's name."""
        draft, wrong = form.server(self.draft, said)
        if not wrong and draft != self.draft:
            self._forget()
            self.draft, self.secrets = draft, TypedSecrets(web_password=self.secrets.web_password)
        return wrong

    def answer(self, said: Mapping[str, str]) -> tuple[Wrongs, list[str]]:
        """The account.  What is wrong with which field, and what is wrong beside them."""
        own = self.place.own_password
        draft, typed, wrong = form.account(self.draft, self.secrets, said, own_password=own)
        self._forget()
        self.draft, self.secrets = draft, typed
        if wrong:
            return wrong, []
        if not own and not typed.web_password:
            self.made_password = self.made_password or "-".join(secrets.token_hex(2) for _ in range(4))
        loaded = self._checked()
        if loaded.config is None:
            wrong = {form.field_of(one.path): one.text for one in loaded.mistakes if form.field_of(one.path)}
            return wrong, [f"{one.path}: {one.text}" for one in loaded.mistakes if not form.field_of(one.path)]
        self.loaded = loaded
        self._begin()
        return {}, []

    def examine(self) -> None:
        """Has the doctor look at it, unless it is looking."""
        loaded = self.loaded
        if loaded and loaded.config and not (self.examination and not self.examination.task.done()):
            subject = self._subject_of(loaded.config, loaded.remarks)
            self.examination = DraftExamination(subject, self._safe)

    def send(self, to: str) -> None:
        """Sends a test mail, unless one is on its way."""
        upstream = self.upstream
        busy = self.test is not None and not self.test.task.done()
        if upstream is None or self.loaded is None or self.loaded.config is None or not self.signed_in or busy:
            return
        self.wrong_recipient = answers.mailbox(to.strip())
        if not self.wrong_recipient:
            self.test = TrialMail(self.loaded.config, upstream, parse_address(to.strip()), self._safe)

    def sign_in(self, *, by_device: bool) -> None:
        """Begins the sign-in again, by a code to type or by an address to open."""
        if self.consent and not self.consent.granted:
            self.consent.begin(by_device=by_device)

    async def paste(self, address: str) -> None:
        if self.consent and not self.consent.granted:
            await self.consent.paste(address)

    @property
    def writing(self) -> asyncio.Task[str] | None:
        """What writes the settings at the moment."""
        return self._writing if self._writing and not self._writing.done() else None

    async def finish(self) -> str:
        """Writes everything; "", or why it could not be.  Who gives up waiting for it does not stop it."""
        config = self.loaded.config if self.loaded else None
        if self.finished or config is None:
            return "" if self.finished else "there is nothing to write yet"
        if not self.writing:
            self._writing = asyncio.create_task(self._write(config))
        return await asyncio.shield(self._writing) if self._writing else ""

    def close(self) -> None:
        """Ends what is under way, and forgets it; what is being written has all that it needs."""
        self._forget()
        self.secrets, self.made_password = TypedSecrets(), ""

    # what happens with the answers

    def _forget(self) -> None:
        """What was found out with other answers."""
        for one in (self.examination, self.test):
            if one:
                one.task.cancel()
        if self.consent:
            self.consent.close()
        self.loaded, self.consent, self.examination, self.test = None, None, None, None
        self._safe = TokensInMemory()

    def _begin(self) -> None:
        upstream = self.upstream
        oauth = upstream.login.oauth if upstream else None
        if upstream is None or oauth is None or oauth.grant is Grant.CLIENT_CREDENTIALS:
            self.examine()
            return
        loop, account = asyncio.get_running_loop(), account_of(upstream, self.place.state_dir, _now, safe=self._safe)

        def kept(granted: Granted) -> None:
            account.consented(granted)
            loop.call_soon_threadsafe(self._examine_once)

        self.consent = SetupConsent(upstream, kept)
        self.consent.begin(by_device=self.consent.by_device)

    def _examine_once(self) -> None:
        if self.examination is None and self.consent:
            self.examine()

    def _checked(self) -> Loaded:
        """As `relay check` would, from memory."""
        text = as_yaml(self._whole_draft(), self._references(), by=_BY, inline=True)
        named = {name: value for name, value in self._environ.items() if f"${{{name}}}" in text}
        return load_text(text, self.place.target, {**named, **self._whole_secrets().variables()})

    def _references(self) -> dict[str, str]:
        """Without what was typed otherwise than the environment has it."""
        found, told = dict(self.place.references), self.place.base.notices.to
        if self.draft.notices_to != str(told or ""):
            found.pop("notices.to", None)
        return found

    def _whole_draft(self) -> Draft:
        return replace(self.draft, notices_to="") if "notices.to" in self._references() else self.draft

    def _whole_secrets(self) -> TypedSecrets:
        return replace(self.secrets, web_password=self.secrets.web_password or self.made_password)

    async def _write(self, config: Config) -> str:
        draft = self._whole_draft()
        text, typed = as_yaml(draft, self._references(), by=_BY), self._whole_secrets().of(draft)
        hand_over = self._tokens_to_keep()
        trouble = await apart(partial(_written, self.place.target, text, typed, self._environ, hand_over))
        self.written = None if trouble else config
        return trouble

    def _tokens_to_keep(self) -> Callable[[], None]:
        """What brings them from memory to where the relay keeps them.  It blocks, and raises OSError and SpoolBroken."""
        upstream, settings = self.upstream, self.loaded.config if self.loaded else None
        if upstream is None or settings is None or upstream.login.oauth is None:
            return lambda: None
        account, spool = account_of(upstream, self.place.state_dir, _now, safe=self._safe), settings.spool

        def hand_over() -> None:
            if kept := account.kept():
                account_of(upstream, spool.home, _now, safe=open_safe(spool)).take_over(kept)

        return hand_over


class _Mistaken(Exception):
    """What was to be written would not pass the check."""


def _written(
    target: Path, text: str, typed: Mapping[str, str], environ: Mapping[str, str], hand_over: Callable[[], None]
) -> str:
    """Secrets, tokens, and the configuration last; "", or why it could not be, and then no secret stays.  Blocks."""

    def check() -> None:
        loaded = load_text(text, target, environ)
        if loaded.config is None:
            raise _Mistaken("\n".join(map(str, loaded.mistakes)))
        hand_over()

    if os.path.lexists(target):
        return f"{target} is there already; start the relay again"
    try:
        keep(target, text, typed, check)
    except (_Mistaken, SpoolBroken, StoreBroken) as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or target}: {error.strerror or error}"
    return ""


_now = partial(datetime.now, UTC)
