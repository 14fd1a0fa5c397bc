"""The demo's Microsoft Graph: a mailbox on loopback that keeps Microsoft's documented rules for sending mail.

Its token server hands out tokens to anybody who knows the application's secret.  What Graph refuses, this refuses in the
same words: requests over 4 MB, upload ranges that do not fit, senders that are not the mailbox, more than four at a time.
Source: learn.microsoft.com "user: sendMail", "Attach large files to Outlook messages", "Outlook service limits".
"""

import asyncio
import base64
import binascii
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay.control.server import Server

LARGEST_REQUEST = 4_000_000
LARGEST_RANGE = 4_000_000
SESSION_FROM, LARGEST_ATTACHMENT = 3_000_000, 150_000_000
RANGE_UNIT = 327_680
AT_ONCE = 4
_NO_COPY = "Boolean 0x0E01"


@dataclass(frozen=True, slots=True)
class GraphDelivery:
    """One message that was sent: to whom, as it would arrive (without Bcc), and whether a copy stayed in Sent Items.

    `mime` is what was handed over, without what was uploaded.
    """

    recipients: tuple[str, ...]
    content: bytes
    saved: bool
    mime: bytes


@dataclass
class _Draft:
    message: EmailMessage
    mime: bytes
    copy: bool = True
    attachments: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _Upload:
    draft: str
    about: dict[str, Any]
    octets: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class GraphTrouble:
    """An answer that is given instead of the usual one: to the next request whose path ends so.  Status 0: none at all.

    `late`: what was asked for is done all the same.
    """

    path: str
    status: int
    code: str = ""
    message: str = "Told to."
    headers: Mapping[str, str] = field(default_factory=dict)
    late: bool = False


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(code)
        self.answer = _error(status, code, message, {key.replace("_", "-"): value for key, value in headers.items()})


