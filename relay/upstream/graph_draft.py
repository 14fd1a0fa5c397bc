"""A message by way of a draft: made without its large attachments, which are added one by one, then sent.

So goes what is too large for one request, and what is to leave no copy in Sent Items: in MIME form Graph cannot be told so
otherwise (microsoftgraph/microsoft-graph-docs#18698).  A draft that a crash has left is removed before the next try.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from urllib.parse import quote

from relay.mail.address import Address
from relay.mail.message import Message
from relay.upstream.block_reader import BlockReader, Flow, in_base64
from relay.upstream.graph_answers import addressees, identity, text_of
from relay.upstream.graph_api import GraphApi, GraphRefused, Payload, lacking
from relay.upstream.graph_message import Attachment, contents, key, request_size, without
from relay.upstream.http_session import HttpLost, HttpResponse

RANGE = 8 * 327_680
"""Octets of one range of an upload, which is held in memory: below 4 MB, and a multiple of 320 KiB."""

SESSION_FROM = 3_000_000
"""Octets from which on an attachment wants an upload session; smaller ones go in one request."""

_NO_COPY = {"singleValueExtendedProperties": [{"id": "Boolean 0x0E01", "value": "true"}]}
"""PidTagDeleteAfterSubmit: the draft is gone once it is sent."""

_NOT_TAKEN = frozenset({400, 405, 422, 501})
_TO = "id,toRecipients,ccRecipients,bccRecipients"
_CLEAN_UP = 10.0  # seconds to remove a draft that will not be sent


class GraphDraft:
    """One message's draft."""

    def __init__(self, api: GraphApi, reader: BlockReader, message: Message, paths: Sequence[Address]) -> None:
        self._api, self._reader, self._message, self._paths = api, reader, message, paths

    async def send(self, parts: Sequence[Attachment], at_end: Callable[[], None]) -> HttpResponse:
        """Raises GraphRefused; HttpLost if it may have been sent.

        A device that sends a message twice must not have the draft of the one removed for the other: one at a time.
        """
        known = self._message.get("message-id")
        which = known.value if known else b"", frozenset(map(key, self._paths))
        async with self._api.connections.turns.setdefault(which, asyncio.Lock()):
            return await self._sent(parts, at_end)

    async def _sent(self, parts: Sequence[Attachment], at_end: Callable[[], None]) -> HttpResponse:
        await self._sweep()
        path = await self._make(frozenset(part.number for part in parts))
        try:
            if not self._api.mailbox.save:
                await self._leave_no_copy(path)
            async with aclosing(self._reader.blocks(contents(self._message, parts))) as blocks:
                flow = Flow(blocks)
                for part in parts:
                    await self._attach(path, part, flow)
            return await self._api.ask("POST", f"{path}/send", at_end=at_end, sending=True)
        except GraphRefused as refused:
            if not refused.uncertain:
                await self._remove(path)
            raise
        except HttpLost:
            raise
        except Exception:  # such as content that is damaged; when the relay stops, the next try removes the draft
            await self._remove(path)
            raise

    async def _sweep(self) -> None:
        """Removes drafts of this very message to these very recipients: an earlier try was cut off.

        Devices send one message to several people one by one, with one Message-ID: the drafts of others are not touched.
        """
        known = self._message.get("message-id")
        if not known:
            return
        name = known.value.decode("ascii", "ignore").replace("'", "''")
        where = quote(f"internetMessageId eq '{name}'", safe="")
        try:
            found = await self._api.ask("GET", f"/mailFolders/drafts/messages?$filter={where}&$select={_TO}")
            mine = frozenset(map(key, self._paths))
            for one in [name for name, to in addressees(found).items() if to == mine]:
                await self._api.ask("DELETE", f"/messages/{quote(one, safe='')}")
                self._api.said.append("removed a draft that an earlier try had left")
        except GraphRefused as refused:
            if refused.response is None or refused.response.status != 400:
                raise  # a cloud that cannot search so must not hold up mail; all else the next request would meet too

    async def _leave_no_copy(self, path: str) -> None:
        try:
            await self._api.ask("PATCH", path, Payload.json(_NO_COPY))
        except GraphRefused as refused:
            if refused.response is None or refused.response.status not in _NOT_TAKEN:
                raise
            self._api.said.append("a copy stays in Sent Items, since Graph does not take the order to leave none")

    async def _make(self, left_out: frozenset[int]) -> str:
        """Makes the draft; its path."""
        size = await self._reader.run(lambda: sum(map(len, without(self._message, left_out))))
        payload = mime(self._reader, size, lambda: without(self._message, left_out))
        made = await self._api.ask("POST", "/messages", payload)
        if not (name := identity(made)):
            raise GraphRefused(lacking("the id of the draft"), made)
        return f"/messages/{quote(name, safe='')}"

    async def _attach(self, path: str, part: Attachment, flow: Flow) -> None:
        about = {"name": part.name, "contentType": part.kind, "isInline": part.inline}
        if part.content_id:
            about["contentId"] = part.content_id
        if part.size < SESSION_FROM:
            coded = b64encode(await flow.take(part.size)).decode()
            kind = {"@odata.type": "#microsoft.graph.fileAttachment"}
            await self._api.ask("POST", f"{path}/attachments", Payload.json({**kind, **about, "contentBytes": coded}))
            return
        item = {"attachmentType": "file", "size": part.size, **about}
        session = await self._api.ask("POST", f"{path}/attachments/createUploadSession", Payload.json({"AttachmentItem": item}))
        if not (url := text_of(session, "uploadUrl")):
            raise GraphRefused(lacking("the address of the upload session"), session)
        for first in range(0, part.size, RANGE):
            octets = await flow.take(min(RANGE, part.size - first))
            await self._api.put(url, first, part.size, octets)
        self._api.said.append(f"sent {part.name} ({part.size / 1e6:.1f} MB) by an upload session")

    async def _remove(self, path: str) -> None:
        """What will not be sent must not lie about in the mailbox."""
        with suppress(GraphRefused, TimeoutError):
            async with asyncio.timeout(_CLEAN_UP):
                await self._api.ask("DELETE", path)


def mime(reader: BlockReader, size: int, octets: Callable[[], Iterable[bytes]]) -> Payload:
    """A message of `size` octets in MIME form."""
    return Payload("text/plain", request_size(size), lambda: reader.blocks(in_base64(octets())))
