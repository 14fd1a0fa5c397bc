"""What a person has to know of a certificate that was not trusted: names, dates, fingerprint.  RFC 5280 s4.1.  Pure.

The ssl module tells these of verified certificates only; the few fields are read from the DER here.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from relay.der import elements

_ALT_NAMES = b"\x55\x1d\x11"  # OID 2.5.29.17, subjectAltName
_COMMON_NAME, _ORGANISATION = b"\x55\x04\x03", b"\x55\x04\x0a"  # OIDs 2.5.4.3, 2.5.4.10
_OID, _UTC_TIME, _VERSION, _EXTENSIONS, _DNS_NAME = 0x06, 0x17, 0xA0, 0xA3, 0x82
_BMP_STRING = 0x1E
_WRITTEN_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z")
_LONGEST_HOST = 253  # characters of a domain name
_LONGEST_NAME = 64  # characters; RFC 5280 appendix A.1, ub-common-name


@dataclass(frozen=True, slots=True)
class Certificate:
    """`fingerprint` is SHA-256 in hex; `expires` and `since` None, the others empty where they cannot be read.

    `subject` and `issuer` are the common names, else the organisations.  `self_issued`: both whole names are the same.
    """

    fingerprint: str
    expires: datetime | None = None
    names: tuple[str, ...] = ()
    since: datetime | None = None
    subject: str = ""
    issuer: str = ""
    self_issued: bool = False


def examine(der: bytes) -> Certificate:
    """Reads a certificate; never raises for what is in it."""
    fingerprint = hashlib.sha256(der).hexdigest()
    try:
        [(_, certificate)] = _items(der)
        _, signed = next(_items(certificate))
        fields = list(_items(signed))
        # [0] version is left out by version 1 certificates; then serial, algorithm, issuer, validity
        (_, issuer), (_, validity), (_, subject) = fields[3:6] if fields[0][0] == _VERSION else fields[2:5]
        since, expires = (_time(kind, value) for kind, value in _items(validity))
        names = tuple(_names(fields))
        return Certificate(fingerprint, expires, names, since, _called(subject), _called(issuer), subject == issuer)
    except (ValueError, IndexError, StopIteration):
        return Certificate(fingerprint)


def public_key(der: bytes) -> bytes:
    """SubjectPublicKeyInfo of a certificate, in DER as it stands there; b"" where it cannot be found."""
    try:
        [certificate] = elements(der)
        fields = list(elements(next(elements(certificate.contents)).contents))
        # serial, algorithm, issuer, validity and subject come before it
        return fields[6 if fields[0].tag == _VERSION else 5].whole
    except (ValueError, IndexError, StopIteration):
        return b""


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and contents of each element.  Raises ValueError on what is no DER."""
    return ((one.tag, one.contents) for one in elements(data))


def _time(kind: int, value: bytes) -> datetime:
    """UTCTime or GeneralizedTime; two-digit years below 50 are of this century (RFC 5280 s4.1.2.5.1)."""
    text = value.decode("ascii")
    if kind == _UTC_TIME:
        text = ("20" if int(text[:2]) < 50 else "19") + text
    written = _WRITTEN_TIME.fullmatch(text)  # `strptime` would load a module for it
    if not written:
        raise ValueError(f"{text!r} is no time")
    year, month, day, hour, minute, second = map(int, written.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _called(name: bytes) -> str:
    """The common name in a distinguished name, else the organisation; printable."""
    found = {}
    for _, relative in _items(name):
        for _, attribute in _items(relative):
            (_, oid), (kind, value) = _items(attribute)
            found[oid] = value.decode("utf-16-be" if kind == _BMP_STRING else "utf-8", "replace")
    text = found.get(_COMMON_NAME) or found.get(_ORGANISATION, "")
    return _shown(text, _LONGEST_NAME)


def _shown(text: str, longest: int) -> str:
    return "".join(char for char in text[:longest] if char.isprintable())


def _names(fields: list[tuple[int, bytes]]) -> Iterator[str]:
    for tag, wrapped in fields:
        if tag != _EXTENSIONS:
            continue
        [(_, extensions)] = _items(wrapped)
        for _, extension in _items(extensions):
            parts = list(_items(extension))
            if parts[0] == (_OID, _ALT_NAMES):
                [(_, names)] = _items(parts[-1][1])
                hosts = (name.decode("ascii", "replace") for kind, name in _items(names) if kind == _DNS_NAME)
                yield from (_shown(host, _LONGEST_HOST) for host in hosts)
