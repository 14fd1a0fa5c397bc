"""Evidence about this machine: spool, listeners and who has their ports.  Linux; nothing is left behind."""

import errno
import os
import re
import socket
import tempfile
import time
from pathlib import Path

from relay.doctor.facts import ListenerFacts, SpoolFacts, Subject
from relay.inbound.admission import Listener, ListenTls
from relay.spool.contract import SpoolSettings

_SQLITE = b"SQLite format 3\0"
_OURS = 0x72656C79  # application_id in the header of every spool, octets 68 to 71
_LISTEN = "0A"


def spool(settings: SpoolSettings) -> SpoolFacts | None:
    """Whether a spool can live there; None if it is no file."""
    scheme, _, place = settings.url.partition(":")
    if scheme != "sqlite":
        return None
    path = Path(place)
    trouble, slow = _written(path.parent)
    if not trouble and path.exists() and not os.access(path, os.R_OK | os.W_OK):
        trouble = f"{path} may not be read and written by this user"
    return SpoolFacts(str(path), trouble, _free(path.parent), _alien(path), slow)


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())


def _written(folder: Path) -> tuple[str, float]:
    """Writes a page durably, as the spool will; why that failed, and seconds it took."""
    there = _existing(folder)
    if there != folder:
        fit = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
        return "" if fit else f"{folder} is missing, and this user may not make it in {there}", 0.0
    begun = time.monotonic()
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as page:
            page.write(b"\0" * 4096)
            page.flush()
            os.fsync(page.fileno())
    except OSError as error:
        return f"{folder}: {error.strerror or error}", 0.0
    return "", time.monotonic() - begun


def _free(folder: Path) -> int:
    try:
        seen = os.statvfs(_existing(folder))
    except OSError:
        return -1
    return seen.f_bavail * seen.f_frsize


def _alien(path: Path) -> str:
    """What a file in the spool's place is, if it is none: told by its header alone."""
    try:
        with path.open("rb") as opened:
            head = opened.read(100)
    except OSError:
        return ""
    if not head:
        return ""
    if not head.startswith(_SQLITE):
        return "no database"
    if len(head) < 100:
        return "a database that was cut short"
    return "" if int.from_bytes(head[68:72]) in (0, _OURS) else "the database of another program"


def listener(listener: Listener, subject: Subject) -> ListenerFacts:
    """Tries to listen there for a moment; a port that we ourselves hold is as it should be."""
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((listener.host, listener.port))
            sock.listen(1)
        return ListenerFacts(listener)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "")
        # whoever asks may lack the right to bind that the service has: then the holder tells whether all is well
        if name not in ("EADDRINUSE", "EACCES", "EPERM"):
            return ListenerFacts(listener, name, error.strerror or str(error))
        if subject.running:
            return ListenerFacts(listener, name, error.strerror or "", ours=True)
        pid, holder = port_holder(listener.port)
        ours = (pid and pid == _daemon(subject.spool)) or _is_relay(listener, subject.hostname)
        return ListenerFacts(listener, name, error.strerror or "", holder, bool(ours))


def _daemon(settings: SpoolSettings) -> int:
    """The pid in the spool's lock file, 0 if there is none."""
    try:
        return int(Path(settings.url.partition(":")[2] + ".lock").read_text(encoding="ascii").strip() or 0)
    except (OSError, ValueError):
        return 0


def _is_relay(listener: Listener, hostname: str) -> bool:
    """Whether our own banner answers: the holder cannot be seen when it runs as another user."""
    if listener.tls is ListenTls.IMPLICIT:
        return False
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)  # noqa: S104
    try:
        with socket.create_connection((near, listener.port), 2) as line:
            line.settimeout(2)
            return line.recv(512).startswith(f"220 {hostname} ESMTP".encode())
    except OSError:
        return False


def port_holder(port: int, proc: Path = Path("/proc")) -> tuple[int, str]:
    """Pid and name of the process that listens on a TCP port; (0, "") if it cannot be seen."""
    wanted = {f"socket:[{inode}]" for table in ("net/tcp", "net/tcp6") for inode in _listening(proc / table, port)}
    for process in proc.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in wanted for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return int(process.name), f"{name} (pid {process.name})"
        except OSError:
            continue
    return 0, ""


def _listening(table: Path, port: int) -> list[str]:
    try:
        lines = table.read_text(encoding="ascii", errors="replace").splitlines()[1:]
    except OSError:
        return []
    rows = [re.split(r"\s+", line.strip()) for line in lines]
    return [row[9] for row in rows if len(row) > 9 and row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]
