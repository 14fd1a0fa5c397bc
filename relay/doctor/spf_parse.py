"""An SPF record as text and as terms: what may stand in it, and what the macros in it become.  RFC 7208 s4.5, s5-s7.  Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import quote

HostAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_VERSION = re.compile(r"v=spf1(?: |\Z)", re.IGNORECASE)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)\Z", re.DOTALL)
_MECHANISM = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)([:/].*)?\Z", re.IGNORECASE | re.DOTALL)
_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_MACRO = re.compile(r"%\{([A-Za-z])([0-9]*)(r?)([.+,/_=-]*)\}", re.IGNORECASE)
_LITERAL = re.compile(r"[\x21-\x24\x26-\x7e]+")
_TOP_LABEL = re.compile(r"(?=[A-Za-z0-9-]*[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")
_IN_DOMAIN = frozenset("slodiphv")
_IN_EXPLANATION = _IN_DOMAIN | frozenset("crt")


class BadRecord(ValueError):
    """The record breaks the grammar; the text names the term."""


@dataclass(frozen=True, slots=True)
class Term:
    """One mechanism: `qualifier` is + - ~ or ?, `domain` its domain-spec ("" if none), `network` of ip4 and ip6.

    `prefixes` are the CIDR lengths of `a` and `mx` for IPv4 and IPv6; `text` is the term as it stands in the record.
    """

    qualifier: str
    name: str
    text: str
    domain: str = ""
    network: Network | None = None
    prefixes: tuple[int, int] = (32, 128)

    @property
    def asks(self) -> bool:
        """Whether it counts towards the ten look-ups (s4.6.4)."""
        return self.name in ("include", "a", "mx", "ptr", "exists")


@dataclass(frozen=True, slots=True)
class SpfPolicy:
    """A record that follows the grammar.  `redirect` and `exp` are domain-specs, "" where there is none."""

    terms: tuple[Term, ...]
    redirect: str = ""
    exp: str = ""


@dataclass(frozen=True, slots=True)
class MacroValues:
    """What macros speak of: the client, the sender, the HELO name, and the receiver's name for explanations."""

    client: HostAddress
    local: str
    sender_domain: str
    helo: str
    receiver: str = "unknown"
    now: int = 0


def is_spf(record: str) -> bool:
    return bool(_VERSION.match(record))


def parse(record: str) -> SpfPolicy:
    """Reads a record that `is_spf`.  Raises BadRecord for the first term that breaks the grammar (s4.6)."""
    if not record.isascii():
        raise BadRecord("there are characters other than ASCII in it")
    terms: list[Term] = []
    modifiers: dict[str, str] = {}
    for text in record.split(" ")[1:]:
        if not text:
            continue
        if modifier := _MODIFIER.match(text):
            _modifier(modifier[1].lower(), modifier[2], text, modifiers)
        else:
            terms.append(_mechanism(text))
    return SpfPolicy(tuple(terms), modifiers.get("redirect", ""), modifiers.get("exp", ""))


def bad_terms(record: str) -> list[str]:
    """Every term that breaks the grammar by itself."""
    found = []
    for text in record.split(" ")[1:]:
        try:
            parse(f"v=spf1 {text}")
        except BadRecord:
            found.append(text)
    return found


def _modifier(name: str, value: str, text: str, seen: dict[str, str]) -> None:
    if name in ("redirect", "exp"):
        if name in seen:
            raise BadRecord(f"{name}= stands in it twice")
        if not is_domain_spec(value):
            raise BadRecord(f"'{text}' names no domain")
        seen[name] = value
    elif not _is_macro_string(value, _IN_DOMAIN):
        raise BadRecord(f"'{text}' is no modifier")


def _mechanism(text: str) -> Term:
    found = _MECHANISM.match(text)
    if not found:
        raise BadRecord(f"'{text}' is no mechanism")
    qualifier, name, rest = found[1] or "+", found[2].lower(), found[3] or ""
    if name == "all":
        if rest:
            raise BadRecord(f"'{text}': all takes no argument")
        return Term(qualifier, name, text)
    if name in ("ip4", "ip6"):
        return Term(qualifier, name, text, network=_network(name, rest, text))
    if name in ("include", "exists", "ptr"):
        domain = rest[1:] if rest.startswith(":") else ""
        if (rest or name != "ptr") and not (rest.startswith(":") and is_domain_spec(domain)):
            raise BadRecord(f"'{text}' names no domain")
        return Term(qualifier, name, text, domain)
    return _address_term(qualifier, name, rest, text)


