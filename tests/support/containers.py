"""The image in a real container engine: built by the scripts that BUILD names, run as an operator should run it.

image = built_image()                     skips with the reason where no image can be built
with Container(image, volume="x", config=directory) as relay:
    relay.wait_for("started")
    relay.exec("relay", "health")
"""

import functools
import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(os.environ.get("BUILD", "none").split()[0]).parent
"""Where `build-image` and `run-image` are; BUILD as in the Makefile."""
USER = "65532:65532"
TAG = "relay:tests"
_CONF = Path(os.environ.get("IMAGE_CACHE", "/var/cache/image-bases"), "containers.conf")
ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(_CONF), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1", "ENGINE": "podman"}


def why_not() -> str:
    """Why no image can be built here; "" if one can."""
    if not (SCRIPTS / "build-image").exists():
        return "BUILD names no script that builds an image without a registry"
    if os.geteuid() != 0:
        return "building an image needs root"
    if not shutil.which("podman") and os.environ.get("REQUIRE_PEERS") != "1":
        return "podman is not installed (REQUIRE_PEERS=1 installs it)"
    return ""


@functools.cache
def built_image() -> "tuple[str, str]":
    """The image's tag, and the builder's last line with its figures.  Skips where the engine cannot be had."""
    if reason := why_not():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "Dockerfile", folder)
        bases = script("build-image", "-x", "-t", TAG, folder, seconds=1500)
    if bases.returncode:
        pytest.skip(f"the container engine or the base cannot be had: {bases.stderr.strip()[-300:]}")
    done = script("build-image", "-t", TAG, str(ROOT), seconds=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return TAG, done.stdout.strip().splitlines()[-1]


def script(name: str, *words: str, seconds: float, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [str(SCRIPTS / name), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=cwd, env=ENVIRONMENT)


def podman(*words: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["podman", *words], capture_output=True, text=True, timeout=seconds, check=False, env=ENVIRONMENT)


@contextmanager
def volume() -> Iterator[str]:
    """A named volume for the length of a test."""
    name = f"relay-test-{uuid.uuid4().hex[:12]}"
    assert podman("volume", "create", name).returncode == 0
    try:
        yield name
    finally:
        podman("volume", "rm", "-f", name)


def folder_of(name: str) -> Path:
    """Where a volume's files are on this machine."""
    return Path(podman("volume", "inspect", "--format", "{{.Mountpoint}}", name).stdout.strip())


class Container:
    """One container of the image: root read-only, no capabilities, no new privileges, a user that is not root.

    On the machine's own network unless told otherwise, so that upstreams on loopback are in reach.
    """

    def __init__(
        self,
        image: str,
        *,
        mounts: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        options: tuple[str, ...] = ("--network=host",),
        command: tuple[str, ...] = (),
    ) -> None:
        self.name = f"relay-test-{uuid.uuid4().hex[:12]}"
        hardened = [
            "--read-only",
            "--read-only-tmpfs=false",
            "--user",
            USER,
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
        ]
        given = [word for name, value in (environment or {}).items() for word in ("-e", f"{name}={value}")]
        given += [word for source, place in (mounts or {}).items() for word in ("-v", f"{source}:{place}")]
        self._create = ["create", "--name", self.name, *hardened, *given, *options, image, *command]

    def __enter__(self) -> "Container":
        made = podman(*self._create)
        assert made.returncode == 0, made.stderr
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        podman("rm", "-f", "-v", self.name)

    def start(self) -> None:
        done = podman("start", self.name)
        assert done.returncode == 0, done.stderr

    def stop(self, grace: int = 20) -> int:
        """SIGTERM, then SIGKILL after `grace` seconds; the exit status."""
        podman("stop", "-t", str(grace), self.name)
        return self.exit_code()

    def kill(self) -> None:
        podman("kill", "-s", "KILL", self.name)
        podman("wait", self.name)

    @property
    def running(self) -> bool:
        return podman("inspect", "--format", "{{.State.Running}}", self.name).stdout.strip() == "true"

    def exit_code(self) -> int:
        """Waits for its end."""
        return int(podman("wait", self.name).stdout.strip())

    def exec(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return podman("exec", self.name, *words)

    def said(self) -> str:
        done = podman("logs", self.name)
        return done.stdout + done.stderr

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
        """The log's lines of one event, once there are `count`."""

        def said_or_ended() -> bool:
            return len(self.events(name)) >= count or not self.running

        eventually(said_or_ended, seconds, lambda: f"not {count} x {name}:\n{self.said()[-3000:]}")
        found = self.events(name)
        assert len(found) >= count, f"it ended before {count} x {name}:\n{self.said()[-3000:]}"
        return found
