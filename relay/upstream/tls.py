"""TLS towards upstreams: who is trusted, and what a failure means in plain words.  RFC 8314, RFC 8996, RFC 9325."""

import hashlib
import ssl
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from relay.upstream.certificate import Certificate
from relay.upstream.settings import Tls, TlsFloor, TlsMode, Upstream


class BadClientCertificate(OSError):
    """The certificate that we should show, or its key, cannot be used; the text says which."""


def context_for(tls: Tls) -> ssl.SSLContext:
    """The shared context of this policy; making one costs 50 ms and a megabyte.

    Raises BadClientCertificate, and OSError if ca_file is no good.
    """
    files = tuple(Path(name).stat().st_mtime_ns for name in (tls.ca_file, tls.client_cert, tls.client_key) if name)
    return _context(replace(tls, mode=TlsMode.STARTTLS), files)


@lru_cache(maxsize=64)
def _context(policy: Tls, _changed: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=policy.ca_file or None)
    context.minimum_version = _FLOORS[policy.floor]
    # RFC 5280 conformance beyond what servers on small networks keep; Python 3.13 switched it on by default
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if policy.legacy:
        _allow_the_old(context)
    if policy.client_cert:
        _show(context, policy)
    if not policy.verify or policy.fingerprint:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_FLOORS = {TlsFloor.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsFloor.TLS_1_3: ssl.TLSVersion.TLSv1_3}
_UNSAFE_RENEGOTIATION = 0x4  # OpenSSL's SSL_OP_LEGACY_SERVER_CONNECT; the ssl module names it from Python 3.12 on


def _allow_the_old(context: ssl.SSLContext) -> None:
    """Level 0 lets in SHA-1 signatures and the 512- and 1024-bit DH keys of servers from before 2015."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.options |= _UNSAFE_RENEGOTIATION


def _show(context: ssl.SSLContext, policy: Tls) -> None:
    def no_passphrase() -> str:
        raise BadClientCertificate(f"the key of client_cert {policy.client_cert} has a passphrase; store it without one")

    try:
        context.load_cert_chain(policy.client_cert, policy.client_key or None, no_passphrase)
    except BadClientCertificate:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        words = f"client_cert {policy.client_cert} cannot be used: {str(reason).replace('_', ' ').lower()}"
        raise BadClientCertificate(words) from None


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
            return f"{host} and we have no TLS version or cipher in common ({_floor(upstream.tls)}): {reason}"
        if "dh key too small" in reason or "ca md too weak" in reason or "unsafe legacy renegotiation" in reason:
            return f"{host} has TLS too weak to be safe ({reason}); `legacy_tls: true` on this upstream allows it"
        if "certificate required" in reason or "bad certificate" in reason:
            return f"{host} wants a certificate of ours; name it in `client_cert`: {reason}"
        return f"the TLS handshake with {host} failed: {reason}"
    if isinstance(error, TimeoutError):
        return f"{host}:{upstream.port} does not answer the TLS handshake; {_other_mode(upstream)}"
    old = "" if upstream.tls.legacy else ", and a server that knows only old TLS wants `legacy_tls: true`"
    return f"{host}:{upstream.port} hung up during the TLS handshake; {_other_mode(upstream)}{old}"


def _floor(tls: Tls) -> str:
    if tls.legacy:
        return "even with legacy_tls"
    hint = "; `legacy_tls: true` on this upstream allows older ones" if tls.floor is TlsFloor.TLS_1_2 else ""
    return f"we need TLS {tls.floor.value} or later{hint}"


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
