"""The certificates that we show to upstreams: read again when their files change, and how long they are good."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from relay.detached import apart
from relay.upstream.certificate_files import certificate_in
from relay.upstream.peer_certificate import Certificate
from relay.upstream.settings import Upstream
from relay.upstream.tls import context_for, trouble_with


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The one that is shown; `trouble` is why it is not the one in the file, "" if it is.

    Without an older one that is still `in_use`, nothing can be sent to the upstream.
    """

    certificate: Certificate | None
    trouble: str
    in_use: bool


class ClientCertificates:
    """What was seen at the last look, by upstream."""

    def __init__(self) -> None:
        self.seen: dict[str, ClientCertificate] = {}
        self._told: set[str] = set()

    async def look(self, upstreams: Iterable[Upstream]) -> list[str]:
        """Looks at the files.  The names of the upstreams whose trouble has lasted since the look before, each once.

        A certificate and its key may be written one after the other; so the first look with trouble is not told.
        """
        before, self.seen = self.seen, await apart(partial(_look, [one for one in upstreams if one.tls.client_cert], self.seen))
        bad = {name for name, one in self.seen.items() if one.trouble}
        new = [name for name in sorted(bad - self._told) if name in before and before[name].trouble]
        self._told = (self._told & bad) | set(new)
        return new


def _look(upstreams: list[Upstream], before: Mapping[str, ClientCertificate]) -> dict[str, ClientCertificate]:
    return {one.name: _seen(one, before.get(one.name)) for one in upstreams}


def _seen(upstream: Upstream, before: ClientCertificate | None) -> ClientCertificate:
    try:
        context_for(upstream.tls, again=True)
    except OSError as error:
        return ClientCertificate(None, str(error), in_use=False)
    trouble = trouble_with(upstream.tls)
    old = before.certificate if before and trouble else None
    return ClientCertificate(old if trouble else certificate_in(upstream.tls.client_cert), trouble, in_use=True)
