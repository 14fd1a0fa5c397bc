"""TLS to upstreams: which certificates are trusted, and what a failure means in plain words.  RFC 8314, RFC 8996, RFC 9325."""

import hashlib
import ssl
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from relay.mail.reply import Fault
from relay.upstream.certificate_files import Stamps, load_pair, stamps
from relay.upstream.peer_certificate import Certificate
from relay.upstream.settings import SmtpServer, Tls, TlsFloor, TlsMode


class BadClientCertificate(OSError):
    """The certificate that we should show, or its key, cannot be used; the text says which."""


@dataclass(frozen=True, slots=True)
class Distrust:
    """Why a certificate is not trusted; `again`: in a fresh session it may be, as more is known by now."""

    fault: Fault
    again: bool = False


class Trust(Protocol):
    """Which certificates of a server are trusted, where more is to be looked at than its upstream's settings say."""

    def context(self) -> ssl.SSLContext:
        """For the next handshake.  Blocks."""

    def problem(self, ssl_object: ssl.SSLObject) -> Distrust | None:
        """Looks at the certificates after the handshake."""


def context_for(tls: Tls, *, again: bool = False) -> ssl.SSLContext:
    """The shared context of this policy; making one costs 50 ms and a megabyte.  Made anew when its files change.

    While the new files cannot be used, it is the old one, and `trouble_with` says why; `again` tries them once more, for it
    may have been the disk that did not answer.
    Raises BadClientCertificate, and OSError if ca_file is no good, where there is no old one.
    """
    policy = replace(tls, mode=TlsMode.STARTTLS)
    names = [name for name in (tls.ca_file, tls.client_cert, tls.client_key) if name]
    with _lock:
        files = stamps(names)
        context, read, trouble = _contexts.pop(policy, _UNKNOWN)
        if context is None or files != read or (again and trouble):
            old, trouble = context, ""
            try:
                context = _context(policy, names)
            except OSError as error:
                if old is None:
                    raise
                context, trouble = old, f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _contexts[policy] = context, files, trouble
        if len(_contexts) > _KEPT:
            del _contexts[next(iter(_contexts))]
        return context


_contexts: dict[Tls, tuple[ssl.SSLContext | None, Stamps, str]] = {}
_UNKNOWN: tuple[None, Stamps, str] = (None, (), "")
_KEPT = 64
_lock = threading.Lock()


def trouble_with(tls: Tls) -> str:
    """Why the certificates in the files are not those that are used; "" if they are, or if none was used yet."""
    with _lock:
        return _contexts.get(replace(tls, mode=TlsMode.STARTTLS), _UNKNOWN)[2]


def _context(policy: Tls, names: Sequence[str]) -> ssl.SSLContext:
    for name in names:
        Path(name).stat()  # the error names the file, which OpenSSL's does not
    context = ssl.create_default_context(cafile=policy.ca_file or None)
    context.minimum_version = _FLOORS[policy.floor]
    # RFC 5280 conformance beyond what servers on small networks keep; Python 3.13 switched it on by default
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if policy.legacy:
        _allow_the_old(context)
    if policy.client_cert:
        reason = load_pair(context, policy.client_cert, policy.client_key or policy.client_cert)
        if reason:
            words = f"client_cert {policy.client_cert} cannot be used: {reason.replace('_', ' ').lower()}"
            raise BadClientCertificate(words)
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


def pin_problem(tls: Tls, certificate: bytes | None) -> str:
    """What is wrong with a certificate (DER) against the pinned fingerprint, "" if nothing is or none is pinned."""
    if not tls.fingerprint:
        return ""
    seen = hashlib.sha256(certificate or b"").hexdigest()
    if seen == tls.fingerprint.replace(":", "").lower():
        return ""
    return f"its certificate is not the pinned one: if that is meant, set `fingerprint: {seen}`"


def chain_of(ssl_object: ssl.SSLObject) -> list[bytes]:
    """The certificates (DER) that a server showed, its own first, trusted or not."""
    public = getattr(ssl_object, "get_unverified_chain", None)  # from Python 3.13 on
    if public:
        return list(public())
    inner = getattr(getattr(ssl_object, "_sslobj", None), "get_unverified_chain", None)
    shown = inner() if inner else None
    if not shown:
        return [ssl_object.getpeercert(binary_form=True) or b""]
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in shown]


