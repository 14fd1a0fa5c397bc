"""The page's listening socket: bound before anything that serves it is loaded."""

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
