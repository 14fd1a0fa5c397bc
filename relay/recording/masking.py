"""Removes personal data from a session's octets.  Lengths and line ends stay as they were.

Masked are credentials, addresses and their domains, IP and MAC addresses, the device's own name; in base64, too.  Base64
that is no text (pictures, scans) becomes zeros.  Subject and text stay, since charsets go wrong there.  Pure.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from relay.inbound.server_sasl import decoded
from relay.recording.pseudonyms import Names

_ATEXT = rb"[A-Za-z0-9.!#$%&'*+/?^_`{|}~\x80-\xff-]"
_LOCAL = rb"(?:\"[^\"\r\n]{1,64}\"|(?<!" + _ATEXT + rb")" + _ATEXT + rb"++)"  # linear also in a long line
_DOMAIN = rb"(?:\[[^\]\s]{1,60}\]|[A-Za-z0-9_\x80-\xff-]+(?:\.[A-Za-z0-9_\x80-\xff-]+)*)"
_ADDRESS = re.compile(rb"(" + _LOCAL + rb")(@|=40)(" + _DOMAIN + rb")")
START = rb"(?im)(?:^|(?<=\r))[^A-Za-z\r\n]{0,40}"
"""Where a command begins: after any line end, and after blanks, telnet and control octets, which the relay ignores."""

_BARE_PATH = re.compile(START + rb"(?:MAIL[ \t]+FROM|RCPT[ \t]+TO)[ \t]*+(?::[ \t]*+)?<?([^<>@\s]++)(?=[>\s]|\Z)")
_HELO = re.compile(START + rb"(?:HELO|EHLO)[ \t]+([^\s\[\]]+)")
_URL = re.compile(rb"(?i)(https?://)([a-z0-9.-]+)")
_IPV4 = re.compile(rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)")
_IPV6 = re.compile(rb"(?<![\w:.])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:.])")
_MAC = re.compile(rb"(?<![\w:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])")
_WORD_B = re.compile(rb"(=\?[\w-]+\?[Bb]\?)([A-Za-z0-9+/=]+)(\?=)")
_BASE64_LINES = re.compile(
    rb"(?m)^(?:[A-Za-z0-9+/]{20,}={0,2}\r*\n){2,}(?:[A-Za-z0-9+/]{1,80}={0,2}(?=\r*\n|\Z))?|^[A-Za-z0-9+/]{60,}={0,2}$"
)


_AUTH = re.compile(START + rb"AUTH(?:[ \t]+|[ \t]*[:=][ \t]*)([^\s:=]+)[:=]?(?:[ \t]+(\S[^\r\n]*))?")
_MECHANISM = re.compile(rb"(?i)PLAIN|LOGIN|(?:CRAM|DIGEST)-MD5|NTLM|X?OAUTH\w*|SCRAM-[\w-]+|GSSAPI|EXTERNAL|ANONYMOUS")
_CODED = re.compile(rb"[^\s=]*(?:[0-9+/]|[a-z][A-Z])")  # no word of a language
_NEXT_LINE = re.compile(rb"[\r\n]+([^\r\n]+)")
_VERB = re.compile(
    rb"(?i)[^A-Za-z0-9+/=\r\n]{0,40}(MAIL|RCPT|QUIT|RSET|NOOP|EHLO|HELO|DATA|STARTTLS|AUTH|HELP|VRFY)(?![\w+/=])"
)


@dataclass(frozen=True, slots=True)
class Credential:
    """The place of a secret in the stream, and its kind: `plain`, `user`, `password` or `other`."""

    start: int
    end: int
    kind: str


def credentials(stream: bytes) -> Iterator[Credential]:
    """The secrets: after AUTH and in the next two lines, also if the login was refused (HP devices go on)."""
    place = 0
    for auth in _AUTH.finditer(stream):
        if auth.start(1) < place:
            continue  # inside the login before
        if not _MECHANISM.fullmatch(auth[1]):
            if _CODED.match(auth[1]):  # the mechanism was left out
                yield Credential(auth.start(1), auth.end(1), "plain")
            continue
        kinds = {b"PLAIN": ["plain"], b"LOGIN": ["user", "password"]}.get(auth[1].upper(), ["other", "other"])
        if auth[2] and auth[2] != b"=":
            yield Credential(auth.start(2), auth.end(2), kinds.pop(0))
        place = auth.end()
        for kind in kinds:
            line = _NEXT_LINE.match(stream, place)
            if not line or _VERB.match(line[1]) or line[1] == b"*":
                break
            yield Credential(line.start(1), line.end(1), kind)
            place = line.end()


def masked(stream: bytes, names: Names) -> bytes:
    """The stream with other names in the same places."""
    octets = bytearray(stream)
    secrets = list(credentials(stream))
    for one in secrets:
        octets[one.start : one.end] = _credential(bytes(octets[one.start : one.end]), one.kind, names)
    text = bytes(octets)
    spans = [(one.start, one.end) for one in secrets]
    _outside(spans, text, lambda part: mask_text(part, names))  # first collects all names, so that each is found everywhere
    text = _outside(spans, text, lambda part: _base64_masked(part, names))
    text = _outside(spans, text, lambda part: mask_text(part, names))
    assert len(text) == len(stream)  # noqa: S101 - every offset depends on it
    return text


def mask_text(text: bytes, names: Names) -> bytes:
    """Masks text that is not encoded."""
    for old, new in names.secrets.items():
        text = text.replace(old, new)
    text = _BARE_PATH.sub(lambda m: _behind(m, names.local(m[1])), text)
    text = _ADDRESS.sub(lambda m: names.local(m[1]) + m[2] + (m[3] if m[3][:1] == b"[" else names.domain(m[3])), text)
    text = _HELO.sub(lambda m: _behind(m, _host(m[1], names)), text)
    text = _URL.sub(lambda m: m[1] + _host(m[2], names), text)
    text = _MAC.sub(lambda m: names.mac(m[0]), text)
    text = _IPV4.sub(lambda m: names.ip(m[0]), text)
    text = _IPV6.sub(lambda m: names.ip(m[0]), text)
    for word in dict.fromkeys(names.words):  # `Taro Yamada <taro.yamada@...>`
        text = re.sub(rb"(?i)(?<![A-Za-z])" + word + rb"(?![A-Za-z])", lambda m: names.word(m[0]), text)
    for old, _ in sorted(names.domains.items(), key=lambda pair: -len(pair[0])):
        pattern = re.compile(rb"(?i)(?<![A-Za-z0-9_-])" + re.escape(old) + rb"(?![A-Za-z0-9_-])")
        text = pattern.sub(lambda m: names.domain(m[0]), text)
    return text


def _behind(match: re.Match[bytes], new: bytes) -> bytes:
    """The match with its last part, the name, replaced."""
    return match[0][: len(match[0]) - len(match[1])] + new


def _host(name: bytes, names: Names) -> bytes:
    if _IPV4.fullmatch(name) or _IPV6.fullmatch(name):
        return name  # replaced later, as an IP address
    return names.domain(name) if b"." in name else names.word(name)


def _outside(spans: Sequence[tuple[int, int]], text: bytes, change: Callable[[bytes], bytes]) -> bytes:
    parts, place = [], 0
    for start, end in spans:
        parts += [change(text[place:start]), text[start:end]]
        place = end
    return b"".join([*parts, change(text[place:])])


# ---- base64 ----------------------------------------------------------------------------------------------------------


def _credential(text: bytes, kind: str, names: Names) -> bytes:
    """Other credentials in base64 of the same length (or in the form they had)."""
    raw = decoded(text.decode("latin-1"))
    if kind == "user":
        new = _user(raw, names)
    elif kind == "password":
        new = names.secret(raw)
    elif kind == "plain" and raw.count(b"\0") >= 1:
        *users, password = raw.split(b"\0")
        new = b"\0".join([*(_user(user, names) for user in users), names.secret(password)])
    else:
        new = b"x" * len(raw)
    encoded = base64.b64encode(new)
    bare = text.rstrip(b"=")
    if len(encoded.rstrip(b"=")) == len(bare) and _is_base64(text):
        return encoded.rstrip(b"=") + text[len(bare) :]
    return re.sub(rb"[A-Za-z0-9]", b"x", text)  # no base64: the device wrote it as it is


def _is_base64(text: bytes) -> bool:
    return re.fullmatch(rb"[A-Za-z0-9+/]*={0,2}", text) is not None


def _user(user: bytes, names: Names) -> bytes:
    return names.address(user) if b"@" in user else names.local(user)


def _base64_masked(text: bytes, names: Names) -> bytes:
    text = _WORD_B.sub(lambda m: m[1] + _recoded(m[2], names) + m[3], text)
    return _BASE64_LINES.sub(lambda m: _block(m[0], names), text)


def _recoded(octets: bytes, names: Names) -> bytes:
    """Base64 of the masked text in the same length; what is no base64 stays."""
    try:
        raw = binascii.a2b_base64(octets, strict_mode=True)
    except (binascii.Error, ValueError):
        return octets
    new = base64.b64encode(mask_text(raw, names))
    return new if len(new) == len(octets) else octets


def _block(lines: bytes, names: Names) -> bytes:
    """Several lines of base64: text is masked, other data (a picture, a scan) becomes zeros."""
    bare = re.sub(rb"[\r\n]", b"", lines)
    try:
        raw = binascii.a2b_base64(bare)
    except (binascii.Error, ValueError):
        raw = b"\0"
    is_text = not any(char < 32 and char not in b"\t\r\n\x1b" for char in raw)
    new = iter(_recoded(bare, names) if is_text else re.sub(rb"[A-Za-z0-9+/]", b"A", bare))
    return bytes(char if char in b"\r\n" else next(new) for char in lines)
