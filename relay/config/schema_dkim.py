"""What is signed (DKIM), described.  Pure."""

from relay.config.described import Section, Setting

_S = Setting

DKIM = Section(
    "dkim",
    "{domain: own.example}",
    "Mail from a domain of your own is signed, so that receivers see that it is yours "
    "([how to](without-provider.md)). One mapping, or a list of them.",
    (
        _S("domain", "The domain in the From of what is signed. Required."),
        _S("selector", "The key's name in the DNS. Each key of a domain needs its own.", "relay"),
        _S(
            "key_file",
            "The private key (PEM). It is made if it is not there, and only the relay's user can read it.",
            otherwise="`dkim-SELECTOR.DOMAIN.pem` in `spool.state_dir`",
        ),
        _S("via", "The upstreams on whose way it is signed: `mx`, or such as are reached by SMTP.", "[mx]"),
        _S("algorithm", "The kind of key that is made: `rsa` (2048 bits) or `ed25519`, which not all receivers know.", "rsa"),
    ),
)
