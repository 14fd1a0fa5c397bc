"""Replaces names by others of the same length: addresses, domains, hosts, IP and MAC addresses.  Pure.

A name is always replaced by the same other name, with capitals, digits and punctuation in the same places.  Domains
become names that RFC 2606 reserves, if the length allows.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address

from relay.mail.address import is_public

_ROLE_NAMES = (
    "root admin administrator postmaster mailer-daemon daemon nobody noreply no-reply alert alerts alarm nas ups user printer"
    " scanner scan camera cam test info backup mail localhost localdomain unknown vm router raspberrypi me you pi copier ilo"
    " idrac"
)
ROLES = frozenset(_ROLE_NAMES.split())
"""Names of roles and devices, which are not personal: they stay."""

_MAIL_WORDS = (
    "mail rcpt from data quit rset noop ehlo helo auth starttls login plain size date subject message reply sender content type"
    " text mime version transfer encoding charset received html multipart mixed boundary base with smtp body name server"
)
_OF_MAIL = ROLES | frozenset(_MAIL_WORDS.split())
"""Words of SMTP and of mail: they stay, also if an address has them."""

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_RESERVED = ((10, b".example"), (7, b".test"), (4, b".zz"))  # ZZ is never a country: ISO 3166 leaves it to users


class Names:
    """The names found so far, and their replacements."""

    def __init__(self) -> None:
        self._for: dict[tuple[str, bytes], bytes] = {}
        self._taken: set[bytes] = set()
        self.secrets: dict[bytes, bytes] = {}

    @property
    def domains(self) -> dict[bytes, bytes]:
        """The public domains found, in lower case, and their replacements."""
        return {old: new for (kind, old), new in self._for.items() if kind == "domain" and b"." in old and old != new}

    @property
    def words(self) -> list[bytes]:
        """The words in local parts that may be a person's name."""
        locals_ = (old for kind, old in self._for if kind == "local" and old.decode("latin-1") not in ROLES)
        return [word for old in locals_ for word in re.findall(rb"[a-z]{4,}", old) if word.decode("ascii") not in _OF_MAIL]

    def fix(self, local: bytes, new: bytes) -> None:
        """Sets the replacement of a local part; both have the same length."""
        self._for["local", local.lower()] = new
        self._taken.add(new)

    def local(self, name: bytes) -> bytes:
        return self._named("local", name, self._scrambled)

    def word(self, name: bytes) -> bytes:
        """A host name without a dot, or another word of the device's."""
        return self._named("local", name, self._scrambled)

    def domain(self, name: bytes) -> bytes:
        return self._named("domain", name, self._reserved)

    def address(self, text: bytes) -> bytes:
        local, _, domain = text.rpartition(b"@")
        return self.local(local) + b"@" + (domain if domain.startswith(b"[") else self.domain(domain))

    def secret(self, text: bytes) -> bytes:
        """A password: only its length is kept."""
        if len(text) >= 4:
            self.secrets[text] = b"x" * len(text)
        return b"x" * len(text)

    def ip(self, text: bytes) -> bytes:
        return self._named("ip", text, _ip)

    def mac(self, text: bytes) -> bytes:
        return self._named("mac", text, _mac)

    def _named(self, kind: str, name: bytes, make: Callable[[bytes, int], bytes]) -> bytes:
        key = kind, name.lower()
        if key not in self._for:
            salt = len(self._for)
            new = make(key[1], salt)
            while new in self._taken and new != key[1] and salt < len(self._for) + 2000:
                salt += 1
                new = make(key[1], salt)
            self._for[key] = new
            self._taken.add(new)
        return _as_written(self._for[key], name)

    @staticmethod
    def _scrambled(name: bytes, salt: int) -> bytes:
        if name.strip(b'"').decode("latin-1") in ROLES:
            return name
        return _digits(_other_letters(name, salt), salt)

    def _reserved(self, name: bytes, salt: int) -> bytes:
        text = name.decode("latin-1")
        if not is_public(text):
            head, dot, tail = name.rpartition(b".")
            if not dot:
                return self._scrambled(name, salt)
            return b".".join(self._scrambled(label, salt) for label in head.split(b".")) + dot + tail
        plain = re.fullmatch(rb"[a-z0-9.-]+", name) and not name.endswith(b".") and b".." not in name
        ending = next((ending for least, ending in _RESERVED if len(name) >= least), b"")
        if not plain or not ending:
            return _digits(_other_letters(name, salt), salt)
        return _other_letters(b"a" * (len(name) - len(ending)), salt) + ending


def _other_letters(name: bytes, salt: int) -> bytes:
    return bytes(
        _LETTERS[(salt + 7 * (salt // 26) * (place % 3) + place) % 26] if char in _LETTERS else char
        for place, char in enumerate(name)
    )


def _digits(name: bytes, salt: int) -> bytes:
    return bytes(48 + (salt + place) % 10 if 48 <= char <= 57 else char for place, char in enumerate(name))


def _mac(text: bytes, salt: int) -> bytes:
    """A MAC address that RFC 7042 reserves for documentation, with the same separators."""
    return b"00" + text[2:3] + b"00" + text[5:6] + b"5e" + re.sub(rb"[0-9a-f]", lambda _: b"%d" % (salt % 10), text[8:])


def _ip(text: bytes, salt: int) -> bytes:
    """An address of the same kind (private or public), with the same number of digits in each place."""
    try:
        address = ip_address(text.decode("ascii"))
    except ValueError:
        return text
    if address.is_loopback or address.is_unspecified:
        return text
    if address.version == 6:
        kept = 5 if text[:4].lower() in (b"fe80", b"fd00") else 0
        return text[:kept] + re.sub(rb"[0-9a-f]", lambda _: b"%d" % (salt % 10), text[kept:])
    octets = text.split(b".")
    kept = 2 if address.is_private else 0
    public = {1: b"0", 2: b"10", 3: b"203"}
    new = octets[:kept] if kept else [public[len(octets[0])]]
    for octet in octets[len(new) :]:
        least = {1: 1, 2: 10, 3: 100}[len(octet)]
        new.append(b"%d" % (least + salt % (9 if least == 1 else 90 if least == 10 else 99)))
    return b".".join(new)


def _as_written(new: bytes, name: bytes) -> bytes:
    """The replacement, with capitals where the name had them."""
    return bytes(
        new_char - 32 if 65 <= char <= 90 and 97 <= new_char <= 122 else new_char
        for new_char, char in zip(new, name, strict=True)
    )
