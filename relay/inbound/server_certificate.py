"""Server TLS: the configured certificate, or one that the `openssl` program makes, beside the spool."""

import asyncio
import re
import ssl
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from relay.detached import environment
from relay.inbound.admission import Listener
from relay.upstream.certificate_files import certificate_in, load_pair
from relay.upstream.peer_certificate import Certificate

_YEARS = 10
RENEWED_BEFORE = timedelta(days=30)
"""How long before its end a certificate of our own is made anew."""
_PATIENCE = 60.0
"""Seconds for making the key; a Raspberry Pi takes up to ten for RSA with 2048 bits."""


class NoCertificate(OSError):
    """TLS cannot be offered.  The text says why and what helps."""


Offer = ssl.SSLContext | asyncio.Task[ssl.SSLContext | None] | None
"""What a listener has for STARTTLS: a context, one that is still being made, or none."""


async def ready(offer: Offer) -> ssl.SSLContext | None:
    """Waits for the context; None if there is none."""
    if not isinstance(offer, asyncio.Task):
        return offer
    await asyncio.wait([offer])
    return made(offer)


def made(making: asyncio.Task[ssl.SSLContext | None]) -> ssl.SSLContext | None:
    """The task's result; None if the relay stopped before."""
    return None if making.cancelled() else making.result()


def must_be_made(listener: Listener, state_dir: Path) -> bool:
    """Whether there is no certificate of our own that can be used: a first start, or a power cut while it was written."""
    if listener.tls_cert:
        return False
    cert, key = files_of(listener, state_dir)
    try:
        if not cert.stat().st_size or not key.stat().st_size:
            return True
    except FileNotFoundError:
        return True
    return False


def files_of(listener: Listener, state_dir: Path) -> tuple[Path, Path]:
    """The listener's certificate and its key."""
    if listener.tls_cert:
        return Path(listener.tls_cert), Path(listener.tls_key or listener.tls_cert)
    return state_dir / "tls-cert.pem", state_dir / "tls-key.pem"


async def server_context(listener: Listener, state_dir: Path, hostname: str) -> ssl.SSLContext:
    """The TLS context of a listener; makes a certificate of our own where there is none.  Raises NoCertificate."""
    if must_be_made(listener, state_dir):
        await _make(*files_of(listener, state_dir), hostname)
    return load(listener, state_dir)


def load(listener: Listener, state_dir: Path) -> ssl.SSLContext:
    """A context of what is in the files now.  Raises NoCertificate."""
    cert, key = files_of(listener, state_dir)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's Python leaves it to the system
    if listener.legacy_tls:
        # Alarm panels and copiers from before 2010 (Paradox IP150): TLS 1.0 needs SHA-1, which is below level 1.
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("DEFAULT:@SECLEVEL=0")

    if reason := load_pair(context, cert, key):
        raise NoCertificate(f"{cert} with {key} cannot be used for TLS: {reason}")
    return context


def to_be_renewed(certificate: Certificate | None, now: datetime) -> bool:
    """Whether a certificate beside the spool is one of ours, and ends soon or begins later than now (a clock was wrong)."""
    if certificate is None or not certificate.self_issued or not certificate.expires or not certificate.since:
        return False
    return certificate.expires - now < RENEWED_BEFORE or certificate.since - now > timedelta(days=1)


async def renew(listener: Listener, state_dir: Path, hostname: str) -> None:
    """Makes a certificate of our own again, for the same key: who has pinned that notices nothing.  Raises NoCertificate."""
    cert, key = files_of(listener, state_dir)
    with tempfile.TemporaryDirectory(dir=cert.parent, prefix="tls-") as folder:
        new = Path(folder, "cert.pem")
        await _run(*_REQUEST, *_named(hostname), "-new", "-key", str(key), "-out", str(new))
        if certificate_in(new) is None:
            raise NoCertificate("openssl made no certificate")
        new.chmod(0o600)  # noqa: ASYNC240 - once in ten years
        new.replace(cert)  # noqa: ASYNC240 - one step: certificate and key always fit


def handshake_advice(reason: str) -> str:
    """What to do about a handshake that failed for this reason (OpenSSL's name for it)."""
    if any(word in reason for word in ("PROTOCOL", "CIPHER", "VERSION_TOO_LOW", "SIGALG", "SIGNATURE_ALGORITHM")):
        return "the device knows only old TLS; set `legacy_tls: true` on this listener, or turn encryption off in the device"
    if any(word in reason for word in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "taking longer")):
        return "the device does not speak TLS here; set it to SSL/TLS, or give it a listener with `tls: starttls` or `off`"
    if any(word in reason for word in ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED")):
        return "the device does not trust our certificate; give the listener tls_cert and tls_key, or turn its check off"
    return "the device gave up"


async def _make(cert: Path, key: Path, hostname: str) -> None:
    """Makes a certificate with an RSA key, since devices before 2012 know no elliptic curves.  Only we can read the key."""
    with tempfile.TemporaryDirectory(dir=cert.parent, prefix="tls-") as folder:  # mode 0700
        new_cert, new_key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        await _run(
            *(*_REQUEST, *_named(hostname)), "-newkey", "rsa:2048", "-nodes", "-keyout", str(new_key), "-out", str(new_cert)
        )
        new_key.chmod(0o600)  # noqa: ASYNC240 - once in ten years, before anybody is served
        new_cert.chmod(0o600)  # noqa: ASYNC240
        cert.unlink(missing_ok=True)  # noqa: ASYNC240 - one that fits no key would be there for good if we died here
        new_key.replace(key)  # noqa: ASYNC240
        new_cert.replace(cert)  # noqa: ASYNC240


_REQUEST = ("openssl", "req", "-x509", "-sha256", "-days", str(_YEARS * 365))


def _named(hostname: str) -> tuple[str, ...]:
    name = hostname if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?", hostname) else "relay.invalid"
    return "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"


async def _run(*command: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment(LC_ALL="C"),
        )
    except OSError as error:
        raise NoCertificate(
            "no TLS certificate can be made, because the program `openssl` cannot be run; install openssl, "
            "or set tls_cert and tls_key of the listener"
        ) from error
    try:
        async with asyncio.timeout(_PATIENCE):
            _, said = await process.communicate()
    except TimeoutError as error:
        raise NoCertificate(f"openssl took more than {_PATIENCE:.0f} s to make a key; set tls_cert and tls_key") from error
    finally:
        if process.returncode is None:  # too slow, or the relay is stopping
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise NoCertificate(f"openssl cannot make a certificate ({last[0]}); set tls_cert and tls_key of the listener")
