"""What the text of a setting means."""

from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest

from relay.config import hosts, scalars
from relay.config.scalars import Wrong
from relay.upstream.settings import TlsMode


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("4h", 14400),
        ("2d", 172800),
        ("1w", 604800),
        ("1h30m", 5400),
        ("1d2h3m4s", 93784),
        (" 5M ", 300),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    """A number with its unit, or several, largest first."""
    assert scalars.duration()(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "1.5h", "-5m", "30m1h", "1h1h", "5min", "９m", "0s", "9" * 400 + "s"])
def test_no_durations(text: str) -> None:
    """A bare number has no unit to guess; nor is there any other notation."""
    with pytest.raises(Wrong):
        scalars.duration()(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("50MB", 50_000_000),
        ("10MiB", 10_485_760),
        ("1GB", 10**9),
        ("500kB", 500_000),
        ("1.5GB", 1_500_000_000),
        ("0.5 MiB", 524_288),
        ("25 mb", 25_000_000),
        ("50M", 50_000_000),
        ("1024", 1024),
        ("1024B", 1024),
    ],
)
def test_sizes(text: str, octets: int) -> None:
    """MB counts thousands, MiB 1024s, a bare number octets."""
    assert scalars.size()(text) == octets


@pytest.mark.parametrize("text", ["", "MB", "50XB", "-1MB", "1,5MB", "50MBit", "0", "9" * 15 + "TB"])
def test_no_sizes(text: str) -> None:
    """Anything else is no size, nor is nothing at all or more than any disk."""
    with pytest.raises(Wrong):
        scalars.size()(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("Yes", True), ("ON", True), ("false", False), ("no", False), ("off", False)],
)
def test_flags(text: str, value: bool) -> None:
    """All of YAML 1.1's words, where the setting is a flag."""
    assert scalars.flag(text) is value


def test_choices_guess() -> None:
    """A near miss gets a guess; `on` is not taken for `none`."""
    assert scalars.choice(TlsMode)("STARTTLS") is TlsMode.STARTTLS
    with pytest.raises(Wrong) as near:
        scalars.choice(TlsMode)("startls")
    assert (near.value.expected, near.value.hint) == ("starttls, implicit or none", "did you mean 'starttls'?")
    with pytest.raises(Wrong) as far:
        scalars.choice(TlsMode)("on")
    assert far.value.hint == ""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:25", ("0.0.0.0", 25)),
        ("[::]:25", ("::", 25)),
        (":2525", ("0.0.0.0", 2525)),
        ("2525", ("0.0.0.0", 2525)),
        ("*:25", ("0.0.0.0", 25)),
        ("localhost:25", ("127.0.0.1", 25)),
        ("192.168.0.2", ("192.168.0.2", 25)),
        ("::1", ("::1", 25)),
        ("[::1]", ("::1", 25)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_socket_addresses(text: str, address: tuple[str, int]) -> None:
    """Every way that people write where to listen."""
    assert hosts.socket_address(25)(text) == address


@pytest.mark.parametrize("text", ["", "2525:25", "host.example:25", "0.0.0.0:65536", "0.0.0.0:", "0.0.0.0:x", "1.2.3:25"])
def test_no_socket_addresses(text: str) -> None:
    """Neither a container's port mapping nor a name."""
    with pytest.raises(Wrong):
        hosts.socket_address(25)(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("private", "127.0.0.1", "8.8.8.8"),
        ("private", "172.31.255.255", "172.32.0.0"),
        ("private", "169.254.1.1", "100.64.0.1"),
        ("private", "fd00::1", "2001:db8::1"),
        ("private", "fe80::1", "fec0::1"),
        ("192.168.1.7/24", "192.168.1.1", "192.168.2.1"),
        ("192.168.1.0/255.255.255.0", "192.168.1.1", "192.168.2.1"),
        ("192.168.1.7", "192.168.1.7", "192.168.1.8"),
        ("8.0.0.0/8", "8.8.8.8", "9.0.0.0"),
        ("2001:db8::/32", "2001:db8::1", "2001:db9::1"),
        ("fc00::/7", "fd00::1", "fe80::1"),
        ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
    ],
)
def test_who_may_submit(text: str, inside: str, outside: str) -> None:
    """`private` is loopback, RFC 1918, unique local and link-local; networks may be given as an address in them."""
    networks = hosts.submitters(text)

    def covered(address: str) -> bool:
        return any(ip_address(address) in network for network in networks if network.version == ip_address(address).version)

    assert covered(inside)
    assert not covered(outside)


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "8.0.0.0/7",
        "10.0.0.0/7",
        "2000::/3",
        "2001::/31",
        "::ffff:0:0/96",
        "1.2.3.4/0",
    ],
)
def test_no_open_relay(text: str) -> None:
    """A public network wider than /8 (IPv6: /32) is refused in those words, however it is written."""
    with pytest.raises(Wrong) as refused:
        hosts.submitters(text)
    assert "open relay" in refused.value.hint


