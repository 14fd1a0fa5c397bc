"""The content of a message as HTTP answers: the file to download, the frame for its HTML, JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response, StreamingResponse

from relay.control.content_reader import ContentReader
from relay.control.views import sound, subject_of
from relay.spool.entry import TransferItem
from relay.upstream.file_names import titled

if TYPE_CHECKING:
    from relay.mail.shown_message import ShownMessage

FRAME_POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""For what a stranger wrote: nothing runs, nothing is fetched, and only our own page may frame it."""

_BEGINS = '<!doctype html><meta charset="utf-8"><body style="background:#fff;color:#000;font-family:sans-serif">'


def eml(item: TransferItem) -> Response:
    """The file, octet for octet as it came, named after its subject."""
    entry = item.stored.entry
    name = titled(subject_of(item.stored.trail), ".eml") or f"{entry.queue_id}.eml"
    headers = {
        # the queue id is letters and digits; the other name is percent-encoded (RFC 6266, RFC 8187): nothing ends the header
        "content-disposition": f"attachment; filename=\"{entry.queue_id}.eml\"; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        "content-length": str(entry.size),  # what breaks off is no whole message
    }
    return StreamingResponse(ContentReader.blocks(item), media_type="message/rfc822", headers=headers)


def frame(html: str) -> Response:
    """What the frame shows."""
    headers = {
        "content-security-policy": FRAME_POLICY,
        "x-frame-options": "SAMEORIGIN",
        "x-dns-prefetch-control": "off",
        "referrer-policy": "no-referrer",
    }
    return HTMLResponse((_BEGINS + html).encode("utf-8", "replace"), headers=headers)


def content_view(item: TransferItem, shown: "ShownMessage") -> Any:
    """What the API says."""
    view = asdict(shown)
    view["fields"] = [{"name": name, "text": text} for name, text in shown.fields]
    return sound({"id": item.stored.entry.queue_id, **view})
