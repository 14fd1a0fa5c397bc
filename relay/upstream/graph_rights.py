"""What an application may do at Microsoft Graph: the scopes to ask for, each cloud's token server, and what a token allows.

Sources: learn.microsoft.com "National cloud deployments", "Microsoft Graph permissions reference".  Pure.
"""

import base64
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from relay.upstream.settings import Grant

PUBLIC_CLOUD = "https://graph.microsoft.com"

_TOKEN_SERVERS = {
    "graph.microsoft.us": "login.microsoftonline.us",
    "dod-graph.microsoft.us": "login.microsoftonline.us",
    "microsoftgraph.chinacloudapi.cn": "login.partner.microsoftonline.cn",
}

MOST_AT_ONCE = 4
"""Requests that Exchange takes at a time for one application and mailbox ("MailboxConcurrency")."""

SEND = frozenset({"Mail.Send", "Mail.Send.Shared"})
DRAFT = frozenset({"Mail.ReadWrite", "Mail.ReadWrite.Shared"})
"""What large messages need, and messages of which no copy is to stay."""


def scope_for(url: str, grant: Grant) -> str:
    """What is asked for at this cloud."""
    if grant is Grant.CLIENT_CREDENTIALS:
        return f"{url}/.default"  # whatever the administrator has granted
    return f"{url}/Mail.Send {url}/Mail.ReadWrite offline_access"


def token_url_for(url: str, tenant: str) -> str:
    """The token server of a national cloud; "" for the public one, whose address is known."""
    host = _TOKEN_SERVERS.get(urlsplit(url).hostname or "")
    return f"https://{host}/{tenant or 'organizations'}/oauth2/v2.0/token" if host else ""


@dataclass(frozen=True, slots=True)
class Rights:
    """The permissions that an access token names.  `all`: it has no others.

    What Exchange grants an application (RBAC for Applications) stands in no token, and some tokens name nothing.
    """

    named: frozenset[str] = frozenset()
    all: bool = False

    def has(self, wanted: frozenset[str]) -> bool:
        return bool(self.named & wanted)

    def lacks(self, wanted: frozenset[str]) -> bool:
        """Whether that is certain."""
        return self.all and not self.has(wanted)


def rights_of(token: str) -> Rights:
    """Microsoft promises no form of a token: one that cannot be read names nothing."""
    pieces = token.split(".")
    if len(pieces) != 3:
        return Rights()
    try:
        claims = json.loads(base64.urlsafe_b64decode(pieces[1] + "=" * (-len(pieces[1]) % 4)))
    except (ValueError, RecursionError):
        return Rights()
    if not isinstance(claims, dict):
        return Rights()
    scopes, roles = claims.get("scp"), claims.get("roles")
    if isinstance(scopes, str):
        return Rights(frozenset(scopes.split()), all=True)
    return Rights(frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset())
