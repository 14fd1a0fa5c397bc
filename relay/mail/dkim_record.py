"""DKIM keys and their records in the DNS: read, made and compared.  RFC 6376 s3.6.1, RFC 8301, RFC 8463.  Pure."""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from relay.der import Element, elements

_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=(.*)\Z", re.DOTALL)
_RSA = bytes.fromhex("2a864886f70d010101")
_ED25519 = bytes.fromhex("2b6570")
_STRING = 255
"""Octets of one string of a TXT record (RFC 1035 s3.3.14)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`kind` is rsa or ed25519; `numbers` are what makes two keys the same, however they are written; `octets` is p=."""

    kind: str
    bits: int
    numbers: tuple[bytes, ...]
    octets: bytes

    @property
    def algorithm(self) -> str:
        """As a signature names it (a=)."""
        return f"{self.kind}-sha256"

    def same_as(self, other: "PublicKey") -> bool:
        return (self.kind, self.numbers) == (other.kind, other.numbers)

    @property
    def record(self) -> str:
        """The TXT record to publish."""
        return f"v=DKIM1; k={self.kind}; p={b64encode(self.octets).decode()}"


def name_of(domain: str, selector: str) -> str:
    """Where the record belongs."""
    return f"{selector}._domainkey.{domain}"


def strings(record: str) -> list[str]:
    """The record as strings of a TXT record; readers join them without a blank."""
    return [record[place : place + _STRING] for place in range(0, len(record), _STRING)]


def zone_line(name: str, record: str) -> str:
    """As a zone file has it."""
    return f"{name}. TXT " + " ".join(f'"{part}"' for part in strings(record))


class NoKey(ValueError):
    """These octets are no key that DKIM knows; the text says why."""


def public_key(der: bytes) -> PublicKey:
    """A SubjectPublicKeyInfo as `openssl pkey -pubout` writes it, or a bare RSA key.  Raises NoKey."""
    outer = _inside(der, 0x30)
    first = _parts(outer)
    if not first:
        raise NoKey("it is empty")
    if first[0].tag == 0x02:
        return _rsa(outer, der)
    if [one.tag for one in first] != [0x30, 0x03]:
        raise NoKey("it is no public key")
    algorithm, bits = _parts(first[0].contents), first[1].contents[1:]
    kind = algorithm[0].contents if algorithm else b""
    if kind == _RSA:
        return _rsa(_inside(bits, 0x30), der)
    if kind == _ED25519:
        return ed25519(bits)
    raise NoKey("it is neither an RSA key nor an Ed25519 key")


def ed25519(octets: bytes) -> PublicKey:
    """In the DNS it is the bare 32 octets (RFC 8463 s3).  Raises NoKey."""
    if len(octets) != 32:
        raise NoKey(f"an Ed25519 key has 32 octets, this one has {len(octets)}")
    return PublicKey("ed25519", 256, (octets,), octets)


def _rsa(sequence: bytes, der: bytes) -> PublicKey:
    numbers = tuple(one.contents.lstrip(b"\0") for one in _parts(sequence) if one.tag == 0x02)
    if len(numbers) != 2 or not all(numbers):
        raise NoKey("it is no RSA public key")
    return PublicKey("rsa", int.from_bytes(numbers[0], "big").bit_length(), numbers, der)


def _inside(der: bytes, tag: int) -> bytes:
    parts = _parts(der)
    if len(parts) != 1 or parts[0].tag != tag:
        raise NoKey("it is cut off or has something behind it")
    return parts[0].contents


def _parts(der: bytes) -> list[Element]:
    """Raises NoKey."""
    try:
        return list(elements(der))
    except ValueError as error:
        raise NoKey(str(error)) from None


@dataclass(frozen=True, slots=True)
class Record:
    """A record as published.  `key` is None where it is revoked (an empty p=) or where there is a mistake, in words.

    `testing`: t=y, verifiers may treat the mail as unsigned.
    """

    text: str
    key: PublicKey | None = None
    revoked: bool = False
    testing: bool = False
    mistake: str = ""


def read(text: str) -> Record:
    """What a TXT record says; verifiers ignore a record with a mistake."""
    tags: dict[str, str] = {}
    for place, part in enumerate(text.split(";")):
        if not part.strip():
            continue
        tag = _TAG.match(part)
        if not tag:
            return Record(text, mistake=f"'{_short(part)}' is no tag")
        name, value = tag[1], tag[2].strip()
        if name in tags:
            return Record(text, mistake=f"{name}= stands there twice")
        if name == "v" and (place or value != "DKIM1"):
            return Record(text, mistake="v=DKIM1 must come first" if place else f"v={_short(value)} is not v=DKIM1")
        tags[name] = value
    return _read(text, tags)


def _read(text: str, tags: dict[str, str]) -> Record:
    testing = "y" in _words(tags.get("t", ""))
    if mistake := _narrowed(tags):
        return Record(text, testing=testing, mistake=mistake)
    written = re.sub(r"\s+", "", tags.get("p", ""))
    if "p" not in tags:
        return Record(text, testing=testing, mistake="there is no p=, the key")
    if not written:
        return Record(text, revoked=True, testing=testing)
    try:
        octets = b64decode(written, validate=True)
        key = ed25519(octets) if tags.get("k", "rsa") == "ed25519" else public_key(octets)
    except NoKey as error:
        return Record(text, testing=testing, mistake=f"p= cannot be read: {error}")
    except ValueError:
        wrong = next((character for character in written if not re.match(r"[A-Za-z0-9+/=]", character)), "")
        what = f"'{wrong}' is none of its characters" if wrong else "characters are missing, or too many"
        return Record(text, testing=testing, mistake=f"p= is no base64: {what}")
    if key.kind != tags.get("k", "rsa"):
        return Record(
            text, testing=testing, mistake=f"k={_short(tags.get('k', 'rsa'))} does not fit p=, which is a {key.kind} key"
        )
    return Record(text, key, testing=testing)


def _narrowed(tags: dict[str, str]) -> str:
    """What makes verifiers ignore the key for our signatures."""
    if tags.get("k", "rsa") not in ("rsa", "ed25519"):
        return f"k={_short(tags['k'])} is neither rsa nor ed25519"
    if "h" in tags and "sha256" not in _words(tags["h"]):
        return f"h={_short(tags['h'])} does not allow sha256"
    if "s" in tags and not {"*", "email"} & set(_words(tags["s"])):
        return f"s={_short(tags['s'])} does not allow email"
    return ""


def _words(value: str) -> Sequence[str]:
    return [word.strip() for word in value.split(":")]


def _short(text: str) -> str:
    bare = text.strip()
    return bare if len(bare) <= 40 else f"{bare[:37]}..."
