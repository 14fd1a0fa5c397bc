"""Microsoft Graph as a transport: a message in MIME form to sendMail, or by a draft and upload sessions where it is large.

202 means that Exchange has taken it.  What is lost after the whole request was written may have been taken, as after a
final dot (RFC 1047).
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from relay.mail.address import Address, with_a_labels
from relay.mail.message import Message
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream.authenticate import Refused, Renew, Token
from relay.upstream.block_reader import BlockReader
from relay.upstream.graph_answers import code_of, relayed
from relay.upstream.graph_api import Access, Connections, GraphApi, GraphRefused
from relay.upstream.graph_draft import GraphDraft, mime
from relay.upstream.graph_message import (
    LARGEST_ATTACHMENT,
    LARGEST_REQUEST,
    Attachment,
    addressed,
    attachments_of,
    request_size,
    taken_out,
)
from relay.upstream.graph_rights import DRAFT, rights_of
from relay.upstream.http_session import HttpLost
from relay.upstream.report import Conversation, Report, too_big
from relay.upstream.settings import GraphMailbox, Upstream

Answers = dict[Address, Answer]

_MECHANISM = "bearer token"


class GraphSubmission:
    """All upstreams that are Graph mailboxes."""

    def __init__(self, token: Token, refused: Refused, renewed: Renew, opened: Callable[[str], None]) -> None:
        self._access = Access(token, refused, renewed, opened)
        self._connections: dict[str, Connections] = {}
        self._closed = False

    async def submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        """One message to all recipients that it may have at once."""
        started = time.monotonic()
        answers, paths, left = _own_refusals(upstream, outgoing)
        if not paths:
            return Report(answers, left=left)
        found = await self._access.token(upstream)
        if isinstance(found, Answer):
            return Report(answers | dict.fromkeys(paths, found), Conversation(took=time.monotonic() - started), left)
        connections = self._connections.setdefault(upstream.name, Connections())
        api = GraphApi(upstream, upstream.of_kind(GraphMailbox), self._access, connections, found)
        reader = BlockReader(outgoing.size, outgoing.reading)
        sender = _Sender(api, reader, outgoing)
        try:
            left = (*await sender.to(paths), *left)
            answers |= sender.answers
        finally:
            reader.close()
            if self._closed:
                connections.close()
        notes = tuple(dict.fromkeys((*sender.notes, *api.said)))
        return Report(answers, Conversation(api.peer, api.tls, _MECHANISM, time.monotonic() - started, notes=notes), left)

    def forget(self, name: str) -> None:
        if known := self._connections.pop(name, None):
            known.close()

    async def close(self) -> None:
        self._closed = True
        for name in list(self._connections):
            self.forget(name)


def _own_refusals(upstream: Upstream, outgoing: Outgoing) -> tuple[Answers, tuple[Address, ...], tuple[Address, ...]]:
    """Our own refusals of what Graph cannot take at all; those who get it now; and those who must wait for that."""
    paths, limit = tuple(dict.fromkeys(outgoing.forward_paths)), upstream.limits.message
    if limit and outgoing.size > limit:
        return dict.fromkeys(paths, too_big(upstream.name, limit, outgoing.size)), (), ()
    if outgoing.utf8:
        words = f"an address or a header is not in ASCII, which {upstream.name} does not take"
        return dict.fromkeys(paths, Answer(Stage.MAIL, Reply(553, "5.6.7", words), fault=Fault.SMTPUTF8)), (), ()
    words = f"this address is not in ASCII, which {upstream.name} does not take"
    no = Answer(Stage.RCPT, Reply(553, "5.6.7", words), fault=Fault.SMTPUTF8)
    answers = {path: no for path in paths if not _sayable(path)}
    rest, most = tuple(path for path in paths if path not in answers), upstream.limits.recipients
    return answers, rest[:most], rest[most:]


def _sayable(path: Address) -> bool:
    """Whether it can stand in a header field in ASCII."""
    try:
        return str(with_a_labels(path)).isascii() and str(path).isprintable()
    except UnicodeError:
        return False


@dataclass
class _Sender:
    """Sends one message; more than once only if Graph dislikes one recipient and does not say which.

    `answers` are those so far.
    """

    api: GraphApi
    reader: BlockReader
    outgoing: Outgoing
    notes: list[str] = field(default_factory=list)
    answers: Answers = field(default_factory=dict)
    at_end: bool = False

    async def to(self, paths: tuple[Address, ...]) -> tuple[Address, ...]:
        """Those that are left: what ends the sending of one part must not lose the answers to the others."""
        parts = [paths]
        while parts:
            part = parts.pop()
            try:
                answer = await self._answer(part)
            except (Exception, asyncio.CancelledError) as error:
                if not self.answers:
                    raise
                if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()):
                    task.uncancel()
                return tuple(path for each in (part, *reversed(parts)) for path in each)
            if isinstance(answer, Answer):
                self.answers |= dict.fromkeys(part, answer)
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
        return ()

    async def _answer(self, paths: tuple[Address, ...]) -> Answer | None:
        """None if one of several recipients is refused."""
        try:
            return await self._sent(paths)
        except GraphRefused as refused:
            if refused.answer.stage is Stage.RCPT and len(paths) > 1:
                self.notes.append("sent in parts, since Graph refuses a recipient and does not say which one")
                return None
            return refused.answer
        except HttpLost as lost:
            return Answer(Stage.CONTENT, Reply(421, "4.4.2", str(lost)), lost=True, fault=lost.fault)
        except asyncio.CancelledError:
            if not self.at_end:
                raise
            # the relay stops: it must still store that the message may have been taken
            if task := asyncio.current_task():
                task.uncancel()
            words = "the relay was stopped before Graph's answer"
            return Answer(Stage.CONTENT, Reply(421, "4.4.2", words), lost=True, fault=Fault.UNANSWERED)

    async def _sent(self, paths: tuple[Address, ...]) -> Answer:
        self.at_end = False
        found = await self.reader.run(lambda: addressed(self.outgoing.content, paths))
        self.notes += found.notes
        message, size = found.message, self.outgoing.size + found.grown
        small, rights = request_size(size) <= LARGEST_REQUEST, rights_of(self.api.secret)
        if small and self.api.mailbox.save:
            return await self._whole(message, size)
        if rights.lacks(DRAFT):
            if small:
                return await self._whole(message, size, "lacks Mail.ReadWrite")
            words = f"{size / 1e6:.1f} MB need the permission Mail.ReadWrite, which the application lacks; 3 MB go without"
            raise GraphRefused(Answer(Stage.MAIL, Reply(451, "4.7.1", words), fault=Fault.PERMISSION))
        connections = self.api.connections
        if small and connections.denied_drafts == self.api.secret:
            return await self._whole(message, size, "seems to lack Mail.ReadWrite")
        parts = () if small else await self._parts(message, size)
        try:
            return relayed(await GraphDraft(self.api, self.reader, message, paths).send(parts, self._last))
        except GraphRefused as refused:
            if not refused.response or self.at_end or code_of(refused.response) not in _NO_DRAFTS:
                raise
            if not small:
                raise GraphRefused(replace(refused.answer, stage=Stage.MAIL, fault=Fault.PERMISSION)) from None
            if rights.has(DRAFT):
                raise
        # the token does not tell, and the answer does: sendMail shows whether it is only the draft that is denied
        answer = await self._whole(message, size, "seems to lack Mail.ReadWrite")
        connections.denied_drafts = self.api.secret
        return answer

    async def _whole(self, message: Message, size: int, lack: str = "") -> Answer:
        """In one request, of which Graph always keeps a copy; `lack` is why the application cannot prevent that."""
        payload = mime(self.reader, size, lambda: message)
        answer = relayed(await self.api.ask("POST", "/sendMail", payload, at_end=self._last, sending=True))
        if lack:
            self.notes.append(f"a copy stays in Sent Items, since the application {lack}")
        return answer

    async def _parts(self, message: Message, size: int) -> tuple[Attachment, ...]:
        """What goes by itself, since one request does not hold it.  Raises GraphRefused."""
        parts = taken_out(await self.reader.run(lambda: attachments_of(message)), size)
        name = self.api.upstream.name
        if parts is None:
            most = LARGEST_REQUEST // 4 * 3 / 1e6
            raise _too_large(
                f"these {size / 1e6:.1f} MB cannot be taken apart, and {name} takes at most {most:.1f} MB in one piece"
            )
        if larger := [part for part in parts if part.size > LARGEST_ATTACHMENT]:
            most, part = LARGEST_ATTACHMENT / 1e6, max(larger, key=lambda part: part.size)
            raise _too_large(f"{part.name} has {part.size / 1e6:.1f} MB, and {name} takes attachments of at most {most:.1f} MB")
        if any(part.text for part in parts):
            self.notes.append("the text goes as an attachment, since it is too large for Graph")
        return parts

    def _last(self) -> None:
        self.at_end = True
        self.outgoing.at_dot()


def _too_large(words: str) -> GraphRefused:
    """Found before anything was sent."""
    return GraphRefused(Answer(Stage.MAIL, Reply(552, "5.3.4", words), fault=Fault.TOO_BIG))


_NO_DRAFTS = frozenset({"erroraccessdenied", "accessdenied", "authorization_requestdenied"})
