"""An application proves itself by its certificate: a JWT signed by the `openssl` program.  RFC 7521, RFC 7523, RFC 7518.

The shape is the one of Microsoft's "certificate credentials for application authentication": PS256 and x5t#S256.
"""

import base64
import hashlib
import json
import re
import ssl
import subprocess
import tempfile
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from relay.detached import environment

_LIFETIME = timedelta(minutes=10)
_PATIENCE = 30.0
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


class CannotSign(Exception):
    """The certificate or its key is no good; the text says why."""


def assertion(client_id: str, audience: str, certificate_file: str, now: datetime) -> str:
    """A signed JWT that stands in for the client secret at `audience` (the token URL).  Blocks.  Raises CannotSign."""
    header = {"alg": "PS256", "typ": "JWT", "x5t#S256": _thumbprint(certificate_file)}
    claims = {
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": str(uuid.uuid4()),
        "nbf": int((now - timedelta(minutes=1)).timestamp()),
        "exp": int((now + _LIFETIME).timestamp()),
    }
    signed = f"{_text(json.dumps(header).encode())}.{_text(json.dumps(claims).encode())}"
    return f"{signed}.{_text(_signature(signed.encode(), certificate_file))}"


def _thumbprint(certificate_file: str) -> str:
    try:
        found = _CERTIFICATE.search(Path(certificate_file).read_text(encoding="ascii", errors="replace"))
        octets = ssl.PEM_cert_to_DER_cert(found[0]) if found else b""
    except (OSError, ValueError) as error:
        raise CannotSign(f"{certificate_file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not octets:
        raise CannotSign(f"{certificate_file} has no certificate in it (PEM, beside its key)")
    return _text(hashlib.sha256(octets).digest())


def _signature(octets: bytes, certificate_file: str) -> bytes:
    """RSASSA-PSS over SHA-256 with a salt as long as the digest (RFC 7518 s3.5)."""
    padding = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")
    with tempfile.NamedTemporaryFile() as signed:
        signed.write(octets)
        signed.flush()
        try:
            done = subprocess.run(  # noqa: S603 - our own words and a file that the settings name
                ["openssl", "dgst", "-sha256", "-sign", certificate_file, *padding, "-binary", signed.name],  # noqa: S607
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
                env=environment(LC_ALL="C"),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotSign(f"the program `openssl` is needed to sign with {certificate_file}: {error}") from None
    if done.returncode:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"])[-1]
        raise CannotSign(f"{certificate_file} has no RSA key without a passphrase in it: {last}")
    return done.stdout


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
