"""Which addresses are of a LAN, which are of this machine, and which a host on the Internet may have.  Pure."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


PRIVATE = _networks(
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)
"""What `private` means in the configuration: loopback, RFC 1918, unique local (RFC 4193), link-local."""

_LAN = (*PRIVATE, *_networks("100.64.0.0/10", "fec0::/10", "64:ff9b:1::/48"))
"""And carriers' NAT (RFC 6598), site-local addresses of old, NAT64 of one's own (RFC 8215)."""

_NOBODY = _networks(
    *("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    *("2001::/23", "2001:db8::/32", "3fff::/20"),
)
"""RFC 6890: this network, examples, benchmarks, multicast, reserved; Teredo and its neighbours."""

_UNICAST = IPv6Network("2000::/3")
"""All that IANA has given out of IPv6; what follows is translated to IPv4 by the network (RFC 6052) or by 6to4 (RFC 3056)."""
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")


def address_of(text: str | Address) -> Address:
    """The address that is meant: an IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) is that IPv4 address.

    Raises ValueError.
    """
    found = ip_address(text.partition("%")[0]) if isinstance(text, str) else text
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return found.ipv4_mapped
        if found in _NAT64:
            return IPv4Address(int(found) & 0xFFFFFFFF)
        if found in _6TO4:
            return IPv4Address(int(found) >> 80 & 0xFFFFFFFF)
    return found


def in_lan(text: str | Address) -> bool:
    """Whether this is an address of a LAN or of the machine itself.  Raises ValueError."""
    found = address_of(text)
    return any(found in network for network in _LAN)


def on_internet(text: str | Address) -> bool:
    """Whether a host on the Internet may have this address.  Raises ValueError."""
    found = address_of(text)
    if found.version == 6 and found not in _UNICAST:
        return False
    return not any(found in network for network in (*_LAN, *_NOBODY))


def group_of(client: str) -> str:
    """Who is counted together: one IPv4 address, or the /64 that an IPv6 host can choose its addresses from."""
    try:
        found = ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((int(found), 64), strict=False))
    return str(found)


@lru_cache(maxsize=1024)
def client_of(text: str) -> Address | None:
    """A client's address as a listener shows it, without brackets and zone; IPv4 that a dual-stack socket shows is IPv4."""
    try:
        found = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def with_port(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_port(place: str) -> str:
    """The host of `host:port`, without brackets."""
    return place.rpartition(":")[0].strip("[]")
