"""Addresses as an envelope carries them: tolerant in, exact out.  RFC 5321 s4.1.2, RFC 6531.  Pure."""

import re
from dataclasses import dataclass
from functools import lru_cache

# said by what is left out: a class with all of Unicode in it takes `re` milliseconds to compile, at each start
_ATEXT = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f]'
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_LABEL = re.compile(r"(?!-)[^\x00-,./:-@\[-^`{-\x7f]{1,63}(?<!-)\Z")
_LITERAL = re.compile(r"\[[0-9A-Za-z:.\-]+\]\Z")
_LAN_ONLY = re.compile(
    r"(?:^|\.)(?:localhost|localdomain|local|lan|home|internal|intranet|private|corp|workgroup|arpa|invalid)\Z",
    re.IGNORECASE,
)
_PLAIN_PATH = re.compile(
    r"<([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z][A-Za-z0-9]{0,61})>\Z"
)
"""What most paths look like; all that is said below of paths says the same of these."""
_PLAIN_ENOUGH = 250  # characters; whatever is longer is looked at closely
_CONTROL = re.compile(r"[\x00-\x1f\x7f\udc80-\udcff]")


class BadAddress(ValueError):
    """No address can be understood in what was given; the text says why, for the person at the device."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox.  `local` is unquoted text; `domain` is "" for an unqualified name such as `root`."""

    local: str
    domain: str = ""

    def __hash__(self) -> int:
        return hash(self.local)  # enough to tell them apart, and asked for all the time

    def __str__(self) -> str:
        return _written(self.local, self.domain)

    @property
    def key(self) -> str:
        """What makes two addresses the same here: the domain folds its case, the local part does not."""
        return f"{self.local}@{self.domain.lower()}"

    @property
    def qualified(self) -> bool:
        return bool(self.domain)

    @property
    def ascii(self) -> bool:
        return self.local.isascii() and self.domain.isascii()

    @property
    def public(self) -> bool:
        """Whether the world beyond the LAN could answer to it: a dotted domain that is not LAN-only or a literal."""
        return is_public(self.domain) and not self.local.startswith(".") and not self.local.endswith(".")


@lru_cache(maxsize=1024)
def _written(local: str, domain: str) -> str:
    if not _DOT_STRING.match(local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return f"{local}@{domain}" if domain else local


def is_public(domain: str) -> bool:
    """True for a domain with a dot that is no address literal and no LAN-only name (RFC 6761, RFC 6762, RFC 8375)."""
    name = domain.rstrip(".")
    if "." not in name or name.startswith("[") or _LAN_ONLY.search(name):
        return False
    return not re.fullmatch(r"[\d.]+", name)


def parse_address(text: str) -> Address:
    """`local@domain`, `"quoted local"@domain` or a bare `local`; blanks around are ignored.

    Tolerated: a dot at either end or doubled in the local part (HPE iLO), `_` in the domain, a trailing dot.
    Raises BadAddress with the reason in words.
    """
    bare = text.strip()
    if _CONTROL.search(bare):
        raise BadAddress("the address contains control characters")
    if not bare:
        raise BadAddress("the address is empty")
    if len(bare) > 512:
        raise BadAddress("the address is longer than 512 characters")
    if bare.startswith('"'):
        local, rest = _quoted(bare)
        if rest and not rest.startswith("@"):
            raise BadAddress("there is text after the quoted local part")
        return Address(local, _domain(rest[1:]) if rest else "")
    local, at, domain = bare.rpartition("@")
    if not at:
        local, domain = bare, ""
    if not local:
        raise BadAddress("there is nothing before the @")
    if re.search(r'[\s<>()\[\]:;,"\\@]', local):
        raise BadAddress(f"{local!r} cannot stand before an @")
    return Address(local, _domain(domain) if at else "")


def _quoted(text: str) -> tuple[str, str]:
    match = re.match(r'"((?:[^"\\]|\\.)*)"', text)
    if not match:
        raise BadAddress("a quotation mark is never closed")
    local = re.sub(r"\\(.)", r"\1", match[1])
    if not local:
        raise BadAddress("the quoted local part is empty")
    return local, text[match.end() :]


def _domain(text: str) -> str:
    if _LITERAL.match(text):
        return text
    name = text.rstrip(".")
    if not name:
        raise BadAddress("there is nothing after the @")
    if len(name) > 253:
        raise BadAddress("the domain is longer than 253 characters")
    if not all(_LABEL.match(label) for label in name.split(".")):
        raise BadAddress(f"{text!r} is not a domain name")
    return name


def parse_path(text: str) -> Address | None:
    """The path of MAIL or RCPT as devices write it; None is the null reverse-path.

    Understood: `<a@b>`, `a@b`, `< a@b >`, `<<a@b>>`, `<a@b` (never closed), `a@b>`, `<a@b>;`, `"My NAS" <a@b>`
    (the last `<...>` wins), `<@r1,@r2:a@b>` (the source route is dropped, RFC 5321 App. C), `mailto:a@b`, `< >`,
    `nas@` (a name whose domain was left empty).
    Raises BadAddress.
    """
    plain = _PLAIN_PATH.match(text)
    if plain and len(text) <= _PLAIN_ENOUGH:
        return Address(plain[1], plain[2])
    inner = text.strip()
    opened = _last_open_bracket(inner)
    if opened >= 0:
        inner = inner[opened + 1 :]
        closed = _first_close_bracket(inner)
        if closed >= 0:
            inner = inner[:closed]
    inner = inner.strip().strip("<>;, \t").strip()
    if not inner:
        return None
    if inner.startswith("@") and ":" in inner:
        inner = inner.split(":", 1)[1].strip()
    if inner[:7].lower() == "mailto:":
        inner = inner[7:]
    if inner.endswith("@") and len(inner) > 1:
        inner = inner[:-1]
    return parse_address(inner)


def _last_open_bracket(text: str) -> int:
    return _outside_quotes(text, "<")[-1]


def _first_close_bracket(text: str) -> int:
    places = _outside_quotes(text, ">")
    return places[1] if len(places) > 1 else -1


def _outside_quotes(text: str, wanted: str) -> list[int]:
    """Places of a character that are not inside quotation marks; -1 leads the list."""
    places, quoted, skip = [-1], False, False
    for place, char in enumerate(text):
        if skip:
            skip = False
        elif char == "\\" and quoted:
            skip = True
        elif char == '"':
            quoted = not quoted
        elif char == wanted and not quoted:
            places.append(place)
    return places
