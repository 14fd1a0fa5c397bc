"""Where things are: hosts, networks, sockets, URLs, domains, mail addresses and patterns over them.  Pure.

Each converter takes the text as written and gives the value, or raises Wrong with what was expected.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from relay.config.scalars import Convert, Wrong, listing, near
from relay.mail.address import Address, BadAddress, parse_address
from relay.networks import PRIVATE, Network, address_of, with_port


def network(value: str) -> Network:
    """A CIDR network or one address.  Set host bits are the network that was meant; IPv4-mapped IPv6 is IPv4."""
    try:
        found = ip_network(value.strip(), strict=False)
    except ValueError:
        raise Wrong("a network such as 192.168.0.0/24, or private", near(value, ["private"])) from None
    if isinstance(found, IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped:
        return IPv4Network(f"{found.network_address.ipv4_mapped}/{found.prefixlen - 96}")
    return found


def submitters(value: str) -> tuple[Network, ...]:
    """Who may submit: `private` or a network that is not half the Internet."""
    if value.strip().lower() == "private":
        return PRIVATE
    found = network(value)
    if found.prefixlen == 0:
        raise Wrong("private or networks of your own", "this would be an open relay for the whole Internet")
    widest = 8 if isinstance(found, IPv4Network) else 32
    if found.prefixlen < widest and not _inside_private(found):
        raise Wrong(f"a network no wider than /{widest}", "a public network this wide would be an open relay")
    return (found,)


def clients(value: str) -> tuple[Network, ...]:
    """A condition of a route: `private` or any network."""
    return PRIVATE if value.strip().lower() == "private" else (network(value),)


def _inside_private(found: Network) -> bool:
    if isinstance(found, IPv4Network):
        return any(found.subnet_of(wide) for wide in PRIVATE if isinstance(wide, IPv4Network))
    return any(found.subnet_of(wide) for wide in PRIVATE if isinstance(wide, IPv6Network))


_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def _is_name(value: str) -> bool:
    labels = value.removesuffix(".").split(".")
    numeric = all(label.isdigit() for label in labels)  # 192.168.1 is no name, but an unfinished address
    return len(value) <= 253 and not numeric and all(_LABEL.fullmatch(label) for label in labels)


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def address(value: str) -> str:
    """An IP address, with or without brackets."""
    bare = value.strip()
    bare = bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare
    if not _is_address(bare):
        raise Wrong("an address such as 192.168.0.1")
    return str(ip_address(bare))


def host(value: str) -> str:
    """A server's name or address, without brackets, scheme or port."""
    bare = value.strip()
    if bare.startswith("[") and bare.endswith("]") and _is_address(bare[1:-1]):
        return bare[1:-1]
    if _is_address(bare):
        return bare
    name = _to_ascii(bare)
    if _is_name(name):
        return name.removesuffix(".")
    hint = ""
    if "://" in bare:
        hint = "leave out what stands before the name"
    elif re.fullmatch(r"\S+:[0-9]+", bare):
        hint = "the port is a setting of its own"
    raise Wrong("a host name or address", hint)


def _to_ascii(name: str) -> str:
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def own_name(value: str) -> str:
    """Our name in EHLO: a host name, or an address literal (RFC 5321 s4.1.3)."""
    bare = value.strip()
    if bare.startswith("[") and bare.endswith("]"):
        if _is_address(bare[1:-1].removeprefix("IPv6:")):
            return bare
    elif _is_name(bare) and not _is_address(bare) and "_" not in bare:
        return bare.removesuffix(".")
    hint = f"write an address as [{bare}]" if _is_address(bare) else ""
    raise Wrong("a host name such as relay.home.example", hint)


def domain(value: str) -> str:
    """A mail domain, in lower case."""
    bare = value.strip()
    try:
        found = parse_address(f"x@{bare}").domain
    except BadAddress:
        found = ""
    if not found or bare.startswith("["):
        raise Wrong("a domain such as isp.example", near_domain(bare))
    return found.lower()


