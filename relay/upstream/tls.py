"""TLS towards upstreams: who is trusted, and what a failure means in plain words.  RFC 8314, RFC 8996, RFC 9325."""

import hashlib
import ssl
from functools import lru_cache
from pathlib import Path

from relay.upstream.certificate import Certificate
from relay.upstream.settings import Tls, TlsMode, Upstream


def context_for(tls: Tls) -> ssl.SSLContext:
    """The shared context of this policy; making one costs 50 ms and a megabyte.  Raises OSError if ca_file is no good."""
    changed = Path(tls.ca_file).stat().st_mtime_ns if tls.ca_file else 0
    return _context(tls.ca_file, changed, tls.verify and not tls.fingerprint)


@lru_cache(maxsize=64)
def _context(ca_file: str, _changed: int, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 5280 conformance beyond what servers on small networks keep; Python 3.13 switched it on by default
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def pin_problem(tls: Tls, certificate: bytes | None) -> str:
    """What is wrong with a certificate (DER) against the pinned fingerprint, "" if nothing is or none is pinned."""
    if not tls.fingerprint:
        return ""
    seen = hashlib.sha256(certificate or b"").hexdigest()
    if seen == tls.fingerprint.replace(":", "").lower():
        return ""
    return f"its certificate is not the pinned one: if that is meant, set `fingerprint: {seen}`"


def explain(error: Exception, upstream: Upstream, seen: Certificate | None = None) -> str:
    """A failed handshake in plain words, with its cure; `seen` is the certificate that was not trusted, if known."""
    host = upstream.host
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error, host, seen)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").replace("_", " ").lower() or str(error)
        if "wrong version number" in reason or "record layer failure" in reason or "unexpected message" in reason:
            return f"{host}:{upstream.port} answers without TLS; {_other_mode(upstream)}"
        if "protocol" in reason or "handshake failure" in reason or "no shared cipher" in reason:
            return f"{host} and we have no TLS version or cipher in common (we need TLS 1.2 or later): {reason}"
        return f"the TLS handshake with {host} failed: {reason}"
    if isinstance(error, TimeoutError):
        return f"{host}:{upstream.port} does not answer the TLS handshake; {_other_mode(upstream)}"
    return f"{host}:{upstream.port} hung up during the TLS handshake; {_other_mode(upstream)}"


def _distrust(error: ssl.SSLCertVerificationError, host: str, seen: Certificate | None) -> str:
    pin = f"or pin it with `fingerprint: {seen.fingerprint}`" if seen else "or pin it with `fingerprint` (its SHA-256)"
    match error.verify_code:
        case 10:
            since = f" expired on {seen.expires:%Y-%m-%d}" if seen and seen.expires else " has expired"
            return f"the certificate of {host}{since}; have it renewed there, {pin}. If it is still good, check the clock here"
        case 9:
            return f"the certificate of {host} is not valid yet; check the clock here"
        case 62 | 64:
            names = ", ".join(seen.names[:5]) if seen else ""
            known = f"({names}); use that name as `host`" if names else "; use the name that is in it as `host`"
            return f"the certificate of {host} is for another name {known}, {pin}"
        case 18:
            return f"the certificate of {host} is self-signed; name it in `ca_file`, {pin}"
        case 19 | 20 | 21:
            return f"the certificate of {host} is from an authority unknown here; name that in `ca_file`, {pin}"
    return f"the certificate of {host} is not trusted: {error.verify_message}; name its authority in `ca_file`, {pin}"


def _other_mode(upstream: Upstream) -> str:
    if upstream.tls.mode is TlsMode.IMPLICIT:
        return "a port that begins in clear (587, 25; POP 110) wants `tls: starttls`"
    return "a port that begins with TLS (465; POP 995) wants `tls: implicit`"
