"""Addresses of the envelope: read as devices write them, written exactly.  RFC 5321 s4.1.2, RFC 6531.  Pure."""

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize

# Negated classes: `re` takes milliseconds at each start to compile a class that lists all of Unicode.
_ATEXT = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f]'
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_LABEL = re.compile(r"(?!-)[^\x00-,./:-@\[-^`{-\x7f]{1,63}(?<!-)\Z")
_LITERAL = re.compile(r"\[[0-9A-Za-z:.\-]+\]\Z")
_DOTS = re.compile("[。．｡]")
_LAN_ONLY = re.compile(
    r"(?:^|\.)(?:localhost|localdomain|local|lan|home|internal|intranet|private|corp|workgroup|arpa|invalid)\Z",
    re.IGNORECASE,
)
_PLAIN_PATH = re.compile(
    r"<([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z][A-Za-z0-9]{0,61})>\Z"
)
"""The form of most paths, for speed: the full parser gives the same result for these."""
_PLAIN_ENOUGH = 250  # characters; longer paths go to the full parser
_CONTROL = re.compile(r"[\x00-\x1f\x7f\udc80-\udcff]")


_PREFIX = re.compile(r"(?:(mailto:)(?://)?|smtp:|rfc822;|e-?mail:)\s*", re.IGNORECASE)
_PAIRS = {"'": "'", "`": "'", '"': '"', "‘": "’", "“": "”", "«": "»", "(": ")", "[": "]", "<": ">", "「": "」"}
_FOREIGN_MARKS = ("‘", "“", "«", "「")
_LONGEST_SENDER = 200
_DEVIATIONS = re.compile("[ßς\u200c\u200d]")
"""Letters that Python's IDNA 2003 maps to others, which makes another domain with another owner (UTS 46 s4)."""


class BadAddress(ValueError):
    """The text is no address.  The error's text says why, for the person at the device."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox.  `local` is unquoted text; `domain` is "" for an unqualified name such as `root`."""

    local: str
    domain: str = ""

    def __hash__(self) -> int:
        return hash(self.local)  # good enough, and called very often

    def __str__(self) -> str:
        return _written(self.local, self.domain)

    @property
    def key(self) -> str:
        """Equal for equal addresses: the domain's case does not matter, that of the local part does."""
        return f"{self.local}@{self.domain.lower()}"

    @property
    def qualified(self) -> bool:
        return bool(self.domain)

    @property
    def ascii(self) -> bool:
        return self.local.isascii() and self.domain.isascii()

    @property
    def quoted(self) -> bool:
        """Whether the local part must stand in quotation marks."""
        return not _DOT_STRING.match(self.local)

    @property
    def public(self) -> bool:
        """Whether it can be reached from outside the LAN, see `is_public`."""
        return is_public(self.domain)


