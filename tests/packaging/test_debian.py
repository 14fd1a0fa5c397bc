"""The Debian package: built twice, read by lintian, and installed, upgraded, removed and purged in an overlay of a real Debian.

make-deb.sh ──▶ .deb ──dpkg -i──▶ relay with a queue ──dpkg -i (newer)──▶ the same queue ──▶ delivered ──▶ purged
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import relay
from tests.support.overlay import instance, run_inside
from tests.support.peers import free_port
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="Debian's dpkg-deb is not here"),
]
QUEUED = 150

LIFE = r"""
set -eu
cd /srv/peer
as_relay() { setpriv --reuid relay --regid relay --init-groups --no-new-privs "$@"; }
start() {
    setpriv --reuid relay --regid relay --init-groups --no-new-privs relay run >>relay.log 2>&1 &
    running=$!
    for _ in $(seq 60); do if as_relay relay health >/dev/null 2>&1; then return; fi; sleep 1; done
    echo "never healthy"; exit 1
}
stop() { kill $running; wait $running; }

dpkg -i old.deb
stat -c '%A %U %G' /etc/relay >folder
relay version
install -m 640 -g relay config.yaml /etc/relay/config.yaml
install -d -m 700 -o relay -g relay /var/lib/relay
find /usr/lib/relay/relay -name '*.pyc' | wc -l >compiled
start
python3 send.py
as_relay relay queue list --json >before.json
stop

dpkg -i new.deb
dpkg -V lan-mail-relay
dpkg-query -W -f '${Version}' lan-mail-relay >version
start
as_relay relay queue list --json >upgraded.json
touch look
for _ in $(seq 120); do
    if [ -e open ]; then as_relay relay queue retry --all >/dev/null; rm open; fi
    if [ -e enough ]; then break; fi
    sleep 1
done
as_relay relay queue list --json >sent.json
stop

dpkg -r lan-mail-relay
test ! -e /usr/lib/relay
test ! -e /usr/bin/relay
test -e /etc/relay/config.yaml
test -e /var/lib/relay/spool.db
dpkg -i new.deb
dpkg --purge lan-mail-relay
test ! -e /etc/relay
test ! -e /var/lib/relay
test ! -e /usr/lib/relay
echo "all of it"
"""

SEND = f"""
import smtplib
with smtplib.SMTP("127.0.0.1", PORT, timeout=30) as device:
    for number in range({QUEUED}):
        letter = b"From: nas@nas.local\\r\\nSubject: %d\\r\\n\\r\\nhello\\r\\n" % number
        device.sendmail("nas@nas.local", ["me@example.jp"], letter)
