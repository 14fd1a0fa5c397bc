"""The page's listening socket: bound before anything that serves it is loaded.  And what address this machine has."""

import socket

from relay.networks import without_port


def listen(address: str) -> socket.socket:
    """A listening TCP socket at `host:port` or `[host]:port`.  Raises OSError."""
    host, port = without_port(address), int(address.rpartition(":")[2])
    if ":" in host:
        dual = host == "::" and socket.has_dualstack_ipv6()
        sock = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=dual, backlog=64)
    else:
        sock = socket.create_server((host, port), backlog=64)
    sock.setblocking(False)
    return sock


def lan_address() -> str:
    """Our address in the LAN as the kernel would choose it; nothing is sent.  Loopback where there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.168.255.255", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
