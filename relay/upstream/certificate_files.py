"""Certificates that are kept in files (PEM): whether the files have changed, and how long a certificate is good.

A changed file is seen by its time, size and inode, behind symbolic links: certbot's `live/` and the `..data` of a Kubernetes
secret change what a link leads to, with the same name and perhaps the same time.
"""

import re
import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from relay.upstream.peer_certificate import Certificate, examine

SOON = timedelta(days=14)
"""Before the end of a certificate somebody should look; before that, renewals are still to come."""

Stamps = tuple[tuple[int, ...], ...]
"""What tells that files were changed; () of a file that is not there."""

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]{1,100000}-----END CERTIFICATE-----")
_LARGEST = 1_000_000


def stamps(names: Iterable[str | Path]) -> Stamps:
    """Of each file; never raises."""
    return tuple(_stamp(name) for name in names)


def _stamp(name: str | Path) -> tuple[int, ...]:
    try:
        found = Path(name).stat()
    except OSError:
        return ()
    # the time of the change too: `chmod` may make readable what was not
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


def certificate_in(name: str | Path) -> Certificate | None:
    """The first certificate in a file: the one that is shown.  None if there is none; never raises."""
    try:
        with Path(name).open("rb") as opened:
            found = _PEM.search(opened.read(_LARGEST))
        return examine(ssl.PEM_cert_to_DER_cert(found[0].decode("ascii"))) if found else None
    except (OSError, ValueError):
        return None


def load_pair(context: ssl.SSLContext, cert: str | Path, key: str | Path) -> str:
    """Loads a certificate and its key into the context.  Why they cannot be used, "" if they can."""

    def no_passphrase() -> str:
        raise ValueError("the key has a passphrase; store it without one")  # else OpenSSL asks on the terminal

    try:
        context.load_cert_chain(cert, key, no_passphrase)
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", "") or getattr(error, "strerror", "") or error)
    return ""


def ends_soon(certificate: Certificate, now: datetime) -> bool:
    """Within two weeks; one that lives for days only, within the last third of its life."""
    if not certificate.expires:
        return False
    life = certificate.expires - certificate.since if certificate.since else SOON * 3
    return certificate.expires - now < min(SOON, life / 3)


def days_left(certificate: Certificate, now: datetime) -> int:
    """Whole days; below 0 when it has ended."""
    return (certificate.expires - now).days if certificate.expires else 0
