"""Pages below a path of a reverse proxy, such as Home Assistant's ingress: links, redirects and cookies get the prefix.

browser ── /api/hassio_ingress/TOKEN/doctor ──▶ proxy ── /doctor, X-Ingress-Path ──▶ page
        ◀── href="/api/hassio_ingress/TOKEN/..."                ◀── href="/..."
"""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Send

_NAMES = ("x-ingress-path", "x-forwarded-prefix")  # Home Assistant's Supervisor; Traefik's StripPrefix
_PREFIX = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.~-]{0,127}){1,6}")
# Only templates can have such a thing: in what comes from mail, quotation marks are escaped, but in the frame with its HTML.
_LINK = re.compile(rb'( (?:href|src|action|formaction|data-check|data-next)="| content="\d{1,3}; url=)/(?!/)')
_FRAMED = "sandbox"
# Such a proxy shows the page in a frame of its own page, which has the same origin.
_CHANGED = {
    b"set-cookie": (b"Path=/;", b"Path=%b/;"),
    b"content-security-policy": (b"frame-ancestors 'none'", b"frame-ancestors 'self'"),
    b"x-frame-options": (b"DENY", b"SAMEORIGIN"),
}


def prefix_of(headers: Headers) -> str:
    """The path that the proxy took off, without a slash at its end; "" if none.  Whether it is believed, the caller knows."""
    said = next((headers[name] for name in _NAMES if headers.get(name)), "").rstrip("/")
    return said if _PREFIX.fullmatch(said) else ""


def below(prefix: str, send: Send) -> Send:
    """`send` for an answer whose links begin at the root.  An HTML page is kept until it is whole; what a stranger wrote
    (its policy begins with "sandbox") is left as it is."""
    began: Message = {}
    body = bytearray()

    def changed(name: bytes, value: bytes) -> bytes:
        old, new = _CHANGED.get(name, (b"", b""))
        return value.replace(old, new.replace(b"%b", prefix.encode())) if old else value

    async def prefixed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            if headers.get("location", "").startswith("/"):
                headers["location"] = prefix + headers["location"]
            message["headers"] = [(name, changed(name, value)) for name, value in headers.raw]
            ours = not headers.get("content-security-policy", "").startswith(_FRAMED)
            if ours and headers.get("content-type", "").startswith("text/html"):
                began.update(message)
                return
        elif began:
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = _LINK.sub(rb"\g<1>" + prefix.encode() + b"/", body)
            headers = MutableHeaders(raw=began["headers"])
            headers["content-length"] = str(len(page))
            await send({**began, "headers": headers.raw})
            message = {**message, "body": page}
        await send(message)

    return prefixed
