"""Requests to Microsoft Graph in the name of one mailbox: the token, a kept connection, and what an answer means.

A refused token is renewed once within a request.  Nothing of a token or of an upload's address is ever told.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from weakref import WeakValueDictionary

from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.secret import unsaid
from relay.upstream import tls
from relay.upstream.authenticate import Refused, Renew, Token
from relay.upstream.connect import Failed
from relay.upstream.graph_answers import is_page, refusal
from relay.upstream.http_session import HttpLost, HttpOrigin, HttpRequest, HttpResponse, HttpSession, open_http
from relay.upstream.idle_pool import IdlePool
from relay.upstream.settings import GraphMailbox, SmtpServer, Upstream

_IDLE = 10.0  # seconds that a connection is kept: if one is lost that had ended silently, a message may be taken or not
_BLOCK = 131_072


class GraphRefused(Exception):
    """Graph said no, or could not be asked; `response` is None if there was none."""

    def __init__(self, answer: Answer, response: HttpResponse | None = None) -> None:
        super().__init__(str(answer))
        self.answer, self.response = answer, response

    @property
    def uncertain(self) -> bool:
        """Whether the message may be sent all the same."""
        return self.answer.fault is Fault.UNANSWERED


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a request: `make` begins it anew each time that it is sent."""

    kind: str
    length: int
    make: Callable[[], AsyncGenerator[bytes, None]]

    @classmethod
    def of(cls, kind: str, octets: bytes) -> "Payload":
        async def once() -> AsyncGenerator[bytes, None]:
            for place in range(0, len(octets), _BLOCK):
                yield octets[place : place + _BLOCK]

        return cls(kind, len(octets), once)

    @classmethod
    def json(cls, value: Any) -> "Payload":
        return cls.of("application/json", json.dumps(value).encode())


@dataclass(frozen=True, slots=True)
class Access:
    """Where tokens come from, and who hears that one was taken."""

    token: Token
    refused: Refused
    renewed: Renew
    opened: Callable[[str], None]


class Connections:
    """The open connections to one server; kept ones are used again.

    `turns` has a lock for each message that a draft is made of, by Message-ID and recipients.  `denied_drafts` is a token
    that does not tell all its rights and has shown that it may send, but make no draft.
    """

    def __init__(self) -> None:
        self._kept = IdlePool[HttpSession](_IDLE, HttpSession.close)
        self.turns: WeakValueDictionary[tuple[bytes, frozenset[str]], asyncio.Lock] = WeakValueDictionary()
        self.denied_drafts = ""

    def take(self, origin: HttpOrigin) -> HttpSession | None:
        return self._kept.take(lambda session: session.alive, lambda session: session.origin == origin)

    def keep(self, session: HttpSession) -> None:
        if session.alive:
            self._kept.keep(session)
        else:
            session.close()

    def close(self) -> None:
        self._kept.close()


