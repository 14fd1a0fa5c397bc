"""Messages to the service manager: ready, stopping, alive.  sd_notify(3) and sd_watchdog_enabled(3); silent elsewhere."""

import os
import socket


def notify(state: str) -> None:
    """Sends e.g. `READY=1`.  Does nothing where no manager listens; one that went away is no reason to stop."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    address = "\0" + where[1:] if where.startswith("@") else where  # abstract sockets begin with NUL
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.connect(address)
            manager.send(state.encode())
    except OSError:
        pass


def watchdog_every() -> float | None:
    """Seconds between signs of life, half of what the manager waits for; None if it waits for none of ours."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or not int(microseconds) or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000