def test_routes_may_name_any_network() -> None:
    """A condition is no permission."""
    assert hosts.clients("0.0.0.0/0") == (ip_network("0.0.0.0/0"),)


@pytest.mark.parametrize(
    ("text", "host"),
    [("mail.isp.example.", "mail.isp.example"), ("mailhog", "mailhog"), ("[2001:db8::1]", "2001:db8::1"),
     ("192.0.2.1", "192.0.2.1"), ("メール.example", "xn--4dkua4c.example")],
)  # fmt: skip
def test_hosts(text: str, host: str) -> None:
    """Names of one label (containers), addresses with or without brackets, international names as DNS knows them."""
    assert hosts.host(text) == host


@pytest.mark.parametrize("text", ["", "a b", "smtp://a", "a:25", "192.168.1", "-a.example", "a..b", "x" * 64, "192.0.2.256"])
def test_no_hosts(text: str) -> None:
    """Neither URLs, nor ports, nor addresses that are not finished."""
    with pytest.raises(Wrong):
        hosts.host(text)


@pytest.mark.parametrize("form", ["{}", "SHA256:{}", "sha256 Fingerprint={}", "SHA-256: {}"])
def test_fingerprints(form: str) -> None:
    """As openssl, browsers and other programs print them."""
    digest = "9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08"
    assert scalars.fingerprint(form.format(digest)) == digest.replace(":", "").lower()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("sqlite:/var/lib/relay/spool.db", "sqlite:/var/lib/relay/spool.db"),
        ("sqlite:///var/lib/relay/spool.db", "sqlite:/var/lib/relay/spool.db"),
        ("sqlite:spool.db", "sqlite:spool.db"),
        ("/srv/spool.db", "sqlite:/srv/spool.db"),
        ("postgresql://relay@db/relay", "postgresql://relay@db/relay"),
    ],
)
def test_spools(text: str, url: str) -> None:
    """A URL, or just a path."""
    assert scalars.spool_url(text) == url


@pytest.mark.parametrize("text", ["", "spool", "sqlite:", "sqlite::memory:", "mysql://x", "http://x/y"])
def test_no_spools(text: str) -> None:
    """Memory keeps nothing; other databases are not spoken."""
    with pytest.raises(Wrong):
        scalars.spool_url(text)


@pytest.mark.parametrize("text", ["https://login.example/t", "http://127.0.0.1:8080/t", "http://localhost/t", "http://[::1]/t"])
def test_endpoints(text: str) -> None:
    """https anywhere, http on loopback."""
    assert hosts.endpoint(text) == text


@pytest.mark.parametrize(
    "text", ["", "http://login.example/t", "https://", "ftp://x", "https://a b", "https://[::1", "https://a:99999/"]
)
def test_no_endpoints(text: str) -> None:
    """A secret is not sent in clear, nor to nowhere."""
    with pytest.raises(Wrong):
        hosts.endpoint(text)