"""


def built(folder: Path) -> Path:
    command = [str(ROOT / "packaging" / "make-deb.sh"), sys.executable, str(folder)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "-R", str(package), str(folder)], check=True)
    return folder


def renumbered(unpacked: Path, folder: Path, version: str) -> Path:
    """The same package under another number."""
    copy = folder / "tree"
    shutil.copytree(unpacked, copy, symlinks=True)
    control = copy / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    made = folder / "old.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(copy), str(made)], check=True, capture_output=True)
    return made


def test_the_same_tree_makes_the_same_octets(package: Path, tmp_path: Path) -> None:
    assert built(tmp_path).read_bytes() == package.read_bytes()


def test_what_is_in_it(unpacked: Path) -> None:
    """Nothing compiled, so that it runs on every processor; every package of the lock file; the version of the code."""
    code = unpacked / "usr" / "lib" / "relay"
    control = (unpacked / "DEBIAN" / "control").read_text()
    assert f"\nVersion: {relay.__version__}\n" in control
    assert "\nArchitecture: all\n" in control
    assert [*code.rglob("*.so"), *code.rglob("*.pyc")] == []
    lock = (ROOT / "requirements" / "push.txt").read_text()
    locked = {
        (name.replace("-", "_"), version) for name, version in re.findall(r"(?m)^([a-z0-9-]+)==(\S+)(?: ; python.*)? \\$", lock)
    }
    there = {tuple(folder.name.removesuffix(".dist-info").rsplit("-", 1)) for folder in code.glob("*.dist-info")}
    assert locked == there
    ours = {file.relative_to(ROOT / "relay") for file in (ROOT / "relay").rglob("*.py")}
    assert ours == {file.relative_to(code / "relay") for file in (code / "relay").rglob("*.py")}


def test_it_runs_with_nothing_but_itself(unpacked: Path, tmp_path: Path) -> None:
    """This Python, without any package of its own (-S), has all that the relay needs from what the package brings."""
    (tmp_path / "config.yaml").write_text("upstreams: {isp: {host: mail.isp.example}}\nlisten: {address: '127.0.0.1:2525'}\n")
    code = unpacked / "usr" / "lib" / "relay"
    program = f"import sys; sys.path.insert(0, {str(code)!r})\nimport apprise, charset_normalizer, relay.control.rendering\n"
    program += "from relay.cli.main import main; sys.exit(main(['check', '--config', 'config.yaml']))"
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_unit_is_that_of_the_clone_in_other_places(unpacked: Path) -> None:
    """Every line of packaging/relay.service but those that name a place; systemd finds no fault with it."""
    unit = unpacked / "usr" / "lib" / "systemd" / "system" / "relay.service"
    lines, clone = (text.splitlines() for text in (unit.read_text(), (ROOT / "packaging" / "relay.service").read_text()))
    placed = ("ExecStart=", "WorkingDirectory=", "Documentation=", "# The relay without a container")
    assert [line for line in clone if line not in lines and not line.startswith(placed)] == []
    assert [line for line in lines if line not in clone] == [
        "Documentation=man:relay(8)",
        "ConditionPathExists=|/etc/relay/config.yaml",
        "ConditionPathExists=|/etc/relay/environment",
        "ExecStart=/usr/bin/relay run",
        "WorkingDirectory=/var/lib/relay",
    ]
    assert "/opt" not in unit.read_text()
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert exposed.returncode == 0, exposed.stdout[-500:] + exposed.stderr


def test_its_manual_page_names_every_command(unpacked: Path) -> None:
    """Each command of the program has its section, and `man` has no complaint."""
    from relay.cli.main import make_parser

    page = unpacked / "usr" / "share" / "man" / "man8" / "relay.8.gz"
    text = subprocess.run(["zcat", str(page)], capture_output=True, text=True, check=True).stdout
    for name in re.findall(r"(?m)^    ([a-z]+) ", make_parser().format_help()):
        assert re.search(rf'(?m)^\.SS "relay {name}[ "]', text), name
    assert f'"relay {relay.__version__}"' in text
    if shutil.which("man"):
        shown = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)],
            capture_output=True,
            text=True,
            env={**os.environ, "MANROFFSEQ": "", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
            check=False,
        )
        assert (shown.returncode, shown.stderr) == (0, "")


def test_lintian_finds_nothing(package: Path) -> None:
    said = run_inside(
        "debian",
        ["lintian", "--allow-root", "--no-cfg", "--fail-on", "error,warning", "/srv/peer/new.deb"],
        {"new.deb": package.read_bytes()},
        seconds=300,
    )
    assert said.strip().endswith("exit 0"), said


def test_the_unit_passes_systemds_own_check(package: Path) -> None:
    """Installed, so that the program and the user that it names are there."""
    script = (
        "dpkg -i /srv/peer/new.deb >/dev/null 2>&1 && systemd-analyze verify --man=no /usr/lib/systemd/system/relay.service"
    )
    said = run_inside("debian", ["sh", "-c", script], {"new.deb": package.read_bytes()}, seconds=300)
    ours = [line for line in said.splitlines() if "relay" in line.lower()]
    assert ours == []
    assert said.strip().endswith("exit 0"), said


def numbers(upstream: Sink) -> list[int]:
    """The subjects that arrived, without those of notices."""
    return [int(mail.header("Subject")) for mail in upstream.taken() if mail.header("Subject").isdigit()]


def waiting(file: Path) -> list[str]:
    """The ids in a list of the queue, without those of notices."""
    return [entry["id"] for entry in json.loads(file.read_text())["messages"] if not entry["notice"]]


def test_a_life_with_a_full_queue(package: Path, unpacked: Path, tmp_path: Path) -> None:
    """The queue of the old version is the new one's, to the last message; removal keeps it, purge deletes all."""
    port, dead = free_port(), free_port()
    config = (
        f"upstreams: {{isp: {{host: 127.0.0.1, port: {dead}, tls: none, sender: nas@isp.example}}}}\n"
        f"notices: {{to: me@example.jp}}\nretry: {{delays: [1s], rest: [1s]}}\nhostname: relay.test\n"
        f"listen: {{address: '127.0.0.1:{port}'}}\n"
    )
    files = {
        "old.deb": renumbered(unpacked, tmp_path, "0.0.9").read_bytes(),
        "new.deb": package.read_bytes(),
        "config.yaml": config,
        "send.py": SEND.replace("PORT", str(port)),
    }
    with instance("debian", LIFE, files) as inside:
        eventually(
            lambda: (inside.share / "look").exists() or inside.process.poll() is not None, 300, inside.log_file.read_text
        )
        with sink(tmp_path, port=dead) as upstream:
            (inside.share / "open").touch()
            eventually(lambda: sorted(numbers(upstream)) == list(range(QUEUED)), 100, inside.log_file.read_text)
            (inside.share / "enough").touch()
            inside.process.wait(120)
            assert len(numbers(upstream)) == QUEUED  # none twice
        assert "all of it" in inside.log(), inside.log_file.read_text()[-3000:]
        share = inside.share
        before, upgraded, sent = (waiting(share / f"{name}.json") for name in ("before", "upgraded", "sent"))
        assert share.joinpath("folder").read_text() == "drwxr-x--- root relay\n"
        assert int(share.joinpath("compiled").read_text()) > 100
        assert share.joinpath("version").read_text() == relay.__version__
    assert len(before) == QUEUED
    assert upgraded == before
    assert sent == []
