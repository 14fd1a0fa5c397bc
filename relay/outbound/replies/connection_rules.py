"""Connections that are not made, or break: the network, and TLS.  Pure."""

from relay.mail.reply import Stage
from relay.outbound.replies.rule import EVERYWHERE, Blame, Rule, passes

_OTHERWISE = (
    r"\b(?:auth\w{0,12}|log ?in|password|credentials?|user ?name|spf|dkim|dmarc|signatures?|messages?|recipients?|senders?"
    r"|too many|limit\w{0,3})\b"
)
"""Words of replies that are about more than the connection."""

CONNECTIONS: tuple[Rule, ...] = (
    Rule(
        "network",
        Blame.UPSTREAM,
        (
            r"^4\d\d 4\.4\.[1-4]\b.{0,200}\b(?:connect(?:ion|ing)?|host|network|route)\b.{0,80}\b(?:refused|timed? ?out"
            r"|unreachable|lost|reset|closed|failed)\b",
            r"^4\d\d 4\.4\.[1-4]\b.{0,80}\bname (?:or service not known|resolution)",
        ),
        "A connection was refused, or was lost, or nobody answered: from here to the server, or from it to another one.",
        passes("run `relay doctor`, which tries the server and its ports. If all is right there: tell the provider."),
        stages=EVERYWHERE,
        unless=r"\b(?:too many|limit\w{0,3}|per|quota|spam\w{0,4}|abus\w{1,4}|\w{0,12}list\w{0,3}|reputation|polic\w{1,3}|your?"
        r"|sender|recipient|user|mailbox|domain|auth\w{0,12}|ADDR)\b",
    ),
    Rule(
        "certificate",
        Blame.UPSTREAM,
        (
            r"\bself[- ]signed\b",
            r"unable to get (?:local )?issuer|\bunknown (?:ca|authority)\b",
            r"\bcertificate\b.{0,60}\b(?:expired|not (?:yet )?valid|not trusted|untrusted|\w{0,12}mismatch|does not match"
            r"|validation|another name)\b",
        ),
        "The secured connection (TLS) was not made: the server could not prove who it is. Its certificate is self-signed, "
        "expired, or for another name.",
        "A provider's server: check the clock and `host` here, then show this to the provider; do not switch the check off. "
        "Your own server: `relay doctor` prints the `fingerprint` to set for a self-signed one; if it is for another name, set "
        "`host` to that.",
        stages=frozenset({Stage.TLS}),
        unless=_OTHERWISE,
    ),
    Rule(
        "tls",
        Blame.UPSTREAM,
        (
            r"^\d{3} [45]\.7\.5\b",  # RFC 3463 s3.8: cryptographic failure
            r"\[ssl: \w|\b(?:tls|ssl|starttls)\b.{0,40}\b(?:not available|unavailable|fail\w{0,4}|error)\b",
            r"(?:cannot|can't|could not|unable to|failed to) (?:start|initiali[sz]e|negotiate|establish) (?:a )?(?:tls|ssl)\b",
            r"\bhandshake\b|certificate verif",
        ),
        "The secured connection (TLS) to the server could not be made.",
        "Run `relay doctor`: it tells what is wrong. Then check the clock here, and port and `tls` of this upstream (465: "
        "`implicit`, 587: `starttls`). If all is right here: tell the provider.",
        stages=frozenset({Stage.TLS}),
        unless=_OTHERWISE,
    ),
)
