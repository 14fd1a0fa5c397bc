"""Commands called by another user than the relay's: each says whose files they are, and none ends in a traceback.

stranger ──> relay COMMAND ──> a spool, secrets and a folder that are for the relay's user alone
"""

import ast
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.config import find
from relay.other_user import as_other_user, other_user, place_for

ROOT = Path(__file__).parents[2]
STRANGER, THEIRS = 65534, 65533
STRANGE = f"""
import codecs, os, sys
sys.path.insert(0, {str(ROOT)!r})
codecs.lookup("idna")  # what is loaded late may lie where this user cannot read it
import relay.other_user, relay.cli.main
relay.other_user.in_container = lambda root=None: False
os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})
sys.exit(relay.cli.main.main(sys.argv[1:]))
"""
ALL_READ_PYTHON = all(folder.stat().st_mode & 0o001 for folder in Path(os.__file__).parents)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not ALL_READ_PYTHON, reason="only root can become another user, who must be able to read Python itself"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may pass through, which pytest's own are not; in it a spool that is not for everybody."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "spool").mkdir(mode=0o700)
        (folder / "spool" / "spool.db").touch(mode=0o600)
        settings = "upstreams: {isp: {host: 127.0.0.1, port: 9, username: a@isp.example, password_file: isp.secret}}\n"
        spool = f"listen: {{address: '127.0.0.1:0'}}\nspool: {{url: 'sqlite:{folder}/spool/spool.db'}}\n"
        (folder / "config.yaml").write_text(settings + spool, encoding="utf-8")
        (folder / "isp.secret").write_text("hunter2\n", encoding="utf-8")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, THEIRS, THEIRS)
        yield folder