def explain(error: Exception, server: SmtpServer, seen: Sequence[Certificate] = ()) -> tuple[Fault, str]:
    """A failed handshake in plain words, with its cure; `seen` are the certificates that the server shows, if known."""
    host = server.host
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error, host, seen)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").replace("_", " ").lower() or str(error)
        if "wrong version number" in reason or "record layer failure" in reason or "unexpected message" in reason:
            return Fault.TLS_MODE, f"{host}:{server.port} answers without TLS; {_other_mode(server)}"
        if "protocol" in reason or "handshake failure" in reason or "no shared cipher" in reason:
            words = f"{host} and we have no TLS version or cipher in common ({_floor(server.tls)}): {reason}"
            return Fault.TLS_OLD, words
        if "key too small" in reason or "ca md too weak" in reason or "unsafe legacy renegotiation" in reason:
            words = f"{host} has TLS too weak to be safe ({reason}); `legacy_tls: true` on this upstream allows it"
            return Fault.TLS_OLD, words
        if "certificate required" in reason or "bad certificate" in reason:
            return Fault.TLS_CLIENT, f"{host} wants a certificate of ours; name it in `client_cert`: {reason}"
        return Fault.TLS, f"the TLS handshake with {host} failed: {reason}"
    if isinstance(error, TimeoutError):
        return Fault.TIMED_OUT, f"{host}:{server.port} does not answer the TLS handshake; {_other_mode(server)}"
    old = "" if server.tls.legacy else ", and a server that knows only old TLS wants `legacy_tls: true`"
    return Fault.HUNG_UP, f"{host}:{server.port} hung up during the TLS handshake; {_other_mode(server)}{old}"


def _floor(tls: Tls) -> str:
    if tls.legacy:
        return "even with legacy_tls"
    hint = "; `legacy_tls: true` on this upstream allows older ones" if tls.floor is TlsFloor.TLS_1_2 else ""
    return f"we need TLS {tls.floor.value} or later{hint}"


_WEAK = {66: "its key is too small", 67: "its authority's key is too small", 68: "it is signed by a hash that is too weak"}
"""OpenSSL's X509_V_ERR_EE_KEY_TOO_SMALL, X509_V_ERR_CA_KEY_TOO_SMALL, X509_V_ERR_CA_MD_TOO_WEAK."""


def _distrust(error: ssl.SSLCertVerificationError, host: str, seen: Sequence[Certificate]) -> tuple[Fault, str]:
    own = seen[0] if seen else None
    pin = f"or pin it with `fingerprint: {own.fingerprint}`" if own else "or pin it with `fingerprint` (its SHA-256)"
    match error.verify_code:
        case 10:
            return Fault.TLS_EXPIRED, _expired(host, seen, pin)
        case 9:
            return Fault.TLS_EARLY, _early(host, seen)
        case 62 | 64:
            names = ", ".join(own.names[:5]) if own else ""
            known = f"({names}); use that name as `host`" if names else "; use the name that is in it as `host`"
            return Fault.TLS_NAME, f"the certificate of {host} is for another name {known}, {pin}"
        case 18:
            return Fault.TLS_TRUST, f"the certificate of {host} is self-signed; name it in `ca_file`, {pin}"
        case 19 | 20 | 21:
            who = f" ({seen[-1].issuer})" if seen and seen[-1].issuer else ""
            words = f"the certificate of {host} is from an authority unknown here{who}; name that in `ca_file`, {pin}"
            return Fault.TLS_TRUST, words
        case 66 | 67 | 68 as code:
            words = f"the certificate of {host} is too weak to be safe: {_WEAK[code]}"
            return Fault.TLS_OLD, f"{words}; `legacy_tls: true` on this upstream allows it"
    words = f"the certificate of {host} is not trusted: {error.verify_message}; name its authority in `ca_file`, {pin}"
    return Fault.TLS_TRUST, words


def _expired(host: str, seen: Sequence[Certificate], pin: str) -> str:
    """OpenSSL does not say which certificate of the chain it means; the clock does."""
    now = datetime.now(UTC)
    late = next((place for place, one in enumerate(seen) if one.expires and one.expires < now), None)
    clock = "If it is still good, check the clock here"
    if not seen or late == 0:
        since = f" expired on {seen[0].expires:%Y-%m-%d}" if seen and seen[0].expires else " has expired"
        return f"the certificate of {host}{since}; have it renewed there, {pin}. {clock}"
    if late:
        of = f"the certificate of {seen[late].subject or 'an authority'}, which {host} shows with its own,"
        return f"{of} expired on {seen[late].expires:%Y-%m-%d}; the server must show a newer one, {pin}. {clock}"
    who = f" ({seen[-1].issuer})" if seen[-1].issuer else ""
    return (
        f"the certificate of {host} is good, but that of its authority{who} in the list used here has expired; "
        f"bring `ca_file`, or the package ca-certificates, up to date, {pin}"
    )


def _early(host: str, seen: Sequence[Certificate]) -> str:
    now = datetime.now(UTC)
    late = next((place for place, one in enumerate(seen) if one.since and one.since > now), 0)
    since = f", but from {seen[late].since:%Y-%m-%d} on" if seen and seen[late].since else ""
    of = f"{seen[late].subject or 'an authority'}, which {host} shows with its own," if late else host
    return f"the certificate of {of} is not valid yet{since}; check the clock here"


def _other_mode(server: SmtpServer) -> str:
    if server.tls.mode is TlsMode.IMPLICIT:
        return "a port that begins in clear (587, 25; POP 110) wants `tls: starttls`"
    return "a port that begins with TLS (465; POP 995) wants `tls: implicit`"
