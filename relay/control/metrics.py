"""The relay in numbers, for Prometheus: OpenMetrics with few labels, never an address.

Only upstreams' names, events, states and our own ports are labels, so a year of mail makes no more time series than a day.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay import __version__, events
from relay.control.status import RelayStatus

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.metrics_core import Metric

_OUTCOMES = ("relayed", "deferred", "failed")
_OPEN = "application/openmetrics-text"


def metrics_route(watch: RelayStatus) -> Route:
    async def metrics(request: Request) -> Response:
        from prometheus_client import exposition, openmetrics

        status, tally = await watch.status(), await watch.desk.tally()
        numbers = _Numbers(list(families(status, tally, watch.now().timestamp())))
        if _OPEN in request.headers.get("accept", ""):
            text = openmetrics.exposition.generate_latest(numbers)  # type: ignore[no-untyped-call]
            kind = openmetrics.exposition.CONTENT_TYPE_LATEST
        else:
            text, kind = exposition.generate_latest(numbers), exposition.CONTENT_TYPE_LATEST
        return Response(text, headers={"content-type": kind})

    return Route("/metrics", metrics)


class _Numbers:
    """As much of a registry as the writers ask for: what was collected, once."""

    def __init__(self, found: list["Metric"]) -> None:
        self._found = found

    def collect(self) -> list["Metric"]:
        return self._found


def families(status: Mapping[str, Any], tally: Mapping[str, Any], now: float) -> Iterator["Metric"]:
    """Every family of metrics, made from what is known now (seconds since 1970)."""
    yield from _counters()
    yield from _spool(status, tally, now)
    yield from _upstreams(status)
    yield from _consents(status)
    yield from _certificates(status)
    yield from _durations()


def _counters() -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily, InfoMetricFamily

    yield InfoMetricFamily("relay_build", "The version that runs", value={"version": __version__})
    happened = CounterMetricFamily("relay_events", "What happened since the start", labels=["event"])
    outcomes = CounterMetricFamily("relay_attempts", "Recipients tried, by outcome", labels=["upstream", "outcome"])
    counts = dict(events.counts)
    tried: Counter[tuple[str, str]] = Counter()
    for event in sorted(events.EVENTS):
        happened.add_metric([event], sum(count for (name, _), count in counts.items() if name == event))
    for (event, upstream), count in counts.items():
        if upstream and event in (*_OUTCOMES, "expired"):
            tried[upstream.partition(" ")[0], event] += count  # `mx DOMAIN`: there are as many domains as there are
    for labels, count in sorted(tried.items()):
        outcomes.add_metric(list(labels), count)
    yield happened
    yield outcomes


def _spool(status: Mapping[str, Any], tally: Mapping[str, Any], now: float) -> Iterator["Metric"]:
    from prometheus_client.core import GaugeMetricFamily

    def gauge(name: str, text: str, value: float) -> "Metric":
        return GaugeMetricFamily(f"relay_{name}", text, value=value)

    recipients = GaugeMetricFamily("relay_recipients", "Recipients in the spool, by state", labels=["state"])
    for state, count in tally["recipients"].items():
        recipients.add_metric([state], count)
    oldest = now - datetime.fromisoformat(tally["oldest"]).timestamp() if tally["oldest"] else 0.0
    yield recipients
    yield gauge("queue_messages", "Messages whose fate is open", tally["unfinished"])
    yield gauge("postponed_recipients", "Of those, recipients that wait for quiet hours or a digest", tally.get("postponed", 0))
    yield gauge("queue_oldest_age_seconds", "Age of the oldest of them", max(oldest, 0.0))
    yield gauge("spool_bytes", "Octets in use in the spool", tally["size"])
    yield gauge("spool_room_bytes", "Octets that may still be accepted", max(tally["room"], 0))
    peers = tally.get("relays", ())
    if peers:
        alive = GaugeMetricFamily(
            "relay_peer_alive", "1 while a relay that shares the spool shows signs of life", labels=["relay"]
        )
        holds = GaugeMetricFamily("relay_peer_messages", "Messages that it has under way", labels=["relay"])
        for one in peers:
            alive.add_metric([one["name"]], float(one["alive"]))
            holds.add_metric([one["name"]], one["holds"])
        yield from (alive, holds)
    if peers or status.get("spool_away"):  # a relay that started while it was away has seen no peers yet
        told = "1 while the spool's database cannot be reached, whether or not mail is taken by the fallback"
        yield gauge("spool_away", told, float(bool(status.get("spool_away"))))
    if "free" in status:
        yield gauge("disk_free_bytes", "Octets free on the spool's file system", status["free"])
    yield gauge("connections", "Clients that are connected to a listener now", status.get("connections", 0))
    yield gauge("ready", "1 if mail is accepted", float(status["ready"]))
    expected = GaugeMetricFamily("relay_device_silent", "1 if a device that should mail has gone quiet", labels=["device"])
    for one in status.get("expected", ()):
        expected.add_metric([one["name"]], float(one["silent"]))
    yield expected


def _of_upstreams(name: str, text: str) -> "GaugeMetricFamily":
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"relay_upstream_{name}", text, labels=["upstream"])


def _upstreams(status: Mapping[str, Any]) -> Iterator["Metric"]:
    up, login = _of_upstreams("up", "1 unless it rests after trouble"), _of_upstreams("login_ok", "0 if it refuses our login")
    sent = _of_upstreams("sent_today", "Messages it took this day (UTC)")
    busy = _of_upstreams("in_flight", "Transactions under way")
    for one in status["upstreams"]:
        name = [one["name"]]
        if " " in one["name"]:
            continue  # `mx DOMAIN`: direct delivery meets as many domains as there are
        up.add_metric(name, float(not one["resting_until"]))
        login.add_metric(name, float(not one.get("login_refused")))
        sent.add_metric(name, one["sent_today"])
        busy.add_metric(name, one["in_flight"])
    yield from (up, login, sent, busy)


def _consents(status: Mapping[str, Any]) -> Iterator["Metric"]:
    """Times of the OAuth logins; an access token that has ended is renewed with the next message, a consent is not."""
    token = _of_upstreams("token_expiry_timestamp_seconds", "When the access token ends")
    age = _of_upstreams("consent_age_seconds", "Time since a person consented to the OAuth login")
    end = _of_upstreams("consent_expiry_timestamp_seconds", "When that consent ends, if the provider told it")
    due = _of_upstreams("consent_due", "1 if a person must log in again, now or soon")
    for one in status.get("oauth", ()):
        name = [one["upstream"]]
        due.add_metric(name, float(bool(one["warnings"])))
        if one["age"] is not None:
            age.add_metric(name, one["age"])
        for metric, moment in ((token, one["access_until"]), (end, one["ends_at"])):
            if moment:
                metric.add_metric(name, datetime.fromisoformat(moment).timestamp())
    yield from (token, age, end, due)


def _certificates(status: Mapping[str, Any]) -> Iterator["Metric"]:
    """When those that we show end; of several listeners with one port the first that ends."""
    from prometheus_client.core import GaugeMetricFamily

    for kind, key, label in (("listening", "port", "port"), ("upstreams", "name", "upstream")):
        name = f"relay_{'listener' if kind == 'listening' else 'upstream'}_certificate_expiry_timestamp_seconds"
        family = GaugeMetricFamily(name, "When the certificate that we show there ends", labels=[label])
        ends: dict[str, float] = {}
        for one in status.get(kind, ()):
            if expires := one.get("certificate_expires"):
                end, where = datetime.fromisoformat(expires).timestamp(), str(one[key])
                ends[where] = min(end, ends.get(where, end))
        for where, end in ends.items():
            family.add_metric([where], end)
        yield family


def _durations() -> Iterator["Metric"]:
    yield _histogram("accepting", "relay_accept_seconds", "From the end of a message to its safe place on disk")
    yield _histogram("relaying", "relay_relay_seconds", "From acceptance to the upstream's 250")


def _histogram(what: str, name: str, text: str) -> "HistogramMetricFamily":
    from prometheus_client.core import HistogramMetricFamily

    counted = itertools.accumulate(events.durations.get(what, [0] * (len(events.BUCKETS) + 1)))
    bounds = [*(str(float(bound)) for bound in events.BUCKETS), "+Inf"]
    buckets = list(zip(bounds, counted, strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=events.microseconds[what] / 1_000_000)
