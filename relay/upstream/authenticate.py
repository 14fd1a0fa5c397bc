"""The AUTH command of one session: its mechanism, its challenges, and what a refusal is about.  RFC 4954, RFC 5802."""

import base64
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

from relay.detached import apart
from relay.mail.reply import Answer, Fault, Reply, Stage, readable
from relay.secret import unsaid
from relay.upstream import client_sasl, mechanism_choice
from relay.upstream.connect import Failed, lost_at
from relay.upstream.settings import Upstream

Token = Callable[[Upstream], Awaitable[str | Answer]]
"""Gets an OAuth access token, or says as an Answer at AUTH why there is none."""

Refused = Callable[[Upstream, str, Answer], Awaitable[Answer]]
"""Takes a refused token and the refusal; gives the Answer for every forward-path."""

Renew = Callable[[Upstream, str], Awaitable[str | Answer]]
"""Gets a new access token instead of a refused one at once, or says as an Answer at AUTH why there is none."""

Say = Callable[..., Awaitable[Reply]]
"""Sends one command and gets the reply.  Raises Failed."""


async def no_token(upstream: Upstream) -> str | Answer:
    """The answer where OAuth is not set up."""
    words = f"there is no OAuth token for {upstream.name}; run `relay oauth login {upstream.name}` first"
    return Answer(Stage.AUTH, Reply(535, "5.7.8", words), fault=Fault.TOKEN)


async def none_newer(upstream: Upstream, _token: str) -> str | Answer:
    """The answer where no token can be renewed."""
    return await no_token(upstream)


async def as_said(_upstream: Upstream, _token: str, answer: Answer) -> Answer:
    """Leaves the refusal of a token as it is."""
    return answer


@dataclass(frozen=True, slots=True)
class Dialog:
    """One login.  `offered` as in EHLO; `unfit`: mechanisms that are announced but not taken; more may be added.

    `binding` is the data of this TLS connection that SCRAM binds a login to, if there is any.
    """

    upstream: Upstream
    offered: Collection[str]
    encrypted: bool
    say: Say
    token: Token
    refused: Refused
    unfit: set[str]
    binding: bytes = b""

    async def log_in(self) -> str:
        """The mechanism, "" if none was needed.  Raises Failed.

        At most one AUTH command for each connection: providers lock accounts after a few wrong ones.
        """
        settings, choice = self.upstream.login, self._choice()
        if choice.problem and self.unfit:  # the server may have been repaired meanwhile
            self.unfit.clear()
            choice = self._choice()
        if choice.problem:
            raise Failed(Answer(Stage.AUTH, Reply(530, "5.7.4", choice.problem), fault=Fault.NO_MECHANISM))
        if not choice.mechanism:
            return ""
        secret: str | Answer = settings.password.reveal() if settings.password else ""
        if choice.mechanism in mechanism_choice.BY_TOKEN:
            secret = await self.token(self.upstream)
        if isinstance(secret, Answer):
            raise Failed(secret)
        # do not tell a server that offers -PLUS but does not take it that we could have used it (RFC 5802 s6)
        silent = client_sasl.PLUS in self.offered and choice.mechanism != client_sasl.PLUS
        mechanism = client_sasl.mechanism(choice.mechanism, settings.username, secret, b"" if silent else self.binding)
        try:
            await self._auth(choice.mechanism, mechanism)
        except Failed as failed:
            reply = replace(failed.answer.reply, text=unsaid(failed.answer.reply.text, *mechanism.said))
            failed.answer = replace(failed.answer, reply=reply)
            if not failed.answer.lost:
                await self._judge(failed, choice.mechanism, mechanism)
            raise
        return choice.mechanism

    def _choice(self) -> mechanism_choice.Choice:
        return mechanism_choice.choose(
            self.upstream.login, self.offered, encrypted=self.encrypted, bound=bool(self.binding), unfit=self.unfit
        )

    async def _judge(self, failed: Failed, name: str, mechanism: client_sasl.Mechanism) -> None:
        """Whether the refusal is about the mechanism, so that another may do, or about the secret."""
        reply = failed.answer.reply
        if mechanism_choice.not_taken(reply) or (reply.permanent and not mechanism.tested):
            self.unfit.add(name)
            other = self._choice()
            failed.again = bool(other.mechanism)
            if not failed.again and not mechanism_choice.not_taken(reply):
                return  # refused before the password was looked at, but nothing says that the mechanism is to blame
            words = f"{other.problem}: {reply.text}" if other.problem else reply.text
            failed.answer = replace(failed.answer, reply=replace(reply, text=words), fault=Fault.NO_MECHANISM)
        elif name in mechanism_choice.BY_TOKEN and reply.permanent:
            failed.answer = await self.refused(self.upstream, mechanism.secret, failed.answer)

    async def _auth(self, name: str, mechanism: client_sasl.Mechanism) -> None:
        first = mechanism.start()
        words = (b"AUTH", name.encode(), *([] if first is None else [base64.b64encode(first)]))
        for _ in range(4):
            reply = await self.say(*words)
            if reply.code == 235:
                if not mechanism.proven:
                    raise Failed(lost_at(Stage.AUTH, Fault.GARBAGE, f"the server took {name} without proving itself"))
                return
            if reply.code != 334:
                break
            respond = partial(mechanism.respond, reply.text)
            # the rounds of SCRAM take their time
            said = await apart(respond) if isinstance(mechanism, client_sasl.Scram) else respond()
            words = (b"*" if said is None else base64.b64encode(said),)
        if not (reply.transient or reply.permanent):
            raise Failed(lost_at(Stage.AUTH, Fault.GARBAGE, f"the login ended with {reply}"))
        text = f"{reply.text} ({readable(mechanism.reason)})" if mechanism.reason else reply.text
        raise Failed(Answer(Stage.AUTH, Reply(reply.code, reply.status, text)))
