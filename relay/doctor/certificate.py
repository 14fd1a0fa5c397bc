"""Certificates in files, of listeners and for upstreams: what is known of them, and what that means.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from relay.doctor.finding import Finding, fine, problem, warning
from relay.upstream.certificate_files import days_left, ends_soon
from relay.upstream.peer_certificate import Certificate


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """`about` is the listener or upstream that shows it; `trouble` why it cannot be used; `own`: made by the relay."""

    about: str
    file: str
    certificate: Certificate | None = None
    trouble: str = ""
    own: bool = False


def judge_certificates(several: Iterable[CertificateFacts], now: datetime) -> list[Finding]:
    return [_judged(one, now) for one in several]


def _judged(facts: CertificateFacts, now: datetime) -> Finding:
    certificate = facts.certificate
    if facts.trouble or certificate is None:
        cause = f"The certificate in {facts.file} cannot be used; a relay that runs goes on with the one that it read before."
        cure = "Put a certificate and its key there that belong together (PEM, without a passphrase)."
        return problem("certificate-unusable", facts.about, cause, cure, facts.trouble or "there is no certificate in it")
    if certificate.expires is None:
        return fine("certificate", facts.about, f"{facts.file} can be used")
    left, until = days_left(certificate, now), f"{certificate.expires:%Y-%m-%d}"
    cure = "See why it was not renewed (certbot, acme.sh, your own authority). The relay reads a new one by itself."
    if facts.own:
        cure = "The relay makes it anew by itself: see in the log why it could not. It needs the program `openssl`."
    if certificate.expires <= now:
        cause = f"The certificate in {facts.file} ended on {until}: whoever verifies it does not connect."
        return problem("certificate-expired", facts.about, cause, cure)
    if ends_soon(certificate, now):
        return warning("certificate-soon", facts.about, f"The certificate in {facts.file} ends on {until} ({left} days).", cure)
    return fine("certificate", facts.about, f"certificate until {until} ({left} days)")
