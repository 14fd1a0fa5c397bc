"""Reads SMTP commands as devices really write them.

Accepted: lower case, blanks around the colon, missing or doubled brackets, display names, telnet negotiation and
parameters that were not offered.  RFC 5321 s4.1.1, RFC 6531 s3.4.  Pure.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from relay.mail.address import Address, BadAddress, as_sender, parse_path

_TELNET = re.compile(rb"\xff[\xfb-\xfe].|\xff[\xf0-\xfa\xff]|[\x00-\x08\x0b-\x1f\x7f]", re.DOTALL)
_VERB = re.compile(r"([A-Za-z]+)(?:[ \t]+|(?=:)|\Z)(.*)\Z", re.DOTALL)
_KEYWORD = {word: re.compile(rf"\A(?:{word}(?:\s*:\s*|\s+|(?=<)|\Z)|:\s*)", re.IGNORECASE) for word in ("FROM", "TO")}
_CLEAN_KEYWORD = {word: re.compile(rf"{word}:\S", re.IGNORECASE) for word in _KEYWORD}
_PLAIN_PATH = re.compile(r"(<[^<>\s\";,]*>)((?: [A-Za-z0-9][A-Za-z0-9-]*(?:=[A-Za-z0-9+._-]*)?)*)\Z")
_PARAMETERS = re.compile(r"[>;,\s]*+(?:[A-Za-z0-9][A-Za-z0-9-]*+(?:=\S*+)?(?:\s++|\Z))*\Z")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=(\S*))?\Z")
_BARE_WORDS = frozenset({"SMTPUTF8", "REQUIRETLS"})
_TLS_HELLO = b"\x16\x03"
_LONGEST_ARGUMENT = 2000  # characters of MAIL or RCPT; RFC 5321 s4.5.3.1 allows a path 256 octets
_HTTP = re.compile(rb"(?:GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|TRACE|CONNECT) \S|[Hh][Oo][Ss][Tt]: ")


@dataclass(frozen=True, slots=True)
class Command:
    """One command line: the verb in capitals ("" if there is none), its argument, and the quirk in it ("" if none)."""

    verb: str
    argument: str
    quirk: str = ""


@dataclass(frozen=True, slots=True)
class MailArgument:
    """What MAIL said.  `reverse_path` None is `<>`; `size` in octets, 0 if not said; `body` in capitals or ""."""

    reverse_path: Address | None
    size: int = 0
    body: str = ""
    utf8: bool = False
    quirks: tuple[str, ...] = ()


def is_tls_hello(first: bytes) -> bool:
    """Whether a connection begins with a TLS record instead of SMTP: the device is set to SSL/TLS."""
    return first.startswith(_TLS_HELLO)


def is_http(line: bytes) -> bool:
    """Whether the line is HTTP: from a browser, a health check or a cross-protocol attack."""
    return bool(_HTTP.match(line))


def read_command(line: bytes) -> Command:
    """Reads one command line, without its line end; telnet negotiation and control octets are removed."""
    bare = _TELNET.sub(b"", line)
    quirk = "telnet or control octets in a command" if bare != line else ""
    text = bare.decode("utf-8", "replace").strip()
    match = _VERB.match(text)
    if not match:
        return Command("", text, quirk)
    return Command(match[1].upper(), match[2].strip(), quirk)


def mail_argument(argument: str) -> MailArgument:
    """The argument of MAIL.  A sender that is no address is kept as it was written.  Raises BadAddress if it is too long."""
    path, parameters, quirks = _path_and_parameters("FROM", argument)
    size = parameters.get("SIZE", "")
    try:
        sender = parse_path(path)
        doubt = "it has comments" if sender and "(" in path and not sender.quoted and not sender.public else ""
    except BadAddress as bad:
        doubt = str(bad)
    if doubt:  # the sender will be replaced anyway, so the message need not be refused
        sender = as_sender(path)
        quirks = (*quirks, f"a sender that is no address, {path.strip()[:100]!r}: {doubt}")
    return MailArgument(
        sender,
        int(size) if size.isascii() and size.isdigit() and len(size) <= 20 else 0,
        parameters.get("BODY", "").upper(),
        "SMTPUTF8" in parameters,
        quirks,
    )


def rcpt_argument(argument: str) -> tuple[tuple[Address, ...], tuple[str, ...]]:
    """The forward-paths of RCPT and the quirks; no path for `<>`.  Raises BadAddress.

    There are several paths when a list was typed into the device's recipient field: `TO:<a@b, c@d>`.
    """
    path, _, quirks = _path_and_parameters("TO", argument)
    parts = [part for part in re.split(r"[,;]", path) if part.strip("<> \t")]
    several = len(parts) > 1
    if several and all("@" in part for part in parts) and (found := _all_of(parts)):
        return found, (*quirks, "several recipients in one RCPT")
    try:
        one = parse_path(path)
        return ((one,) if one else ()), quirks
    except BadAddress:
        if several and (found := _all_of(parts)):
            return found, (*quirks, "several recipients in one RCPT")
        raise


def _all_of(parts: list[str]) -> tuple[Address, ...]:
    """The addresses of a list, if each part is an address; else none (a source route or a name may have commas, too)."""
    try:
        return tuple(found for part in parts if (found := parse_path(part)))
    except BadAddress:
        return ()


def _path_and_parameters(keyword: str, argument: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    if len(argument) > _LONGEST_ARGUMENT:
        raise BadAddress(f"the command is longer than {_LONGEST_ARGUMENT} characters")
    path, words = _split_parameters(_KEYWORD[keyword].sub("", argument, count=1))
    parameters = {}
    for word in words:
        if found := _PARAMETER.match(word):
            parameters[found[1].upper()] = found[2] or ""
    return path, parameters, _quirks(keyword, argument, path)


def _split_parameters(text: str) -> tuple[str, list[str]]:
    """The path, and the parameters after it (`AUTH=<>` is one, although it looks like a path)."""
    if plain := _PLAIN_PATH.match(text):
        return plain[1], plain[2].split()
    words = re.split(r"(\s+)", text.strip())
    end = len(words)
    while end > 1 and _is_parameter(words[end - 1]):
        end -= 2
    path, found = "".join(words[:end]), words[end + 1 :: 2]
    quoted = False
    for place, char in enumerate(path):
        if char == '"' and path[place - 1 : place] != "\\":
            quoted = not quoted
        elif char == ">" and not quoted and _PARAMETERS.match(path, place + 1):
            return path[: place + 1], [*path[place + 1 :].strip(">;, \t").split(), *found]
    return path, found


def _is_parameter(word: str) -> bool:
    name, said, value = word.partition("=")
    if not said:
        return name.upper() in _BARE_WORDS
    return bool(_PARAMETER.match(word)) and value.count("<") == value.count(">")


def _quirks(keyword: str, argument: str, path: str) -> tuple[str, ...]:
    quirks = []
    bare = path.strip()
    if not _CLEAN_KEYWORD[keyword].match(argument):
        quirks.append(f"odd spacing after {'MAIL' if keyword == 'FROM' else 'RCPT'} {keyword}")
    if not (bare.startswith("<") and bare.endswith(">")):
        quirks.append(f"no plain angle brackets in {'MAIL' if keyword == 'FROM' else 'RCPT'}")
    return tuple(quirks)


@lru_cache(maxsize=256)  # few devices, and each says the same each time
def clean_helo(argument: str) -> str:
    """The argument of HELO, made safe for a Received field: without blanks, brackets, quotes and control octets."""
    return re.sub(r'[^!-~]|[()<>"\\;,]', "?", " ".join(argument.split()).replace(" ", "_"))[:255]


def transfer_protocol(*, extended: bool, tls: bool, login: bool) -> str:
    """The protocol's name in the Received field (RFC 3848)."""
    return f"ESMTP{'S' if tls else ''}{'A' if login else ''}" if extended or tls or login else "SMTP"
