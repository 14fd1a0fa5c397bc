"""What is known of upstreams and devices: how they stand, and what was set for them.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from relay.control.views import sound
from relay.mail.device import Device, device_of
from relay.mail.envelope import Origin
from relay.upstream.settings import DIRECT, Upstream


def upstream_views(lines: Iterable[Mapping[str, Any]], upstreams: Mapping[str, Upstream]) -> list[dict[str, Any]]:
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
        view["used"] = line["name"] != DIRECT or bool(line["sent_today"] or line["in_flight"] or line["resting_until"])
        views.append(view)
    return views


def device_views(seen: Any, devices: Sequence[Device]) -> Any:
    """Each client with the names that the settings give to what comes from there: one `name`, "" if none."""
    return sound([{**one, "name": ", ".join(_names(one, devices))} for one in seen])


def _names(seen: Mapping[str, Any], devices: Sequence[Device]) -> dict[str, None]:
    origins = (Origin(seen["client"], helo, user=user) for helo in seen["helo"] or [""] for user in ["", *seen["users"]])
    return dict.fromkeys(device.name for origin in origins if (device := device_of(devices, origin)))
