"""The workflows call only what is here and tested, pin what they use, ask for few rights; and the scripts that they call."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import relay

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
KEYS = {"name", "on", "permissions", "jobs"}
JOB_KEYS = {"runs-on", "timeout-minutes", "permissions", "needs", "if", "environment", "steps"}
STEP_KEYS = {"uses", "run", "with", "env"}


def read(file: Path) -> dict[str, Any]:
    found = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506 - or `on` would be True
    assert isinstance(found, dict)
    return found


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in FILES:
        for name, job in read(file)["jobs"].items():
            yield f"{file.stem}:{name}", job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in jobs():
        yield from ((name, step) for step in job["steps"])


def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}, timeout=100, check=False
    )


def test_there_are_two_and_github_can_read_them() -> None:
    """Known keys only; every job has a limit of time, and needs only jobs that are there."""
    assert [file.name for file in FILES] == ["ci.yml", "release.yml"]
    for file in FILES:
        workflow = read(file)
        assert workflow.keys() == KEYS
        for name, job in workflow["jobs"].items():
            assert job.keys() <= JOB_KEYS, name
            assert 0 < int(job["timeout-minutes"]) <= 90
            needed = job.get("needs", [])
            assert set([needed] if isinstance(needed, str) else needed) <= workflow["jobs"].keys()
            for step in job["steps"]:
                assert step.keys() <= STEP_KEYS, name
                assert ("uses" in step) != ("run" in step), name


def test_every_command_is_a_script_or_a_target_that_is_here() -> None:
    """No workflow has steps of its own making: what it calls can be called here, and is."""
    called = [(name, step["run"]) for name, step in steps() if "run" in step]
    assert called
    for name, command in called:
        program, *words = command.split()
        assert "\n" not in command, name
        if program == "make":
            assert set(words) <= TARGETS, command
        else:
            assert program.startswith("packaging/"), command
            assert os.access(ROOT / program, os.X_OK), command
        assert "${{" not in command, command  # a tag's name must not become shell


def test_what_others_made_is_pinned() -> None:
    """By a full version or a commit, one for each action, nothing that moves (`@v4`, `@main`)."""
    used = {step["uses"] for _, step in steps() if "uses" in step}
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", one) for one in used), used
    assert len({one.partition("@")[0] for one in used}) == len(used)
    assert all(
        step["with"]["persist-credentials"] == "false" for _, step in steps() if "actions/checkout@" in step.get("uses", "")
    )


def test_rights_are_small_and_given_to_the_job_that_needs_them() -> None:
    """Reading is what all may; only a release may write, and there only what its job is for."""
    for file in FILES:
        assert read(file)["permissions"] == {"contents": "read"}
    written = {name: sorted(k for k, v in job.get("permissions", {}).items() if v == "write") for name, job in jobs()}
    assert {name: rights for name, rights in written.items() if rights} == {
        "release:build": ["attestations", "id-token"],
        "release:image": ["id-token", "packages"],
        "release:wheel": ["id-token"],
        "release:page": ["contents"],
    }
    assert "pull_request_target" not in read(FILES[0])["on"]
    assert read(FILES[1])["on"] == {"push": {"tags": ["v*"]}}


def test_a_release_builds_what_every_change_builds() -> None:
    """So that a tag calls nothing that no change has called."""
    called = {
        file.stem: {step["run"] for name, step in steps() if "run" in step and name.startswith(file.stem)} for file in FILES
    }
    publishing = {command for command in called["release"] - called["ci"] if not command.startswith("packaging/")}
    assert publishing == set()


def test_a_release_has_the_compose_file_and_the_catalogues() -> None:
    """Beside wheel, package and bill of materials; the page's script takes every file of the folder."""
    [files] = [
        step["with"]["path"]
        for name, step in steps()
        if name == "release:build" and step.get("with", {}).get("name") == "files"
    ]
    assert {"build/catalogues.tar.gz", "build/catalogues/compose.yaml"} < set(files.split())


