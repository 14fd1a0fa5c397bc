"""DANE: which TLSA records count, and which certificates they name.  RFC 6698, RFC 7671, RFC 7672.  Pure."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.upstream.mta_sts import name_fits
from relay.upstream.peer_certificate import public_key

DANE_TA, DANE_EE = 2, 3
"""Usages: a trust anchor in the chain, or the server's own certificate.  The other two do not count for SMTP."""

_CERTIFICATE, _PUBLIC_KEY = 0, 1
_WHOLE, _SHA_256, _SHA_512 = 0, 1, 2
_DIGEST_SIZES = {_SHA_256: 32, _SHA_512: 64}
_MOST = 100  # records of one host


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record: usage, selector, matching type, certificate association data."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def names(self, certificate: bytes) -> bool:
        """Whether it is about this certificate (DER)."""
        selected = certificate if self.selector == _CERTIFICATE else public_key(certificate)
        if not selected:
            return False
        if self.matching == _WHOLE:
            return selected == self.data
        digest = hashlib.sha256 if self.matching == _SHA_256 else hashlib.sha512
        return digest(selected).digest() == self.data

    @property
    def usable(self) -> bool:
        """RFC 7672 s3.1: usages 2 and 3, with a selector, a matching type and a length that exist."""
        if self.usage not in (DANE_TA, DANE_EE) or self.selector not in (_CERTIFICATE, _PUBLIC_KEY):
            return False
        return bool(self.data) if self.matching == _WHOLE else len(self.data) == _DIGEST_SIZES.get(self.matching)


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """Those that count.  Of two digests for the same usage and selector the stronger one does (RFC 7671 s9)."""
    sound = sorted({record for record in records if record.usable}, key=_order)[:_MOST]
    strong = {(record.usage, record.selector) for record in sound if record.matching == _SHA_512}
    return tuple(one for one in sound if one.matching != _SHA_256 or (one.usage, one.selector) not in strong)


def _order(record: Tlsa) -> tuple[int, int, int, bytes]:
    return record.usage, record.selector, record.matching, record.data


def names_server(records: Iterable[Tlsa], certificate: bytes) -> bool:
    """Whether the server's own certificate is the one: then neither its names nor its dates matter (RFC 7672 s3.1.1)."""
    return any(record.usage == DANE_EE and record.names(certificate) for record in records)


def anchors(records: Iterable[Tlsa], chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """The certificates (DER) that are trust anchors by these records: of the chain, the server's own excepted, and whole ones.

    Whether the server's certificate is signed by one of them, for a right name and today, is not looked at here.
    """
    wanted = [record for record in records if record.usage == DANE_TA]
    shown = [each for each in chain[1:] if any(record.names(each) for record in wanted)]
    whole = [one.data for one in wanted if one.selector == _CERTIFICATE and one.matching == _WHOLE and public_key(one.data)]
    return tuple(dict.fromkeys((*shown, *whole)))


def fits(names: Iterable[str], references: Iterable[str]) -> bool:
    """Whether a certificate with these names is for one of the hosts or domains that it may be for (RFC 7672 s3.2.2)."""
    wanted = tuple(references)
    return any(name_fits(name, reference) for name in names for reference in wanted)
