"""All of it at once, and the upstreams of one household as its person would write them."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from tests.support.dns import FakeDNS
from tests.support.isps import coreserver, smarthosts
from tests.support.isps import internet as where
from tests.support.isps.coreserver import CorePop, CoreServer
from tests.support.isps.host import Host
from tests.support.isps.internet import Deaf, Internet, port_for_all
from tests.support.isps.receivers import DocomoMx, GmailMx, ICloudMx


@dataclass
class World:
    """Everybody who can be reached from home."""

    net: Internet
    dns: FakeDNS
    core: CoreServer
    pop: CorePop
    hosts: dict[str, Host]
    ca_file: Path

    def upstreams(self) -> dict[str, dict[str, Any]]:
        """The accounts of the household."""
        at = {"port": self.net.port, "password": smarthosts.PASSWORD}
        trusted = {"ca_file": str(self.ca_file)}
        pop = {"host": where.HOME, "port": self.pop.port, "window": "10m"}
        return {
            "coreserver": {
                **at,
                "host": where.CORESERVER,
                "tls": "none",
                "auth": "pop",
                "pop": pop,
                "username": coreserver.USER,
                "password": coreserver.PASSWORD,
                "sender": "taro@taro.example",
            },
            "iijmio": {
                **at,
                **trusted,
                "host": where.IIJMIO,
                "tls": "starttls",
                "username": smarthosts.IIJMIO_USER,
                "sender": "taro@iijmio.example",
            },
            "asahi": {
                **at,
                **trusted,
                "host": where.ASAHI,
                "tls": "implicit",
                "username": smarthosts.ASAHI_USER,
                "sender": "taro@asahi.example",
                "sender_domains": ["asahi.example", "own.example"],
            },
            "sakura": {**at, **trusted, "host": where.SAKURA, "tls": "starttls", "username": smarthosts.SAKURA_USER},
            "gmail": {**at, **trusted, "host": where.GMAIL, "tls": "starttls", "username": smarthosts.GMAIL_USER},
        }


@asynccontextmanager
async def internet(directory: Path) -> AsyncIterator[World]:
    net = Internet(port_for_all())
    authority = trustme.CA()
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(where.IIJMIO, where.ASAHI, where.SAKURA, where.GMAIL).configure_cert(tls)
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(FakeDNS(where.ZONE))
        core = await stack.enter_async_context(CoreServer(net))
        pop = await stack.enter_async_context(CorePop(core))
        hosts: dict[str, Host] = {
            "iijmio": smarthosts.iijmio(net, tls),
            "asahi": smarthosts.asahi(net, tls),
            "sakura": smarthosts.sakura(net, tls),
            "gmail": smarthosts.gmail(net, tls),
            "gmail-mx": GmailMx(net),
            "icloud-mx": ICloudMx(net),
            "docomo-mx": DocomoMx(net),
        }
        for host in hosts.values():
            await stack.enter_async_context(host)
        stack.callback(Deaf(where.CLOSED, net.port).close)
        yield World(net, dns, core, pop, {"coreserver": core, **hosts}, ca_file)
