"""The settings of the status page."""

import re

from relay.config import hosts
from relay.config.config_values import WebSettings
from relay.config.fields import Fields
from relay.config.scalars import Wrong
from relay.networks import without_port

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,60}")


def read_web(at: Fields) -> WebSettings:
    with at.section("web") as section:
        found = WebSettings(
            address=section.get("address", web_address, ""),
            password=section.secret("password"),
            hosts=section.many("hosts", hosts.own_name, ()),
            user_header=section.get("user_header", _header, ""),
            proxies=section.many("proxies", hosts.network, ()),
            content=section.flag("content", True),
        )
        _check_web(section, found)
    return found


def _check_web(section: Fields, found: WebSettings) -> None:
    said = section.said("password") or section.said("password_file")
    if section.said("user_header") and not section.given("proxies"):
        section.mistake("proxies", "expected the proxy's address, since anybody could send user_header, found nothing")
    if section.given("proxies") and not section.said("user_header"):
        section.mistake("user_header", "expected the header by which the proxy names who logged in, found nothing")
    words = f"{section.word('password')} or {section.word('password_file')}"
    if found.address and not said and not found.user_header and not hosts.is_loopback(without_port(found.address)):
        section.mistake("password", f"expected {words}, since web.address is not loopback, found nothing")
    if said and not found.address:
        section.remark("password", "web.address is not set: there is no page to protect")


def web_address(value: str) -> str:
    """`host:port`; "" for `off`.  Raises Wrong."""
    return "" if value.lower() == "off" else hosts.written(hosts.socket_address(8025)(value))


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value) or value.lower() in ("host", "authorization", "cookie", "origin"):
        raise Wrong("the name of an HTTP header such as Remote-User")
    return value
