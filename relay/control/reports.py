"""What is known of upstreams and devices: how they stand, and what was set for them.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from relay.control.views import sound
from relay.mail.device import Device, device_of
from relay.mail.envelope import Origin
from relay.upstream.client_certificates import ClientCertificate
from relay.upstream.settings import SmtpServer, Upstream


def upstream_views(
    lines: Iterable[Mapping[str, Any]],
    upstreams: Mapping[str, Upstream],
    certificates: Mapping[str, ClientCertificate] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Each line of the runner with place and limits beside it, and host, port and TLS of an SMTP server; None: no limit.

    The built-in `mx` is told of only when it is known to be used.
    """
    views = []
    for line in lines:
        view, known = dict(line), upstreams.get(str(line["name"]).partition(" ")[0])
        if known is not None:
            server = known.transport
            if isinstance(server, SmtpServer):
                view |= {"host": server.host, "port": server.port, "tls": server.tls.mode.value}
            view |= {"place": server.place, "per_minute": known.limits.per_minute, "per_day": known.limits.per_day}
        if own := certificates.get(str(line["name"])):
            expires = own.certificate.expires if own.certificate else None
            view |= {"certificate_expires": expires.isoformat() if expires else None, "certificate_trouble": own.trouble}
            view["certificate_in_use"] = own.in_use
        built_in = known is not None and known.transport.by_domain
        view["used"] = not built_in or bool(line["sent_today"] or line["in_flight"] or line["resting_until"])
        views.append(view)
    return views


def device_views(seen: Any, devices: Sequence[Device]) -> Any:
    """Each client with the devices of the settings that it is: when each was seen, and a `name` for all."""
    return sound([_seen(one, devices) for one in seen])


def _seen(client: Mapping[str, Any], devices: Sequence[Device]) -> dict[str, Any]:
    last: dict[str, str] = {}
    for origin in client["origins"]:
        device = device_of(devices, Origin(client["client"], origin["helo"], user=origin["user"]))
        if device:
            last[device.name] = origin["at"]
    known = [{"name": name, "last_seen": at} for name, at in last.items()]
    view = {key: value for key, value in client.items() if key != "origins"}
    return {**view, "name": ", ".join(last), "known_as": known}
