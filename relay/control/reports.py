"""What is known of upstreams and devices: how they stand, and what was set for them.  Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from relay.control.views import sound
from relay.inbound.devices import Expected
from relay.upstream.settings import SmtpServer, Upstream


def upstream_views(lines: Iterable[Mapping[str, Any]], upstreams: Mapping[str, Upstream]) -> list[dict[str, Any]]:
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
        built_in = known is not None and known.transport.by_domain
        view["used"] = not built_in or bool(line["sent_today"] or line["in_flight"] or line["resting_until"])
        views.append(view)
    return views


def device_views(devices: Any, expected: Iterable[Expected]) -> Any:
    """Each device with the name that the settings give it ("" if none)."""
    names = {one.client: one.name for one in expected}
    return sound([{**device, "name": names.get(device["client"], "")} for device in devices])