@pytest.mark.parametrize("script", sorted((ROOT / "packaging").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_shell(script: Path) -> None:
    done = run("sh", "-n", str(script))
    assert done.returncode == 0, done.stderr


STUB = """#!/bin/sh
# Stands for docker, cosign and gh: writes down what it was asked, and gives what the scripts go on with.
for word; do printf '%s\\n' "$word"; done >"$SAID/$(basename "$0").$(ls "$SAID" | wc -l)"
case "$(basename "$0") $1" in
    "docker buildx")
        while [ "$1" != --metadata-file ]; do shift; done
        echo '{"containerimage.digest": "sha256:0a1b"}' >"$2" ;;
    "docker create") echo box ;;
    "docker cp")
        mkdir -p "$3"
        printf 'Package: libssl3\\nArchitecture: amd64\\nVersion: 3.0\\n' >"$3/libssl3" ;;
esac
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[tuple[str, list[str]]]]:
    """What the programs of a release were asked, in order."""
    (tmp_path / "said").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("docker", "cosign", "gh"):
        (tmp_path / "bin" / name).write_text(STUB)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")

    def calls() -> list[tuple[str, list[str]]]:
        files = sorted((tmp_path / "said").iterdir(), key=lambda file: int(file.suffix[1:]))
        return [(file.stem, file.read_text().splitlines()) for file in files]

    return calls


@pytest.mark.parametrize(
    ("version", "tags"), [("v1.2.3", {"1.2.3", "1.2", "latest"}), ("v1.2.3-rc1", {"1.2.3-rc1"})], ids=["release", "candidate"]
)
def test_an_image_is_published_signed_and_described(
    version: str, tags: set[str], tmp_path: Path, said: Callable[[], list[tuple[str, list[str]]]]
) -> None:
    """Three processors; by its digest, what was pushed is signed, and attested with the bill that the release's page gets."""
    done = run("sh", "packaging/publish-image.sh", "registry.example/relay", version, str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    pushed = "registry.example/relay@sha256:0a1b"
    assert done.stdout.splitlines()[-1] == pushed
    (_, build), *_, (signer, signing), (attester, attesting) = said()
    assert build[build.index("--platform") + 1] == "linux/amd64,linux/arm64,linux/arm/v7"
    assert {build[place + 1] for place, word in enumerate(build) if word == "--tag"} == {
        f"registry.example/relay:{tag}" for tag in tags
    }
    assert f"VERSION={version[1:]}" in build
    assert (signer, signing) == ("cosign", ["sign", "--yes", pushed])
    bill = tmp_path / "out" / "relay-image.cdx.json"
    assert (attester, attesting[0], attesting[-1]) == ("cosign", "attest", pushed)
    assert attesting[attesting.index("--predicate") + 1] == str(bill)
    assert {"libssl3", "aiosmtpd"} <= {one["name"] for one in json.loads(bill.read_text())["components"]}


def test_the_page_of_a_release_has_its_notes_and_every_file(
    tmp_path: Path, said: Callable[[], list[tuple[str, list[str]]]]
) -> None:
    files = [tmp_path / "files" / name for name in ("dist/a.whl", "files/b.deb", "image/relay-image.cdx.json")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    done = run("sh", "packaging/release-page.sh", f"v{relay.__version__}", str(tmp_path / "files"))
    assert done.returncode == 0, done.stderr
    [(program, words)] = said()
    assert (program, words[:3]) == ("gh", ["release", "create", f"v{relay.__version__}"])
    assert words[-3:] == list(map(str, files))


def test_the_bill_of_materials(tmp_path: Path) -> None:
    """Each package of the lock file with its hashes, each of the image's, all in the dependencies; twice the same."""
    package = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:3.0.17-1~deb12u2+b1\n"
    (tmp_path / "libssl3").write_text(package)
    command = (sys.executable, "packaging/sbom.py", "requirements/push.txt", str(tmp_path))
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert run(*command).stdout == done.stdout
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert bill["metadata"]["component"]["version"] == relay.__version__
    lock = (ROOT / "requirements" / "push.txt").read_text()
    pins = {name: version for name, version, rest in re.findall(r"(?m)^([a-z0-9-]+)==(\S+)(.*)$", lock) if "win32" not in rest}
    parts = {part["name"]: part for part in bill["components"]}
    assert {name: part["version"] for name, part in parts.items() if "pypi" in part["purl"]} == pins
    assert parts["libssl3"]["purl"] == "pkg:deb/debian/libssl3@1%3A3.0.17-1~deb12u2%2Bb1?arch=amd64"
    hashes = [file["hashes"][0]["content"] for part in bill["components"] for file in part.get("externalReferences", ())]
    assert set(hashes) <= set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    assert len(hashes) > len(pins)
    assert bill["dependencies"][0]["dependsOn"] == [part["bom-ref"] for part in bill["components"]]
    assert len(set(bill["dependencies"][0]["dependsOn"])) == len(bill["components"])


def test_the_notes_are_the_changelogs() -> None:
    """With and without the tag's v; a version that it does not know is a failure."""
    found = re.findall(r"(?m)^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    plain, tagged = (run(sys.executable, "packaging/notes.py", name) for name in (found[0], f"v{found[0]}"))
    assert plain.returncode == 0
    assert plain.stdout == tagged.stdout
    assert len(plain.stdout.splitlines()) > 3
    assert "\n## " not in plain.stdout
    assert run(sys.executable, "packaging/notes.py", "v99.0.0").returncode == 1


def test_a_tag_must_be_the_version_everywhere(tmp_path: Path) -> None:
    """Of the code, the image, the app and the changelog; and the image's base must be pinned."""
    names = ("Dockerfile", "CHANGELOG.md", "relay/__init__.py", "packaging/check-tag.sh", "packaging/notes.py")
    for name in (*names, "packaging/home-assistant/config.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    dockerfile = tmp_path / "Dockerfile"
    pinned = re.sub(r"(?m)^ARG BASE=[^@\n]*.*$", f"ARG BASE=python:3.13-slim@sha256:{'0' * 64}", dockerfile.read_text())
    check = lambda tag: run(str(tmp_path / "packaging" / "check-tag.sh"), tag)  # noqa: E731
    dockerfile.write_text(pinned.replace(f"@sha256:{'0' * 64}", ""))
    assert "no digest" in check(f"v{relay.__version__}").stderr
    dockerfile.write_text(pinned)
    done = check(f"v{relay.__version__}")
    assert done.returncode == 0, done.stderr
    assert check("v99.0.0").returncode == 1
    app = tmp_path / "packaging" / "home-assistant" / "config.yaml"
    app.write_text(app.read_text().replace(f'version: "{relay.__version__}"', 'version: "0.0.1"'))
    assert "the app" in check(f"v{relay.__version__}").stderr


def test_the_wheel_has_the_code_and_the_command(tmp_path: Path) -> None:
    """As `make dist` builds it: every module, template and picture, and `relay` as a command."""
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob(f"lan_mail_relay-{relay.__version__}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        [entry] = [name for name in inside if name.endswith("entry_points.txt")]
        assert "relay = relay.cli.main:main" in archive.read(entry).decode()
    ours = [path for path in (ROOT / "relay").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path.relative_to(ROOT)) for path in ours} <= inside
