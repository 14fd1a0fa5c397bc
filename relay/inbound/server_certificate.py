"""Server TLS: the configured certificate, or one that the `openssl` program makes once, beside the spool."""

import asyncio
import re
import ssl
import tempfile
from pathlib import Path

from relay.detached import environment
from relay.inbound.admission import Listener

_YEARS = 10
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


def to_be_had(offer: Offer) -> bool:
    """Whether there is a context, or one is still being made."""
    return offer is not None and not (isinstance(offer, asyncio.Task) and offer.done() and made(offer) is None)


def must_be_made(listener: Listener, state_dir: Path) -> bool:
    """Whether there is no certificate yet: a first start."""
    return not listener.tls_cert and not all(place.exists() for place in _own(state_dir))


def _own(state_dir: Path) -> tuple[Path, Path]:
    return state_dir / "tls-cert.pem", state_dir / "tls-key.pem"


async def server_context(listener: Listener, state_dir: Path, hostname: str) -> ssl.SSLContext:
    """The TLS context of a listener.  Raises NoCertificate."""
    if listener.tls_cert:
        cert, key = Path(listener.tls_cert), Path(listener.tls_key or listener.tls_cert)
    else:
        cert, key = _own(state_dir)
        if must_be_made(listener, state_dir):
            await _make(cert, key, hostname)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's Python leaves it to the system
    if listener.legacy_tls:
        # Alarm panels and copiers from before 2010 (Paradox IP150): TLS 1.0 needs SHA-1, which is below level 1.
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or error
        raise NoCertificate(f"{listener.name}: {cert} with {key} cannot be used for TLS: {reason}") from error
    return context


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
    name = hostname if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?", hostname) else "relay.invalid"
    with tempfile.TemporaryDirectory(dir=cert.parent, prefix="tls-") as folder:  # mode 0700
        new_cert, new_key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        await _run(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", str(_YEARS * 365)),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", str(new_key), "-out", str(new_cert)),
        )
        new_key.chmod(0o600)  # noqa: ASYNC240 - once in ten years, before anybody is served
        new_cert.chmod(0o600)  # noqa: ASYNC240
        new_key.replace(key)  # noqa: ASYNC240
        new_cert.replace(cert)  # noqa: ASYNC240


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
