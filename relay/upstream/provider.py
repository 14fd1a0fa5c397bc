"""What one row of the table of providers says.  Pure."""

from dataclasses import dataclass, field
from enum import Enum

from relay.upstream.settings import Auth, Limits, TlsMode


class UserForm(Enum):
    """What a provider takes as user name."""

    ADDRESS = "the full address"
    LOCAL = "the part before the @"
    DOTTED = "the address with a dot instead of the @"
    FIXED = "one word that is the same for everybody"
    ANY = "whatever the provider handed out"


class SenderRule(Enum):
    """Whose name an account may send in."""

    ACCOUNT = "the account's own address and its aliases"
    VERIFIED = "addresses or domains that were verified at the provider"
    DOMAINS = "addresses in the domains hosted there"
    FREE = "any address"


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider.  `host` is "" where it depends on the account: then `host_form` tells what it looks like.

    `mail_domain` completes a bare user name to an address, where every account has the same domain; `local_too`: the bare
    name logs in as well.  `misplaced`: user names that belong to another row (a pattern), and what to say of them.
    `needs_login` False: a listed IP address is enough.  `oauth`: who hands out tokens, by its name in authorities.py;
    `graph`: Microsoft Graph takes its mail, too;
    `password` False: nothing but tokens is taken; `oauth_first`: passwords end there soon, so tokens come first.
    `app_link` is where an app password or key is made.

    The doctor's part: `spf` is the record that customers are asked to include ("" none is known; one that turns out empty
    is not used).  `own_path`: it delivers under a reverse-path of its own, so that SPF is asked of its domain.
    `one_machine`: the host of the contract delivers by itself.  `spf_tick`: its control panel publishes the record.
    """

    key: str
    name: str
    host: str
    aliases: tuple[str, ...] = ()
    host_form: str = ""
    port: int = 587
    tls: TlsMode = TlsMode.STARTTLS
    other_ports: tuple[int, ...] = ()
    auth: Auth = Auth.AUTO
    user: UserForm = UserForm.ADDRESS
    fixed_user: str = ""
    mail_domain: str = ""
    local_too: bool = False
    misplaced: tuple[str, str] = ("", "")
    needs_login: bool = True
    password: bool = True
    oauth: str = ""
    oauth_first: bool = False
    graph: bool = False
    sender: SenderRule = SenderRule.ACCOUNT
    limits: Limits = field(default_factory=Limits)
    app_link: str = ""
    note: str = ""
    source: str = ""
    doubts: tuple[str, ...] = ()
    spf: str = field(kw_only=True)
    own_path: bool = False
    one_machine: bool = False
    spf_tick: bool = False
