"""One upstream as configured: frozen values.  RFC 6409, RFC 8314.  Pure."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import ClassVar, TypeVar

from relay.mail.address import Address
from relay.mail.rewrite import Identity
from relay.secret import Secret

DIRECT = "mx"
"""The name of the built-in upstream that delivers straight to the recipient's MX.  Only what reads or writes a
configuration compares with it; all else asks the transport."""


class TlsMode(Enum):
    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


class Auth(Enum):
    """How to log in; AUTO takes the strongest mechanism that both sides have."""

    AUTO = "auto"
    PLAIN = "plain"
    LOGIN = "login"
    CRAM_MD5 = "cram-md5"
    SCRAM = "scram-sha-256"
    XOAUTH2 = "xoauth2"
    POP = "pop"
    NONE = "none"


class TlsFloor(Enum):
    """The lowest TLS version that is spoken."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates are verified against the system's CAs, `ca_file`, or a SHA-256 `fingerprint` (hex, lower case).

    `client_cert` (PEM; `client_key` if the key is not in it) is shown to servers that ask.  `legacy`: TLS 1.0, small DH
    keys and SHA-1 too, for old servers that nobody updates.
    """

    mode: TlsMode = TlsMode.STARTTLS
    ca_file: str = ""
    fingerprint: str = ""
    verify: bool = True
    floor: TlsFloor = TlsFloor.TLS_1_2
    client_cert: str = ""
    client_key: str = ""
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Pop:
    """POP before SMTP: where to log in first, and for how long that counts."""

    host: str
    port: int = 110
    tls: TlsMode = TlsMode.NONE
    window: timedelta = timedelta(minutes=10)


class Grant(Enum):
    """What an access token is asked for with: a person's consent once given, or the application's own right."""

    REFRESH_TOKEN = "refresh-token"  # noqa: S105 - a word, no secret
    CLIENT_CREDENTIALS = "client-credentials"


class NotByConsent(ValueError):
    """This upstream needs no consent of a person, or nothing waits for what was pasted."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """OAuth 2.0 for XOAUTH2 and OAUTHBEARER: whose application, and where the refresh token is kept.

    `certificate_file` (PEM, certificate and RSA key) stands in for the client secret.  `scope` "" is the provider's.
    """

    provider: str = ""
    client_id: str = ""
    client_secret: Secret | None = None
    tenant: str = ""
    refresh_token_file: str = ""
    token_url: str = ""
    device_url: str = ""
    auth_url: str = ""
    scope: str = ""
    grant: Grant = Grant.REFRESH_TOKEN
    certificate_file: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    auth: Auth = Auth.AUTO
    username: str = ""
    password: Secret | None = None
    oauth: OAuth | None = None
    pop: Pop | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What may go to this upstream; None is no limit.  `message` in octets, `recipients` per transaction."""

    connections: int = 4
    per_minute: int | None = None
    per_day: int | None = None
    message: int | None = None
    recipients: int = 100


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A provider's or an office's mail server: SMTP with a login of ours, most often on port 587 or 465."""

    host: str
    port: int = 587
    tls: Tls = field(default_factory=Tls)
    login: Login = field(default_factory=Login)

    by_domain: ClassVar[bool] = False
    has_account: ClassVar[bool] = True

    @property
    def over_port_25(self) -> bool:
        return self.port == 25

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


class _NoAccount:
    """What is true of an upstream without an account of ours, unless it says otherwise."""

    __slots__ = ()

    by_domain: ClassVar[bool] = False
    has_account: ClassVar[bool] = False
    over_port_25: ClassVar[bool] = False
    host: ClassVar[str] = ""
    login: ClassVar[Login] = Login(Auth.NONE)
    tls: ClassVar[Tls] = Tls(TlsMode.NONE)


@dataclass(frozen=True, slots=True)
class MxHosts(_NoAccount):
    """The hosts that the recipient's domain names, without a login.  `port` is 25 but in tests.

    `private`: hosts of the LAN and of this machine, too.  Any domain may name any address as its mail host.
    `verified`: only to hosts that show a trusted certificate.
    """

    port: int = 25
    private: bool = False
    verified: bool = False

    by_domain: ClassVar[bool] = True
    over_port_25: ClassVar[bool] = True
    place: ClassVar[str] = "MX"


class DkimAlgorithm(Enum):
    """What kind of key is made; one that is there is used whatever it is."""

    RSA = "rsa"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class DkimKey:
    """Mail from this domain is signed with this key (RFC 6376) where it leaves by an upstream in `via`."""

    domain: str
    selector: str
    key_file: str
    via: tuple[str, ...] = (DIRECT,)
    algorithm: DkimAlgorithm = DkimAlgorithm.RSA


class Save(Enum):
    """What of a message becomes files: its attachments, the message itself, or both."""

    ATTACHMENTS = "attachments"
    MESSAGE = "message"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Folder(_NoAccount):
    """A folder in which messages become files.  `path` is absolute; its fields in braces are filled in for each message."""

    path: str
    save: Save = Save.ATTACHMENTS

    @property
    def place(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class PushService(_NoAccount):
    """Notification URLs (Apprise) that all get the message.  `title` may have {device}, {subject} and {sender} in it.

    `attachments`: pictures go along where the service takes them.
    """

    urls: tuple[Secret, ...]
    title: str = "{subject}"
    attachments: bool = True

    @property
    def place(self) -> str:
        """The kinds of services; the rest of a URL is a secret."""
        kinds = [url.reveal().partition("://")[::2] for url in self.urls]
        return ", ".join(dict.fromkeys(kind.lower() for kind, rest in kinds if rest and kind.isalnum())) or "push"


@dataclass(frozen=True, slots=True)
class GraphMailbox:
    """A mailbox at Microsoft 365 by Microsoft Graph, where SMTP AUTH is off; `login.username` is the mailbox.

    `url` is the cloud, without a slash at its end.  `save`: a copy of each message stays in Sent Items.
    """

    url: str
    login: Login
    save: bool = False
    tls: Tls = Tls(TlsMode.IMPLICIT)

    by_domain: ClassVar[bool] = False
    has_account: ClassVar[bool] = True
    over_port_25: ClassVar[bool] = False

    host: ClassVar[str] = "smtp.office365.com"  # Exchange Online sends it, as it does what comes by SMTP

    @property
    def place(self) -> str:
        return self.url.partition("://")[2]


Transport = SmtpServer | MxHosts | GraphMailbox | Folder | PushService
"""How mail gets to an upstream: one value for each kind.  All of them answer what others ask of an upstream:

