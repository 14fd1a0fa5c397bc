"""Private overlays of `/` in which a Debian package can be installed and run without the host noticing.

    layer      packages installed once with apt-get into an overlay's upper directory, kept under a temp dir
    instance   an overlay with a copy of the layer, in its own mount and PID namespace: all gone with one process

Without root, unshare, overlays or apt a test that asks for one is skipped with the reason; with
REQUIRE_PEERS=1 (as CI sets it) it fails instead.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BUILD_SECONDS = 900

LAYERS: Mapping[str, Sequence[str]] = {
    "postfix": (
        "postfix",
        "libsasl2-modules",
        "libsasl2-modules-db",
        "sasl2-bin",
        "dovecot-core",
        "dovecot-submissiond",
        "dovecot-pop3d",
        "swaks",
        "libio-socket-ssl-perl",
        "msmtp",
    ),
    "postfix-rspamd": ("postfix", "rspamd"),
    "exim": ("exim4-base", "exim4-config", "exim4-daemon-light"),
    "opensmtpd": ("opensmtpd",),
    "programs": (
        "swaks",
        "msmtp",
        "curl",
        "s-nail",
        "ssmtp",
        "libmime-lite-perl",
        "php-cli",
        "libphp-phpmailer",
        "sendemail",
        "mutt",
        "python3-minimal",
        "libpython3-stdlib",
    ),
    "nodemailer": ("nodejs",),
    "unbound": ("unbound", "ldnsutils"),
    "debian": ("lintian", "openssl", "python3", "systemd"),
    "pipx": ("pipx", "python3-venv"),
    "machine": ("qemu-system-x86", "debootstrap", "cpio"),
    "shells": ("bash-completion", "fish", "zsh"),
}

AFTERWARDS: Mapping[str, str] = {
    "nodemailer": "command -v npm >/dev/null || $apt install --no-install-recommends npm\n"
    "mkdir -p /opt/nodemailer && cd /opt/nodemailer\nnpm install --no-audit --no-fund nodemailer@6\n",
    "machine": "debootstrap --variant=minbase --include=systemd-sysv,python3,openssl bookworm /opt/machine >/dev/null\n"
    "rm -rf /opt/machine/var/cache/apt/archives /opt/machine/var/lib/apt/lists\n"
    "kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p')\n"
    "cd /opt && apt-get -q download $kernel\n"
    "dpkg-deb --fsys-tarfile linux-image-*.deb | tar -x --wildcards './boot/vmlinuz-*'\nrm linux-image-*.deb\n",
}
"""Shell lines that go on where the packages of a layer are installed."""

# $1 the instance's directory (upper, work, root, share), $2 a script for the inside
_ENTER = r"""
set -e
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
root=$1/root
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/srv/peer" "$root/run/lock"
mount --bind "$1/share" "$root/srv/peer"
chroot "$root" sh "$2"  # not by exec: a server that takes another user is no longer killed with its parent
exit $?
"""

_INSTALL = r"""
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
apt="apt-get -q -y -o Acquire::Retries=2 -o Acquire::http::Timeout=20"
install() { $apt install --no-install-recommends PACKAGES; }
ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || $apt update
install || { $apt update && install; }
apt-get clean
"""


class PeerUnavailable(Exception):
    """This machine cannot run the peer; the text says why."""


_no_use: dict[str, str] = {}


def unavailable(reason: str) -> None:
    """Ends the test: skipped with the reason, or failed where real peers are required."""
    if os.environ.get("REQUIRE_PEERS"):
        pytest.fail(f"a real peer is required here: {reason}")
    pytest.skip(f"no real peer: {reason}")


def _places() -> Iterator[Path]:
    for place in (os.environ.get("RELAY_PEERS_DIR"), tempfile.gettempdir(), "/var/tmp", "/dev/shm"):
        if place:
            yield Path(place) / "relay-peers"


def _instance(parent: Path, prefix: str) -> Path:
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    directory.chmod(0o755)
    for part in ("upper", "work", "root", "share"):
        (directory / part).mkdir()
    return directory


def _enter(directory: Path) -> list[str]:
    """The command that runs share/run.sh in the overlay; killing it ends all that it started."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private"]
    return ["setpriv", "--pdeathsig", "KILL", *unshare, "sh", "-c", _ENTER, "enter", str(directory), "/srv/peer/run.sh"]


def _remove(directory: Path) -> None:
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.1)  # the kernel is still taking the mounts apart


