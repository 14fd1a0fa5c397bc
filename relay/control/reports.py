"""What is known of upstreams and devices: how they stand, and what was set for them.  Pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from relay.control.views import sound
from relay.inbound.devices import Expected
from relay.upstream.client_certificates import ClientCertificate
from relay.upstream.settings import DIRECT, Upstream


def upstream_views(
    lines: Iterable[Mapping[str, Any]],
    upstreams: Mapping[str, Upstream],
    certificates: Mapping[str, ClientCertificate] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Each line of the runner with server, port, TLS and limits beside it; None where there is no limit.

    The built-in `mx` is told of only when it is known to be used.
    """
    views = []
    for line in lines:
        view, known = dict(line), upstreams.get(str(line["name"]).partition(" ")[0])
        if known is not None:
            view |= {
                "host": known.host,
                "port": known.port,
                "tls": known.tls.mode.value,
                "per_minute": known.limits.per_minute,
                "per_day": known.limits.per_day,
            }
        if own := certificates.get(str(line["name"])):
            expires = own.certificate.expires if own.certificate else None
            view |= {"certificate_expires": expires.isoformat() if expires else None, "certificate_trouble": own.trouble}
        view["used"] = line["name"] != DIRECT or bool(line["sent_today"] or line["in_flight"] or line["resting_until"])
        views.append(view)
    return views


def device_views(devices: Any, expected: Iterable[Expected]) -> Any:
    """Each device with the name that the settings give it ("" if none)."""
    names = {one.client: one.name for one in expected}
    return sound([{**device, "name": names.get(device["client"], "")} for device in devices])