@lru_cache(maxsize=1024)
def _written(local: str, domain: str) -> str:
    if not _DOT_STRING.match(local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return f"{local}@{domain}" if domain else local


def with_a_labels(address: Address) -> Address:
    """The address with its domain in A-labels (RFC 5891), for servers without SMTPUTF8.  Raises UnicodeError."""
    if address.domain.isascii():
        return address
    labels = [_a_label(label) for label in _DOTS.sub(".", address.domain).split(".")]
    try:
        return Address(address.local, _domain(".".join(labels)))
    except BadAddress as error:  # IDNA makes blanks, brackets and colons of some signs, which would end the address
        raise UnicodeError(str(error)) from None


def _a_label(label: str) -> str:
    if _DEVIATIONS.search(label):
        return "xn--" + normalize("NFC", label.lower()).encode("punycode").decode("ascii")
    return label.encode("idna").decode("ascii")


@lru_cache(maxsize=1024)
def is_public(domain: str) -> bool:
    """True for a domain with a dot that is no address literal and no LAN-only name (RFC 6761, RFC 6762, RFC 8375)."""
    name = domain.rstrip(".")
    if "." not in name or name.startswith("[") or _LAN_ONLY.search(name):
        return False
    return not re.fullmatch(r"[\d.]+", name)


def parse_address(text: str) -> Address:
    """`local@domain`, `"quoted local"@domain` or a bare `local`; blanks around it are ignored.

    Accepted: a dot at either end or doubled in the local part (HPE iLO), `_` in the domain, a trailing dot.
    Raises BadAddress with the reason.
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

    Accepted: `<a@b>`, `a@b`, `< a@b >`, `<<a@b>>`, `<a@b` (never closed), `a@b>`, `<a@b>;`, `"My NAS" <a@b>`
    (the last `<...>` wins), `<@r1,@r2:a@b>` (the source route is dropped, RFC 5321 App. C), `< >`,
    `nas@` (a name with an empty domain), and what `understood` accepts.
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
    if inner.endswith("@") and len(inner) > 1:
        inner = inner[:-1]
    return understood(inner)


def understood(text: str) -> Address:
    """The address that the text can mean, if only one is possible: with quotation marks around it, `SMTP:` or `mailto:`
    before it, blanks around the @, comments in it.  Raises BadAddress.
    """
    try:
        found = parse_address(text if text[:1] not in _FOREIGN_MARKS else _bare(text))
    except BadAddress:
        if (bare := _bare(text)) == text:
            raise
        return parse_address(bare)
    if found.domain or not ("@" in found.local or "＠" in found.local):
        return found
    try:
        inner = parse_address(_bare(text))  # "a@b" is a@b, not a local part without a domain
    except BadAddress:
        return found
    return inner if inner.domain else found


def _bare(text: str) -> str:
    if len(text) > 512:
        return text
    bare = _without_comments(text) if "(" in text else text
    for _ in range(5):
        before = bare = bare.strip().replace("＠", "@")
        if prefix := _PREFIX.match(bare):
            bare = bare[prefix.end() :]
            bare = bare.partition("?")[0] if prefix[1] else bare
        if len(bare) > 2 and _PAIRS.get(bare[0]) == bare[-1]:
            bare = bare[1:-1]
        elif bare.count('"') == 1:
            bare = bare.strip('"')
        elif bare.count("'") == 1:
            bare = bare.removesuffix("'")  # no domain ends so
        if bare == before:
            break
    return bare if '"' in bare else "@".join(part.strip() for part in bare.split("@"))


def _without_comments(text: str) -> str:
    """The text without comments, which may be nested and have escapes (RFC 5322 s3.2.2)."""
    kept, depth, quoted, skip = [], 0, False, False
    for char in text:
        if skip:
            skip = False
        elif char == "\\" and (quoted or depth):
            skip = True
        elif char == '"' and not depth:
            quoted = not quoted
        elif char == "(" and not quoted:
            depth += 1
        elif char == ")" and depth:
            depth -= 1
            continue
        if not depth:
            kept.append(char)
    return text if depth else "".join(kept).strip()


def as_sender(text: str) -> Address:
    """Stores a sender that is no address: its text as the local part, and its domain if that is valid.

    Nobody can answer to it, so it is replaced before the message goes to an upstream with an account.
    """
    bare = " ".join(_CONTROL.sub(" ", text).strip().strip("<>").split())[:_LONGEST_SENDER]
    local, _, domain = bare.rpartition("@")
    if local.strip("@ ") and len(re.findall(r"@[^@]*[,;]", bare)) == 0:
        with suppress(BadAddress):
            return Address(local, _domain(domain))
    return Address(bare or "device")


def _last_open_bracket(text: str) -> int:
    return _outside_quotes(text, "<")[-1]


def _first_close_bracket(text: str) -> int:
    places = _outside_quotes(text, ">")
    return places[1] if len(places) > 1 else -1


def _outside_quotes(text: str, wanted: str) -> list[int]:
    """The places of a character outside quotation marks; the list begins with -1."""
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
