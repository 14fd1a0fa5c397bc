"""The AUTH command of one session: its mechanism, its turns, and what a refusal is about.  RFC 4954, RFC 4616, RFC 7628."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.secret import unsaid
from relay.upstream import login
from relay.upstream.connect import Failed, lost_at
from relay.upstream.settings import Upstream

Token = Callable[[Upstream], Awaitable[str | Answer]]
"""Gets an OAuth access token, or says as an Answer at AUTH why there is none."""

Refused = Callable[[Upstream, str, Answer], Awaitable[Answer]]
"""Hears that a token was refused and how; the Answer that every forward-path is to get for it."""

Say = Callable[..., Awaitable[Reply]]
"""Says the words of one command and gets the reply.  Raises Failed."""


async def no_token(upstream: Upstream) -> str | Answer:
    """The answer where no OAuth is at hand."""
    words = f"there is no OAuth token for {upstream.name}; run `relay oauth login {upstream.name}` first"
    return Answer(Stage.AUTH, Reply(535, "5.7.8", words), fault=Fault.TOKEN)


async def as_said(_upstream: Upstream, _token: str, answer: Answer) -> Answer:
    """The refusal of a token as it stands, where nobody can get another one."""
    return answer


@dataclass(frozen=True, slots=True)
class Dialog:
    """One login.  `offered` as in EHLO; `unfit`: mechanisms known to be announced and not taken, which may grow."""

    upstream: Upstream
    offered: Collection[str]
    encrypted: bool
    say: Say
    token: Token
    refused: Refused
    unfit: set[str]

    async def log_in(self) -> str:
        """The mechanism, "" if none was needed.  Raises Failed.

        At most one AUTH command for each connection: providers lock accounts after a few wrong ones.
        """
        settings, choice = self.upstream.login, self._choice()
        if choice.problem and self.unfit:  # the server may have been mended meanwhile
            self.unfit.clear()
            choice = self._choice()
        if choice.problem:
            raise Failed(Answer(Stage.AUTH, Reply(530, "5.7.4", choice.problem), fault=Fault.NO_MECHANISM))
        if not choice.mechanism:
            return ""
        secret: str | Answer = settings.password.reveal() if settings.password else ""
        if choice.mechanism in login.BY_TOKEN:
            secret = await self.token(self.upstream)
        if isinstance(secret, Answer):
            raise Failed(secret)
        try:
            await self._auth(choice.mechanism, settings.username, secret)
        except Failed as failed:
            said = login.spoken(choice.mechanism, settings.username, secret)
            reply = replace(failed.answer.reply, text=unsaid(failed.answer.reply.text, *said))
            failed.answer = replace(failed.answer, reply=reply)
            if not failed.answer.lost:
                await self._judge(failed, choice.mechanism, secret)
            raise
        return choice.mechanism

    def _choice(self) -> login.Choice:
        return login.choose(self.upstream.login, self.offered, encrypted=self.encrypted, unfit=self.unfit)

    async def _judge(self, failed: Failed, mechanism: str, secret: str) -> None:
        """Whether the refusal is about the mechanism, so that another may do, or about the secret."""
        reply = failed.answer.reply
        if login.not_taken(reply):
            self.unfit.add(mechanism)
            other = self._choice()
            failed.again = bool(other.mechanism)
            words = f"{other.problem}: {reply.text}" if other.problem else reply.text
            failed.answer = replace(failed.answer, reply=replace(reply, text=words), fault=Fault.NO_MECHANISM)
        elif mechanism in login.BY_TOKEN and reply.permanent:
            failed.answer = await self.refused(self.upstream, secret, failed.answer)

    async def _auth(self, mechanism: str, username: str, secret: str) -> None:
        words, reason = login.opening(mechanism, username, secret), ""
        for turn in range(4):
            reply = await self.say(*words)
            if reply.code == 235:
                return
            if reply.code != 334:
                break
            if mechanism in login.BY_TOKEN:
                # the reason comes as a challenge; an answer without a meaning brings the refusal proper
                reason, words = login.told(reply.text), (login.farewell(mechanism),)
            else:
                words = (login.response(mechanism, username, secret, reply.text, turn),)
        if not (reply.transient or reply.permanent):
            raise Failed(lost_at(Stage.AUTH, Fault.GARBAGE, f"the login ended with {reply}"))
        text = f"{reply.text} ({reason})" if reason else reply.text
        raise Failed(Answer(Stage.AUTH, Reply(reply.code, reply.status, text)))
