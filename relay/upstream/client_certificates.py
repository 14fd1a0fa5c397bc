"""The certificates that we show to upstreams: read again when their files change, and how long they are good."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from relay.detached import apart
from relay.upstream.certificate_files import certificate_in
from relay.upstream.peer_certificate import Certificate
from relay.upstream.settings import Upstream
from relay.upstream.tls import context_for, trouble_with


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What is in the file now; `trouble` is why it is not used, "" if it is."""

    certificate: Certificate | None
    trouble: str


class ClientCertificates:
    """What was seen at the last look, by upstream."""

    def __init__(self) -> None:
        self.seen: dict[str, ClientCertificate] = {}
        self._told: set[str] = set()

    async def look(self, upstreams: Iterable[Upstream]) -> list[str]:
        """Looks at the files.  The names of the upstreams whose trouble has lasted since the look before, each once.

        A certificate and its key may be written one after the other; so the first look with trouble is not told.
        """
        before, self.seen = self.seen, await apart(partial(_look, [one for one in upstreams if one.tls.client_cert]))
        bad = {name for name, one in self.seen.items() if one.trouble}
        new = [name for name in sorted(bad - self._told) if name in before and before[name].trouble]
        self._told = (self._told & bad) | set(new)
        return new


def _look(upstreams: list[Upstream]) -> dict[str, ClientCertificate]:
    return {one.name: _seen(one) for one in upstreams}


def _seen(upstream: Upstream) -> ClientCertificate:
    try:
        context_for(upstream.tls, again=True)
        trouble = trouble_with(upstream.tls)
    except OSError as error:
        trouble = str(error)
    return ClientCertificate(certificate_in(upstream.tls.client_cert), trouble)
