"""Evidence about certificates in files: whether they can be used, and what is in them."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from relay.doctor.certificate import CertificateFacts
from relay.doctor.subject import Subject
from relay.inbound.admission import ListenTls
from relay.inbound.server_certificate import files_of
from relay.upstream.certificate_files import certificate_in, load_pair


def certificate_facts(subject: Subject) -> tuple[CertificateFacts, ...]:
    """Of every listener with TLS, and of every upstream that wants one of ours.  What this user may not read is left out."""
    return tuple(_facts(subject))


def _facts(subject: Subject) -> Iterator[CertificateFacts]:
    for listener in subject.listeners:
        cert, key = files_of(listener, subject.state_dir)
        if listener.tls is not ListenTls.OFF and (listener.tls_cert or (os.path.exists(cert) and os.path.exists(key))):
            yield from _examined(listener.name, cert, key, own=not listener.tls_cert)
    for upstream in subject.upstreams.values():
        if upstream.tls.client_cert:
            cert = Path(upstream.tls.client_cert)
            yield from _examined(upstream.name, cert, Path(upstream.tls.client_key or cert), own=False)


def _examined(about: str, cert: Path, key: Path, *, own: bool) -> Iterator[CertificateFacts]:
    if any(os.path.exists(place) and not os.access(place, os.R_OK) for place in (cert, key)):
        return  # the key is for the relay's user only
    trouble = load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)
    yield CertificateFacts(about, str(cert), certificate_in(cert), trouble, own)
