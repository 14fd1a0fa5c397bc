"""DKIM for tests: keys that are made once, and a verifier that is not ours (dkimpy, with PyNaCl for Ed25519)."""

import functools
import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from relay.outbound.dkim_keys import ready
from relay.upstream.dot_stuffing import stuffed
from relay.upstream.settings import DkimAlgorithm, DkimKey

SELECTOR = "relay"


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="relay-dkim-"))


@functools.cache
def key_for(domain: str, algorithm: DkimAlgorithm = DkimAlgorithm.RSA, selector: str = SELECTOR) -> DkimKey:
    """A key of a domain; one file for all domains, since making one takes a while."""
    return DkimKey(domain, selector, str(_folder() / f"{algorithm.value}.pem"), ("mx", "isp"), algorithm)


def published(*keys: DkimKey) -> dict[str, str]:
    """The DNS with the records of these keys."""
    return {f"{key.selector}._domainkey.{key.domain}": ready(key).record for key in keys}


def quoted(record: str) -> str:
    """As a zone file has it: in strings of 255 characters."""
    return " ".join(f'"{record[place : place + 255]}"' for place in range(0, len(record), 255))


def received(content: Iterable[bytes]) -> bytes:
    """What a server stores of content: sent as DATA sends it, dots taken away again."""
    wire = b"\r\n" + b"".join(stuffed(content))
    return wire.replace(b"\r\n.", b"\r\n")[2:]


def verdicts(message: bytes, dns: Mapping[str, str]) -> dict[tuple[str, str], bool]:
    """Whether each signature of a message holds, by (d=, s=)."""
    import dkim  # here: most who import this file only want a key

    def ask(name: bytes, timeout: float = 5) -> bytes | None:
        text = dns.get(name.decode().rstrip("."))
        return text.encode() if text is not None else None

    reader = dkim.DKIM(message, logger=_QUIET)
    found: dict[tuple[str, str], bool] = {}
    for number in range(sum(name.lower() == b"dkim-signature" for name, _ in reader.headers)):
        reader.domain = reader.selector = None  # one that cannot be read leaves the last one's
        try:
            holds = reader.verify(number, dnsfunc=ask)
        except dkim.DKIMException:
            holds = False
        found[(reader.domain or b"").decode(), (reader.selector or b"").decode()] = holds
    return found


_QUIET = logging.getLogger("tests.dkim")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
