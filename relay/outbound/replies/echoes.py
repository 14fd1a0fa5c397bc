"""A server's words without what they only repeat: addresses, host names, URLs and quoted parts decide nothing.

`550 5.1.1 <spamhaus@isp.example>: User unknown` says nothing of a block list.  Each is replaced by a word in capitals, the
rest is in small letters without accents, so that a rule can still say `blocked using HOST`.  Pure.
"""

import re
import unicodedata

LONGEST = 2000
"""Characters of a reply that are looked at; real ones have a few hundred."""

_LISTS = (
    *("spamcop.net", "barracudacentral.org", "barracudanetworks.com"),
    *("sorbs.net", "abuseat.org", "uceprotect.net", "mailspike.net", "mailspike.org", "dronebl.org", "surriel.com"),
    *("spamrats.com", "invaluement.com", "cloudmark.com", "manitu.net", "spfbl.net", "backscatterer.org", "gbudb.net"),
    *("junkemailfilter.com", "spameatingmonkey.net", "lashback.com", "senderscore.org", "senderscore.com", "0spam.org"),
)
"""Who keeps lists of addresses of machines; of domains: _DOMAIN_LISTS."""
_SPAMHAUS = ("spamhaus.org", "spamhaus.com", "spamhaus.net")
_DOMAIN_LISTS = ("dbl.spamhaus.org", "surbl.org", "uribl.com", "dbl.spamhaus.com")
_LIST_LABELS = frozenset({"zen", "sbl", "xbl", "pbl", "bl", "cbl", "rbl", "dnsbl", "dnsrbl", "ipcheck"})

_ECHO = re.compile(
    # <...>, but not the octets that a server complains of, nor the empty path
    r"(?P<path><(?!/?(?:LF|CR|CRLF|lf|cr|crlf)>)[^<>\s]+>)"
    r"|(?P<url>(?:\b(?:https?|HTTPS?)://|(?<![\w.@-])(?:www|WWW)\.)[^\s<>\"]+)"
    r"|(?P<mailbox>(?<![^\s<>\"'(),;:\[\]=])[^\s<>\"'(),;:\[\]=@]+@[^\s<>\"'(),;:\[\]=]+)"
    r"|(?P<rfc>\b(?:rfc|RFC)[- ]?\d{3,4}(?:[,: ]{1,2}(?:[Ss]ection |s)?\d{1,3}(?:\.\d{1,3}){0,5})?)"
    r"|(?P<ip>(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)|(?<![\w:.])[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){3,7}(?![\w:]))"
    r"|(?P<host>(?<![\w.@-])(?:[A-Za-z0-9_][A-Za-z0-9_-]{0,62}\.)+(?:[a-z]{2,24}|[A-Z]{2,24}"
    r"|xn--[a-z0-9-]{1,59})(?![\w-])(?!\.\w))"
)
_QUOTED = re.compile(r"\"[^\"]{1,300}\"|(?<!\w)'[^']{1,300}'(?!\w)|`[^`']{1,300}[`']|\u00ab[^\u00bb]{1,300}\u00bb")


def plain(text: str) -> str:
    """What a reply says, as rules read it."""
    flat = " ".join(text[: 2 * LONGEST].replace(_MARK, " ").split())[:LONGEST]
    flat = _unquoted(_without_accents(_ANNOTATION.sub("", flat)))
    words, end = [], 0
    for found in _ECHO.finditer(flat):
        words += [flat[end : found.start()].lower(), _name(found)]
        end = found.end()
    words.append(flat[end:].lower())
    return _PROBE.sub(r"\1", " ".join(" ".join(words).replace(_MARK, " QUOTE ").split())[:LONGEST])


_MARK = "\0"
_ANNOTATION = re.compile(r",? ?\b(?:relay|helo|proto|from|to|dsn)=\S{1,200}(?: \[[^\s\]]{1,60}\])?")
"""What a server adds to its words as it does in its log: it repeats what we said to it."""
_PROBE = re.compile(r"\b(un(?:verified|deliverable) address):? (?:host|connect|conversation|lost|delivery)\b.*", re.DOTALL)
"""What follows was told by a third server, when the upstream asked it whether the address exists."""


def _unquoted(text: str) -> str:
    """Some servers quote their whole reply: then it is the reply."""
    rest = _QUOTED.sub(_MARK, text)
    return rest if sum(map(str.isalpha, rest)) >= _A_SENTENCE else text


_A_SENTENCE = 10  # letters, at least


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(mark for mark in apart if not "\u0300" <= mark <= "\u036f"))[:LONGEST]


def _name(found: re.Match[str]) -> str:
    kind = found.lastgroup or ""
    if kind in ("path", "mailbox"):
        return "ADDR"
    if kind in ("url", "host"):
        return _place(found[0].lower()) or kind.upper()
    return kind.upper()


def _place(text: str) -> str:
    """The places that say something themselves: keepers of block lists, and qmail's page on line ends."""
    host, _, path = text.partition("://")[2].partition("/") if "://" in text else (text.partition("/")[0], "", "")
    if path.rstrip(".,;)").removesuffix(".html").endswith("smtplf"):
        return "SMTPLF"
    if _of(host, _DOMAIN_LISTS) or (_of(host, _SPAMHAUS) and path.startswith(("query/dbl", "query/domain", "domain"))):
        return "DOMAINLIST"
    if _of(host, _SPAMHAUS):
        return "SPAMHAUS"
    return "IPLIST" if _of(host, _LISTS) or host.partition(".")[0].rstrip("0123456789") in _LIST_LABELS else ""


def _of(host: str, owners: tuple[str, ...]) -> bool:
    return any(host == owner or host.endswith(f".{owner}") for owner in owners)
