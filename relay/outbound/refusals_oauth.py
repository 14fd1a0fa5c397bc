"""What token servers say, and what upstreams say to tokens: rows as in refusals.py; the words begin with our own.  Pure."""

from relay.mail.reply import Stage
from relay.outbound.refusals import Deed, Refusal

_AUTH = frozenset({Stage.AUTH})

TOKENS: tuple[Refusal, ...] = (
    Refusal(
        "oauth-no-consent",
        Deed.LOGIN,
        r"there is no OAuth token for",
        "This upstream logs in by OAuth 2.0, and nobody has allowed it for this account yet.",
        "Run `relay oauth login` with the upstream's name, beside the running relay; what waits then goes by itself.",
        _AUTH,
    ),
    Refusal(
        "oauth-store",
        Deed.PASSING,
        r"OAuth tokens of .* cannot be kept",
        "The OAuth tokens could not be read or written beside the spool, so the login was not tried: a token that is not on "
        "disk would be lost with the next power cut.",
        "Make room on the disk, or let the relay's user write to the folder.",
        _AUTH,
    ),
    Refusal(
        "oauth-denied",
        Deed.LOGIN,
        r"^535 .*gives no access token",
        "The provider hands out no access token any more; its own words and their cure are in the refusal.",
        "Do what they say; then run `relay oauth login` with the upstream's name. The mail is kept meanwhile.",
        _AUTH,
    ),
    Refusal(
        "oauth-server",
        Deed.PASSING,
        r"^454 .*gives no access token",
        "The provider's token server could not be asked just now.",
        "Nothing to do if it passes. If not: check the internet line, DNS and the clock; a firewall must let HTTPS out.",
        _AUTH,
    ),
    Refusal(
        "oauth-renewed",
        Deed.PASSING,
        r"takes this access token no longer; a new one is here",
        "The server refused the access token before its time; a new one has been fetched.",
        "Nothing to do: the next try has the new token. If it comes back often, check the clock of this machine.",
        _AUTH,
    ),
    Refusal(
        "oauth-new-token-refused",
        Deed.LOGIN,
        r"\(this access token of .* was new\)",
        "The server refused an access token that had been fetched just now: the consent was given by another account, the "
        "mailbox may not send by SMTP, or the application may not send for it.",
        "Check that `username` is the account that consented, and that 'Authenticated SMTP' is on for it (Microsoft 365); then "
        "run `relay oauth login` again.",
        _AUTH,
    ),
)