def near_domain(value: str) -> str:
    tail = value.rpartition("@")[2]
    return f"did you mean '{tail}'?" if "@" in value and tail and _is_name(tail) else ""


def mailbox(value: str) -> Address:
    """A full address, `local@domain`."""
    try:
        found = parse_address(value)
    except BadAddress as bad:
        raise Wrong("an address such as me@example.jp", str(bad)) from None
    if not found.qualified:
        raise Wrong("an address such as me@example.jp", "the part after the @ is missing")
    return found


def socket_address(default_port: int) -> Convert[tuple[str, int]]:
    """`0.0.0.0:25`, `[::]:25`, `:25`, `25`, `192.168.0.2`; port 0 is any free one."""

    def convert(value: str) -> tuple[str, int]:
        bare = value.strip()
        match = re.fullmatch(r"(?:(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:]*):)?(?P<port>[0-9]{1,5})", bare)
        name, number_ = (match["host"] or "", int(match["port"])) if match else (bare, default_port)
        name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        name = {"": "0.0.0.0", "*": "0.0.0.0", "localhost": "127.0.0.1"}.get(name.lower(), name)  # noqa: S104
        if not bare or number_ > 65535 or not _is_address(name):
            raise Wrong(f"an address such as 127.0.0.1:{default_port} or [::]:{default_port}")
        return str(ip_address(name)), number_

    return convert


def written(address: tuple[str, int]) -> str:
    """`host:port`, an IPv6 host in brackets."""
    return with_port(*address)


def is_loopback(value: str) -> bool:
    return address_of(value).is_loopback


def url(*schemes: str) -> Convert[str]:
    def convert(value: str) -> str:
        found = _split(value)
        if not found or found[0] not in schemes or not found[1]:
            raise Wrong(f"a URL that begins with {listing(f'{scheme}://' for scheme in schemes)}")
        return value.strip()

    return convert


def endpoint(value: str) -> str:
    """Where tokens come from: https, or http on loopback (RFC 6749 s3.2 wants TLS)."""
    found = _split(value)
    name = found[1] if found else ""
    local = name == "localhost" or (_is_address(name) and is_loopback(name))
    if not found or not name or not (found[0] == "https" or (found[0] == "http" and local)):
        raise Wrong("a URL that begins with https:// (http:// on loopback only)")
    return value.strip()


def cloud(value: str) -> str:
    """An API's address without path: https, or http on loopback."""
    found = endpoint(value).rstrip("/").removesuffix("/v1.0").rstrip("/")
    parts = urlsplit(found)
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise Wrong("a URL without a path, such as https://graph.microsoft.com")
    return found


def _split(value: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(value.strip())
        _ = parts.port
        name = parts.hostname or ""
    except ValueError:
        return None
    return (parts.scheme.lower(), name) if value.strip().isprintable() and " " not in value.strip() else None


def pattern(value: str) -> str:
    """A glob over a whole address: `*@host.example`, `nas@*`, `root`."""
    bare = value.strip()
    if not bare or re.search(r"[\s,;<>]", bare) or not bare.isprintable():
        hint = "write several as a list" if re.search(r"\S[\s,;]+\S", bare) else ""
        raise Wrong("a pattern such as *@host.example", hint)
    if "@" not in bare and "*" not in bare and "." in bare:
        raise Wrong("a pattern such as *@host.example", f"did you mean '*@{bare}'?")
    return bare


def sender_pattern(value: str) -> str:
    """As `pattern`, and `<>` for the null reverse-path."""
    return "<>" if value.strip() == "<>" else pattern(value)


def alias(value: str) -> str:
    """What an alias answers to: `root`, `a@b` or `*@b`; the domain in lower case."""
    local, at, name = value.strip().rpartition("@")
    try:
        if not at:
            return str(parse_address(name))
        return f"*@{domain(name)}" if local == "*" else parse_address(value).key
    except (BadAddress, Wrong):
        raise Wrong("a name (root), an address or *@domain") from None
