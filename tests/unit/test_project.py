"""The project's own papers agree with each other, and nothing in them belongs to one machine."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import relay
from tests.support import order

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

# Written so that this file does not find itself.
PLACES = re.compile(
    r"(?:^|[^A-Za-z0-9._-])/(?:[w]ork|[r]oot|[h]ome/[a-z]+|[U]sers/[a-z]+|[o]pt/wheels)/[.A-Za-z]"
    r"|https?://[^/\s]+/(?:[s]imple|[p]ackages)/"
    r"|[f]iles\.pythonhosted|[p]ypi\.org/simple|[i]ndex-url\s*="
)


def tracked() -> list[Path]:
    """The files of the repository; without git (an unpacked archive) all that a clone would have."""
    # CI may run as another user than the one who cloned.
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        found = [
            file
            for folder in ("relay", "tests", ".ci")
            for file in (ROOT / folder).rglob("*")
            if "__pycache__" not in file.parts
        ]
        found += [file for file in ROOT.iterdir() if not file.name.startswith(".")]
    return [file for file in found if file.is_file()]


def places_in(text: str) -> list[str]:
    return [line.strip()[:120] for line in text.splitlines() if PLACES.search(line)]


def pins(lock: str) -> dict[str, tuple[str, int]]:
    """name -> (version, how many hashes) of a requirements file."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if match := re.match(r"([a-z0-9._-]+)==(\S+)", line):
            found[match[1]] = (match[2], line.count("--hash=sha256:"))
        else:
            assert not line.strip(), f"{lock}: not a pinned requirement: {line[:80]}"
    return found


def requirement(text: str) -> tuple[str, list[tuple[str, tuple[int, ...]]]]:
    """`aiosmtplib>=5.1.3,<5.2` -> its name as in the lock files, and its bounds."""
    name, bounds = re.match(r"([A-Za-z0-9._-]+)(.*)", text).groups()
    wanted = re.findall(r"(==|>=|<)\s*([\d.]+)", bounds)
    return re.sub(r"[-_.]+", "-", name).lower(), [(sign, release(version)) for sign, version in wanted]