`by_domain`: each recipient domain has servers of its own, so rests, connections and what is learned are kept by domain.
`has_account`: an account of ours is behind it.  Its login goes alone until it has worked; it takes notices of our own too.
`over_port_25`: what blocks port 25 (OP25B) blocks it.  `host`: the name whose addresses mail leaves from ("" if none).
`login`: who logs in.  `tls`: how TLS is spoken there; none where we speak none ourselves, and for the hosts of MX.
`place`: where it is, for people of any language.
"""


K = TypeVar("K", SmtpServer, MxHosts, GraphMailbox, Folder, PushService)


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where we hand mail to.  `timeout` is for one reply; the final one after the content gets ten times that.

    `dkim` are the keys that sign what goes there.
    """

    name: str
    transport: Transport
    identity: Identity = field(default_factory=Identity)
    limits: Limits = field(default_factory=Limits)
    timeout: timedelta = timedelta(seconds=60)
    provider: str = "generic"
    dkim: tuple[DkimKey, ...] = ()

    def key(self, recipient: Address) -> str:
        """The name that rests and connections are kept under: one for each domain, where each has servers of its own."""
        return f"{self.name} {recipient.domain.lower()}" if self.transport.by_domain else self.name

    @property
    def shared_limits(self) -> dict[str, int | None]:
        """What relays of one spool count together; how much goes to one domain in a minute each counts for itself."""
        per_minute = None if self.transport.by_domain else self.limits.per_minute
        return {"per_minute": per_minute, "per_day": self.limits.per_day}

    @property
    def login(self) -> Login:
        return self.transport.login

    @property
    def tls(self) -> Tls:
        return self.transport.tls

    @property
    def smtp(self) -> SmtpServer:
        """Its server, for what speaks SMTP with one.  Raises TypeError where it is of another kind."""
        return self.of_kind(SmtpServer)

    def of_kind(self, kind: type[K]) -> K:
        """Its transport, for what knows this kind.  Raises TypeError where it is of another one."""
        if isinstance(self.transport, kind):
            return self.transport
        raise TypeError(f"{self.name} is no {kind.__name__}")


DIRECT_UPSTREAM = Upstream(DIRECT, MxHosts(), limits=Limits(connections=2, per_minute=30))
"""The built-in upstream beside the configured ones: it has no account, so messages keep their own senders.

Its connections and messages a minute are those of each recipient domain.
"""
