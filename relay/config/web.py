"""The sections about watching: the status page, and the devices that should be heard of."""

import ipaddress
import re
from datetime import timedelta

from relay.config import hosts
from relay.config.config_values import WebSettings
from relay.config.fields import Fields, show
from relay.config.located import Table
from relay.config.scalars import Wrong, duration
from relay.inbound.devices import Expected
from relay.networks import without_port

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,60}")
_LEAST = timedelta(minutes=1)


def read_web(at: Fields) -> WebSettings:
    with at.section("web") as section:
        found = WebSettings(
            address=section.get("address", _web_address, ""),
            password=section.secret("password"),
            hosts=section.many("hosts", hosts.own_name, ()),
            user_header=section.get("user_header", _header, ""),
            proxies=section.many("proxies", hosts.network, ()),
        )
        _check_web(section, found)
    return found


def _check_web(section: Fields, found: WebSettings) -> None:
    said = section.said("password") or section.said("password_file")
    if section.said("user_header") and not section.given("proxies"):
        section.mistake("proxies", "expected the proxy's address, since anybody could send user_header, found nothing")
    if section.given("proxies") and not section.said("user_header"):
        section.mistake("user_header", "expected the header by which the proxy names who logged in, found nothing")
    if found.address and not said and not found.user_header and not hosts.is_loopback(without_port(found.address)):
        section.mistake("password", "expected password or password_file, since web.address is not loopback, found nothing")
    if said and not found.address:
        section.remark("password", "web.address is not set: there is no page to protect")


def _web_address(value: str) -> str:
    return "" if value.lower() == "off" else hosts.written(hosts.socket_address(8025)(value))


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value) or value.lower() in ("host", "authorization", "cookie", "origin"):
        raise Wrong("the name of an HTTP header such as Remote-User")
    return value


def read_devices(at: Fields) -> tuple[Expected, ...]:
    """`devices: {nas: {client: 192.168.0.20, expect_every: 26h}}`."""
    found: list[Expected] = []
    with at.section("devices") as section:
        for name, node in section.table.entries.items():
            section.node(name)
            place = section.table.keys[name]
            if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,64}", name):
                section.reading.mistake(place, section.path_of(name), f"expected a short name, found {show(name)}")
            if not isinstance(node, Table):
                text = "expected client and expect_every, such as {client: 192.168.0.20, expect_every: 26h}"
                section.reading.mistake(place, section.path_of(name), text)
                continue
            with at.reading.fields(node, node.path, node.place) as one:
                every = one.get("expect_every", duration(_LEAST), timedelta())
                expected = Expected(name, one.get("client", _client, ""), every)
                for key, what in (("client", "the device's address"), ("expect_every", "a time such as 26h")):
                    if not one.said(key):
                        one.mistake(key, f"expected {what}, found nothing")
                if expected.client and expected.client in (other.client for other in found):
                    one.mistake("client", f"expected each device once, found {expected.client} again")
                found.append(expected)
    return tuple(found)


def _client(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value.strip()))
    except ValueError:
        raise Wrong("an IP address such as 192.168.0.20") from None
