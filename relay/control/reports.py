"""What is known of an upstream: how it stands, and what was set for it.  Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

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
