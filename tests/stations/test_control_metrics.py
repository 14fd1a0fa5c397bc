"""The numbers for monitors, and what is built on them: alert rules and dashboard.

relay run ──/metrics──> Prometheus ──> docs/monitoring/alerts.yml, grafana.json
"""

import json
import re
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as old_families
from prometheus_client.samples import Sample

from relay import events
from relay.control.metrics import families
from tests.stations.test_control_api import submit
from tests.support import tools
from tests.support.running import ROOT, RelayProcess, running
from tests.support.sink import sink

MONITORING = ROOT / "docs" / "monitoring"
OPEN = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """Two messages relayed, one failed, and the notice of that relayed too."""
    folder = tmp_path_factory.mktemp("metrics")
    with sink(folder / "sink") as upstream:
        isp = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": "taro@isp.example"}
        devices = {"nas": {"client": "192.168.0.20", "expect_every": "26h"}}
        with running(folder, {"upstreams": {"isp": isp}, "devices": devices, "web": {"address": "127.0.0.1:0"}}) as one:
            for to in ("one@far.example", "two@far.example", "nobody@far.example"):
                submit(one, to, helo=b"secret-name-of-the-nas")
            one.wait_for("failed")
            one.wait_for("relayed", 3)
            yield one


def scraped(relay: RelayProcess, accept: str = OPEN) -> tuple[str, str]:
    request = urllib.request.Request(f"http://{relay.events('started')[-1]['web']}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own relay
        return answer.headers["Content-Type"], answer.read().decode()


@pytest.fixture(scope="module")
def samples(relay: RelayProcess) -> list[Sample]:
    kind, text = scraped(relay)
    assert kind.startswith("application/openmetrics-text")
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float:
    (found,) = [one.value for one in samples if one.name == name and labels.items() <= one.labels.items()]
    return float(found)


def test_what_happened_is_counted(samples: list[Sample]) -> None:
    """Events, attempts by outcome, and who holds what now."""
    assert value(samples, "relay_events_total", event="accepted") == 3
    assert value(samples, "relay_attempts_total", upstream="isp", outcome="relayed") == 3
    assert value(samples, "relay_attempts_total", upstream="isp", outcome="failed") == 1
    assert value(samples, "relay_recipients", state="failed") == 1
    assert value(samples, "relay_upstream_up", upstream="isp") == 1
    assert value(samples, "relay_upstream_login_ok", upstream="isp") == 1
    assert value(samples, "relay_upstream_sent_today", upstream="isp") == 3
    assert value(samples, "relay_ready") == 1
    assert value(samples, "relay_disk_free_bytes") > 0


def test_durations_are_histograms(samples: list[Sample]) -> None:
    """Each message accepted and each relayed once, in buckets that only grow."""
    assert value(samples, "relay_accept_seconds_count") == 3
    assert value(samples, "relay_relay_seconds_count") == 3
    buckets = [one.value for one in samples if one.name == "relay_accept_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3
    assert 0 < value(samples, "relay_accept_seconds_sum") < 60


def test_no_label_is_an_address(relay: RelayProcess, samples: list[Sample]) -> None:
    """Neither senders nor recipients nor devices' names or addresses: few series, and nobody's business."""
    allowed = {"event", "upstream", "outcome", "state", "version", "le", "device", "port"}
    assert {label for one in samples for label in one.labels} <= allowed
    text = scraped(relay)[1]
    assert "@" not in text
    assert "secret-name" not in text
    assert not re.search(r'="(?:\d+\.){3}\d+', text)
    assert all(one.name.startswith("relay_") for one in samples)
    assert len(samples) < 150


def test_plain_prometheus_text_for_who_asks_for_it(relay: RelayProcess) -> None:
    """curl and old Prometheus get the old format, with the same names."""
    kind, text = scraped(relay, accept="*/*")
    assert kind.startswith("text/plain")
    names = {sample.name for family in old_families(text) for sample in family.samples}
    assert {"relay_events_total", "relay_queue_messages", "relay_build_info"} <= names


def asked_for(expression: str) -> set[str]:
    return set(re.findall(r"\brelay_[a-z_]+", expression))


def test_rules_and_dashboard_ask_for_metrics_that_exist(relay: RelayProcess, samples: list[Sample]) -> None:
    """A renamed metric would leave an alert silent for ever."""
    known = {one.name for one in samples}
    # a device is looked for in the first half minute; its family is there even when nothing is in it yet
    known |= set(re.findall(r"^# TYPE (\S+)", scraped(relay)[1], re.MULTILINE))
    known |= {one.name for one in families({"upstreams": [], "ready": True, "spool_away": ""}, {**TALLY, "relays": PEERS}, 0.0)}
    rules = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
    board = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(expressions) >= 15
    assert asked_for(rules) <= known
    assert set().union(*map(asked_for, expressions)) <= known


def test_the_alerts_ring_when_they_should(tmp_path: Path) -> None:
    """promtool loads the rules and plays bad and good hours to them."""
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            [tools.promtool(), *command], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_direct_delivery_makes_no_series_for_each_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """`mx` meets as many domains as there are: they are counted together."""
    happened = {("relayed", "mx a.example"): 2, ("relayed", "mx b.example"): 3, ("failed", "isp"): 1}
    monkeypatch.setattr(events, "counts", Counter(happened))
    family = next(one for one in families({"upstreams": [], "ready": True}, TALLY, 0.0) if one.name == "relay_attempts")
    assert [(one.labels, one.value) for one in family.samples] == [
        ({"upstream": "isp", "outcome": "failed"}, 1),
        ({"upstream": "mx", "outcome": "relayed"}, 5),
    ]


def test_when_the_certificates_end() -> None:
    """Of two listeners on one port the first; none without TLS, or without a certificate for the upstream."""
    ends = {"first": "2027-02-18T09:22:42+00:00", "later": "2028-02-18T09:22:42+00:00"}
    listening = [
        {"port": port, "certificate_expires": end} for port, end in ((587, ends["later"]), (587, ends["first"]), (25, None))
    ]
    line = {"resting_until": None, "sent_today": 0, "in_flight": 0}
    upstreams = [{"name": "isp", "certificate_expires": ends["later"], **line}, {"name": "other", **line}]
    found = {one.name: one for one in families({"ready": True, "listening": listening, "upstreams": upstreams}, TALLY, 0.0)}
    [one] = found["relay_listener_certificate_expiry_timestamp_seconds"].samples
    assert (one.labels, one.value) == ({"port": "587"}, 1802942562.0)
    [one] = found["relay_upstream_certificate_expiry_timestamp_seconds"].samples
    assert one.labels == {"upstream": "isp"}


TALLY = {"recipients": {}, "oldest": None, "unfinished": 0, "size": 0, "room": 0}
PEERS = [{"name": "office-b", "alive": False, "holds": 0}]


def test_a_database_that_was_away_from_the_start_is_counted() -> None:
    """No relay of the queue has been seen yet, and the one number that matters is there."""
    status = {"upstreams": [], "ready": True, "spool_away": "connection refused"}
    assert {one.name: one for one in families(status, TALLY, 0.0)}["relay_spool_away"].samples[0].value == 1
    assert "relay_spool_away" not in {one.name for one in families({**status, "spool_away": ""}, TALLY, 0.0)}
