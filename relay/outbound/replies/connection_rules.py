"""Connections that are not made, or break: the network, and TLS.  Pure."""

from relay.mail.reply import Stage
from relay.outbound.replies.rule import EVERYWHERE, Blame, Rule, passes

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
        "tls",
        Blame.UPSTREAM,
        (
            r"^\d{3} [45]\.7\.5\b",  # RFC 3463 s3.8: cryptographic failure
            r"\[ssl: \w|\b(?:tls|ssl|starttls)\b.{0,40}\b(?:not available|unavailable|fail\w{0,4}|error)\b",
            r"(?:cannot|can't|could not|unable to|failed to) (?:start|initiali[sz]e|negotiate|establish) (?:a )?(?:tls|ssl)\b",
            r"\bhandshake\b|certificate verif",
        ),
        "The secured connection (TLS) to the server could not be made.",
        "Run `relay doctor`: it names the certificate, and what is wrong with it (self-signed, expired, another name: see "
        "`tls-trust`, `tls-expired`, `tls-name`). Else check the clock here, then port and `tls` of this upstream (465: "
        "`implicit`, 587: `starttls`), or tell the provider.",
        stages=frozenset({Stage.TLS}),
        unless=r"\b(?:auth\w{0,12}|log ?in|password|credentials?|user ?name|spf|dkim|dmarc|signatures?|messages?|recipients?"
        r"|senders?|too many|limit\w{0,3})\b",
    ),
)