@functools.cache
def _home() -> Path:
    """A directory in which overlays can be made.  Raises PeerUnavailable."""
    if os.geteuid() != 0:
        raise PeerUnavailable("only root can mount an overlay")
    for tool in ("unshare", "setpriv", "mount", "chroot", "apt-get"):
        if shutil.which(tool) is None:
            raise PeerUnavailable(f"there is no {tool} here")
    said = ""
    for home in _places():
        home.mkdir(parents=True, exist_ok=True)
        trial = _instance(home, "trial-")
        try:
            (trial / "share" / "run.sh").write_text("exit 0\n")
            done = subprocess.run(_enter(trial), capture_output=True, timeout=30, check=False)
            if done.returncode == 0:
                return home
            said = done.stderr.decode(errors="replace").strip()
        finally:
            _remove(trial)
    raise PeerUnavailable(f"no overlay of / can be mounted here: {said[-200:]}")


def layer(name: str) -> Path:
    """The upper directory with the packages of a layer, built if this is the first time.  Raises PeerUnavailable."""
    if name in _no_use:
        raise PeerUnavailable(_no_use[name])
    try:
        return _layer(name)
    except (OSError, subprocess.TimeoutExpired) as error:
        _no_use[name] = str(error)
        raise PeerUnavailable(str(error)) from error
    except PeerUnavailable as error:
        _no_use[name] = str(error)
        raise


def _layer(name: str) -> Path:
    home = _home()
    script = _INSTALL.replace("PACKAGES", " ".join(LAYERS[name])) + AFTERWARDS.get(name, "")
    below = Path("/var/lib/dpkg/status").read_bytes()  # a layer holds only what the system under it lacks
    ready = home / f"{name}-{hashlib.sha256(script.encode() + below).hexdigest()[:12]}"
    with open(home / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be building the same one
        if not ready.exists():
            _build(home, name, script, ready)
    return ready


def _build(home: Path, name: str, script: str, ready: Path) -> None:
    directory = _instance(home, f"{name}-build-")
    log = home / f"{name}.log"
    try:
        (directory / "share" / "run.sh").write_text(script)
        with open(log, "wb") as out:
            command = ["timeout", "-k", "5", str(BUILD_SECONDS), *_enter(directory)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise PeerUnavailable(f"{name} could not be installed ({done.returncode}): {' / '.join(last)}")
        (directory / "upper").rename(ready)
    finally:
        _remove(directory)


@dataclass(frozen=True)
class Inside:
    """A started instance: `share` is /srv/peer inside, `process` ends everything in it when killed."""

    share: Path
    process: "subprocess.Popen[bytes]"
    log_file: Path

    def log(self) -> str:
        """What the server said about itself so far, in all its log files."""
        files = [self.log_file, *sorted(self.share.glob("*log"))]
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())


@contextmanager
def instance(name: str, script: str, files: Mapping[str, str | bytes], before: Sequence[str] = ()) -> Iterator[Inside]:
    """Runs a script in a fresh overlay of a layer, with files laid into /srv/peer; skips where that cannot be.

    `before` are words before the command, such as those that enter a network namespace.
    """
    try:
        built = layer(name)
    except PeerUnavailable as reason:
        unavailable(str(reason))
        raise
    directory = _instance(built.parent, f"{name}-run-")
    # A copy (tens of MB), for two runs may go on at once; as a second lower layer the kernel refuses it: it lies in `/`.
    subprocess.run(["cp", "-a", f"{built}/.", str(directory / "upper")], check=True)
    share = directory / "share"
    share.chmod(0o755)
    for file, content in {**files, "run.sh": script}.items():
        (share / file).parent.mkdir(parents=True, exist_ok=True)
        (share / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    log = directory / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen([*before, *_enter(directory)], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield Inside(share, process, log)
    finally:
        process.kill()  # unshare ignores SIGTERM while it waits; its child, and with it the namespace, dies with it
        process.wait(20)
        _remove(directory)


def run_inside(name: str, command: Sequence[str], files: Mapping[str, str | bytes] | None = None, seconds: int = 60) -> str:
    """Runs one command of a layer (swaks, msmtp, sendmail) and returns what it printed; its exit code is the last line."""
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in command)
    with instance(name, f"cd /srv/peer; {quoted} 2>&1; echo exit $?\n", files or {}) as inside:
        inside.process.wait(seconds)
        return inside.log()
