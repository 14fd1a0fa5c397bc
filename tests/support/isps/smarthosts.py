"""Providers that one logs in to: IIJmio, asahi-net, Sakura, and Gmail's submission server."""

import re
import ssl

from tests.support.isps.host import Host
from tests.support.isps.internet import (
    ASAHI,
    ASAHI_OUT,
    GMAIL,
    GMAIL_OUT,
    IIJMIO,
    IIJMIO_OUT,
    SAKURA,
    SAKURA_OUT,
    Internet,
)
from tests.support.upstream import Message

PASSWORD = "isp-secret"
IIJMIO_USER, ASAHI_USER, SAKURA_USER, GMAIL_USER = (
    "taro.iijmio.example",
    "AB1234",
    "taro@ini.sakura.example",
    "taro@gmail.example",
)


def iijmio(net: Internet, tls: ssl.SSLContext) -> Host:
    """STARTTLS, CRAM-MD5 only, user name with a dot for the @; any sender may pass."""
    return Host(
        net,
        IIJMIO,
        outgoing=IIJMIO_OUT,
        name="mbox.iijmio.example",
        tls=tls,
        users={IIJMIO_USER: PASSWORD},
        mechanisms=("CRAM-MD5",),
        require_auth=True,
    )


def asahi(net: Internet, tls: ssl.SSLContext) -> Host:
    """TLS from the start and a login by customer number; one's own domain may be the sender."""
    return Host(
        net,
        ASAHI,
        outgoing=ASAHI_OUT,
        name="mail.asahi.example",
        tls=tls,
        implicit=True,
        users={ASAHI_USER: PASSWORD},
        mechanisms=("PLAIN", "LOGIN"),
        require_auth=True,
    )


class Rewriting(Host):
    """A host that writes its own customer into From (and To, where that was From) of all it relays."""

    def __init__(self, net: Internet, address: str, *, account: str, both: bool, **more: object) -> None:
        super().__init__(net, address, **more)  # type: ignore[arg-type]
        self.account, self.both = account, both
        self.rewritten: list[bytes] = []

    def outgoing_content(self, message: Message) -> bytes:
        header, blank, body = message.content.partition(b"\r\n\r\n")
        fields = b"From|To" if self.both else b"From"
        foreign = re.compile(rb"(?im)^(%b): (?![^\r\n]*%b)[^\r\n]*" % (fields, re.escape(self.account.encode())))
        changed = foreign.sub(lambda found: found[1] + b": <" + self.account.encode() + b">", header)
        if changed != header:
            self.rewritten.append(header)
        return changed + blank + body


def sakura(net: Internet, tls: ssl.SSLContext) -> Rewriting:
    """The initial plan: From and To of everything become addresses in the account's default domain."""
    return Rewriting(
        net,
        SAKURA,
        account=SAKURA_USER,
        both=True,
        outgoing=SAKURA_OUT,
        name="ini.sakura.example",
        tls=tls,
        users={SAKURA_USER: PASSWORD},
        auth_needs_tls=True,
        require_auth=True,
    )


def gmail(net: Internet, tls: ssl.SSLContext) -> Rewriting:
    """smtp.gmail.com: STARTTLS, an app password, From silently made the account's."""
    return Rewriting(
        net,
        GMAIL,
        account=GMAIL_USER,
        both=False,
        outgoing=GMAIL_OUT,
        name="smtp.gmail.example",
        tls=tls,
        users={GMAIL_USER: PASSWORD},
        mechanisms=("PLAIN", "LOGIN"),
        auth_needs_tls=True,
        require_auth=True,
    )
