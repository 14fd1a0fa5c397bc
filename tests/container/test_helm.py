"""The chart's pod, played by Podman as Kubernetes would: volume, Secret, user, a listener that answers."""

import base64
import json
import uuid
from pathlib import Path

import pytest
import yaml

from tests.packaging.test_helm import ANSWERS, manifests
from tests.support.containers import built_image, podman
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(2400)


def test_the_pod_runs(tmp_path: Path) -> None:
    """As the chart says it, all of it; healthy, and its log tells the Secret's file from a password."""
    image, _ = built_image()
    name = f"relay-{uuid.uuid4().hex[:8]}"
    repository, _, tag = image.partition(":")
    values = {
        **ANSWERS,
        "image": {"repository": f"localhost/{repository}", "tag": tag, "pullPolicy": "Never"},
        "secret": {"name": name},
    }
    documents = manifests(values, name)
    password = base64.b64encode(b"an app password").decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"password": password}}
    played = [secret, *(documents[kind, of] for kind, of in documents if kind in ("PersistentVolumeClaim", "Deployment"))]
    [container] = documents["Deployment", name]["spec"]["template"]["spec"]["containers"]
    del container["ports"]  # Podman would publish them
    file = tmp_path / "played.yaml"
    file.write_text(yaml.safe_dump_all(played), encoding="utf-8")
    try:
        done = podman("kube", "play", "--network=none", str(file))
        assert done.returncode == 0, done.stderr
        running = f"{name}-pod-0-relay"

        def healthy() -> bool:
            return podman("exec", running, "relay", "health").returncode == 0

        eventually(healthy, 60, lambda: podman("logs", running).stderr + podman("logs", running).stdout)
        started = [json.loads(line) for line in podman("logs", running).stdout.splitlines() if '"started"' in line]
        assert started[0]["listening"] == ["0.0.0.0:2525"]
        seen = podman(
            "exec", running, "python3", "-c", "import os; print(os.getuid(), open('/run/secrets/relay/password').read())"
        )
        assert seen.stdout.split(maxsplit=1) == ["65532", f"{password}\n"]  # which Podman 4.3 does not decode
    finally:
        podman("kube", "down", str(file))
        podman("volume", "rm", "-f", f"{name}-spool", name)
        podman("secret", "rm", name)
