"""The image as it is built and run: what is in it, what is not, and how a container of it begins and ends.

Dockerfile ──build-image──▶ image ──run-image──▶ 220, health, stop: non-root, read-only, no capability
                              │
                              └── looked into: no shell, no pip, everything compiled, zones, authorities
"""

import json
import re

import pytest

from relay import __version__
from tests.support.containers import Container, built_image, podman, script, volume

pytestmark = pytest.mark.timeout(2400)  # the first build makes the base, on a busy machine

LARGEST = 30.0  # MB compressed
RESIDENT = 45.0  # MB
LOOK = """
import json, os, py_compile, shutil, sqlite3, ssl, sys, sysconfig, time
from importlib.util import cache_from_source
from pathlib import Path
lib = Path(sysconfig.get_path("stdlib"))
print(json.dumps({
    "uid": os.getuid(),
    "uncompiled": [str(f) for f in lib.rglob("*.py") if not os.path.exists(cache_from_source(str(f)))],
    "programs": [n for n in ("sh", "bash", "pip", "pip3", "apt", "dpkg", "gcc", "cc", "perl") if shutil.which(n)],
    "pip": (lib / "site-packages" / "pip").exists() or (lib / "ensurepip").exists(),
    "setuid": [str(f) for f in Path("/usr").rglob("*") if f.is_file() and f.stat().st_mode & 0o6000],
    "writable": [str(f) for f in Path("/usr").rglob("*") if not f.is_symlink() and f.stat().st_mode & 0o002],
    "sqlite": sqlite3.sqlite_version_info,
    "authorities": ssl.create_default_context().cert_store_stats()["x509_ca"],
    "zone": time.strftime("%Z"),
    "encoding": sys.getfilesystemencoding(),
    "python": sys.version_info[:2],
}))
"""


@pytest.fixture(scope="module")
def image() -> str:
    return built_image()[0]


def figure(pattern: str, line: str) -> float:
    found = re.search(pattern, line)
    assert found, line
    return float(found[1])


def test_it_is_small(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole image, compressed, is under 30 MB."""
    line = built_image()[1]
    with capsys.disabled():
        print(f"\n  {line}")
    assert figure(r"([\d.]+) MB compressed", line) < LARGEST


def test_it_runs_as_an_operator_should_run_it(image, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """220, health and stop under a read-only root, a user that is not root, no capability, no new privileges."""
    tmp_path.chmod(0o755)
    (tmp_path / "config.yaml").write_text(
        'listen: [{address: "0.0.0.0:2525"}]\n'
        "upstreams: {isp: {host: mail.isp.example, username: taro@isp.example, password: x}}\n"
    )
    ran = script("run-image", "-t", image, "-p", "2525", "-c", f"{tmp_path}:/etc/relay", "-s", "/var/lib/relay", seconds=300)
    assert ran.returncode == 0, ran.stderr
    line = ran.stdout.strip().splitlines()[-1]
    with capsys.disabled():
        print(f"\n  {line}")
    assert figure(r"stopped in ([\d.]+) s", line) < 10
    assert figure(r"resident ([\d.]+) MB", line) < RESIDENT


def test_what_is_in_it(image) -> None:
    """Nothing to build or to break in with; the standard library compiled; zones, authorities, a SQLite that will do."""
    options = (
        "run",
        "--rm",
        "--network=none",
        "--read-only",
        "-e",
        "TZ=Asia/Tokyo",
        "--no-healthcheck",
        "--entrypoint",
        "python3",
    )
    done = podman(*options, image, "-c", LOOK)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    assert seen["uid"] == 65532
    for nothing in ("uncompiled", "programs", "setuid", "writable"):
        assert seen[nothing] == [], nothing
    assert not seen["pip"]
    assert tuple(seen["sqlite"]) >= (3, 37, 0)
    assert tuple(seen["python"]) >= (3, 11)
    assert seen["authorities"] > 50
    assert seen["zone"] == "JST"
    assert seen["encoding"] == "utf-8"


def test_its_labels_and_promises(image) -> None:
    """A numeric user, one volume, SIGTERM, a health check by the relay itself, the standard labels."""
    config = json.loads(podman("image", "inspect", "--format", "{{json .Config}}", image).stdout)
    assert config["User"] == "65532:65532"
    assert list(config["Volumes"]) == ["/var/lib/relay"]
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert {f"org.opencontainers.image.{key}" for key in ("title", "licenses", "description")} <= set(config["Labels"])
    health = json.loads(podman("image", "inspect", "--format", "{{json .HealthCheck}}", image).stdout)
    assert health["Test"] == ["CMD", "relay", "health"]


def test_port_25_with_the_capability_that_it_needs(image, tmp_path) -> None:
    """Podman hands NET_BIND_SERVICE to a user that is not root; without it the refusal names it and the way round."""
    tmp_path.chmod(0o755)
    (tmp_path / "config.yaml").write_text("listen: {address: '127.0.0.1:25'}\nupstreams: {isp: {host: mail.isp.example}}\n")
    mounts = {str(tmp_path): "/etc/relay:ro"}
    with volume() as spool:
        mounts[spool] = "/var/lib/relay"
        with Container(image, mounts=mounts, options=("--network=none",)) as relay:
            assert relay.exit_code() == 1
            assert "NET_BIND_SERVICE" in relay.said()
            assert "2525" in relay.said()
        options = ("--network=none", "--cap-add=NET_BIND_SERVICE", "--security-opt=no-new-privileges")
        with Container(image, mounts=mounts, options=options) as relay:
            assert relay.wait_for("started")[0]["listening"] == ["127.0.0.1:25"]
            assert relay.exec("relay", "health").returncode == 0
            assert relay.stop() == 0


def test_without_settings_it_says_what_to_set(image) -> None:
    """Started with nothing at all, it names the variables and ends with 2."""
    with Container(image, options=("--network=none",)) as relay:
        assert relay.exit_code() == 2
        assert "RELAY_PROVIDER" in relay.said()
        assert "/etc/relay/config.yaml" in relay.said()
