"""Evidence about this machine's listeners, and who has their ports.  Linux; nothing is left behind."""

import errno
import re
import socket
import ssl
from pathlib import Path

from relay.container import in_container
from relay.doctor.host import ListenerFacts
from relay.doctor.subject import Subject
from relay.inbound.admission import Listener, ListenTls
from relay.spool.contract import SpoolSettings
from relay.spool.sqlite.connections import in_truth

_LISTEN = "0A"
_BIND_SERVICE = 10  # CAP_NET_BIND_SERVICE, capabilities(7)
_TURNED_AWAY = b"add its network to listen.networks"


def listener_facts(listener: Listener, subject: Subject, root: Path = Path("/")) -> ListenerFacts:
    """Tries to listen there for a moment; a port that we ourselves hold is as it should be."""
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((listener.host.strip("[]"), listener.port))
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
        # a service is started with the right that whoever asks from a shell lacks: only a container's bounds are final
        unsure = name != "EADDRINUSE" and not (in_container(root) and not _may_be_granted(root))
        return ListenerFacts(listener, name, error.strerror or "", holder, bool(ours), unsure)


def _may_be_granted(root: Path) -> bool:
    """Whether a process in this container can have the right to a low port at all (its bounding set, proc(5))."""
    try:
        status = (root / "proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    bounds = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bounds is None or bool(int(bounds[1], 16) >> _BIND_SERVICE & 1)


def _daemon(settings: SpoolSettings) -> int:
    """The pid in the spool's lock file, 0 if there is none."""
    try:
        return int(Path(f"{in_truth(settings.file)}.lock").read_text(encoding="ascii").strip() or 0) if settings.file else 0
    except (OSError, ValueError):
        return 0


def _is_relay(listener: Listener, hostname: str) -> bool:
    """Whether we ourselves answer there: the holder cannot be seen when it runs as another user."""
    host = listener.host.strip("[]")
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        with socket.create_connection((near, listener.port), 2) as line:
            line.settimeout(2)
            said = _greeting(line, tls=listener.tls is ListenTls.IMPLICIT)
    except OSError:
        return False
    return said.startswith(f"220 {hostname} ESMTP".encode()) or (said.startswith(b"554 5.7.1 ") and _TURNED_AWAY in said)


def _greeting(line: socket.socket, *, tls: bool) -> bytes:
    """The first words; whose certificate it is does not matter, nothing is said there.  Raises OSError."""
    if not tls:
        return line.recv(512)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(line) as covered:
        return covered.recv(512)


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
