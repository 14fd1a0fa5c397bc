"""The chart: linted and rendered by Helm's own library, each manifest against Kubernetes' schema, its variables by the relay.

values ──values.schema.json──▶ templates ──▶ manifests ──▶ what the container is told ──▶ a configuration of the relay
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import relay
from relay.config import load
from tests.support.tools import checking_module

ROOT = Path(__file__).parents[2]
CHART = ROOT / "packaging" / "helm"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
LAN = ["192.168.0.0/24", "fd00::/64"]
ANSWERS: dict[str, Any] = {
    "image": {"repository": "registry.home.example/relay"},
    "networks": LAN,
    "settings": {"RELAY_PROVIDER": "gmail", "RELAY_USERNAME": "taro@gmail.com", "RELAY_NOTICES_TO": "taro@gmail.com"},
    "secret": {"name": "relay"},
}
POSTGRES = {**ANSWERS, "postgres": {"enabled": True, "url": "postgresql://relay@db.example/relay?sslmode=verify-full"}}
CONFIG = """\
upstreams:
  isp: {host: mail.isp.example, username: taro@isp.example, password_file: /run/secrets/relay/isp}
  another: {host: mail.another.example}
listen: {address: "0.0.0.0:2525", networks: 192.168.0.0/24}   # "quoted" and {{ braces }}
"""


def manifests(values: Mapping[str, Any], name: str = "relay") -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name."""
    helm = checking_module("helm_python")
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(dict(values))
        texts = chart.render(dict(values), name=name, namespace="mail")
    documents = [one for file, text in texts.items() if file.endswith(".yaml") for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


def variables(workload: Mapping[str, Any]) -> dict[str, str]:
    [container] = workload["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container.get("env", [])}


def configured(environ: Mapping[str, str], folder: Path) -> Any:
    """As the relay reads them, the files of the Secret being in `folder`."""
    told = dict(environ)
    for name, value in environ.items():
        if name.endswith("_FILE"):
            assert Path(value).parent == Path("/run/secrets/relay")
            told[name] = str(folder / Path(value).name)
            Path(told[name]).write_text("secret\n")
    loaded = load(None, told, machine_name="relay-0")
    assert [str(mistake) for mistake in loaded.mistakes] == []
    assert loaded.config
    return loaded.config


def test_values_and_their_schema_have_the_same_keys() -> None:
    """Every value is in the schema, which takes no other; chart, image and code have one version."""

    def compare(values: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> None:
        assert schema["additionalProperties"] is False, where
        assert values.keys() == schema["properties"].keys() - {"global"}, where
        for key, value in values.items():
            if "properties" in schema["properties"][key]:
                compare(value, schema["properties"][key], f"{where}.{key}")

    compare(VALUES, json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")), "values")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (relay.__version__, relay.__version__)


def test_every_value_is_used() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (CHART / "templates").iterdir())
    paths = {f"{key}.{below}" if below else key for key, value in VALUES.items() for below in (value or [""])}
    for path in paths:
        key = path.partition(".")[0]
        assert f".Values.{path}" in text or f"toYaml .Values.{key} " in text, path


@pytest.mark.parametrize(
    "values",
    [
        ANSWERS,
        POSTGRES,
        {**ANSWERS, "web": {"enabled": True}, "service": {"type": "NodePort"}, "imagePullSecrets": [{"name": "registry"}]},
        {**ANSWERS, "config": CONFIG, "nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]},
        {**ANSWERS, "networkPolicy": {"enabled": False}, "persistence": {"existingClaim": "mail", "storageClass": "local"}},
    ],
    ids=["plain", "postgres", "web", "config", "claim"],
)
def test_kubernetes_knows_every_field(values: Mapping[str, Any]) -> None:
    """Strictly: no unknown field, no value of the wrong kind; each name that one document uses is given by another."""
    validate = checking_module("kubernetes_validate")
    documents = manifests(values)
    for document in documents.values():
        validate.validate(document, "1.33", strict=True)
    kinds = {kind for kind, _ in documents}
    assert ("NetworkPolicy" in kinds) == (values.get("networkPolicy", {}).get("enabled", True))
    [workload] = [one for (kind, _), one in documents.items() if kind in ("Deployment", "StatefulSet")]
    pod = workload["spec"]["template"]
    [container] = pod["spec"]["containers"]
    claims = {one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["spec"]["volumes"]
    } | claims
    for volume in pod["spec"]["volumes"]:
        if claim := volume.get("persistentVolumeClaim"):
            assert ("PersistentVolumeClaim", claim["claimName"]) in documents or claim["claimName"] == "mail"
        if config := volume.get("configMap"):
            assert ("ConfigMap", config["name"]) in documents
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for (kind, _), one in documents.items():
        if kind in ("Service", "NetworkPolicy"):
            chosen = one["spec"].get("selector") or one["spec"]["podSelector"]["matchLabels"]
            assert chosen.items() <= pod["metadata"]["labels"].items()
        if kind == "Service":
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports.keys()


def test_helms_linter_finds_nothing() -> None:
    helm = checking_module("helm_python")
    found = helm.lint(str(CHART), values=ANSWERS)
    assert [one for one in found["messages"] if one["severity"] not in ("INFO", "info", 1)] == []


def test_three_answers_make_a_relay(tmp_path: Path) -> None:
    """One replica that lets go of its volume first, locked down, with probes; waiting mail outlives the chart."""
    documents = manifests(ANSWERS)
    deployment = documents["Deployment", "relay"]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == f"registry.home.example/relay:{relay.__version__}"
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] == 45
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"] == ["relay", "health"]
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
        "spool": "/var/lib/relay",
        "tmp": "/tmp",
        "secrets": "/run/secrets/relay",
    }
    config = configured(variables(deployment), tmp_path)
    assert [listener.name for listener in config.listeners] == ["0.0.0.0:2525"]
    assert [str(network) for network in config.listeners[0].networks][:2] == LAN
    claim = documents["PersistentVolumeClaim", "relay-spool"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_only_the_lan_comes_in_and_only_mail_goes_out() -> None:
    """By the load balancer, which keeps addresses, and by the NetworkPolicy."""
    documents = manifests(ANSWERS)
    service = documents["Service", "relay"]["spec"]
    assert service["externalTrafficPolicy"] == "Local"
    assert service["loadBalancerSourceRanges"] == LAN
    assert [port["port"] for port in service["ports"]] == [25]
    policy = documents["NetworkPolicy", "relay"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [
        {"ports": [{"protocol": "TCP", "port": 2525}], "from": [{"ipBlock": {"cidr": cidr}} for cidr in LAN]}
    ]
    [rule] = policy["egress"]
    assert [(port["protocol"], port["port"]) for port in rule["ports"]] == [
        ("UDP", 53), ("TCP", 53), ("TCP", 25), ("TCP", 465), ("TCP", 587), ("TCP", 443),
    ]  # fmt: skip


def test_several_relays_share_a_queue(tmp_path: Path) -> None:
    """Each pod with a small volume of its own; the queue and its password as the relay wants them."""
    documents = manifests(POSTGRES)
    assert not [kind for kind, _ in documents if kind in ("Deployment", "PersistentVolumeClaim")]
    workload = documents["StatefulSet", "relay"]["spec"]
    assert workload["replicas"] == 2
    [claim] = workload["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == VALUES["persistence"]["size"]
    config = configured(variables(documents["StatefulSet", "relay"]), tmp_path)
    assert config.spool.url.startswith("postgresql://relay@db.example/relay")
    assert config.spool.fallback == "sqlite:/var/lib/relay/fallback.db"
    assert config.spool.name == ""  # each pod's own name
    [rule] = documents["NetworkPolicy", "relay"]["spec"]["egress"]
    assert {"protocol": "TCP", "port": 5432} in rule["ports"]


def test_the_page_is_for_the_cluster(tmp_path: Path) -> None:
    documents = manifests({**ANSWERS, "web": {"enabled": True}})
    config = configured(variables(documents["Deployment", "relay"]), tmp_path)
    assert config.web.address == "0.0.0.0:8025"
    assert documents["Service", "relay-web"]["spec"].get("type", "ClusterIP") == "ClusterIP"
    rule = documents["NetworkPolicy", "relay"]["spec"]["ingress"][1]
    assert rule == {"ports": [{"protocol": "TCP", "port": 8025}], "from": [{"podSelector": {}}]}


def test_a_whole_file_takes_the_place_of_the_settings() -> None:
    """Octet for octet; a change of it starts the pod anew."""
    documents = manifests({**ANSWERS, "config": CONFIG})
    assert documents["ConfigMap", "relay"]["data"] == {"config.yaml": CONFIG}
    deployment = documents["Deployment", "relay"]
    assert variables(deployment) == {}
    sums = [
        one["Deployment", "relay"]["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for one in (documents, manifests({**ANSWERS, "config": CONFIG + "# more\n"}))
    ]
    assert sums[0] != sums[1]


def test_a_number_stays_one(tmp_path: Path) -> None:
    """Helm has floats only, which become 2e+06 as text."""
    limits = {**ANSWERS["settings"], "RELAY_UPSTREAM_LIMITS_PER_DAY": 2000000, "RELAY_UPSTREAM_REWRITE_FROM": False}
    told = variables(manifests({**ANSWERS, "settings": limits})["Deployment", "relay"])
    assert told["RELAY_UPSTREAM_LIMITS_PER_DAY"] == "2000000"
    [upstream] = configured(told, tmp_path).upstreams.values()
    assert upstream.limits.per_day == 2000000


def test_two_releases_do_not_meet() -> None:
    first, second = manifests(ANSWERS, "office"), manifests(ANSWERS, "relay-b")
    assert {name for _, name in first} == {"office-relay", "office-relay-spool"}
    assert {name for _, name in second} == {"relay-b", "relay-b-spool"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"networks": []}, "networks: your LAN in numbers"),
        ({"networks": ["private"]}, "networks"),
        ({"image": {"repository": ""}}, "image.repository"),
        ({"settings": {"RELAY_PASSWORD": "secret"}}, "settings"),
        ({"settings": {"SMTP_HOST": "mail.isp.example"}}, "SMTP_HOST"),
        ({"postgres": {"enabled": True}}, "postgres.url"),
        ({"web": {"enabled": True}, "secret": {"name": ""}}, "secret.name"),
        ({"replicas": 2}, "replicas"),
        ({"persistence": {"accessMode": "ReadWriteMany"}}, "accessMode"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_value_is_named(wrong: dict[str, Any], words: str) -> None:
    """By the schema, or by the template where it depends on another value."""
    helm = checking_module("helm_python")
    with pytest.raises(helm.HelmError) as refused:
        manifests({**ANSWERS, **wrong})
    assert re.search(re.escape(words), str(refused.value))
