"""A server's words without what they only repeat: addresses, host names, URLs and quoted parts decide nothing.

`550 5.1.1 <spamhaus@isp.example>: User unknown` says nothing of a block list.  Each is replaced by a word in capitals, the
rest is in small letters without accents, so that a rule can still say `blocked using HOST`.  Pure.
"""

import re
import unicodedata

LONGEST = 2000
"""Characters of a reply that are looked at; real ones have a few hundred."""

_DOMAIN_LISTS = re.compile(r"(?:^|[./])(?:dbl|multi|uribl|surbl)\.|surbl\.org|uribl\.com|spamhaus\.org/query/(?:dbl|domain)")
_ADDRESS_LISTS = re.compile(
    r"(?:^|[./])(?:zen|sbl|xbl|pbl|css|bl|cbl|rbl|dnsbl|dnsrbl|ipcheck)\d?\."
    r"|spamhaus\.(?:org|com|net)|spamcop\.net|barracuda(?:central|networks)\.(?:org|com)|sorbs\.net|abuseat\.org|uceprotect\.net"
    r"|mailspike\.(?:net|org)|dronebl\.org|surriel\.com|spamrats\.com|invaluement\.com|cloudmark\.com|manitu\.net|spfbl\.net"
    r"|backscatterer\.org|gbudb\.net|junkemailfilter\.com|spameatingmonkey\.net|lashback\.com|senderscore\.(?:org|com)|0spam\.org"
)

_ECHO = re.compile(
    # <...>, but not the octets that a server complains of, nor the empty path
    r"(?P<path><(?!/?(?:LF|CR|CRLF|lf|cr|crlf)>)[^<>\s]+>)"
    r"|(?P<url>(?:\b(?:https?|HTTPS?)://|(?<![\w.@-])(?:www|WWW)\.)[^\s<>\"]+)"
    r"|(?P<mailbox>(?<![^\s<>\"'(),;:\[\]=])[^\s<>\"'(),;:\[\]=@]+@[^\s<>\"'(),;:\[\]=]+)"
    r"|(?P<rfc>\b(?:rfc|RFC)[- ]?\d{3,4}(?:[,: ]{1,2}(?:[Ss]ection |s)?\d{1,3}(?:\.\d{1,3}){0,5})?)"
    r"|(?P<ip>(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)|(?<![\w:.])[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){3,7}(?![\w:]))"
    r"|(?P<host>(?<![\w.@-])(?:[A-Za-z0-9_][A-Za-z0-9_-]{0,62}\.)+(?:[a-z]{2,24}|[A-Z]{2,24}|xn--[a-z0-9-]{1,59})(?![\w-])(?!\.\w))"
)
_QUOTED = re.compile(r"\"[^\"]{1,300}\"|(?<!\w)'[^']{1,300}'(?!\w)|`[^`']{1,300}[`']|\u00ab[^\u00bb]{1,300}\u00bb")


def plain(text: str) -> str:
    """What a reply says, as rules read it."""
    flat = " ".join(text[: 2 * LONGEST].replace(_MARK, " ").split())[:LONGEST]
    flat = _unquoted(_without_accents(flat))
    words, end = [], 0
    for found in _ECHO.finditer(flat):
        words += [flat[end : found.start()].lower(), _name(found)]
        end = found.end()
    words.append(flat[end:].lower())
    return " ".join(" ".join(words).replace(_MARK, " QUOTE ").split())[:LONGEST]


_MARK = "\0"


def _unquoted(text: str) -> str:
    """Some servers quote their whole reply: then it is the reply."""
    if 2 * sum(len(found[0]) for found in _QUOTED.finditer(text)) > len(text):
        return text
    return _QUOTED.sub(_MARK, text)


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
        place = found[0].lower()
        if _DOMAIN_LISTS.search(place):
            return "DOMAINLIST"
        if _ADDRESS_LISTS.search(place):
            return "IPLIST"
        return "SMTPLF" if place.rstrip(".").endswith(("smtplf", "smtplf.html")) else kind.upper()
    return kind.upper()