def release(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", version)[:4]]
    return tuple(numbers + [0] * (4 - len(numbers)))


def fits(version: str, bounds: list[tuple[str, tuple[int, ...]]]) -> bool:
    here = release(version)
    return all({"==": here == there, ">=": here >= there, "<": here < there}[sign] for sign, there in bounds)


def test_no_file_names_a_machine_or_a_package_host() -> None:
    """A clone elsewhere finds no path of ours, and no package index is named in it."""
    found = {}
    for file in tracked():
        text = file.read_bytes().decode("utf-8", "ignore")
        if lines := places_in(text):
            found[str(file.relative_to(ROOT))] = lines
    assert found == {}


@pytest.mark.parametrize(
    "line", ["cd /" + "work/main", "see /" + "root/.x", "https://host.example/" + "simple/x/", "pip --index-" + "url=x"]
)
def test_such_a_line_would_be_found(line: str) -> None:
    """The search sees what it looks for."""
    assert places_in(f"fine\n{line}\n")


def test_readme_names_only_make_targets_that_exist() -> None:
    """Every `make X` of the README is a target of the Makefile, the two of the first screen among them."""
    named = set(re.findall(r"^\s+make ([a-z]+)", README, re.MULTILINE)) | set(re.findall(r"`make ([a-z]+)", README))
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("readme", ["README.md", "README.ja.md"])
def test_the_first_screen_has_what_a_newcomer_looks_for(readme: str) -> None:
    """Where it comes from, the appliance, then the demo; and a picture, all before the first heading."""
    screen = (ROOT / readme).read_text(encoding="utf-8").partition("\n## ")[0]
    places = [
        screen.index(word) for word in ("git clone ", "docker compose up -d", "make demo", "make test", "status-page.png")
    ]
    assert places == sorted(places)


def test_no_page_puts_a_password_into_the_shell_s_history() -> None:
    """What is typed after `echo` stays in a file for years."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*.yaml"), *(ROOT / "docs").rglob("*.md"), ROOT / "packaging" / "README.md"]
    said = [f"{page.name}: {line}" for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    assert [line for line in said if re.search(r"(echo|printf) .*(pass|secret|パスワード).*>", line, re.IGNORECASE)] == []


def test_readme_names_only_commands_that_exist() -> None:
    """Every `relay VERB` of the README is a verb of the command line."""
    from relay.cli.main import make_parser

    named = set(re.findall(r"`relay ([a-z]+)", README)) | set(re.findall(r"-m relay ([a-z]+)", README))
    known = make_parser().format_help()
    assert "run" in named
    assert {verb for verb in named if not re.search(rf"^\s+{verb}\b", known, re.MULTILINE)} == set()


def test_readme_names_only_folders_that_exist() -> None:
    """The flow told in the README is the one in the tree."""
    for folder in re.findall(r"`((?:relay|tests)/[a-z_/.]*)`", README):
        assert (ROOT / folder).exists(), folder


@pytest.mark.parametrize("lock", ["requirements/runtime.txt", "requirements/development.txt", "requirements/docs.txt"])
def test_every_pin_has_its_hashes(lock: str) -> None:
    """Nothing is installed that is not pinned and hashed."""
    assert {name for name, (_, hashes) in pins(lock).items() if not hashes} == set()
    assert len(pins(lock)) > 10


def test_lock_files_are_in_step_with_the_project() -> None:
    """Each dependency of pyproject.toml is pinned within its bounds, and both files pin the same versions."""
    runtime, development = pins("requirements/runtime.txt"), pins("requirements/development.txt")
    for text in PROJECT["project"]["dependencies"]:
        name, bounds = requirement(text)
        assert fits(runtime[name][0], bounds), f"requirements/runtime.txt: {name}; make lock"
    for text in PROJECT["dependency-groups"]["dev"]:
        name, bounds = requirement(text)
        assert fits(development[name][0], bounds), f"requirements/development.txt: {name}; make lock"
    assert {name: pin for name, (pin, _) in runtime.items()} == {name: development[name][0] for name in runtime}


def test_the_changelog_tells_of_this_version() -> None:
    """The version that runs has its paragraph."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(relay.__version__)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)


def test_ci_calls_what_the_readme_says() -> None:
    """CI proves the README's commands, with real peers required."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "REQUIRE_PEERS=1" in script
    assert re.search(r"^make test", script, re.MULTILINE)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_files_that_come_first_are_there():
    """What is ordered by its length has not been renamed meanwhile."""
    assert [name for name in order.SECONDS if not (order.TESTS / name).exists()] == []
    assert order.turn(order.TESTS / "chaos/test_drain.py") < order.turn(order.TESTS / "peers/test_oauth_dovecot.py")
    assert order.turn(order.TESTS / "peers/test_oauth_dovecot.py") < order.turn(order.TESTS / "unit/test_project.py")


def test_make_gives_a_clone_the_command_relay(tmp_path: Path) -> None:
    """Offline, in a folder with a blank in its name; it may be linked elsewhere, and takes nothing from where it is called."""
    clone, elsewhere = tmp_path / "a clone", tmp_path / "elsewhere"
    for folder in (clone / ".venv" / "bin", clone / "requirements", clone / "packaging", elsewhere):
        folder.mkdir(parents=True)
    for name in ("Makefile", "packaging/relay", "requirements/runtime.txt"):
        shutil.copy(ROOT / name, clone / name)
    (clone / "relay").symlink_to(ROOT / "relay")
    (clone / ".venv" / "runtime").touch()
    python = clone / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    subprocess.run(["make", ".venv/runtime"], cwd=clone, check=True, capture_output=True)
    (elsewhere / "relay").symlink_to(clone / ".venv" / "bin" / "relay")
    (elsewhere / "yaml.py").write_text("raise SystemExit('a file of the folder was loaded')\n", encoding="utf-8")
    environ = {
        **os.environ,
        "PATH": f"{elsewhere}:{os.environ['PATH']}",
        "RELAY_HOST": "a.example",
        "RELAY_SENDER": "a@b.example",
    }
    for place, command in ((clone, ".venv/bin/relay"), (elsewhere, "relay")):
        done = subprocess.run([command, "check"], cwd=place, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        words = [command, "init", "--config", str(tmp_path / place.name), "--no-input", "--host", "a.example", "--no-doctor"]
        done = subprocess.run(words, cwd=place, env=environ, capture_output=True, text=True, check=False)
        assert f"Start it: {command} run --config" in done.stdout
