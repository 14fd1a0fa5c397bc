"""Takes the secrets of notification URLs out of what a library or a service said.  Pure."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s'\"<>]+")
_PARTS = re.compile(r"[/:@?&=#,;+~\s]+")
_WORD = re.compile(r"[A-Za-z0-9_]")
_COMMON = frozenset({"yes", "no", "true", "false", "http", "https", "api", "v1", "v2", "text", "html", "markdown", "json"})
_PORT = re.compile(r":(\d{1,5})\Z")
_HIDDEN = "***"


def redacted(words: str, urls: Iterable[str]) -> str:
    """The words without any URL, and without any part of these URLs but scheme and port: each part may be a token.

    So a word of a sentence that is also a topic's name is hidden, too.
    """
    words = _URL.sub(_HIDDEN, words)
    secrets = {one for url in urls for one in secrets_of(url)}
    for secret in sorted(secrets, key=len, reverse=True):
        before = r"(?<![A-Za-z0-9_])" if _WORD.match(secret) else ""
        after = r"(?![A-Za-z0-9_])" if _WORD.match(secret[-1]) else ""
        if len(secret) >= 8:  # no word by accident: it counts inside of another, too
            before = after = ""
        words = re.sub(f"{before}{re.escape(secret)}{after}", _HIDDEN, words, flags=re.IGNORECASE)
    return words


def secrets_of(url: str) -> frozenset[str]:
    """Every part of the URL in each form in which it may be repeated."""
    bare = url.strip()
    rest = bare.partition("://")[2] or bare
    place, _, query = rest.partition("?")
    found = {bare, rest, place}
    pieces = [piece for piece in _PARTS.split(place) if piece]
    login = place.partition("/")[0].rpartition("@")[0]
    pieces += [login, *login.split(":"), *place.split("/"), *(value for _, value in parse_qsl(query))]
    for piece in pieces:
        found |= {piece, unquote(piece), unquote_plus(piece), quote(unquote(piece), safe=""), quote_plus(unquote(piece))}
    port = _PORT.search(place.partition("/")[0].rpartition("@")[2])
    found -= {port[1]} if port and port[1] not in re.split("[:@/?]", login) else set()
    return frozenset(one for one in found if len(one) > 1 and one.lower() not in _COMMON)
