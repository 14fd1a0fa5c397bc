"""README's first minutes in an empty folder with the compose file alone: `docker compose up`.

As shipped, the page asks for the code that the log shows.  With the settings filled in and one secret, mail is delivered.

a device in the LAN ──published port 2525──▶ Docker's bridge ──▶ the relay ──TLS, login──▶ an upstream at this machine

A real Docker Engine, started for this test in a network namespace of its own; the image comes as a tar, not from a registry.
"""

import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from relay.cli.demo_isp import CERTIFICATE
from tests.support.containers import ROOT, SCRIPTS, built_image, podman

pytestmark = pytest.mark.timeout(2400)
LAN, DEVICE, PORT = "192.168.77.1", "192.168.77.2", "587"
USER, PASSWORD = "you@isp.example", "an app $password"

ENGINE = """
set -Eeuo pipefail
. "$SCRIPTS/engine.sh"
mkdir -p "$CACHE"
docker_ready
rm -rf "$DSTATE"
"""
"""Unpacks the engine where there is a network still; once, then it is kept."""

FIRST_MINUTES = r"""
set -Eeuo pipefail
. "$SCRIPTS/engine.sh"
ip link set lo up
cd "$FOLDER"
end() {
    rc=$?
    trap - EXIT ERR
    docker compose logs >&2 || true
    docker compose down -v >&2 || true
    engine_stop
    kill $(jobs -p) 2>/dev/null || true
    exit $rc
}
trap end EXIT
engine_ready private
docker load -q -i "$IMAGE_TAR" >&2
docker tag localhost/relay:latest relay:latest  # Podman, which built it, names it so

unshare --net sleep 900 &
device=$!
until [ "$(readlink /proc/$device/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.1; done
ip link add lan type veth peer name eth0 netns $device
ip addr add "$LAN/24" dev lan
ip link set lan up
on_device() { nsenter --net=/proc/$device/ns/net "$@"; }
on_device ip addr add "$DEVICE/24" dev eth0
on_device ip link set eth0 up
(cd "$ROOT" && exec "$PYTHON" -m tests.container.upstream_with_login "$LAN" "$PORT" "$USER_NAME" "$PASSWORD" "$TAKEN") &

docker compose -f shipped.yaml up -d --wait --wait-timeout 120 >&2
docker compose -f shipped.yaml ps --format '{{.Health}}'
docker compose -f shipped.yaml logs --no-log-prefix relay | grep -c '"code": ".*"event": "opened"'
on_device "$PYTHON" - <<'PYTHON'
import urllib.request
with urllib.request.urlopen("http://192.168.77.1:8025/", timeout=30) as page:
    print(page.status, 'name="code"' in page.read().decode())
PYTHON
docker compose -f shipped.yaml down -v >&2

printf '%s\n' "$PASSWORD" | install -m 400 -o 65532 /dev/stdin relay-password.txt
docker compose up -d --wait --wait-timeout 120 >&2
docker compose ps --format '{{.Health}}'
docker compose exec -T relay relay send --to you@example.jp >&2
on_device "$PYTHON" - <<'PYTHON'
import smtplib
with smtplib.SMTP("192.168.77.1", 2525, timeout=30) as device:
    device.sendmail("nas@nas.local", ["me@example.jp"], b"From: nas@nas.local\r\nSubject: from the NAS\r\n\r\nhello\r\n")
PYTHON
for _ in $(seq 60); do if grep -q "from the NAS" "$TAKEN"; then break; fi; sleep 1; done
docker compose exec -T relay relay queue list --all >&2
"""


def edited() -> str:
    """compose.yaml with its marked settings filled in as a person would: a host with a certificate of its own."""
    text = re.sub(r"(?m)^( *)#~ ", r"\1", (ROOT / "compose.yaml").read_text(encoding="utf-8"))
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate())).hexdigest()
    server = f'RELAY_HOST: "{LAN}"\n      RELAY_PORT: "{PORT}"\n      RELAY_UPSTREAM_FINGERPRINT: "{fingerprint}"'
    for pattern, new in (
        (r'RELAY_PROVIDER: "[^"]*"', server),
        (r'RELAY_USERNAME: "[^"]*"', f'RELAY_USERNAME: "{USER}"'),
        (r'RELAY_NOTICES_TO: "[^"]*"', f'RELAY_NOTICES_TO: "{USER}"'),
    ):
        text, count = re.subn(rf"(?m)^(      ){pattern}", rf"\g<1>{new}", text)
        assert count == 1, pattern
    return text


def certificate() -> str:
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", CERTIFICATE.read_text(), re.DOTALL)
    assert found
    return found[0]


def test_an_empty_folder_and_one_secret_deliver_a_mail(tmp_path: Path) -> None:
    """As shipped, the page waits for its code.  Filled in, the test message and a device's mail arrive, with its login."""
    image, _ = built_image()
    folder, tar, taken = tmp_path / "empty", tmp_path / "relay.tar", tmp_path / "taken"
    folder.mkdir()
    taken.touch()
    (folder / "compose.yaml").write_text(edited(), encoding="utf-8")
    shutil.copy(ROOT / "compose.yaml", folder / "shipped.yaml")
    for words in (("tag", image, "relay:latest"), ("save", "-q", "--format", "docker-archive", "-o", str(tar), "relay:latest")):
        done = podman(*words, seconds=300)
        assert done.returncode == 0, done.stderr
    environment = {**os.environ, "ENGINE": "docker", "SCRIPTS": str(SCRIPTS), "FOLDER": str(folder), "IMAGE_TAR": str(tar)}
    environment |= {"LAN": LAN, "DEVICE": DEVICE, "PORT": PORT, "USER_NAME": USER, "PASSWORD": PASSWORD, "TAKEN": str(taken)}
    environment |= {"PYTHON": sys.executable, "ROOT": str(ROOT), "COMPOSE_PROJECT_NAME": "empty"}
    unpacked = subprocess.run(["bash", "-c", ENGINE], env=environment, capture_output=True, text=True, timeout=900, check=False)
    if unpacked.returncode:
        pytest.skip(f"no Docker Engine can be had: {unpacked.stderr.strip()[-300:]}")
    command = ["unshare", "--net", "--mount", "--propagation", "private", "bash", "-c", FIRST_MINUTES]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "healthy\n1\n200 True\nhealthy\n"
    lines = taken.read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == [f"{USER} A test from the relay", f"{USER} from the NAS"]
