"""The text of a message as a person reads it: the first part that is plain text, else the first that is HTML.  Pure."""

import re
from binascii import Error, a2b_base64, a2b_qp
from collections.abc import Iterable, Iterator

from relay.mail.charset import decode, fits, vote
from relay.mail.message import Field, Message
from relay.mail.mime import ContentType, content_type, transfer_encoding
from relay.mail.mime_walk import Octets, PartHead, walk
from relay.mail.policy import RepairPolicy

_READ = 256 * 1024  # octets of a body that are looked at
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(octet for octet in range(256) if octet not in _BASE64)
_HIDDEN = re.compile(r"(?i)<(/?)(?:style|script|head|title)\b[^<>]*>")
_BREAK = re.compile(r"(?i)<(?:br|/p|/div|/tr|/h[1-6]|/li)\b[^<>]*>")
_TAG = re.compile(r"<[^<>]*>")


def text_of(message: Message, most: int) -> str:
    """At most so many characters of it, with LF line ends and without control characters; "" if it has no text."""
    found: dict[str, str] = {}
    for fields, kind, octets in _parts(message):
        name = kind.kind or "text/plain"
        if kind.text and not _attached(fields) and not found.get(name):
            found[name] = _decoded(_plain(octets, transfer_encoding(fields)), kind.charset)
    named = [found.get("text/plain", ""), _without_tags(found.get("text/html", "")), *found.values()]
    text = next((one for one in (each.strip() for each in named) if one), "")
    return text if len(text) <= most else text[:most].rstrip() + " [...]"


def _parts(message: Message) -> Iterator[tuple[tuple[Field, ...], ContentType, bytes]]:
    top, encoding = content_type(message.fields), transfer_encoding(message.fields)
    heads: dict[int, tuple[tuple[Field, ...], ContentType]] = {0: (message.fields, top)}
    octets: dict[int, list[bytes]] = {}
    for event in walk(top, _beginning(message.body), base64=encoding == "base64"):
        if isinstance(event, PartHead):
            heads[event.number] = (event.fields, event.kind)
        elif isinstance(event, Octets) and event.number in heads:
            octets.setdefault(event.number, []).append(event.block)
    for number, blocks in octets.items():
        yield *heads[number], b"".join(blocks)


def _beginning(body: Iterable[bytes]) -> Iterator[bytes]:
    left = _READ
    for block in body:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def _attached(fields: tuple[Field, ...]) -> bool:
    return any(one.name == "content-disposition" and one.value.lower().startswith(b"attachment") for one in fields)


def _plain(octets: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        coded = octets.translate(None, _NOT_BASE64)
        coded += b"=" * (-len(coded) % 4)
        try:
            return a2b_base64(coded)
        except Error:  # cut off after the first character of four
            return a2b_base64(coded[: len(coded) // 4 * 4 - 4])
    return a2b_qp(octets) if encoding == "quoted-printable" else octets


def _decoded(octets: bytes, said: str) -> str:
    charset = said if said and fits(octets, said) else vote([octets], RepairPolicy().fallback_charset)
    return "\n".join(decode(line, charset) for line in re.split(rb"\r\n|\n|\r", octets))


def _without_tags(text: str) -> str:
    shown, hidden = [], False
    place = 0
    for tag in _HIDDEN.finditer(text):
        if not hidden:
            shown.append(text[place : tag.start()])
        hidden, place = not tag[1], tag.end()
    if not hidden:
        shown.append(text[place:])
    from html import unescape  # a table of names that only a digest needs

    plain = unescape(_TAG.sub(" ", _BREAK.sub("\n", " ".join("".join(shown).split()))))
    lines = (" ".join(line.split()) for line in plain.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