def strangely(*words: str, folder: Path) -> tuple[int, str]:
    """Exit status and all that is said to a user who is neither root nor the relay's."""
    done = subprocess.run(
        [sys.executable, "-c", STRANGE, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        | {"RELAY_CONFIG": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


FOR_THEM = f"not for this user, but for {THEIRS}; if the relay runs as that user, put `sudo -u {THEIRS}` before the command"


@needs_root
@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ("check", 0, "fine (1 upstream, 1 route)"),
        ("queue list", 1, FOR_THEM),
        ("queue retry --all", 1, FOR_THEM),
        ("queue export /tmp/never", 1, "Permission denied, but for"),
        ("health", 1, FOR_THEM),
        ("reload", 1, FOR_THEM),
        ("send --to a@isp.example", 1, FOR_THEM),
        ("explain --from a@isp.example --to b@isp.example", 0, "rule 1: everything: by isp"),
        ("oauth status", 0, "No upstream logs in by OAuth."),
        ("run", 1, f"spool.db: Permission denied, but for {THEIRS}; if the relay runs as that user, put `sudo -u {THEIRS}`"),
        ("spool move sqlite:{folder}/spool/spool.db sqlite:/tmp/never.db", 1, "spool.db: Permission denied"),
    ],
)
def test_a_stranger_is_told_whose_it_is(words: str, status: int, told: str, place: Path) -> None:
    """The configuration can be read, the spool cannot."""
    said = strangely(*(word.format(folder=place) for word in words.split()), folder=place)
    assert said[0] == status
    assert told.format(folder=place) in said[1]


@needs_root
@pytest.mark.parametrize("words", ["check", "doctor", "queue list", "run", "health"])
@pytest.mark.parametrize("closed", ["isp.secret", "config.yaml", ""])
def test_a_file_that_is_not_for_a_stranger_is_told_as_such(words: str, closed: str, place: Path) -> None:
    """The secret, the settings, and their folder."""
    (place / closed).chmod(0o600 if closed else 0o700)
    status, said = strangely(*words.split(), folder=place)
    assert status == 2
    assert f"not readable for user {STRANGER}, but for {THEIRS}; if the relay runs as that user, put `sudo -u {THEIRS}`" in said


@needs_root
def test_a_relay_without_a_place_for_its_spool_says_how_to_make_one(place: Path) -> None:
    """Ready to be copied; for one of another user's see above: nothing is taken from the relay that it belongs to."""
    text = (place / "config.yaml").read_text(encoding="utf-8").replace(f"{place}/spool/spool.db", "/var/lib/none/spool.db")
    (place / "config.yaml").write_text(text, encoding="utf-8")
    status, said = strangely("run", folder=place)
    assert status == 1
    cure = f"make it: sudo install -d -m 700 -o {STRANGER} /var/lib/none, or set `spool.url` to a place of your own"
    assert said == f"relay: /var/lib/none: Permission denied; {cure}\n"


@needs_root
def test_the_doctor_names_the_command_that_the_relay_s_user_types(place: Path) -> None:
    """`sudo -u relay relay doctor`: with the configuration, since sudo hands no environment on."""
    status, said = strangely("doctor", folder=place)
    assert status == 1
    assert "more: docs/findings.md#other-user" in said
    assert f"cure: Run the doctor as that user: `sudo -u {THEIRS} " in said
    assert f" doctor --config {place}/config.yaml`." in said


@needs_root
def test_init_where_nobody_may_look(place: Path) -> None:
    """A folder of another user is no place for a configuration, and no reason to crash."""
    (place / "spool" / "isp.secret").touch()
    words = ["--config", f"{place}/spool/config.yaml", "--no-input", "--host", "a.example", "--username", "a@isp.example"]
    status, said = strangely("init", *words, "--password-file", f"{place}/isp.secret", folder=place)
    assert status == 2
    assert "Permission denied" in said
    for system in ("qmail", "postfix"):
        status, said = strangely("import", system, f"{place}/spool", folder=place)
        assert status == 2
        assert "Permission denied" in said


def test_a_file_that_can_be_seen_comes_before_one_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo -u relay relay doctor` in a home that is closed to that user finds /etc/relay/config.yaml."""
    system = tmp_path / "config.yaml"
    system.touch()
    monkeypatch.setattr("relay.config.loader._SYSTEM", system)
    monkeypatch.chdir(tmp_path)
    stat = Path.stat

    def barred(self: Path, **how: bool) -> os.stat_result:
        if self == Path("config.yaml"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(self, **how)

    monkeypatch.setattr(Path, "stat", barred)
    assert find(None, {}) == system
    system.unlink()
    assert find(None, {}) == Path("config.yaml")


@needs_root
def test_whose_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner; of root's the user whose group may read it; nobody in a container, or if it is ours."""
    monkeypatch.setattr("relay.other_user.in_container", lambda root=None: False)
    file = tmp_path / "x"
    file.touch()
    assert other_user(file) == ""
    assert as_other_user(file) == ""
    os.chown(file, 0, 65534)  # group nogroup, of which there is no user
    assert other_user(file) == ""
    os.chown(file, 0, 1)
    assert other_user(file) == "daemon"
    os.chown(file, 2, 0)
    assert other_user(file) == "bin"
    os.chown(file, THEIRS, 0)
    assert other_user(file / "deeper" / "still") == str(THEIRS)
    monkeypatch.setattr("relay.other_user.in_container", lambda root=None: True)
    assert other_user(file) == ""


def test_a_place_that_is_not_there_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine, in a container, and where rights are not the trouble."""
    folder, denied = Path("/var/lib/none"), OSError(errno.EROFS, "Read-only file system")
    monkeypatch.setattr("relay.other_user.in_container", lambda root=None: False)
    assert place_for(folder, denied, "spool.url").startswith(
        f"; make it: sudo install -d -m 700 -o {os.geteuid()} /var/lib/none"
    )
    assert place_for(folder, OSError(errno.ENOSPC, "No space left on device"), "spool.url") == ""
    monkeypatch.setattr("relay.other_user.in_container", lambda root=None: True)
    assert "mount a volume there that is writable for user" in place_for(folder, denied, "spool.url")


def test_no_file_asks_pathlib_whether_something_is_there() -> None:
    """Path.exists and the like raise PermissionError for a file in a closed folder (before Python 3.14); os.path says no."""
    asked = {"exists", "is_dir", "is_file", "is_socket", "is_mount"}
    found = [
        f"{path.relative_to(ROOT)}:{one.lineno}: {ast.unparse(one)}"
        for path in (ROOT / "relay").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and isinstance(one := node.func, ast.Attribute) and one.attr in asked
        if ast.unparse(one.value) not in ("os.path", "look")
    ]
    assert found == []