def _address_term(qualifier: str, name: str, rest: str, text: str) -> Term:
    """`a` and `mx`: a domain-spec, and CIDR lengths behind it, which may look like a part of a macro."""
    split = re.match(r"(:.*?)?((?:/[0-9]+)?(?://[0-9]+)?)\Z", rest, re.DOTALL)
    domain, lengths = (split[1] or "", split[2]) if split else ("", rest)
    cidr = _CIDR.match(lengths)
    if not cidr or (domain and not is_domain_spec(domain[1:])):
        raise BadRecord(f"'{text}' is no mechanism")
    four, six = int(cidr[1] or 32), int(cidr[2] or 128)
    if four > 32 or six > 128:
        raise BadRecord(f"'{text}': the prefix is too long")
    return Term(qualifier, name, text, domain[1:], prefixes=(four, six))


def _network(name: str, rest: str, text: str) -> Network:
    value = rest[1:]
    prefix = value.partition("/")[2]
    if not rest.startswith(":") or (prefix and not re.fullmatch(r"0|[1-9][0-9]{0,2}", prefix)) or value.endswith("/"):
        raise BadRecord(f"'{text}' is no network")
    try:
        found = ip_network(value, strict=False)
    except ValueError:
        raise BadRecord(f"'{text}' is no network") from None
    if found.version != int(name[2]) or "%" in value:
        raise BadRecord(f"'{text}' is no network of IPv{name[2]}")
    return found


def is_domain_spec(text: str) -> bool:
    """s7.1: macro-string, then a dot and a top label, or a macro."""
    if not text or not _is_macro_string(text, _IN_DOMAIN):
        return False
    if text.endswith(("}", "%%", "%_", "%-")):
        return True
    body, dot, top = text.removesuffix(".").rpartition(".")
    return bool(dot and body is not None and _TOP_LABEL.match(top))


def _is_macro_string(text: str, letters: frozenset[str]) -> bool:
    place = 0
    while place < len(text):
        if literal := _LITERAL.match(text, place):
            place = literal.end()
        elif text[place : place + 2] in ("%%", "%_", "%-"):
            place += 2
        elif macro := _MACRO.match(text, place):
            if macro[1].lower() not in letters or (macro[2] and not int(macro[2])):
                return False
            place = macro.end()
        else:
            return False
    return True


def wants_validated(spec: str) -> bool:
    """Whether the macro `p` occurs, whose value has to be looked up."""
    return bool(re.search(r"%\{p", spec, re.IGNORECASE))


def expand(spec: str, macros: MacroValues, domain: str, validated: str = "unknown") -> str:
    """A domain-spec with its macros filled in, at most 253 octets long: labels go from the left (s7.3)."""
    text = _fill(spec, macros, domain, validated)
    while len(text) > 253:
        text = text.partition(".")[2]
        if not text:
            break
    return text


def explanation(text: str, macros: MacroValues, domain: str, validated: str = "unknown") -> str:
    """The words of an `exp=` record; "" if they break the grammar or are not ASCII (s6.2)."""
    if not text.isascii() or not all(_is_macro_string(word, _IN_EXPLANATION) for word in text.split(" ")):
        return ""
    return _fill(text, macros, domain, validated)


def _fill(spec: str, macros: MacroValues, domain: str, validated: str) -> str:
    values = _values(macros, domain, validated)

    def macro(found: re.Match[str]) -> str:
        value = _transformed(values[found[1].lower()], found[2], found[3], found[4])
        return quote(value, safe="-._~") if found[1].isupper() else value

    parts = re.split(r"(%%|%_|%-)", spec)
    fixed = {"%%": "%", "%_": " ", "%-": "%20"}
    return "".join(fixed[part] if part in fixed else _MACRO.sub(macro, part) for part in parts)


def _transformed(value: str, digits: str, reverse: str, delimiters: str) -> str:
    parts: Sequence[str] = re.split(f"[{re.escape(delimiters or '.')}]", value)
    parts = parts[::-1] if reverse else parts
    return ".".join(parts[-int(digits) :] if digits else parts)


def _values(macros: MacroValues, domain: str, validated: str) -> dict[str, str]:
    six = isinstance(macros.client, IPv6Address)
    dotted = ".".join(macros.client.exploded.replace(":", "").upper()) if six else str(macros.client)
    return {
        "s": f"{macros.local}@{macros.sender_domain}",
        "l": macros.local,
        "o": macros.sender_domain,
        "d": domain,
        "i": dotted,
        "p": validated,
        "v": "ip6" if six else "in-addr",
        "h": macros.helo,
        "c": str(macros.client),
        "r": macros.receiver,
        "t": str(macros.now),
    }
