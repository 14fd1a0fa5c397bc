"""The issuers of access tokens and their addresses: data.

Sources: learn.microsoft.com "Authenticate an IMAP, POP or SMTP connection using OAuth" and "OAuth 2.0 device
authorization grant flow"; developers.google.com "OAuth 2.0 for iOS & Desktop Apps" and "OAuth 2.0 Mechanism";
developer.yahoo.com "OAuth 2.0 guide".  RFC 6749, RFC 8628.  Pure.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from relay.upstream.settings import Grant, OAuth


@dataclass(frozen=True, slots=True)
class Authority:
    """One issuer of tokens.  `device_url` "" has no device flow for mail; `extras` go into the consent address.

    `client_scope` is asked for where the application speaks for itself (client credentials).
    """

    name: str
    token_url: str
    device_url: str
    auth_url: str
    scope: str
    client_scope: str = ""
    extras: tuple[tuple[str, str], ...] = ()


_MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0"

_KNOWN = {
    "microsoft": Authority(
        name="Microsoft",
        token_url=f"{_MICROSOFT}/token",
        device_url=f"{_MICROSOFT}/devicecode",
        auth_url=f"{_MICROSOFT}/authorize",
        scope="https://outlook.office.com/SMTP.Send offline_access",
        client_scope="https://outlook.office365.com/.default",
    ),
    # Google's device flow grants a short list of scopes, and mail is not on it.
    "google": Authority(
        name="Google",
        token_url="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
        device_url="",
        auth_url="https://accounts.google.com/o/oauth2/v2/auth",
        scope="https://mail.google.com/",
        extras=(("access_type", "offline"), ("prompt", "consent")),
    ),
    "yahoo": Authority(
        name="Yahoo",
        token_url="https://api.login.yahoo.com/oauth2/get_token",  # noqa: S106 - an address
        device_url="",
        auth_url="https://api.login.yahoo.com/oauth2/request_auth",
        scope="mail-w",
    ),
}


AUTHORITIES: tuple[str, ...] = tuple(_KNOWN)
"""What `oauth.provider` may be, and what a row of the table of providers names."""


def authority_for(oauth: OAuth) -> Authority:
    """The issuer that these settings mean.

    With only `token_url` said (a sovereign cloud), Microsoft's other addresses are looked for beside it, not at the
    public cloud's.
    """
    known = _KNOWN.get(oauth.provider) or Authority(_host(oauth.token_url), oauth.token_url, "", "", "")
    token_url = oauth.token_url or _of_tenant(known.token_url, oauth)
    beside = oauth.provider == "microsoft" and oauth.token_url.endswith("/token")
    folder = oauth.token_url.removesuffix("/token")
    return Authority(
        name=known.name,
        token_url=token_url,
        device_url=oauth.device_url or (f"{folder}/devicecode" if beside else _of_tenant(known.device_url, oauth)),
        auth_url=oauth.auth_url or (f"{folder}/authorize" if beside else _of_tenant(known.auth_url, oauth)),
        scope=oauth.scope or (known.client_scope if oauth.grant is Grant.CLIENT_CREDENTIALS else known.scope),
        client_scope=known.client_scope,
        extras=known.extras,
    )


def _of_tenant(url: str, oauth: OAuth) -> str:
    return url.replace("{tenant}", oauth.tenant or "common")


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the token server"