@dataclass
class GraphApi:
    """One transaction's requests.  `peer` and `tls` are those of the last connection."""

    upstream: Upstream
    mailbox: GraphMailbox
    access: Access
    connections: Connections
    secret: str
    peer: str = ""
    tls: str = ""
    renewed: bool = False
    said: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """The path of the mailbox; personal accounts know only their own."""
        oauth = self.mailbox.login.oauth
        if oauth and oauth.tenant == "consumers":
            return "/v1.0/me"
        return f"/v1.0/users/{quote(self.mailbox.login.username, safe='@')}"

    async def ask(
        self,
        method: str,
        path: str,
        payload: Payload | None = None,
        *,
        at_end: Callable[[], None] = lambda: None,
        sending: bool = False,
    ) -> HttpResponse:
        """A 2xx answer to a request below `base`.  Raises GraphRefused; HttpLost only if it may have been carried out.

        `sending`: carried out twice, it would send twice.
        """
        origin = HttpOrigin.of(self.mailbox.url)
        target = urlsplit(self.mailbox.url).path.rstrip("/") + self.base + path
        while True:
            headers = [("Authorization", f"Bearer {self.secret}"), *_HEADERS]
            response = await self._exchange(origin, method, target, headers, payload, at_end, sending=sending)
            if response.status == 401 and await self._renew(response):
                continue
            if 200 <= response.status < 300 and is_page(response):
                raise GraphRefused(lacking("all that Graph's have: it is a page for people"), response)
            if 200 <= response.status < 300:
                self.access.opened(self.upstream.name)
                return response
            raise GraphRefused(self._refusal(response, sending=sending), response)

    async def put(self, url: str, first: int, whole: int, octets: bytes) -> HttpResponse:
        """A range of an upload; its address is a secret of its own, and it gets no token.  Raises GraphRefused."""
        try:
            origin, parts = HttpOrigin.of(url), urlsplit(url)
        except ValueError:
            raise GraphRefused(lacking("an address of the upload session that can be used")) from None
        if not origin.secure and HttpOrigin.of(self.mailbox.url).secure:
            raise GraphRefused(_ours(Fault.GARBAGE, "Graph names an address without TLS for the upload"))
        until = first + len(octets) - 1
        headers = [*_HEADERS, ("Content-Range", f"bytes {first}-{until}/{whole}")]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        response = await self._exchange(origin, "PUT", target, headers, Payload.of("application/octet-stream", octets))
        if 200 <= response.status < 300:
            return response
        values = (value for _, value in parse_qsl(parts.query))
        answer = self._refusal(response, url, target, parts.path, parts.query, *values)
        if answer.stage is Stage.AUTH:  # no token was sent: the session is over, and the account has nothing to do with it
            raise GraphRefused(_ours(Fault.GARBAGE, f"the upload session takes no more: {answer.reply.text}"))
        raise GraphRefused(answer, response)

    async def _exchange(
        self,
        origin: HttpOrigin,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        payload: Payload | None,
        at_end: Callable[[], None] = lambda: None,
        *,
        sending: bool = False,
    ) -> HttpResponse:
        patience = self.upstream.timeout.total_seconds()
        while True:
            kept = self.connections.take(origin)
            session = kept or await self._open(origin, patience)
            self.peer, self.tls = session.peer, session.tls
            kind = [("Content-Type", payload.kind)] if payload else []
            request = HttpRequest(
                method, target, [*headers, *kind], payload.length if payload else 0, payload.make() if payload else None, at_end
            )
            try:
                response = await session.ask(request, patience, 10 * patience if sending else patience)
            except HttpLost as lost:
                if sending and lost.sent:
                    raise
                if kept and lost.fault is Fault.HUNG_UP and not (lost.sent and method == "POST"):
                    continue  # the server had ended it meanwhile; POST might add an attachment a second time
                raise GraphRefused(_ours(lost.fault, str(lost))) from None
            self.connections.keep(session)
            return response

    async def _open(self, origin: HttpOrigin, patience: float) -> HttpSession:
        server = SmtpServer(origin.host, origin.port, self.mailbox.tls)
        try:
            context = await asyncio.to_thread(tls.context_for, self.mailbox.tls) if origin.secure else None
        except OSError as error:
            raise GraphRefused(_no_tls(Fault.TLS_FILE, f"a file for TLS cannot be used: {error}")) from None
        try:
            session = await open_http(origin, context, patience)
        except Failed as failed:
            raise GraphRefused(failed.answer) from None
        except (OSError, TimeoutError) as error:
            raise GraphRefused(_no_tls(*tls.explain(error, server))) from None
        if origin.secure and (problem := tls.pin_problem(self.mailbox.tls, session.certificate)):
            session.close()
            raise GraphRefused(_no_tls(Fault.TLS_PIN, f"{origin.host}: {problem}"))
        return session

    async def _renew(self, response: HttpResponse) -> bool:
        """Whether there is a new token to try.  Raises GraphRefused where there is none."""
        if self.renewed:
            answer = self._refusal(response)
            raise GraphRefused(await self.access.refused(self.upstream, self.secret, answer), response)
        self.renewed = True
        found = await self.access.renewed(self.upstream, self.secret)
        if isinstance(found, Answer):
            raise GraphRefused(found, response)
        self.said.append("fetched a new access token, since Graph took the old one no longer")
        self.secret = found
        return True

    def _refusal(self, response: HttpResponse, *more: str, sending: bool = False) -> Answer:
        """What it means, without our secrets and `more`.  They go first: of a page that is cut off half a token could stay."""

        def clean(text: str) -> str:
            return unsaid(text, self.secret, *more)

        body = clean(response.body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return refusal(replace(response, reason=clean(response.reason), body=body), sending=sending)


_HEADERS = (("Accept", "application/json"), ("User-Agent", "relay"))


def lacking(what: str) -> Answer:
    """A 2xx answer that cannot be used."""
    return _ours(Fault.GARBAGE, f"the answer lacks {what}")


def _ours(fault: Fault, words: str) -> Answer:
    """A request that got no answer, and sent nothing."""
    return Answer(Stage.MAIL, Reply(421, "4.4.2", words), lost=True, fault=fault)


def _no_tls(fault: Fault, words: str) -> Answer:
    return Answer(Stage.TLS, Reply(454, "4.7.5", words), lost=True, fault=fault)