@dataclass
class GraphCloud:
    """One tenant with one mailbox.  `rights` is what tokens allow, `send_as` who else the mailbox may be.

    `requests` are the requests that came (method, path below the mailbox), `trouble` what is to go wrong; `answering` is
    cleared where answers are to wait.
    """

    mailbox: str
    secret: str = "demo-only"  # noqa: S105 - it protects nothing
    rights: tuple[str, ...] = ("Mail.Send", "Mail.ReadWrite")
    send_as: frozenset[str] = frozenset()
    invalid: frozenset[str] = frozenset()
    largest: int = 35_000_000
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    box: list[GraphDelivery] = field(default_factory=list)
    drafts: dict[str, _Draft] = field(default_factory=dict)
    uploads: dict[str, _Upload] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    trouble: list[GraphTrouble] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    granted: int = 0
    most_at_once: int = 0
    _at_once: int = 0
    _made: int = 0
    _server: Server | None = None
    _serving: "asyncio.Task[None] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_url(self) -> str:
        return f"{self.url}/tenant/oauth2/v2.0/token"

    async def start(self) -> None:
        sock = socket.create_server(("127.0.0.1", self.port))
        self.port = sock.getsockname()[1]
        self.answering.set()
        self._server = Server(self._application(), sock)
        self._serving = asyncio.create_task(self._server.serve())

    async def stop(self) -> None:
        if self._server and self._serving:
            self._server.stop()
            await self._serving

    def _application(self) -> Starlette:
        user = "/v1.0/users/{user}"
        return Starlette(
            routes=[
                Route("/tenant/oauth2/v2.0/token", self._token, methods=["POST"]),
                Route(f"{user}/sendMail", self._guarded(self._send_mail), methods=["POST"]),
                Route(f"{user}/messages", self._guarded(self._make_draft), methods=["POST"]),
                Route(f"{user}/mailFolders/drafts", self._guarded(self._folder), methods=["GET"]),
                Route(f"{user}/mailFolders/drafts/messages", self._guarded(self._find), methods=["GET"]),
                Route(f"{user}/messages/{{draft}}", self._guarded(self._change), methods=["PATCH", "DELETE"]),
                Route(f"{user}/messages/{{draft}}/attachments", self._guarded(self._attach), methods=["POST"]),
                Route(
                    f"{user}/messages/{{draft}}/attachments/createUploadSession", self._guarded(self._session), methods=["POST"]
                ),
                Route(f"{user}/messages/{{draft}}/send", self._guarded(self._send_draft), methods=["POST"]),
                Route("/upload/{upload}", self._put, methods=["PUT"]),
            ]
        )

    # tokens

    async def _token(self, request: Request) -> Response:
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
        if form.get("client_secret") != self.secret:
            words = "AADSTS7000215: Invalid client secret provided."
            return JSONResponse({"error": "invalid_client", "error_description": words}, 401)
        self.granted += 1
        return JSONResponse({"token_type": "Bearer", "expires_in": 3599, "access_token": self.new_token()})

    def new_token(self) -> str:
        """A token in the form that Microsoft's have; its signature is none."""
        claims = {"aud": self.url, "roles": list(self.rights), "jti": len(self.tokens)}
        pieces = (json.dumps({"typ": "JWT", "alg": "none"}), json.dumps(claims), "signature")
        token = ".".join(base64.urlsafe_b64encode(piece.encode()).rstrip(b"=").decode() for piece in pieces)
        self.tokens.add(token)
        return token

    # what every request must pass

    def _guarded(self, work: Any) -> Any:
        async def answer(request: Request) -> Response:
            self.requests.append((request.method, request.url.path.partition(request.path_params["user"])[2]))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                planned = self._planned(request)
                if planned and not planned.late:
                    await self._told_to(request, planned)
                self._admit(request)
                found: Response = await work(request, await self._body(request))
                await self.answering.wait()
                if planned:
                    await self._told_to(request, planned)
            except _Refusal as refusal:
                return refusal.answer
            finally:
                self._at_once -= 1
            return found

        return answer

    def _planned(self, request: Request) -> GraphTrouble | None:
        planned = next((one for one in self.trouble if request.url.path.endswith(one.path)), None)
        if planned:
            self.trouble.remove(planned)
        return planned

    async def _told_to(self, request: Request, planned: GraphTrouble) -> None:
        if not planned.late:
            await request.body()
        while not planned.status:
            if (await request.receive())["type"] == "http.disconnect":
                break
        raise _Refusal(planned.status, planned.code, planned.message, **planned.headers)

    def _admit(self, request: Request) -> None:
        said = request.headers.get("authorization", "")
        if said.removeprefix("Bearer ") not in self.tokens:
            words = "Access token has expired or is not yet valid."
            raise _Refusal(401, "InvalidAuthenticationToken", words, WWW_Authenticate='Bearer realm="", error="invalid_token"')
        if request.path_params["user"].lower() != self.mailbox.lower():
            raise _Refusal(404, "ErrorInvalidUser", f"The requested user '{request.path_params['user']}' is invalid.")
        needed = "Mail.Send" if request.url.path.endswith(("/sendMail", "/send")) else "Mail.ReadWrite"
        if needed not in self.rights:
            raise _Refusal(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
        if self._at_once > AT_ONCE:
            words = "Application is over its MailboxConcurrency limit."
            raise _Refusal(429, "ApplicationThrottled", words, Retry_After="1")

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for block in request.stream():
            body += block
            if len(body) > LARGEST_REQUEST:
                raise _Refusal(413, "RequestEntityTooLarge", "The request payload is too large. The maximum is 4 MB.")
        return bytes(body)

    # messages

    async def _send_mail(self, request: Request, body: bytes) -> Response:
        self._sent(self._mime(request, body))
        return Response(status_code=202)

    async def _make_draft(self, request: Request, body: bytes) -> Response:
        self._made += 1
        name = f"AAMk{self._made:04d}="
        self.drafts[name] = self._mime(request, body)
        return JSONResponse({"@odata.context": "...", "id": name, "isDraft": True, "body": {"content": "x" * 1000}}, 201)

    def _mime(self, request: Request, body: bytes) -> _Draft:
        if request.headers.get("content-type") != "text/plain":
            raise _Refusal(415, "UnsupportedMediaType", "Only MIME is spoken here.")
        try:
            octets = base64.b64decode(body, validate=True)
        except binascii.Error:
            words = "Invalid base64 string for MIME content."
            raise _Refusal(400, "ErrorMimeContentInvalidBase64String", words) from None
        message = message_from_bytes(octets, policy=policy.SMTP)
        return _Draft(message, octets) if isinstance(message, EmailMessage) else _Draft(EmailMessage(), octets)

    def _sent(self, draft: _Draft) -> None:
        message = draft.message
        named = [str(value) for name in ("to", "cc", "bcc") for value in message.get_all(name, [])]
        recipients = tuple(dict.fromkeys(address for _, address in getaddresses(named) if "@" in address))
        if not recipients or any(address.lower() in self.invalid for address in recipients):
            raise _Refusal(400, "ErrorInvalidRecipients", "At least one recipient is not valid., Recipient is not resolved.")
        sender = next((address for _, address in getaddresses([str(message.get("from", ""))])), "")
        if sender.lower() not in {self.mailbox.lower(), *self.send_as}:
            words = "The user account which was used to submit this request does not have the right to send mail on behalf of"
            raise _Refusal(403, "ErrorSendAsDenied", f"{words} the specified sending account., Cannot submit message.")
        for about in draft.attachments:
            _add(message, about)
        del message["bcc"]
        content = message.as_bytes()
        if len(content) > self.largest:
            words = "The message exceeds the maximum supported size., Cannot submit message."
            raise _Refusal(413, "ErrorMessageSizeExceeded", words)
        self.box.append(GraphDelivery(recipients, content, draft.copy, draft.mime))

    # drafts

    def _draft(self, request: Request) -> _Draft:
        found = self.drafts.get(request.path_params["draft"])
        if found is None:
            raise _Refusal(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        return found

    async def _folder(self, _request: Request, _body: bytes) -> Response:
        return JSONResponse({"id": "drafts", "totalItemCount": len(self.drafts)})

    async def _find(self, request: Request, _body: bytes) -> Response:
        wanted = re.fullmatch(r"internetMessageId eq '(.*)'", request.query_params.get("$filter", ""))
        if not wanted:
            raise _Refusal(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
        name = wanted[1].replace("''", "'")
        found = [key for key, draft in self.drafts.items() if draft.message.get("message-id") == name]
        return JSONResponse({"value": [{"id": key, **_recipients(self.drafts[key].message)} for key in found]})

    async def _change(self, request: Request, body: bytes) -> Response:
        draft = self._draft(request)
        if request.method == "DELETE":
            del self.drafts[request.path_params["draft"]]
            return Response(status_code=204)
        properties = json.loads(body).get("singleValueExtendedProperties", [])
        draft.copy = {"id": _NO_COPY, "value": "true"} not in properties
        return JSONResponse({"id": request.path_params["draft"]})

    async def _attach(self, request: Request, body: bytes) -> Response:
        draft, about = self._draft(request), json.loads(body)
        octets = base64.b64decode(about["contentBytes"])
        if about.get("@odata.type") != "#microsoft.graph.fileAttachment" or len(octets) >= SESSION_FROM:
            raise _Refusal(413, "ErrorAttachmentSizeLimitExceeded", "The attachment is too large for a single request.")
        draft.attachments.append({**about, "octets": octets})
        return JSONResponse({"id": "attachment"}, 201)

    async def _session(self, request: Request, body: bytes) -> Response:
        self._draft(request)
        about = json.loads(body)["AttachmentItem"]
        if about["size"] < SESSION_FROM:
            words = "Attachment size must be at least 3 MB for an upload session."
            raise _Refusal(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", words)
        if about["size"] > LARGEST_ATTACHMENT:
            raise _Refusal(413, "ErrorAttachmentSizeLimitExceeded", "The attachment exceeds 150 MB.")
        self._made += 1
        name = f"session-{self._made}"
        self.uploads[name] = _Upload(request.path_params["draft"], about)
        url = f"{self.url}/upload/{name}?authtoken=upload-secret-{self._made}"
        return JSONResponse({"uploadUrl": url, "nextExpectedRanges": ["0-"]}, 201)

    async def _put(self, request: Request) -> Response:
        self.requests.append((request.method, "/upload"))
        upload = self.uploads.get(request.path_params["upload"])
        if upload is None or not request.query_params.get("authtoken", "").startswith("upload-secret-"):
            return _error(404, "ErrorItemNotFound", "There is no such upload session.")
        try:
            if planned := self._planned(request):
                await self._told_to(request, planned)
            return self._taken(request, upload, await self._body(request))
        except ClientDisconnect:
            return Response(status_code=499)
        except _Refusal as refusal:
            return refusal.answer

    def _taken(self, request: Request, upload: _Upload, body: bytes) -> Response:
        ranges = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", request.headers.get("content-range", ""))
        if request.headers.get("authorization") or not ranges:
            return _error(400, "InvalidRequest", "No Authorization header, and a Content-Range, are wanted.")
        first, last, whole = map(int, ranges.groups())
        fits = (first, last - first + 1, whole) == (len(upload.octets), len(body), upload.about["size"])
        if not fits or len(body) > LARGEST_RANGE or ((last + 1) % RANGE_UNIT and last + 1 != whole):
            return _error(416, "InvalidRange", "The range does not fit.")
        upload.octets += body
        if last + 1 < whole:
            return JSONResponse({"nextExpectedRanges": [str(last + 1)]})
        draft = self.drafts.get(upload.draft)
        if draft is None:
            return _error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        draft.attachments.append({**upload.about, "octets": bytes(upload.octets)})
        return Response(status_code=201, headers={"Location": f"{self.url}/attachment"})

    async def _send_draft(self, request: Request, _body: bytes) -> Response:
        self._sent(self._draft(request))
        del self.drafts[request.path_params["draft"]]
        return Response(status_code=202)


def _recipients(message: EmailMessage) -> dict[str, list[dict[str, dict[str, str]]]]:
    return {
        f"{name}Recipients": [
            {"emailAddress": {"address": address}} for _, address in getaddresses(list(map(str, message.get_all(name, []))))
        ]
        for name in ("to", "cc", "bcc")
    }


def _add(message: EmailMessage, about: Mapping[str, Any]) -> None:
    kind, _, rest = about["contentType"].partition("/")
    subtype = rest.partition(";")[0]
    disposition = "inline" if about.get("isInline") else "attachment"
    extra: dict[str, Any] = {"cid": f"<{about['contentId']}>"} if about.get("contentId") else {}
    if kind == "message":
        kind, subtype = "application", "octet-stream"
    message.add_attachment(
        about["octets"], maintype=kind, subtype=subtype, filename=about["name"], disposition=disposition, **extra
    )


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = {"error": {"code": code, "message": message, "innerError": {"request-id": "00000000-0000-0000-0000-000000000001"}}}
    return JSONResponse(body, status, {"request-id": "00000000-0000-0000-0000-000000000001", **(headers or {})})


@contextlib.asynccontextmanager
async def graph_cloud(mailbox: str, **settings: Any) -> AsyncIterator[GraphCloud]:
    """A running one."""
    cloud = GraphCloud(mailbox, **settings)
    await cloud.start()
    try:
        yield cloud
    finally:
        await cloud.stop()
