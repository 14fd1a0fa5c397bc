"""SPF as a receiving host checks it, over a zone of the test's own: ip4, mx, include, all (RFC 7208)."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network

Zone = Mapping[str, Mapping[str, Sequence[str]]]

_WORDS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


def check(zone: Zone, domain: str, address: str) -> str:
    """pass, fail, softfail, neutral, or none where the domain publishes nothing."""
    texts = [text.strip('"') for text in zone.get(domain, {}).get("TXT", ())]
    record = next((text for text in texts if text.startswith("v=spf1")), "")
    if not record:
        return "none"
    for term in record.split()[1:]:
        sign, mechanism = (term[0], term[1:]) if term[0] in _WORDS else ("+", term)
        if _matches(zone, mechanism, domain, address):
            return _WORDS[sign]
    return "neutral"


def _matches(zone: Zone, mechanism: str, domain: str, address: str) -> bool:
    name, _, value = mechanism.partition(":")
    if name == "all":
        return True
    if name == "ip4":
        return ip_address(address) in ip_network(value)
    if name == "include":
        return check(zone, value, address) == "pass"
    if name == "mx":
        hosts = [record.split()[1].rstrip(".") for record in zone.get(value or domain, {}).get("MX", ())]
        return any(address in zone.get(host, {}).get("A", ()) for host in hosts)
    raise ValueError(f"the test's SPF does not know {mechanism}")
